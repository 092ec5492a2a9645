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
proportion to chunk_seconds x channels x batch_size (and to the sample rate for a model whose hop is fixed in samples).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfi_zoo.audio.bounds import check_sample_rate
from sfi_zoo.audio.spool import Spool
from sfi_zoo.errors import InputError
from sfi_zoo.separation.above import Above
from sfi_zoo.separation.buffer import Buffer
from sfi_zoo.separation.ceiling import Ceiling
from sfi_zoo.separation.consistency import Finish, Queue, Step
from sfi_zoo.separation.options import DEFAULTS, SeparationOptions
from sfi_zoo.separation.rates import current_rate
from sfi_zoo.separation.runner import Runner

MOST_CHANNELS = 64  # of a waveform that is not on its side
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
    sample_rate: float, frame_period: float | None = None, options: SeparationOptions = DEFAULTS
) -> ChunkPlan:
    """Chunk positions for one sample rate (Hz); chunks are `chunk_seconds` long or a little shorter.

    Args:
        sample_rate: of the signal, in Hz.
        frame_period: seconds between the frames of the model, None when it has no frames.
        options: lengths of chunk and overlap.
    """
    overlap = round(options.overlap * sample_rate)
    target = max(1, overlap, math.floor(options.chunk_seconds * sample_rate) - overlap)
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
    options: SeparationOptions = DEFAULTS,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a signal of any length.

    The model runs in eval mode under `torch.inference_mode`, with as many threads as torch is set to use.

    Args:
        model: a separator.
        waveform: (channels, time) or (time,), any number of channels, floating point.
        sample_rate: in Hz; None means the one the model is set to (`current_rate`): F0, where nobody has set it.
        options: how.
        progress: called with (seconds done, in total) after every chunk; what it raises aborts the work.

    Returns:
        (sources, channels, time) on the device of `waveform`: float32, or float64 from a float64 model. With `two_stems` 2 sources.

    Raises:
        InputError: an empty, non-finite or wrongly shaped waveform, a sample rate out of range, or an option that is not there.
    """
    signal = as_signal(waveform)
    if signal.ndim == 1:
        signal = signal[None]
    if signal.ndim != 2:
        raise InputError(f"waveform has shape {tuple(signal.shape)}, not (channels, time) or (time,)")
    if not signal.is_floating_point():
        raise InputError(f"waveform is {signal.dtype}; convert it to floating point with full scale at 1")
    if not signal.numel():
        raise InputError(f"waveform is empty, its shape is {tuple(signal.shape)}")
    check_layout(*signal.shape)
    rate = check_sample_rate(current_rate(model) if sample_rate is None else sample_rate)
    channels, length = signal.shape
    stems = torch.empty(0)
    done = 0
    for block in separate_blocks(
        model,
        signal.detach().split(2**18, -1),
        rate,
        options,
        channels=channels,
        total_frames=length,
        progress=progress,
        waiting=deque(),
    ):
        if not done:
            stems = torch.empty(len(block), channels, length, dtype=block.dtype, device=signal.device)
        stems[..., done : done + block.shape[-1]] = block
        done += block.shape[-1]
    return stems


def as_signal(waveform: Tensor | np.ndarray) -> Tensor:
    """A tensor as it is; an array in any order of its axes and bytes.

    Raises:
        InputError: neither.
    """
    if isinstance(waveform, np.ndarray) and waveform.dtype.kind in "fiu":
        return torch.from_numpy(np.require(waveform, waveform.dtype.newbyteorder("="), ["C", "W"]))
    if isinstance(waveform, Tensor):
        return waveform
    kind = f"array of {waveform.dtype}" if isinstance(waveform, np.ndarray) else type(waveform).__name__
    raise InputError(f"waveform must be a tensor or an array of real numbers, (channels, time); got {kind}")


def check_layout(channels: int, length: int) -> None:
    """Refuse (time, channels), as `soundfile.read` gives it, which would be as many channels of a few samples.

    Raises:
        InputError: more channels than samples, or than 64.
    """
    if channels > min(max(2, length), MOST_CHANNELS):  # a single sample of stereo is one
        raise InputError(
            f"waveform has {channels} channels of {length} samples; it must be (channels, time), up to {MOST_CHANNELS} channels:"
            " give waveform.T if it is (time, channels)"
        )


def separate_blocks(
    model: nn.Module,
    blocks: Iterable[Tensor],
    sample_rate: float,
    options: SeparationOptions = DEFAULTS,
    *,
    channels: int,
    total_frames: int | None = None,
    progress: Progress | None = None,
    waiting: Queue | None = None,
    scratch: Path | None = None,
) -> Iterator[Tensor]:
    """Separate a stream.

    Args:
        model: a separator.
        blocks: (channels, n) pieces of the signal in order, each of any length.
        sample_rate: in Hz.
        options: how; `rescale` and the consistency "energy" need the whole signal before the first block.
        channels: of every block.
        total_frames: samples per channel in the whole signal where known; `progress` is told in seconds.
        progress: called with (seconds done, seconds in total or None) after every chunk.
        waiting: where blocks wait, if the whole signal is needed; None for a temporary file in `scratch`.
        scratch: a folder; None for the usual one of temporary files.

    Yields:
        (sources, channels, n) on the CPU, float32 (float64 from a float64 model), as long as the input.

    Raises:
        InputError: an empty or non-finite signal, a sample rate out of range, or an option that is not there.
    """
    sample_rate = check_sample_rate(sample_rate)
    plan = plan_chunks(sample_rate, getattr(model, "frame_period", None), options)
    finish = Finish(model.sources, options)  # type: ignore[arg-type]
    runner = Runner(model, options.device, options.dtype, options.shifts)
    total = None if total_frames is None else total_frames / sample_rate
    signal = Buffer(blocks, channels, sample_rate)
    estimates = _estimates(runner, signal, sample_rate, plan, options.batch_size, total, progress)
    above = Above(runner.band_edge(sample_rate), sample_rate, options)
    step: Step = Ceiling(sample_rate, above) if options.ceiling else above
    return _finished(finish, estimates, step, waiting, scratch)


def _finished(
    finish: Finish,
    estimates: Iterator[tuple[Tensor, Tensor]],
    step: Step,
    waiting: Queue | None,
    scratch: Path | None,
) -> Iterator[Tensor]:
    if waiting is not None or not finish.two_pass:
        yield from finish.over(estimates, deque() if waiting is None else waiting, step)
        return
    with Spool(scratch) as spool:
        yield from finish.over(estimates, spool, step)


def _estimates(
    runner: Runner,
    signal: Buffer,
    sample_rate: float,
    plan: ChunkPlan,
    batch_size: int,
    total: float | None,
    progress: Progress | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(estimates, mixture) block by block."""
    done, tail = 0, None
    with runner.evaluating():
        for batch in _batches(_chunks(signal, plan), batch_size):
            stems = runner([chunk.samples for chunk in batch], sample_rate)
            for chunk, estimate in zip(batch, stems, strict=True):
                faded = _faded(tail, estimate[..., chunk.skip :], plan)
                fresh = faded.shape[-1] if chunk.last else plan.hop
                tail = faded[..., fresh:].clone()
                yield faded[..., :fresh], chunk.samples[:, chunk.skip : chunk.skip + fresh]
                done += fresh
                if progress:
                    progress(done / sample_rate, done / sample_rate if chunk.last else total)


@dataclass(frozen=True)
class _Chunk:
    """(channels, n) samples; the first `skip` are context, their estimates are not wanted."""

    samples: Tensor
    skip: int = 0
    last: bool = False


def _chunks(signal: Buffer, plan: ChunkPlan) -> Iterator[_Chunk]:
    start = 0
    while signal.reaches(start + plan.length + 1):
        yield _Chunk(signal.get(start, start + plan.length))
        start += plan.hop
        signal.forget_before(start - plan.hop)
    if not signal.end:
        raise InputError("waveform is empty, it has no samples")
    begin = min(start, plan.frame_at_or_before(max(0, signal.end - plan.length)))
    begin = max(begin, signal.start)
    yield _Chunk(signal.get(begin, signal.end), start - begin, last=True)


def _batches(chunks: Iterator[_Chunk], size: int) -> Iterator[list[_Chunk]]:
    """Up to `size` chunks of the same length; the last chunk of a signal may have another."""
    batch: list[_Chunk] = []
    for chunk in chunks:
        if batch and batch[0].samples.shape != chunk.samples.shape:
            yield batch
            batch = []
        batch.append(chunk)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


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
