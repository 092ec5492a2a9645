"""Checks a converted model: the same output as the plain model at F0, the same spectrum at other rates."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from sfi_zoo.layers.sample_rate import at_sample_rate
from sfi_zoo.layers.surgery.example_inputs import Signal, reference_tensor
from sfi_zoo.layers.surgery.probe import Probe, holds_samples, isolated, tensors_in, undisturbed
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
SILENT, RISE = 0.12, 0.1  # parts of the signal: silence at each end, and how long it takes to full level
TONES = 40  # in every signal
LOUD = 10.0  # times as loud: what is added up over samples shows


@dataclass(frozen=True)
class Finding:
    """How a converted model compares with the plain one at F0.

    Attributes:
        rate: F in Hz.
        error: relative error of the spectrum, or of frames, over all outputs; infinite where the model could not be run.
        message: what is wrong, in words: a length, an exception; "" where nothing is.
        allowed: the error that rounding explains, where it is more than `ALIKE`.
    """

    rate: float
    error: float
    message: str = ""
    allowed: float = ALIKE

    @property
    def passed(self) -> bool:
        """Whether the conversion is right at this rate."""
        return not self.message and self.error <= self.allowed

    @property
    def decibels(self) -> float:
        """The error in dB."""
        return 20 * math.log10(max(self.error, 1e-15))

    def __str__(self) -> str:
        if self.message:
            return f"{self.rate:g} Hz: {self.message}"
        rounding = (
            f" (rounding errors explain {20 * math.log10(self.allowed):.0f} dB)"
            if self.allowed > ALIKE
            else ""
        )
        return f"{self.rate:g} Hz: {self.decibels:.0f} dB{rounding}"


@dataclass
class Outputs:
    """What a model gave at one rate."""

    rate: float
    samples: int
    tensors: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def check(
    plain: nn.Module, converted: nn.Module, seen: Probe, sample_rate: float, loud: bool = False
) -> list[Finding]:
    """Runs both on signals that are exact at every rate, and compares.

    Args:
        plain: the model as it was.
        converted: the converted copy; a copy of it is run.
        seen: what it is called with, and what its outputs hold.
        sample_rate: F0 in Hz.
        loud: compare on a loud signal too, for models that add up over samples.
    """
    assert seen.inputs is not None
    half = reference_tensor(plain).dtype in (torch.float16, torch.bfloat16)
    inputs = seen.inputs.in_full_precision() if half else seen.inputs
    samples = UNIT * math.ceil(max(SECONDS * sample_rate, seen.longest) / UNIT)

    # rounding would hide what is wrong
    plain, converted = (
        c.float() if half else c for c in (copy.deepcopy(m).eval() for m in (plain, converted))
    )

    def run(model: nn.Module, rate: float, count: int, signal: Signal, seed: int = 0) -> Outputs:
        args, kwargs = inputs.arguments(count, signal)
        with isolated(seed), undisturbed(model):
            if rate == sample_rate:
                output = model(*args, **kwargs)
            else:
                with at_sample_rate(model, rate):
                    output = model(*args, **kwargs)
        return Outputs(rate, count, tensors_in(output))

    tones = lambda rate: lambda rows, count: tones_of(rows, count, rate, sample_rate)  # noqa: E731
    trained = run(plain, sample_rate, samples, tones(sample_rate))
    findings = [
        guarded(
            sample_rate,
            lambda: _same(run(converted, sample_rate, samples, tones(sample_rate)), trained),
            SAME,
        )
    ]
    for up, down in RATES:
        rate, count = sample_rate * up / down, samples * up // down
        compared = lambda: compare(run(converted, rate, count, tones(rate)), trained, seen.outputs)  # noqa: E731, B023
        findings.append(guarded(rate, compared, ALIKE))
    if loud and all(f.passed for f in findings):
        (up, down), louder = RATES[0], lambda at: lambda rows, n: LOUD * tones(at)(rows, n)
        rate = sample_rate * up / down
        trained = run(plain, sample_rate, samples, louder(sample_rate))
        compared = lambda: compare(  # noqa: E731
            run(converted, rate, samples * up // down, louder(rate)), trained, seen.outputs
        )
        findings.append(guarded(rate, compared, ALIKE))
    if any(not f.passed and not f.message for f in findings):
        moved = lambda rows, n: shifted(tones(sample_rate)(rows, n))  # noqa: E731
        sensitivity = error_of(run(plain, sample_rate, samples, moved, seed=1).tensors, trained.tensors)
        allowed = max(ALIKE, SENSITIVE * sensitivity)
        findings = [findings[0], *(Finding(f.rate, f.error, f.message, allowed) for f in findings[1:])]
        if allowed > ALIKE and all(f.passed for f in findings):
            findings.append(_on_noise(run, plain, converted, seen, sample_rate, samples))
    return findings


def compare(output: Outputs, trained: Outputs, slopes: list[tuple[float, ...]]) -> float:
    """Relative error of all outputs at one rate against those at F0.

    Args:
        output: at the one rate.
        trained: at F0, as many seconds of the same sound.
        slopes: growth per sample of every axis of every output.

    Raises:
        ValueError: another length than that of the input, or than that at F0 in seconds.
    """
    numbers = [
        _compared(y.detach(), z.detach(), axes, output, trained)
        for y, z, axes in zip(output.tensors, trained.tensors, slopes, strict=False)
        if z.is_floating_point() or z.is_complex()
    ]
    whole = sum(norm for _, norm in numbers)
    if not whole:
        raise ValueError("the output is silent, so nothing can be compared")
    return math.sqrt(sum(error for error, _ in numbers) / whole)


def _compared(
    y: Tensor, z: Tensor, slopes: tuple[float, ...], output: Outputs, trained: Outputs
) -> tuple[float, float]:
    """Squared error and squared norm of one tensor."""
    ratio = output.rate / trained.rate
    if holds_samples(slopes):
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
        limit = MARGIN * min(output.rate, trained.rate) / 2
        seconds = trained.samples / trained.rate
        y, z = spectrum(y, output.rate, seconds, limit), spectrum(z, trained.rate, seconds, limit)
    elif y.shape != z.shape:
        if len(y.shape) != len(z.shape) or any(abs(a - b) > 2 for a, b in zip(y.shape, z.shape, strict=True)):
            raise ValueError(f"an output of shape {tuple(y.shape)} comes out, at F0 {tuple(z.shape)}")
        common = tuple(slice(min(a, b)) for a, b in zip(y.shape, z.shape, strict=True))
        y, z = y[common], z[common]
    y, z = y.to(torch.complex128), z.to(torch.complex128)
    return float((y - z).abs().square().sum()), float(z.abs().square().sum())


def spectrum(y: Tensor, rate: float, seconds: float, limit: float) -> Tensor:
    """The Fourier transform of a signal up to a frequency in Hz; its ends are faded."""
    n = round(rate * seconds)
    y = nn.functional.pad(y.double(), (0, max(0, n - y.shape[-1])))[..., :n]
    t = torch.arange(n, dtype=torch.float64, device=y.device) / rate
    edge = 0.15 * seconds
    fade = (torch.minimum(t, seconds - t).clamp(0, edge) / edge * math.pi / 2).sin() ** 2
    return torch.fft.rfft(y * fade)[..., : int(limit * seconds) + 1] / rate


@lru_cache(maxsize=4)
def tones_of(rows: int, samples: int, rate: float, trained_rate: float) -> Tensor:
    """Tones below `BAND` F0 under smooth envelopes, silent at both ends, the same sound at every rate: (rows, samples) float64."""
    generator = torch.Generator().manual_seed(3)
    seconds = samples / rate
    t = torch.arange(samples, dtype=torch.float64) / rate
    draws = torch.rand(4, rows, TONES, 1, generator=generator, dtype=torch.float64)
    frequency = 60 + draws[0] * (BAND * trained_rate - 260)
    centre, width = seconds * (0.2 + 0.6 * draws[1]), seconds * (0.08 + 0.1 * draws[2])
    waves = (2 * math.pi * (frequency * t + draws[3])).cos() * (-0.5 * ((t - centre) / width) ** 2).exp()
    return 0.04 * waves.sum(1) * envelope(samples)


def noise_of(rows: int, samples: int, trained: int, band: float = WHITE) -> Tensor:
    """White noise up to `band` F0, silent at both ends, the same at every rate that has the band: (rows, samples) float64.

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
    """Zero at both ends: what transforms reflect there is another sound at another rate. (samples,) float64."""
    u = torch.arange(samples, dtype=torch.float64) / samples
    return (((torch.minimum(u, 1 - u) - SILENT) / RISE).clamp(0, 1) * math.pi / 2).sin() ** 2


