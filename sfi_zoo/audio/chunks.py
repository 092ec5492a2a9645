"""Separation of signals of any length in overlapping chunks, with memory that does not grow with the length.

Chunk i covers `[i * hop, i * hop + length)` with `length = hop + overlap`, so two neighbours share `overlap`:

    chunk i      |-------------------|=guard=|==fade==|=guard=|
    chunk i+1                        |=guard=|==fade==|=guard=|-------------------|

In the fade the two estimates are mixed with raised-cosine weights that sum to one; in a guard only the chunk
that is further from its own edge counts. So a linear model that sees less than `overlap / 4` around a sample
gives exactly what it gives for the whole signal. The last chunk starts early enough to be `length` long as
well: it has the context that the others have, and no zeros are appended to it. A signal no longer than one
chunk is one pass.

Chunks start on multiples of the model's frame period wherever those fall on samples, so the frames of a chunk
lie where the frames of the whole signal would.

Cost: (hop + overlap) / hop times the model, 1.14 by default. Memory: one chunk of activations, that is, in
proportion to chunk_seconds x channels (and to the sample rate for a model whose hop is fixed in samples).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from sfi_zoo.audio.bounds import check_finite, check_sample_rate
from sfi_zoo.errors import InputError

CHUNK_SECONDS = 12.0
OVERLAP_SECONDS = 1.5

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class ChunkPlan:
    """Where chunks lie, in samples; `frame` is the exact distance of two frames, `window` the fade-in."""

    hop: int
    overlap: int
    frame: Fraction
    window: Tensor

    @property
    def length(self) -> int:
        """Samples in a chunk."""
        return self.hop + self.overlap

    def frame_at_or_before(self, position: int) -> int:
        """The last possible chunk start that is not after `position`."""
        return _frame_at_or_before(position, self.frame, self.hop)


def plan_chunks(
    sample_rate: float,
    frame_period: float | None = None,
    chunk_seconds: float = CHUNK_SECONDS,
    overlap_seconds: float = OVERLAP_SECONDS,
) -> ChunkPlan:
    """Chunk positions for one sample rate (Hz); chunks are `chunk_seconds` long or a little shorter.

    Args:
        sample_rate: of the signal, in Hz.
        frame_period: seconds between the frames of the model, None when it has no frames.
        chunk_seconds: length of a chunk.
        overlap_seconds: what two neighbours share, at most half a chunk.

    Raises:
        InputError: a length out of range.
    """
    if not (math.isfinite(chunk_seconds) and chunk_seconds >= 0.1):
        raise InputError(f"chunk_seconds is {chunk_seconds}; it must be a number of at least 0.1")
    if not 0 <= overlap_seconds <= chunk_seconds / 2:
        raise InputError(
            f"overlap_seconds is {overlap_seconds}; it must lie in 0..{chunk_seconds / 2:g} (half a chunk)"
        )
    overlap = round(overlap_seconds * sample_rate)
    target = max(1, overlap, math.floor(chunk_seconds * sample_rate) - overlap)
    rate = Fraction(sample_rate).limit_denominator(1000)
    # A period of S0 samples at a whole F0 is a fraction with denominator F0, which this recovers exactly.
    frame = Fraction(frame_period).limit_denominator(400_000) * rate if frame_period else Fraction(1)
    hop = max(1, _frame_at_or_before(target, frame, target))
    overlap = min(overlap, hop)
    return ChunkPlan(hop, overlap, frame, _fade_in(overlap))


def separate(
    model: nn.Module,
    waveform: Tensor | np.ndarray,
    sample_rate: float | None = None,
    *,
    chunk_seconds: float = CHUNK_SECONDS,
    overlap_seconds: float = OVERLAP_SECONDS,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a signal of any length.

    Args:
        model: a separator; it runs in eval mode, without gradients, on the device and in the dtype it has.
        waveform: (channels, time) or (time,), any number of channels, floating point.
        sample_rate: in Hz; None means the one the model was trained at.
        chunk_seconds: length of a chunk.
        overlap_seconds: what two neighbours share.
        progress: called with (seconds done, in total) after every chunk; what it raises aborts the work.

    Returns:
        (sources, channels, time) on the device of `waveform`: float32, or float64 from a float64 model.

    Raises:
        InputError: an empty, non-finite or wrongly shaped waveform, or a sample rate out of range.
    """
    signal = torch.as_tensor(waveform)
    if signal.ndim == 1:
        signal = signal[None]
    if signal.ndim != 2:
        raise InputError(f"waveform has shape {tuple(signal.shape)}, not (channels, time) or (time,)")
    if not signal.is_floating_point():
        raise InputError(f"waveform is {signal.dtype}; convert it to floating point with full scale at 1")
    if not signal.numel():
        raise InputError(f"waveform is empty, its shape is {tuple(signal.shape)}")
    rate = float(model.sample_rate) if sample_rate is None else sample_rate  # type: ignore[arg-type]
    channels, length = signal.shape
    stems = torch.empty(0)
    done = 0
    for block in separate_blocks(
        model,
        signal.split(2**18, -1),
        rate,
        channels=channels,
        chunk_seconds=chunk_seconds,
        overlap_seconds=overlap_seconds,
        total_frames=length,
        progress=progress,
    ):
        if not done:
            stems = torch.empty(len(block), channels, length, dtype=block.dtype, device=signal.device)
        stems[..., done : done + block.shape[-1]] = block
        done += block.shape[-1]
    return stems


