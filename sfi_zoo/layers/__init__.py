"""Drop-in layers that work at any sampling frequency."""

from sfi_zoo.layers.sample_rate import SampleRateAware, at_sample_rate, check_sample_rate, set_sample_rate
from sfi_zoo.layers.sfi_conv import SFIConv1d, SFIConvTranspose1d

__all__ = [
    "SFIConv1d",
    "SFIConvTranspose1d",
    "SampleRateAware",
    "at_sample_rate",
    "check_sample_rate",
    "set_sample_rate",
]
