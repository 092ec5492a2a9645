"""Mask LEE in finite form: does the predicted mask change when only the sampling frequency changes?

Our reading of arXiv:2506.03550 (local equivariance error of mask predictors; its exact formulas were not available to us).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.models.base import LatentGrid

ALIVE_MARGIN = 0.9


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


def at_times(values: Tensor, times: Tensor, wanted: Tensor) -> Tensor:
    """Frames moved to other instants by linear interpolation; those within a microsecond stay as they are.

    Args:
        values: (..., frames), real.
        times: (frames,) seconds, increasing and evenly spaced.
        wanted: (n,) seconds within the first and last of `times`.

    Returns:
        (..., n).
    """
    period = float(times[1] - times[0]) if len(times) > 1 else 1.0
    position = ((wanted - times[0]) / period).clamp(0, len(times) - 1)
    nearest = position.round()
    position = torch.where((position - nearest).abs() * period < 1e-6, nearest, position)
    left = position.floor().long().clamp(max=max(0, len(times) - 2))
    weight = (position - left).to(values.dtype)
    right = (left + 1).clamp(max=len(times) - 1)
    return values[..., left] * (1 - weight) + values[..., right] * weight


def common_times(grid: LatentGrid, trained_grid: LatentGrid) -> Tensor:
    """The frame times of `trained_grid` that `grid` covers, to within half a period: (n,) seconds."""
    period = float(grid.times[1] - grid.times[0]) if len(grid.times) > 1 else 1.0
    inside = (trained_grid.times >= grid.times[0] - period / 2) & (
        trained_grid.times <= grid.times[-1] + period / 2
    )
    return trained_grid.times[inside]


@dataclass
class MaskLEE:
    r"""Accumulates mask LEE at one sampling frequency F over a test set.

        LEE_F = sum ||P_F (m_F - m_F0)||^2 / sum ||P_F m_F0||^2

    The sums run over tracks, channels, sources, features and frames, and are taken before the division. Range [0, inf); 0 is a mask that
    does not depend on the sampling frequency; lower is better. Our reading of arXiv:2506.03550.
    """

    error: float = 0.0
    reference: float = 0.0

    def update(
        self, masks: Tensor, grid: LatentGrid, trained_masks: Tensor, trained_grid: LatentGrid, shared: Tensor
    ) -> None:
        """Adds one track.

        Args:
            masks: m_F, (items, sources, features, frames).
            grid: where its values are.
            trained_masks: m_F0, likewise.
            trained_grid: where its values are.
            shared: P_F, (features,) bool.
        """
        wanted = common_times(grid, trained_grid)
        start = int(torch.searchsorted(trained_grid.times, wanted[0]))
        reference = trained_masks[:, :, shared, start : start + len(wanted)].double()
        moved = at_times(masks[:, :, shared].double(), grid.times, wanted)
        self.error += float((moved - reference).square().sum())
        self.reference += float(reference.square().sum())

    def compute(self) -> float:
        """LEE_F, linear.

        Raises:
            InputError: nothing was added, or all masks were zero.
        """
        if self.reference == 0:
            raise InputError("mask LEE of nothing: no masks were added, or all of them are zero")
        return self.error / self.reference
