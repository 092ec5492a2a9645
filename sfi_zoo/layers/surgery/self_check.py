"""Checks a converted model: the same output as the plain model at F0, the same spectrum at other rates."""

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import at_sample_rate
from sfi_zoo.layers.surgery.example_inputs import Signal, reference_tensor
from sfi_zoo.layers.surgery.probe import Probe, holds_samples, isolated, undisturbed, values_in
from sfi_zoo.wording import first_line

RATES = ((441, 320), (3, 4))  # F / F0: fractional hops, as from 16 to 22.05 kHz, and a lower rate
UNIT = 1280  # samples of F0: whole numbers of them are whole at both rates
SECONDS = 0.4  # of the signals, or a little more
SAME = 1e-5  # relative error at F0
ALIKE = 1e-3  # relative error at other rates, -60 dB
MOVED = 1e-6  # of the input, to see what a model makes of rounding errors
SENSITIVE = 3.0  # times that: what may be ascribed to rounding
BAND = 0.3  # of F0: where the signals end
WHITE = 0.48  # of F0: where white noise ends; bins at half of F0 also see what lies above at the lower rate
MARGIN = 0.85  # of half the lower rate: where spectra are compared
OPEN, START = 0.01, 0.03  # parts of the signal: silence at its start, and how long it takes to full level
SILENT, RISE = 0.12, 0.1  # the same at its end: what transforms mirror there is another sound at another rate
FADES = (0.05, 0.15)  # parts of an output that are faded at its start and its end
QUIET = 1e-2  # a row that is 40 dB below the loudest is compared as if it were that loud
FEW = 16  # numbers: fewer are compared one by one
MISCOUNTED = 0.05  # part of many whole numbers that may be others
ODD_LENGTH = 1.5  # samples by which an output may be longer or shorter without a word
TONES = 40  # in every signal
LOUD = 10.0  # times as loud: what clips, or is added up over samples, shows


@dataclass(frozen=True)
class Finding:
    """How a converted model compares with the plain one at F0.

    Attributes:
        rate: F in Hz.
        error: relative error of the spectrum, or of frames, over all outputs; infinite where the model could not be run.
        message: what is wrong, in words: a length, an exception; "" where nothing is.
        allowed: the error that rounding explains, where it is more than `ALIKE`.
        where: which output is the worst, of several, and whether the call was a second one.
        note: a length that is not that at F0 in seconds, in words.
        loud: the signals were.
    """

    rate: float
    error: float
    message: str = ""
    allowed: float = ALIKE
    where: str = ""
    note: str = ""
    loud: bool = False

    @property
    def passed(self) -> bool:
        """Whether the conversion is right at this rate."""
        return not self.message and self.error <= self.allowed

    @property
    def decibels(self) -> float:
        """The error in dB."""
        return 20 * math.log10(max(self.error, 1e-15))

    def __str__(self) -> str:
        at = ", ".join(filter(None, [f"{self.rate:g} Hz", "loud signals" * self.loud, self.where]))
        if self.message:
            return f"{at}: {self.message}"
        rounding = (
            f" (rounding errors explain {20 * math.log10(self.allowed):.0f} dB)"
            if self.allowed > ALIKE
            else ""
        )
        return f"{at}: {self.decibels:.0f} dB{rounding}"


class Difference(NamedTuple):
    """Of two outputs: the relative error of the worst of their tensors, which one that is, and what there is to say of lengths."""

    error: float
    where: str = ""
    note: str = ""


@dataclass
class Outputs:
    """What a model gave at one rate."""

    rate: float
    samples: int
    tensors: list[Tensor] = field(default_factory=list)
    calls: int = 1


