"""Analog to digital: taps at any sampling frequency from an analog filter bank."""

from sfi_zoo.design.frames import MAX_PHASES, FrameGrid, chebyshev_delays, interpolation_nodes, lagrange
from sfi_zoo.design.frequency_domain import frequency_domain_taps, least_squares_taps
from sfi_zoo.design.interpolation import (
    INTERPOLATION_WIDTH,
    band_limited_taps,
    between_samples,
    closest_taps,
    interpolated_delays,
)
from sfi_zoo.design.native import Kernel, Sampling, half_support, is_sampled_directly, native_design
from sfi_zoo.design.reference import hilbert_pair, reference_taps
from sfi_zoo.design.taper import tukey_taper
from sfi_zoo.design.time_domain import alive_filters, time_domain_taps

__all__ = [
    "INTERPOLATION_WIDTH",
    "MAX_PHASES",
    "FrameGrid",
    "Kernel",
    "Sampling",
    "alive_filters",
    "band_limited_taps",
    "between_samples",
    "chebyshev_delays",
    "closest_taps",
    "frequency_domain_taps",
    "half_support",
    "hilbert_pair",
    "interpolated_delays",
    "interpolation_nodes",
    "is_sampled_directly",
    "lagrange",
    "least_squares_taps",
    "native_design",
    "reference_taps",
    "time_domain_taps",
    "tukey_taper",
]
