"""What the metrics see of a model at one sampling frequency, and which features two of them can be compared at."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Latent, LatentGrid, Separator, predicted

ALIVE_MARGIN = 0.9


@dataclass(frozen=True)
class Observation:
    """What the metrics see of a model at one sampling frequency; computed once, shared by all of them.

    Attributes:
        latent: z_F.
        masks: m_F, (items, sources, features, frames).
        sample_rate: F in Hz.
        residual: what the model adds to mask * latent, as large; no LEE looks at it.
    """

    latent: Latent
    masks: Tensor
    sample_rate: float
    residual: Tensor | None = None

    @cached_property
    def masked(self) -> Tensor:
        """m z: (items, sources, features, frames)."""
        return self.masks * self.latent.values[:, None]

    @cached_property
    def references(self) -> dict[Any, Any]:
        """What `sfi_zoo.metrics.comparison` keeps of an observation at F0."""
        return {}


@torch.no_grad()
def observe(model: Separator, waveform: Tensor, sample_rate: float) -> Observation:
    """Latent and masks of a model: one pass through its encoder and its mask predictor, without a graph.

    Args:
        model: a separator, or one in another adaptation mode: `Adapted(separator, mode)`. Of anyone's own model an object with `encode`
            and `predict_masks` of the same meaning will do.
        waveform: x_F, (batch, channels, time).
        sample_rate: F in Hz.

    Raises:
        InputError: the masks are not finite, or what the model's encoder raises.
    """
    latent = model.encode(waveform, sample_rate)
    masks, residual = predicted(model, latent)
    return Observation(latent, finite(masks), sample_rate, residual)


def finite(masks: Tensor) -> Tensor:
    """The masks, if they are finite.

    Raises:
        InputError: they are not.
    """
    count = 0 if torch.isfinite(masks.sum()) else int((~torch.isfinite(masks)).sum())  # a sum costs a tenth
    if count:
        raise InputError(f"the model predicts masks that are not finite ({count} of {masks.numel()} values)")
    return masks


def band_limited(latent: Latent, sample_rate: float) -> Latent:
    """A_F: features with a centre at F / 2 or above vanish, frames stay."""
    kept = latent.grid.frequencies < sample_rate / 2
    grid = LatentGrid(latent.grid.times, latent.grid.frequencies, latent.grid.alive & kept)
    return Latent(latent.values * kept.to(latent.values.real.dtype)[:, None], grid)


def shared_features(
    grid: LatentGrid,
    trained_grid: LatentGrid,
    sample_rate: float,
    trained_rate: float,
    margin: float = ALIVE_MARGIN,
) -> Tensor:
    """The projection P_F on features: alive at both rates, with a centre below margin * min(F, F0) / 2.

    Returns:
        (features,) bool.

    Raises:
        InputError: no feature is left.
    """
    limit = margin * min(sample_rate, trained_rate) / 2
    shared = grid.alive & trained_grid.alive & (trained_grid.frequencies < limit)
    if not shared.any():
        raise InputError(f"no feature is alive below {limit:g} Hz; choose a higher sample rate")
    return shared