@torch.no_grad()
def check(plain: nn.Module, converted: nn.Module, seen: Probe, sample_rate: float) -> list[Finding]:
    """Runs both on signals that are exact at every rate, and compares.

    At F0 both are compared, then at a higher rate with loud signals, at a lower one with soft ones. Where the loud ones differ, soft ones
    are compared at the higher rate too. A model whose second call gives something else than its first is called twice each time.

    Args:
        plain: the model as it was.
        converted: the converted copy; a copy of it is run.
        seen: what it is called with, and what its outputs hold.
        sample_rate: F0 in Hz.

    Raises:
        InputError: the plain model does not run in single precision.
    """
    assert seen.inputs is not None
    half = reference_tensor(plain).dtype in (torch.float16, torch.bfloat16)
    inputs = seen.inputs.in_full_precision() if half else seen.inputs
    samples = UNIT * math.ceil(max(SECONDS * sample_rate, seen.longest) / UNIT)

    # rounding would hide what is wrong
    plain, converted = (
        c.float() if half else c for c in (copy.deepcopy(m).eval() for m in (plain, converted))
    )

    calls = 2 if seen.keeps else 1

    def run(model: nn.Module, rate: float, count: int, signal: Signal, seed: int = 0) -> Outputs:
        args, kwargs = inputs.arguments(count, signal)
        at_rate = nullcontext() if rate == sample_rate else at_sample_rate(model, rate)
        with isolated(seed), undisturbed(model), at_rate:
            output = [model(*args, **kwargs) for _ in range(calls)]
        return Outputs(rate, count, values_in(output), calls)

    def tones(rate: float, level: float = 1.0) -> Signal:
        return lambda rows, count: level * tones_of(rows, count, rate, sample_rate)

    def compared(ratio: tuple[int, int], level: float = 1.0) -> Finding:
        rate, count = sample_rate * ratio[0] / ratio[1], samples * ratio[0] // ratio[1]
        found = guarded(
            rate,
            lambda: compare(run(converted, rate, count, tones(rate, level)), trained[level], seen.outputs),
        )
        return replace(found, loud=level > 1)

    try:
        trained = {1.0: _first_if_alike(run(plain, sample_rate, samples, tones(sample_rate)))}
        calls = trained[1.0].calls
        trained[LOUD] = run(plain, sample_rate, samples, tones(sample_rate, LOUD))
    except RuntimeError as error:
        raise InputError(
            f"{type(plain).__name__} could not be run on the check's signals{' in single precision' if half else ''}: "
            f"{first_line(error)}; check=False converts it unchecked"
        ) from None
    at_trained = lambda: _same(run(converted, sample_rate, samples, tones(sample_rate)), trained[1.0])  # noqa: E731
    findings = [guarded(sample_rate, at_trained, SAME), compared(RATES[0], LOUD), compared(RATES[1])]
    if any(not f.passed and not f.message for f in findings):
        moved = lambda rows, n: shifted(tones(sample_rate)(rows, n))  # noqa: E731
        sensitivity = compare(
            run(plain, sample_rate, samples, moved, seed=1), trained[1.0], seen.outputs
        ).error
        allowed = max(ALIKE, SENSITIVE * sensitivity)
        findings = [findings[0], *(replace(f, allowed=allowed) for f in findings[1:])]
        if not findings[1].passed:
            findings.insert(1, replace(compared(RATES[0]), allowed=allowed))
        if allowed > ALIKE and all(f.passed for f in findings):
            findings.append(_on_noise(run, plain, converted, seen.outputs, sample_rate, samples))
    return findings


def compare(output: Outputs, trained: Outputs, slopes: list[tuple[float, ...]]) -> Difference:
    """How the outputs at one rate differ from those at F0: the worst of them decides.

    Args:
        output: at the one rate.
        trained: at F0, as many seconds of the same sound.
        slopes: growth per sample of every axis of every output of a call; what the probe has not seen of them counts as frames.

    Raises:
        ValueError: another length than that of the input, or than that at F0 in seconds; other numbers of samples or frames.
    """
    if not trained.tensors:
        raise ValueError("the output holds no tensors and no numbers, so nothing can be compared")
    if len(output.tensors) != len(trained.tensors):
        raise ValueError(f"{len(output.tensors)} outputs come out, at F0 {len(trained.tensors)}")
    worst, notes, compared = Difference(-1.0), [], 0
    each = len(trained.tensors) // trained.calls
    for number, (y, z) in enumerate(zip(output.tensors, trained.tensors, strict=True)):
        axes = slopes[number % each] if number % each < len(slopes) else ()
        error, note = _compared(y.detach(), z.detach(), axes, output, trained)
        notes += [note] if note else []
        compared += error is not None
        if error is not None and error > worst.error:
            words = [f"output {number % each + 1} of {each}"] * (each > 1) + ["the second call"] * (
                number >= each
            )
            worst = Difference(error, ", ".join(words))
    if not compared:
        raise ValueError("the output is silent, so nothing can be compared")
    return worst._replace(note="; ".join(dict.fromkeys(notes)))


