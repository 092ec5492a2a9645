"""Frames whose period is no whole number of samples, some at a time on a CPU, where nothing is differentiated.

What is computed of some frames is written where it lies: there are never two copies of all.
"""

import torch
from torch import Tensor

from sfi_zoo.filters.windows import Window
from sfi_zoo.layers.fractional_rows import analyse, rows_plan, synthesise
from sfi_zoo.layers.frame_tables import FrameTables
from sfi_zoo.layers.short_time import Frames

NO_ENERGY = 1e-11  # of summed squared windows: where torch.istft refuses to divide
CPU_FRAMES = 64  # at a time: what is computed of them stays in the cache


def pieces_of(frames: Frames) -> list[tuple[int, int]]:
    """First and last frame of each piece of the work; pieces are the same in every period of the delays."""
    count, most = frames.number, CPU_FRAMES
    period = min(len(frames.starts) * max(1, most // len(frames.starts)), count)
    step = -(-period // -(-period // most))
    return [
        (first, min(first + step, begin + period, count))
        for begin in range(0, count, period)
        for first in range(begin, min(begin + period, count), step)
    ]


def in_place(x: Tensor) -> bool:
    """Results may be written where they lie: on a CPU, and no derivative, program or map over a batch is made of the calls."""
    return not (
        x.device.type != "cpu"
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or (torch.is_grad_enabled() and x.requires_grad)
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
        or torch.autograd.forward_ad._current_level >= 0
    )


def analysed(signal: Tensor, frames: Frames, left: int, window: Window, scale: float) -> Tensor:
    """The transform of a signal.

    Args:
        signal: real (batch, time).
        frames: where frames lie.
        left: samples that were put before the signal.
        window: of the transform.
        scale: what it is multiplied with.

    Returns:
        complex (batch, bins, frames).
    """
    plan = rows_plan(frames.period, frames.taps, frames.alive, signal.dtype)
    tables = FrameTables(frames, window, None, signal, plan.correction * scale, plan.middle)
    under = signal.unfold(-1, frames.taps, 1)
    starts = frames.all_starts(signal.device) + left
    dtype = torch.promote_types(signal.dtype, torch.complex64)
    z = signal.new_empty((len(signal), frames.number, frames.alive), dtype=dtype)
    sequences = signal.new_zeros(min(CPU_FRAMES, frames.number), plan.length)
    for first, last in pieces_of(frames):
        windows, phases = tables.windows(first, last), tables.phases(first, last)
        some = sequences[: last - first]
        inside = some[:, plan.first :][:, : frames.taps]
        for row, segments in zip(z, under, strict=True):
            assert phases is not None
            torch.mul(segments[starts[first:last]], windows, out=inside)
            row[first:last] = analyse(some, plan).mul_(phases).mT
    return z.mT


def added(z: Tensor, frames: Frames, window: Window, weights: Tensor, length: int) -> Tensor:
    """Windowed segments, added where they lie, over squared windows.

    Args:
        z: complex (batch, bins, frames).
        frames: where frames lie.
        window: of the transform.
        weights: of the bins, real (bins,).
        length: samples wanted.

    Returns:
        (batch, length).
    """
    plan = rows_plan(frames.period, frames.taps, frames.alive, weights.dtype)
    tables = FrameTables(frames, window, None, weights, middle=plan.middle)
    start, taps = frames.starts[0], torch.arange(frames.taps, device=z.device)
    total = max(length, frames.last_start() + frames.taps) - start
    y, energy = (weights.new_zeros(n, total) for n in (len(z), 1))
    starts = frames.all_starts(z.device) - start
    for first, last in pieces_of(frames):
        windows, phases = tables.windows(first, last).expand(last - first, -1), tables.phases(first, last)
        assert phases is not None
        index = (starts[first:last, None] + taps).flatten()
        energy.index_add_(-1, index, windows.square().flatten()[None])
        turns, windows = phases.conj() * weights[:, None], windows * plan.correction
        for row, bins in zip(y, z[..., first:last], strict=True):
            segments = synthesise(bins.contiguous() * turns, plan)
            row.index_add_(-1, index, (segments * windows).flatten())
    inside = slice(-start, length - start)
    return y[:, inside] / energy[:, inside].clamp(min=NO_ENERGY)
