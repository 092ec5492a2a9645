r"""Features that are dead at a low sampling frequency: what a network sees in their place.

At F < F0 the features with a centre above F / 2 are zero, which a network trained at F0 alone has not seen. `DeadFill` puts something
there:

    x_fk = l_f g_k e_fk   for a dead feature f,     g_k = sum_a |x_ak| / sum_a l_a   over the features a that are alive

x_fk is what the network sees of feature f in frame k (for a complex latent sqrt |z|), l_f the mean of |x_f| on audio at F0, and e_fk noise
with E |e| = 1 that has the distribution Gaussian noise has in this latent, or 1. g_k follows the level of the input frame by frame, so
that a gain of the input stays one, and silence stays silent. Only the network sees this: the latent keeps its zeros.

Source: ours, after the finding of arXiv:2601.14684 that, when a signal is resampled up for a network, the presence of something
at high frequencies matters more than what it is; there it is added by the resampler (`sfi_zoo.audio.resampling.NoisyKernel`).
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError

if TYPE_CHECKING:
    from sfi_zoo.models.filterbank import FilterbankSeparator
    from sfi_zoo.models.spleeter import Spleeter

    Model = TypeVar("Model", bound=FilterbankSeparator)

FILLS = ("noise", "level")
TREATMENTS = ("alive_norm", "dead_fill", "gate_db")  # settings that a trained model can be given anew
SEED = 0
# E |e| of what standard Gaussian noise becomes in a latent
MEANS = {
    "linear": math.sqrt(2 / math.pi),
    "relu": math.sqrt(1 / (2 * math.pi)),
    "complex": 2**0.25 * math.gamma(1.25),  # sqrt of a Rayleigh variable
    "magnitude": math.sqrt(math.pi / 2),  # a Rayleigh variable
}


class DeadFill(nn.Module):
    """Fills dead features, see above.

    In evaluation the noise is drawn from one seed: the same for every item, call and device, so outputs do not change from run to run, nor
    with the batch. In training it is new in each call.

    Args:
        features: of the latent.
        latent: "relu", "linear", "complex" (sqrt |z|) or "magnitude" (|z|): the distribution of the noise.
        constant: no noise, e = 1.

    Attributes:
        level: (features,) l_f; zeros until `calibrate` has measured them.
        frozen: `freeze` has seen the levels: an exported program has no branches on data.
    """

    level: Tensor
    frozen = False

    def __init__(self, features: int, latent: str, constant: bool = False) -> None:
        super().__init__()
        self.latent, self.constant = latent, constant
        self.register_buffer("level", torch.zeros(features))

    def forward(self, x: Tensor, alive: Tensor) -> Tensor:
        """What the network sees, (items, features, frames), with its dead features filled.

        Args:
            x: what the network sees of the latent.
            alive: (features,) bool.

        Raises:
            InputError: the levels have not been measured.
        """
        heard = (self.level * alive).sum()
        if not self.frozen and not heard > 0:
            raise InputError(
                "dead_fill has no levels yet: measure them with sfi_zoo.models.parts.dead_features.calibrate(model, waveforms)"
            )
        gain = (x.abs() * alive[:, None]).sum(1, keepdim=True) / heard
        filled = gain * self.level[:, None]
        if not self.constant:
            filled = filled * self._noise(x)
        return torch.where(alive[:, None], x, filled)

    def _noise(self, x: Tensor) -> Tensor:
        """e, (1, features, frames), of the dtype and on the device of `x`."""
        generator = None if self.training else torch.Generator().manual_seed(SEED)
        parts = 2 if self.latent in ("complex", "magnitude") else 1
        noise = torch.randn(1, *x.shape[1:], parts, generator=generator, device="cpu").to(x)
        match self.latent:
            case "complex":
                noise = noise.square().sum(-1) ** 0.25
            case "magnitude":
                noise = noise.square().sum(-1) ** 0.5
            case "relu":
                noise = noise[..., 0].relu()
            case _:
                noise = noise[..., 0]
        return noise / MEANS[self.latent]

    def extra_repr(self) -> str:
        """The settings."""
        return f"{len(self.level)}, latent={self.latent!r}, constant={self.constant}"


@torch.no_grad()
def calibrate(model: "FilterbankSeparator | Spleeter", waveforms: Iterable[Tensor]) -> None:
    """Measures the levels of `dead_fill` on audio like that the model was trained on.

    Args:
        model: a separator with `dead_fill`; its buffer `fill.level` is set, and is saved with it.
        waveforms: mixtures at F0, (channels, time) or (time,) each; a minute in all is plenty.

    Raises:
        InputError: the model has no `dead_fill`, or the audio is of another shape, not finite, silent, or none.
    """
    if model.fill is None:
        raise InputError(
            "the model has no dead_fill to calibrate; see sfi_zoo.models.parts.dead_features.treated"
        )
    total, frames = torch.zeros_like(model.fill.level, dtype=torch.float64), 0
    place = next(model.parameters())
    for waveform in waveforms:
        if waveform.ndim not in (1, 2) or not waveform.numel() or not torch.isfinite(waveform).all():
            raise InputError(
                f"calibrate takes finite waveforms (channels, time) or (time,), got {tuple(waveform.shape)}"
            )
        if not waveform.any():
            continue
        x = model.seen(model.encode(waveform.reshape(1, -1, waveform.shape[-1]).to(place)).values)
        total += x.abs().double().sum((0, 2))
        frames += x.shape[0] * x.shape[2]
    if not frames:
        raise InputError("calibrate needs audio that is not silent; it was given none")
    model.fill.level.copy_(total / frames)


def treated(model: "Model", **settings: Any) -> "Model":
    """A copy of a trained separator with other treatments of its dead features and of its masks; the weights are the same.

    Args:
        model: the separator; it is not touched.
        settings: of these, and what is not given stays as it is in `model`:
            alive_norm: see `sfi_zoo.models.parts.norms.over_alive`.
            dead_fill: "noise", "level" or False; `calibrate` the copy before it meets a low rate (levels `model` has are kept).
            gate_db: see `sfi_zoo.models.parts.gate`; None for no gate.

    Returns:
        The copy, on the device, in the dtype and in the mode of `model`.

    Raises:
        InputError: another setting, or a value that is not allowed.
    """
    unknown = sorted(settings.keys() - set(TREATMENTS))
    if unknown:
        raise InputError(f"treated takes {', '.join(TREATMENTS)}, got {', '.join(unknown)}")
    config: Any = dataclasses.replace(model.config, **settings)
    copy = type(model)(config).to(next(model.parameters()))
    kept = copy.state_dict()
    copy.load_state_dict(kept | {key: value for key, value in model.state_dict().items() if key in kept})
    return copy.train(model.training)