def _compared(
    y: Tensor, z: Tensor, slopes: tuple[float, ...], output: Outputs, trained: Outputs
) -> tuple[float | None, str]:
    """Relative error of one tensor, None where it is silent; and what there is to say of its length."""
    ratio = output.rate / trained.rate
    if holds_samples(slopes):
        return _compared_samples(y, z, slopes, output, trained)
    if y.shape != z.shape:
        if len(y.shape) != len(z.shape) or any(abs(a - b) > 2 for a, b in zip(y.shape, z.shape, strict=True)):
            raise ValueError(f"an output of shape {tuple(y.shape)} comes out, at F0 {tuple(z.shape)}")
        common = tuple(slice(min(a, b)) for a, b in zip(y.shape, z.shape, strict=True))
        y, z = y[common], z[common]
    if not (z.is_floating_point() or z.is_complex()):
        return 0.0, _counted(y.flatten().double(), z.flatten().double(), output.rate, ratio)
    return _relative(y.to(torch.complex128).flatten(), z.to(torch.complex128).flatten()), ""


def _compared_samples(
    y: Tensor, z: Tensor, slopes: tuple[float, ...], output: Outputs, trained: Outputs
) -> tuple[float | None, str]:
    """The same of audio-rate samples: their spectra, row by row."""
    ratio = output.rate / trained.rate
    axis = max(range(len(slopes)), key=lambda i: slopes[i])
    y, z = y.movedim(axis, -1), z.movedim(axis, -1)
    expected = output.samples if z.shape[-1] == trained.samples else z.shape[-1] * ratio
    slack = 0 if z.shape[-1] == trained.samples else 0.02 * trained.rate * ratio
    if y.shape[:-1] != z.shape[:-1] or abs(y.shape[-1] - expected) > slack:
        raise ValueError(
            f"{y.shape[-1]} of {expected:g} samples come out"
            if y.shape[:-1] == z.shape[:-1]
            else f"an output of shape {tuple(y.shape)} comes out, at F0 {tuple(z.shape)}"
        )
    off = abs(y.shape[-1] - expected) > ODD_LENGTH
    note = (
        f"{y.shape[-1]} samples come out at {output.rate:g} Hz, {expected:g} would be as long as at F0"
        if off
        else ""
    )
    if z.is_complex():
        y, z = (torch.view_as_real(x).movedim(-1, 0) for x in (y, z))
    limit = MARGIN * min(output.rate, trained.rate) / 2
    seconds = trained.samples / trained.rate
    y, z = (spectrum(x, rate, seconds, limit, FADES) for x, rate in ((y, output.rate), (z, trained.rate)))
    return _relative(y.flatten(0, -2), z.flatten(0, -2)) if y.ndim > 1 else _relative(y, z), note


def _relative(y: Tensor, z: Tensor) -> float | None:
    """Relative error of the worst row, none of which counts as more than 40 dB below the loudest; None where all are silent."""
    errors, norms = ((y - z).abs().square().sum(-1), z.abs().square().sum(-1))
    loudest = float(norms.max())
    if not loudest:
        return math.inf if float(errors.max()) else None
    return math.sqrt(float((errors / norms.clamp(min=QUIET**2 * loudest)).max()))


def _counted(y: Tensor, z: Tensor, rate: float, ratio: float) -> str:
    """What there is to say of whole numbers: they are the same at every rate, as frames are, or grow with it, as samples do.

    Raises:
        ValueError: they are not, or do not.
    """
    if z.numel() > FEW:
        if float((y != z).double().mean()) > MISCOUNTED:
            raise ValueError(f"more than {MISCOUNTED:.0%} of the whole numbers in an output are others")
        return ""
    other = (y - z).abs() > 1
    if not bool(other.any()):
        return ""
    said = f"a whole number in the output is {int(y[other][0])} at {rate:g} Hz, at F0 {int(z[other][0])}"
    grown = (y - z * ratio).abs() <= (0.01 * z * ratio).abs().clamp(min=1)
    if not bool(grown[other].all()):
        raise ValueError(said)
    return f"{said}, which is right of samples, but not of frames"


def spectrum(
    y: Tensor, rate: float, seconds: float, limit: float, fades: tuple[float, float] = (0.15, 0.15)
) -> Tensor:
    """The Fourier transform of a signal up to a frequency in Hz; such parts of it are faded at its start and its end."""
    n = round(rate * seconds)
    y = nn.functional.pad(y.double(), (0, max(0, n - y.shape[-1])))[..., :n]
    t = torch.arange(n, dtype=torch.float64, device=y.device) / rate
    start, end = (part * seconds for part in fades)
    fade = (torch.minimum(t / start, (seconds - t) / end).clamp(0, 1) * math.pi / 2).sin() ** 2
    return torch.fft.rfft(y * fade)[..., : int(limit * seconds) + 1] / rate


