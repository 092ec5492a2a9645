"""Frames of a latent or a mask at other instants: windowed-sinc interpolation over frames, and its derivative.

    y(p) = sum_k x_k w(p - k) / sum_k w(p - k),    w(u) = sinc(u) cos^2(pi u / (2 W)) for |u| < W = `REACH`

p is an instant counted in frames. Before the first and after the last frame their values go on. A complex feature with centre frequency f
turns by 2 pi f T from frame to frame (T is the frame period), far more than half a turn: it is turned back before interpolation and
forth after it.
"""

import math

import torch
from torch import Tensor

from sfi_zoo.models.base import LatentGrid

REACH = 16
BLOCK = 32  # frames whose slopes are one matrix product
SAME_INSTANT = 1e-6  # seconds


def frame_period(times: Tensor) -> float:
    """Seconds between frames; 1 where there is only one."""
    return float(times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0


def turn(grid: LatentGrid) -> Tensor:
    """(features,) radians by which a complex feature turns from one frame to the next: 2 pi f T."""
    return 2 * math.pi * grid.frequencies.double() * frame_period(grid.times)


def common_times(grid: LatentGrid, trained_grid: LatentGrid) -> Tensor:
    """The frame times of `trained_grid` that `grid` covers, to within half a period: (n,) seconds, n >= 0."""
    times, half = grid.times, frame_period(grid.times) / 2
    inside = (trained_grid.times >= times[0] - half) & (trained_grid.times <= times[-1] + half)
    return trained_grid.times[inside]


def at_times(values: Tensor, times: Tensor, wanted: Tensor, turns: Tensor | None = None) -> Tensor:
    """Frames moved to other instants; where all are within a microsecond of a frame, they stay as they are.

    Args:
        values: (..., features, frames), real or complex.
        times: (frames,) seconds, increasing and evenly spaced.
        wanted: (n,) seconds within the first and last of `times`, to within half a period.
        turns: (features,) what a complex feature turns per frame, see `turn`; not used for real values.

    Returns:
        (..., features, n).
    """
    period = frame_period(times)
    positions = (wanted - times[0]) / period
    nearest = positions.round().clamp(0, len(times) - 1)
    if bool(((positions - nearest).abs() * period < SAME_INSTANT).all()):
        return values[..., nearest.long()]
    return interpolate(values, positions.clamp(0, len(times) - 1), turns)


def interpolate(values: Tensor, positions: Tensor, turns: Tensor | None = None) -> Tensor:
    """The formula above.

    Args:
        values: (..., features, frames), real or complex.
        positions: (n,) instants counted in frames, 0 ... frames - 1; differentiable.
        turns: as in `at_times`.

    Returns:
        (..., features, n).
    """
    frames = torch.arange(values.shape[-1], dtype=torch.float64, device=values.device)
    turned = turns if values.is_complex() else None
    if turned is not None:
        values = values * _rotation(turned, -frames, values)
    whole = positions.detach().floor()
    y, total = torch.zeros_like(values[..., whole.long()]), torch.zeros_like(positions)
    for tap in range(1 - REACH, REACH + 1):
        lag = positions - whole - tap
        weight = torch.sinc(lag) * torch.cos(lag.clamp(-REACH, REACH) * (math.pi / (2 * REACH))).square()
        y = y + values[..., (whole + tap).clamp(0, len(frames) - 1).long()] * weight.to(values.real.dtype)
        total = total + weight
    y = y / total.to(y.real.dtype)
    return y if turned is None else y * _rotation(turned, positions, y)


def frame_slope(values: Tensor, turns: Tensor | None = None) -> Tensor:
    """The derivative of `interpolate` with respect to the instant, on the frames themselves.

    Args:
        values: (..., features, frames), real or complex.
        turns: as in `at_times`.

    Returns:
        (..., features, frames), per frame.
    """
    frames = torch.arange(values.shape[-1], dtype=torch.float64, device=values.device)
    turned = turns if values.is_complex() else None
    still = values if turned is None else values * _rotation(turned, -frames, values)
    # blocks of frames times a band of w'(u) = cos(pi u) / u cos^2(...), odd, at whole u; sum w = 1, and its slope is 0
    end = REACH + BLOCK - 1 - (len(frames) - 1) % BLOCK
    first, last = (still[..., k].unsqueeze(-1) for k in (0, -1))
    padded = torch.cat(
        [first.expand(*still.shape[:-1], REACH), still, last.expand(*still.shape[:-1], end)], dim=-1
    )
    out = torch.arange(BLOCK, dtype=torch.float64, device=values.device)
    lag = out + REACH - torch.arange(BLOCK + 2 * REACH, dtype=torch.float64, device=values.device)[:, None]
    band = (math.pi * lag).cos() / lag * (math.pi / (2 * REACH) * lag.clamp(-REACH, REACH)).cos().square()
    band = torch.where(lag == 0, 0.0, band).to(still.dtype)
    blocks = padded.unfold(-1, BLOCK + 2 * REACH, BLOCK)  # flat: one large product, not many small ones
    slope = (blocks.flatten(0, -2) @ band).reshape(*still.shape[:-1], -1)[..., : len(frames)]
    if turned is not None:
        # d/dp (b e^{j theta p}) = (b' + j theta b) e^{j theta p}
        slope = (slope + 1j * turned.to(values.real.dtype)[:, None] * still) * _rotation(
            turned, frames, values
        )
    return slope


def _rotation(turns: Tensor, positions: Tensor, like: Tensor) -> Tensor:
    """exp(j turn position): (features, n)."""
    angle = turns[:, None] * positions
    return torch.polar(torch.ones_like(angle), angle).to(like.dtype)
