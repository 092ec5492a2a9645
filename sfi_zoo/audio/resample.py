"""Resampling along time as functions: soxr (the default), torchaudio, and soxr again for streams; as objects: `sfi_zoo.audio.resampling`.

Every resampler here returns `round(n * rate_out / rate_in)` samples (halves go up) without a delay: sample 0
stays at 0 seconds.
"""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch

from sfi_zoo.audio.rates import carries_derivative, plain_number
from sfi_zoo.errors import InputError

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def resampled_length(length: int, rate_in: float, rate_out: float) -> int:
    """Samples after resampling `length` samples from `rate_in` to `rate_out` (Hz)."""
    down, up = rate_ratio(rate_in, rate_out)
    return (2 * length * up + down) // (2 * down)


@torch.compiler.assume_constant_result  # rational arithmetic is not for a compiled graph
def rate_ratio(rate_in: float, rate_out: float) -> tuple[int, int]:
    """`rate_in` / `rate_out` exactly, as numerator and denominator in lowest terms."""
    ratio = Fraction(rate_in) / Fraction(rate_out)
    return ratio.numerator, ratio.denominator


def resample(x: Array, rate_in: float, rate_out: float, quality: str = "VHQ") -> Array:
    """Band-limited resampling of the last axis by soxr.

    Runs on the CPU and is not differentiable.

    Args:
        x: (..., time), a floating-point tensor or array; the result is of the same kind, dtype and device.
        rate_in: sample rate of `x` in Hz, an integer or not.
        rate_out: wanted sample rate in Hz.
        quality: "VHQ" is soxr's highest; "HQ", "MQ", "LQ" and "QQ" are faster.

    Returns:
        (..., round(time * rate_out / rate_in)).

    Raises:
        InputError: a rate is not positive and finite, or `x` carries a gradient or a tangent, which soxr would lose.
    """
    import soxr

    rate_in, rate_out = check_rates(rate_in, rate_out)
    tensor = torch.as_tensor(x)
    length = resampled_length(tensor.shape[-1], rate_in, rate_out)
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    signals = _plain(tensor).to("cpu", dtype).reshape(math.prod(tensor.shape[:-1]), -1)
    result = signals.clone()
    if rate_in != rate_out:
        result = torch.zeros(len(signals), length, dtype=signals.dtype)
        for source, target in zip(signals.numpy(), result.numpy(), strict=True):
            _copy_fitting(soxr.resample(source, rate_in, rate_out, quality=quality), target)
    result = result.reshape(*tensor.shape[:-1], length)
    return result.numpy().astype(x.dtype, copy=False) if isinstance(x, np.ndarray) else result.to(x)


def resample_blocks(
    blocks: Iterable[torch.Tensor], rate_in: float, rate_out: float, channels: int
) -> Iterator[torch.Tensor]:
    """`resample` for a stream: blocks (channels, n) in, blocks out, the same samples as for the whole signal.

    Raises:
        InputError: a rate is not positive and finite.
    """
    import soxr

    rate_in, rate_out = check_rates(rate_in, rate_out)
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")
    length_in = length_out = 0
    for block in blocks:
        length_in += block.shape[-1]
        samples = stream.resample_chunk(np.ascontiguousarray(block.numpy().T, np.float32), last=False)
        length_out += len(samples)
        if len(samples):
            yield torch.from_numpy(np.ascontiguousarray(samples.T))
    rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    missing = max(0, resampled_length(length_in, rate_in, rate_out) - length_out)
    last = np.zeros((missing, channels), np.float32)
    _copy_fitting(rest, last)
    if len(last):
        yield torch.from_numpy(np.ascontiguousarray(last.T))


def torchaudio_resample(x: Array, rate_in: float, rate_out: float, **options: Any) -> Array:
    """`torchaudio.functional.resample` of the last axis; differentiable in `x`.

    Args:
        x: (..., time), a floating-point tensor or array; the result is of the same kind, dtype and device.
        rate_in: sample rate of `x` in Hz, a whole number.
        rate_out: wanted sample rate in Hz, a whole number.
        options: passed on (`lowpass_filter_width`, `rolloff`, `resampling_method`, `beta`).

    Raises:
        InputError: torchaudio does not import, or a rate is not a positive whole number.
    """
    rate_in, rate_out = check_rates(rate_in, rate_out)
    if rate_in != int(rate_in) or rate_out != int(rate_out):
        raise InputError(f"torchaudio resamples whole numbers of Hz only, not {rate_in} -> {rate_out}")
    torchaudio, result = _torchaudio(), torch.as_tensor(x)
    if result.numel():
        result = torchaudio.functional.resample(result, int(rate_in), int(rate_out), **options)
    result = result[..., : resampled_length(x.shape[-1], rate_in, rate_out)]
    return result.numpy() if isinstance(x, np.ndarray) else result


def _torchaudio() -> ModuleType:
    """The only place where torchaudio is imported."""
    try:
        import torchaudio
        import torchaudio.functional
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            "torchaudio does not import here: pip install -e '.[torchaudio]' (its last release, 2.11,"
            f" works with torch 2.11 or 2.12 from the ordinary registry; this is torch {torch.__version__})"
        ) from error
    return torchaudio


def check_rates(rate_in: float | torch.Tensor, rate_out: float | torch.Tensor) -> tuple[float, float]:
    """The plain numbers of two sample rates (Hz), see `sfi_zoo.audio.rates.hertz`.

    Raises:
        InputError: one is not a positive finite number.
    """
    rates = (
        plain_number(rate_in, "resample: a sample rate"),
        plain_number(rate_out, "resample: a sample rate"),
    )
    for rate in rates:
        if not (math.isfinite(rate) and rate > 0):
            raise InputError(f"resample: a sample rate of {rate} Hz is not a positive number")
    return rates


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The samples alone, provided that no gradient, forward-mode tangent or `torch.func` transform is lost with that."""
    if carries_derivative(tensor):
        raise InputError(
            "resample: soxr has no gradient; detach the waveform, work under torch.no_grad(), or use"
            " sfi_zoo.audio.resampling.WindowedSinc, which is differentiable"
        )
    return tensor.detach()


def _copy_fitting(source: np.ndarray, target: np.ndarray) -> None:
    """Fill `target` from the start; what `source` lacks stays zero, what it has too much is dropped."""
    count = min(len(source), len(target))
    target[:count] = source[:count]
