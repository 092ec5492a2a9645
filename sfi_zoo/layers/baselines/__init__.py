"""Baseline layers: what is done where no analog filters are kept."""

from sfi_zoo.layers.baselines.kernel_interpolated import (
    KernelInterpolatedConv1d,
    KernelInterpolatedConvTranspose1d,
)
from sfi_zoo.layers.baselines.resampled import Resampled, ResampledConv1d, ResampledConvTranspose1d

__all__ = [
    "KernelInterpolatedConv1d",
    "KernelInterpolatedConvTranspose1d",
    "Resampled",
    "ResampledConv1d",
    "ResampledConvTranspose1d",
]
