"""Our design: taps at any sampling frequency that give the latent of F0."""

import math

import torch
from torch import Tensor

from sfi_zoo.design.frequency_domain import frequency_domain_taps
from sfi_zoo.design.interpolation import band_limited_taps
from sfi_zoo.design.time_domain import time_domain_taps
from sfi_zoo.filters.base import AnalogFilterBank
from sfi_zoo.filters.kaiser import HALF_WIDTH

LONG_KERNEL = 20 * HALF_WIDTH  # samples at F0: interpolation makes such a kernel longer by a tenth at most


def is_sampled_directly(
    bank: AnalogFilterBank, design: str, kernel_size: int, rate: float, trained_rate: float, on_grid: bool
) -> bool:
    """Whether taps at `rate` are samples of the analog filter; if not, the taps of F0 are interpolated.

    Below F0 sampling would alias what the filter has above the Nyquist frequency. Above F0 it lets the topmost filters hear what lies just
    above F0 / 2, which no signal at F0 has: long kernels, for which that costs little, are interpolated there too. Families that
    are `sampled` are interpolated at every rate but F0 itself, and there too where the frames do not lie on the samples of the
    kernel (`on_grid`).
    """
    if bank.sampled or (bank.compact and design == "frequency"):  # no taper ends what the fade makes longer
        return rate == trained_rate and on_grid
    return rate == trained_rate or (rate > trained_rate and kernel_size < LONG_KERNEL)


def half_support(duration: float, rate: float, trained_rate: float, direct: bool) -> float:
    """Seconds from the centre of the kernel to its last tap: T / 2, and Z samples of the lower rate where taps are interpolated."""
    return duration / 2 if direct else duration / 2 + HALF_WIDTH / min(rate, trained_rate)


def native_taps(
    bank: AnalogFilterBank,
    design: str,
    kernel_size: int,
    delays: Tensor,
    first: int,
    last: int,
    rate: float,
    scale: Tensor | float,
    trained_rate: float,
    taper: float,
    direct: bool,
) -> Tensor:
    """Unit-gain taps w[m] = h((delay - m) / F) / F, m = first ... last, band-limited to min(F, F0) / 2 and tapered.

    Directly, or by band-limited interpolation of the taps at F0 (see `is_sampled_directly` and `band_limited_taps`).

    Args:
        bank: C analog filters.
        design: "time" or "frequency".
        kernel_size: L0 samples at F0.
        delays: (P,) fractions of a sample.
        first: index of the first tap.
        last: index of the last tap.
        rate: F in Hz.
        scale: factor on F that is differentiated through (its value is 1).
        trained_rate: F0 in Hz.
        taper: fraction of the kernel that the compact taper takes.
        direct: sample the analog filter.

    Returns:
        (P, C, L) float64.
    """
    duration = kernel_size / trained_rate
    taper = 0.0 if bank.compact else taper
    m = torch.arange(first, last + 1, dtype=torch.float64, device=delays.device)
    offsets = delays[:, None] - m
    if not direct:
        center = (kernel_size - 1) / 2
        trained = native_taps(
            bank, design, kernel_size, delays.new_tensor([center % 1]), -math.floor(center), math.ceil(center),
            trained_rate, 1.0, trained_rate, taper, True,
        )[0]  # fmt: skip
        taps = band_limited_taps(
            trained, offsets.flatten(), rate * scale, min(rate, trained_rate), trained_rate
        )
    elif design == "time":
        taps = time_domain_taps(bank, offsets.flatten(), rate * scale, duration, taper)
    else:
        cutoff = trained_rate / 2
        return frequency_domain_taps(
            bank, -last, last - first + 1, delays, rate * scale, duration, taper, cutoff
        ).flip(-1)
    return taps.unflatten(1, offsets.shape).transpose(0, 1)