def _on_noise(
    run: Callable[..., Outputs],
    plain: nn.Module,
    converted: nn.Module,
    seen: Probe,
    sample_rate: float,
    samples: int,
) -> Finding:
    """A model that amplifies rounding errors where bands are silent is compared where none is."""
    up, down = RATES[0]
    rate, count = sample_rate * up / down, samples * up // down

    def white(at: float) -> Signal:
        return lambda rows, n: noise_of(rows, n, round(n * sample_rate / at))

    def compared() -> float:
        trained = run(plain, sample_rate, samples, white(sample_rate))
        return compare(run(converted, rate, count, white(rate)), trained, seen.outputs)

    return guarded(rate, compared, ALIKE)


def _same(output: Outputs, trained: Outputs) -> float:
    shapes = [[tuple(x.shape) for x in out.tensors] for out in (output, trained)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"outputs of shapes {shapes[0]} come out, of the plain model {shapes[1]}")
    return error_of(output.tensors, trained.tensors)


def error_of(outputs: list[Tensor], expected: list[Tensor]) -> float:
    """Relative error over all tensors of numbers."""
    pairs = [
        (a.detach(), b.detach())
        for a, b in zip(outputs, expected, strict=False)
        if b.is_floating_point() or b.is_complex()
    ]
    error = sum(float((a.to(torch.complex128) - b).abs().square().sum()) for a, b in pairs)
    norm = sum(float(b.to(torch.complex128).abs().square().sum()) for _, b in pairs)
    return math.sqrt(error / norm) if norm else 0.0


def shifted(x: Tensor) -> Tensor:
    """A signal that is moved by `MOVED`."""
    generator = torch.Generator().manual_seed(5)
    shift = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return x + shift * (MOVED * x.norm() / shift.norm())


def guarded(rate: float, compared: Callable[[], float], allowed: float) -> Finding:
    """The finding: the error, or a message where the run failed."""
    try:
        error = compared()
    except ValueError as error_:
        return Finding(rate, math.inf, first_line(error_))
    except Exception as error_:
        return Finding(rate, math.inf, f"{type(error_).__name__}: {first_line(error_)}")
    if not math.isfinite(error):
        return Finding(rate, math.inf, "the output is not finite")
    return Finding(rate, error, allowed=allowed)
