"""Resamplers of other libraries as objects."""

from typing import Any

from torch import Tensor

from sfi_zoo.audio.resample import resample, torchaudio_resample
from sfi_zoo.audio.resampling.base import Resampler
from sfi_zoo.errors import InputError


class Soxr(Resampler):
    """soxr, on the CPU: no gradient, any rates.

    Args:
        quality: "QQ", "LQ", "MQ", "HQ" or "VHQ".

    Raises:
        InputError: another quality.
    """

    QUALITIES = ("QQ", "LQ", "MQ", "HQ", "VHQ")

    def __init__(self, quality: str = "VHQ") -> None:
        super().__init__()
        if quality not in self.QUALITIES:
            raise InputError(f"quality must be one of {self.QUALITIES}, got {quality!r}")
        self.quality = quality

    def _resample(self, x: Tensor, rate_in: float | Tensor, rate_out: float | Tensor, length: int) -> Tensor:
        return resample(x, float(rate_in), float(rate_out), self.quality)

    def extra_repr(self) -> str:
        """The settings."""
        return f"quality='{self.quality}'"


class Torchaudio(Resampler):
    """`torchaudio.functional.resample`: differentiable in the signal, whole rates only.

    Args:
        **options: its own, `lowpass_filter_width`, `rolloff`, `resampling_method`, `beta`; its defaults where not given.

    Raises:
        InputError: an option it does not have.
    """

    OPTIONS = ("lowpass_filter_width", "rolloff", "resampling_method", "beta")

    def __init__(self, **options: Any) -> None:
        super().__init__()
        if unknown := options.keys() - set(self.OPTIONS):
            raise InputError(f"torchaudio's resampler takes {self.OPTIONS}, not {sorted(unknown)}")
        self.options = options

    def _resample(self, x: Tensor, rate_in: float | Tensor, rate_out: float | Tensor, length: int) -> Tensor:
        return torchaudio_resample(x, float(rate_in), float(rate_out), **self.options)

    def extra_repr(self) -> str:
        """The settings."""
        return ", ".join(f"{key}={value!r}" for key, value in self.options.items())
