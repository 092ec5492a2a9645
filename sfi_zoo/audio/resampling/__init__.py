"""Resamplers as objects: `resampler(x, rate_in, rate_out)` on (..., time), by name or by class."""

from typing import Any

from sfi_zoo.audio.resampling.base import Resampler
from sfi_zoo.audio.resampling.perturbed import NoisyKernel, TrainableKernel
from sfi_zoo.audio.resampling.windowed_sinc import WindowedSinc
from sfi_zoo.audio.resampling.wrapped import Soxr, Torchaudio
from sfi_zoo.errors import InputError

RESAMPLER_TYPES: dict[str, type[Resampler]] = {
    "windowed_sinc": WindowedSinc,
    "soxr": Soxr,
    "torchaudio": Torchaudio,
    "noisy_kernel": NoisyKernel,
    "trainable_kernel": TrainableKernel,
}


def create_resampler(name: str | Resampler, **options: Any) -> Resampler:
    """A resampler by name; one that is a resampler already is returned as it is.

    Args:
        name: a key of `RESAMPLER_TYPES`, or a `Resampler`.
        **options: the resampler's own arguments.

    Raises:
        InputError: unknown name, or an argument the resampler does not take.
    """
    if isinstance(name, Resampler) and not options:
        return name
    if name not in RESAMPLER_TYPES:
        raise InputError(f"unknown resampler {name!r}; known: {', '.join(sorted(RESAMPLER_TYPES))}")
    try:
        return RESAMPLER_TYPES[name](**options)
    except TypeError as error:
        raise InputError(f"resampler {name!r} cannot take options {options}: {error}") from None


__all__ = [
    "RESAMPLER_TYPES",
    "NoisyKernel",
    "Resampler",
    "Soxr",
    "Torchaudio",
    "TrainableKernel",
    "WindowedSinc",
    "create_resampler",
]