@lru_cache(maxsize=4)
def tones_of(rows: int, samples: int, rate: float, trained_rate: float) -> Tensor:
    """Tones below `BAND` F0 under smooth envelopes, silent at the end, the same sound at every rate: (rows, samples) float64."""
    generator = torch.Generator().manual_seed(3)
    seconds = samples / rate
    t = torch.arange(samples, dtype=torch.float64) / rate
    draws = torch.rand(4, rows, TONES, 1, generator=generator, dtype=torch.float64)
    frequency = 60 + draws[0] * (BAND * trained_rate - 260)
    centre, width = seconds * (0.8 * draws[1]), seconds * (0.08 + 0.1 * draws[2])
    waves = (2 * math.pi * (frequency * t + draws[3])).cos() * (-0.5 * ((t - centre) / width) ** 2).exp()
    return 0.04 * waves.sum(1) * envelope(samples)


def noise_of(rows: int, samples: int, trained: int, band: float = WHITE) -> Tensor:
    """White noise up to `band` F0, silent at the end, the same at every rate that has the band: (rows, samples) float64.

    Args:
        rows: different signals.
        samples: at the rate that is wanted.
        trained: as many seconds in samples of F0.
        band: where it ends, in parts of F0.
    """
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(rows, trained, generator=generator, dtype=torch.float64)
    spectrum_of_it = torch.fft.rfft(x)
    spectrum_of_it[..., int(band * trained) :] = 0
    return 0.1 * torch.fft.irfft(spectrum_of_it, n=samples) * (samples / trained) * envelope(samples)


def envelope(samples: int) -> Tensor:
    """A smooth start, and silence at the end. (samples,) float64."""
    u = torch.arange(samples, dtype=torch.float64) / samples
    return (torch.minimum((u - OPEN) / START, (1 - u - SILENT) / RISE).clamp(0, 1) * math.pi / 2).sin() ** 4


def _on_noise(
    run: Callable[..., Outputs],
    plain: nn.Module,
    converted: nn.Module,
    slopes: list[tuple[float, ...]],
    sample_rate: float,
    samples: int,
) -> Finding:
    """A model that amplifies rounding errors where bands are silent is compared where none is."""
    up, down = RATES[0]
    rate, count = sample_rate * up / down, samples * up // down

    def white(at: float) -> Signal:
        return lambda rows, n: noise_of(rows, n, round(n * sample_rate / at))

    def compared() -> Difference:
        trained = run(plain, sample_rate, samples, white(sample_rate))
        return compare(run(converted, rate, count, white(rate)), trained, slopes)

    return guarded(rate, compared, ALIKE)


def _first_if_alike(twice: Outputs) -> Outputs:
    """Outputs of one call, where a second one has given the same; else of both."""
    half = len(twice.tensors) // 2
    first, second = twice.tensors[:half], twice.tensors[half:]
    if twice.calls == 1 or len(first) != len(second) or not all(map(torch.equal, first, second)):
        return twice
    return replace(twice, tensors=first, calls=1)


def _same(output: Outputs, trained: Outputs) -> Difference:
    shapes = [[tuple(x.shape) for x in out.tensors] for out in (output, trained)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"outputs of shapes {shapes[0]} come out, of the plain model {shapes[1]}")
    return compare(output, trained, [])


def shifted(x: Tensor) -> Tensor:
    """A signal that is moved by `MOVED`."""
    generator = torch.Generator().manual_seed(5)
    shift = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return x + shift * (MOVED * x.norm() / shift.norm())


def guarded(rate: float, compared: Callable[[], Difference], allowed: float = ALIKE) -> Finding:
    """The finding: the error, or a message where the run failed."""
    try:
        found = compared()
    except ValueError as error_:
        return Finding(rate, math.inf, first_line(error_))
    except Exception as error_:
        return Finding(rate, math.inf, f"{type(error_).__name__}: {first_line(error_)}")
    if not math.isfinite(found.error):
        return Finding(rate, math.inf, "the output is not finite", where=found.where)
    return Finding(rate, found.error, "", allowed, found.where, found.note)