def separate_blocks(
    model: nn.Module,
    blocks: Iterable[Tensor],
    sample_rate: float,
    *,
    channels: int,
    chunk_seconds: float = CHUNK_SECONDS,
    overlap_seconds: float = OVERLAP_SECONDS,
    total_frames: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Separate a stream, see `separate`.

    Args:
        model: a separator.
        blocks: (channels, n) pieces of the signal in order, each of any length.
        sample_rate: in Hz.
        channels: of every block.
        chunk_seconds: length of a chunk.
        overlap_seconds: what two neighbours share.
        total_frames: samples per channel in the whole signal where known; `progress` is told in seconds.
        progress: called with (seconds done, seconds in total or None) after every chunk.

    Yields:
        (sources, channels, n) on the CPU, float32 (float64 from a float64 model), as long as the input.

    Raises:
        InputError: an empty or non-finite signal, or a sample rate or chunk length out of range.
    """
    check_sample_rate(sample_rate)
    plan = plan_chunks(sample_rate, getattr(model, "frame_period", None), chunk_seconds, overlap_seconds)
    total = None if total_frames is None else total_frames / sample_rate
    return _separated(model, _Buffer(blocks, channels, sample_rate), sample_rate, plan, total, progress)


def _separated(
    model: nn.Module,
    signal: "_Buffer",
    sample_rate: float,
    plan: ChunkPlan,
    total: float | None,
    progress: Progress | None,
) -> Iterator[Tensor]:
    start, tail = 0, None
    with _eval_mode(model):
        while signal.reaches(start + plan.length + 1):
            estimate = _faded(tail, _run(model, signal.get(start, start + plan.length), sample_rate), plan)
            tail = estimate[..., plan.hop :].clone()
            yield estimate[..., : plan.hop]
            start += plan.hop
            signal.forget_before(start - plan.hop)
            if progress:
                progress(start / sample_rate, total)
        if not signal.end:
            raise InputError("waveform is empty, it has no samples")
        begin = min(start, plan.frame_at_or_before(max(0, signal.end - plan.length)))
        begin = max(begin, signal.start)
        estimate = _run(model, signal.get(begin, signal.end), sample_rate)[..., start - begin :]
        yield _faded(tail, estimate, plan)
        if progress:
            progress(signal.end / sample_rate, signal.end / sample_rate)


def _run(model: nn.Module, chunk: Tensor, sample_rate: float) -> Tensor:
    """(channels, n) -> (sources, channels, n) on the CPU."""
    like = next(model.parameters(), torch.empty(0))
    out_dtype = torch.promote_types(like.dtype, torch.float32)
    if not chunk.any():  # silence is silence in every stem, at no cost
        return torch.zeros(len(model.sources), *chunk.shape, dtype=out_dtype)  # type: ignore[arg-type]
    # no_grad, not inference_mode: kernels designed and kept now must still serve a later backward pass.
    with torch.no_grad():
        stems = model(chunk.to(like)[None], sample_rate)[0].to("cpu", out_dtype)
    if not bool(torch.isfinite(stems).all()):
        peak = float(chunk.abs().max())
        raise InputError(f"the model returned non-finite samples for a signal with its peak at {peak:.4g}")
    return stems


def _faded(tail: Tensor | None, estimate: Tensor, plan: ChunkPlan) -> Tensor:
    """Mix the end of the chunk before into the start of this one."""
    if tail is not None and plan.overlap:
        head = torch.lerp(tail, estimate[..., : plan.overlap], plan.window.to(estimate.dtype))
        return torch.cat([head, estimate[..., plan.overlap :]], -1)
    return estimate


def _fade_in(overlap: int) -> Tensor:
    """(overlap,): 0 in the first quarter, 1 in the last, sin^2 between; with its mirror image: one."""
    guard = overlap // 4
    fade = overlap - 2 * guard
    phase = (torch.arange(fade, dtype=torch.float64) + 0.5) / max(1, fade)
    ramp = torch.sin(0.5 * math.pi * phase) ** 2
    return torch.cat([torch.zeros(guard, dtype=ramp.dtype), ramp, torch.ones(guard, dtype=ramp.dtype)])


def _frame_at_or_before(position: int, frame: Fraction, reach: int) -> int:
    """The last sample not after `position` that lies exactly on a frame.

    A frame is p / q samples, so only every p-th sample is a whole number of frames. Where p is more than
    `reach` (a rate like 44101 Hz) the sample is the one just before a frame.
    """
    step = frame.numerator
    if step <= reach:
        return position // step * step
    return math.floor(position // frame * frame)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; afterwards every submodule is in the mode it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


class _Buffer:
    """The part of a stream that is still needed, addressed by position in the whole stream."""

    def __init__(self, blocks: Iterable[Tensor], channels: int, sample_rate: float) -> None:
        self._blocks = iter(blocks)
        self._sample_rate = sample_rate
        self._pieces = [torch.empty(channels, 0)]
        self.start = 0
        self.end = 0

    def reaches(self, position: int) -> bool:
        """Read on to `position`; False when the stream ends before it."""
        while self.end < position:
            block = next(self._blocks, None)
            if block is None:
                return False
            check_finite(block, self._sample_rate, self.end)
            self._pieces.append(block)
            self.end += block.shape[-1]
        return True

    def get(self, start: int, end: int) -> Tensor:
        """(channels, end - start)."""
        self._pieces = [torch.cat(self._pieces[self._pieces[0].shape[-1] == 0 :], -1)]
        return self._pieces[0][:, start - self.start : end - self.start]

    def forget_before(self, position: int) -> None:
        """Let go of everything before `position`."""
        if position > self.start:
            self._pieces = [self._pieces[0][:, position - self.start :].clone()]
            self.start = position
