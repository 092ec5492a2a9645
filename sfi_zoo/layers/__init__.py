"""Drop-in layers that work at any sampling frequency."""

from sfi_zoo.layers.baselines import (
    KernelInterpolatedConv1d,
    KernelInterpolatedConvTranspose1d,
    Resampled,
    ResampledConv1d,
    ResampledConvTranspose1d,
)
from sfi_zoo.layers.sample_rate import SampleRateAware, at_sample_rate, check_sample_rate, set_sample_rate
from sfi_zoo.layers.sfi_conv import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.layers.stft import SFIISTFT, SFISTFT
from sfi_zoo.layers.surgery import Report, explain, freeze, make_sfi, sfi_layers

__all__ = [
    "SFIISTFT",
    "SFISTFT",
    "KernelInterpolatedConv1d",
    "KernelInterpolatedConvTranspose1d",
    "Report",
    "Resampled",
    "ResampledConv1d",
    "ResampledConvTranspose1d",
    "SFIConv1d",
    "SFIConvTranspose1d",
    "SampleRateAware",
    "at_sample_rate",
    "check_sample_rate",
    "explain",
    "freeze",
    "make_sfi",
    "set_sample_rate",
    "sfi_layers",
]
