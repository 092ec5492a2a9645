"""Controls: a separator whose masks cannot depend on the sampling frequency, the ceiling of all masks, and one that is not adapted.

None of the first two is a model, and neither is ranked.
"""

import math

import torch
from torch import Tensor

from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import Latent, Separator

RIPPLES_PER_BAND = 3.0
RIPPLE_SECONDS = 0.4


class FixedMasks(Separator):
    """A model's front and back end around masks that are a formula, and cannot depend on the sampling frequency.

        m_s(f, tau) = softmax over s of 2 cos(2 pi (c f / F0 + tau / T + s / S)),    c = 6, T = 0.4 s

    f is the centre frequency of a feature, tau the time of a frame: what stays when only F changes. Mask LEE and predictor LEE of it are
    the numerical floor of the metrics; its masked-latent LEE is what the encoder alone makes. It separates nothing.

    Args:
        model: the separator whose front end it has.
    """

    architecture = "fixed-masks"

    def __init__(self, model: Separator) -> None:
        super().__init__()
        self.model = model

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in output order."""
        return self.model.sources

    @property
    def trained_rate(self) -> int:
        """F0 in Hz."""
        return self.model.trained_rate

    @property
    def frame_period(self) -> float | None:
        """Seconds between frames."""
        return self.model.frame_period

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """The model's encoder."""
        return self.model.encode(waveform, sample_rate)

    def predict_masks(self, latent: Latent) -> Tensor:
        """The formula above: (items, sources, features, frames)."""
        grid, sources = latent.grid, len(self.sources)
        source = torch.arange(sources, dtype=torch.float64, device=latent.values.device) / sources
        frequency = (2 * RIPPLES_PER_BAND / self.trained_rate) * grid.frequencies.double()
        time = grid.times.double().to(source.device) / RIPPLE_SECONDS
        turns = source[:, None, None] + frequency[:, None] + time
        masks = (2 * (2 * math.pi * turns).cos()).softmax(0).to(latent.values.real.dtype)
        return masks.expand(len(latent.values), -1, -1, -1)

    def decode(self, latents: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """The model's decoder."""
        return self.model.decode(latents, sample_rate, length)


EquivariantOracle = FixedMasks  # its name up to 0.1


def ratio_masks(model: Separator, latent: Latent, references: Tensor, sample_rate: float) -> Tensor:
    """Masks from the references themselves: the ceiling of what masks on this latent can do, about.

        m_s = |z_s|^2 / sum_s' |z_s'|^2,    z_s = encode(reference s)

    The Wiener-like ratio mask of the literature; masks of a phase or above 1 could do better. 1 / sources where all are silent.

    Args:
        model: whose encoder it is.
        latent: of the mixture, (items, features, frames).
        references: (sources, channels, time).
        sample_rate: F in Hz.

    Returns:
        (items, sources, features, frames).
    """
    z = model.encode(references, sample_rate).values
    power = (z.conj() * z).real.unflatten(0, (len(references), len(latent.values))).transpose(0, 1)
    whole = power.sum(1, keepdim=True)
    return torch.where(whole > 0, power / whole, 1 / len(references))


def controls(model: Separator) -> dict[str, Adapted]:
    """Controls of a table about `model` that need no references; the metrics treat them as they treat the model.

    Args:
        model: a separator with an SFI front end.

    Returns:
        "fixed_masks": `FixedMasks`, must score at the numerical floor; "unadapted": the model as if F were F0.
    """
    return {"fixed_masks": Adapted(FixedMasks(model), "native"), "unadapted": Adapted(model, "none")}
