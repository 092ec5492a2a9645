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
BLOCK = 32  # instants that are one matrix product
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
        wanted: (n,) seconds, increasing, within the first and last of `times`, to within half a period.
        turns: (features,) what a complex feature turns per frame, see `turn`; not used for real values.

    Returns:
        (..., features, n); a view where it can be one.
    """
    period = frame_period(times)
    positions = (wanted - times[0]) / period
    nearest = positions.round().clamp(0, len(times) - 1)
    if bool(((positions - nearest).abs() * period < SAME_INSTANT).all()):
        place = nearest.long()
        first, last = int(place[0]), int(place[-1])
        in_a_row = last - first == len(place) - 1  # then nothing is copied
        return values[..., first : last + 1] if in_a_row else values[..., place]
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
    if turns is None or not values.is_complex():
        return _read(values, positions)
    frames = torch.arange(values.shape[-1], dtype=torch.float64, device=values.device)
    still = values * _rotation(turns, -frames, values)
    return _read(still, positions) * _rotation(turns, positions, values)


def _read(values: Tensor, positions: Tensor) -> Tensor:
    """`interpolate` without turns: blocks of instants, each a matrix product of the frames around them with a band of w."""
    if values.is_complex():
        return torch.complex(*_read(torch.stack([values.real, values.imag]), positions))
    rows, end, blocks = values.flatten(0, -2), values.shape[-1] - 1, []  # flat: no block is copied
    for some, near in zip(positions.split(BLOCK), positions.detach().cpu().floor().split(BLOCK), strict=True):
        low, high = int(near.min()) + 1 - REACH, int(near.max()) + REACH
        taps = torch.arange(low, high + 1, device=values.device)
        lag = some - taps[:, None]
        window = torch.cos(lag * (math.pi / (2 * REACH))).square()
        band = torch.where(lag.abs() < REACH, torch.sinc(lag) * window, 0.0)
        band = band / band.sum(0)
        first, last = max(low, 0), min(high, end)
        place = taps.clamp(first, last) - first  # beyond the ends their values go on
        weights = band.new_zeros(last - first + 1, len(some)).index_add(0, place, band)
        blocks.append(rows[:, first : last + 1] @ weights.to(values.dtype))
    return torch.cat(blocks, dim=-1).unflatten(0, values.shape[:-1])


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
