"""Our design: taps at any sampling frequency that give the latent of F0."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sfi_zoo.design.frequency_domain import frequency_domain_design
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


def native_design(
    bank: AnalogFilterBank,
    design: str,
    kernel_size: int,
    first: int,
    last: int,
    rate: float,
    scale: Tensor | float,
    trained_rate: float,
    taper: float,
    direct: bool,
) -> Callable[[Tensor], Tensor]:
    """How to design unit-gain taps w[m] = h((delay - m) / F) / F, m = first ... last, band-limited to min(F, F0) / 2 and tapered.

    Directly, or by band-limited interpolation of the taps at F0 (see `is_sampled_directly` and `band_limited_taps`).

    Args:
        bank: C analog filters.
        design: "time" or "frequency".
        kernel_size: L0 samples at F0.
        first: index of the first tap.
        last: index of the last tap.
        rate: F in Hz.
        scale: factor on F that is differentiated through (its value is 1).
        trained_rate: F0 in Hz.
        taper: fraction of the kernel that the compact taper takes.
        direct: sample the analog filter.

    Returns:
        A function: delays, (P,) fractions of a sample in float64 -> taps, (P, C, L) float64. What does not depend on the delays, the
        taps at F0 or the response, is computed once, before it returns.
    """
    duration = kernel_size / trained_rate
    taper = 0.0 if bank.compact else taper
    if not direct:
        center = (kernel_size - 1) / 2
        at_trained_rate = native_design(
            bank, design, kernel_size, -math.floor(center), math.ceil(center),
            trained_rate, 1.0, trained_rate, taper, True,
        )  # fmt: skip
        trained = at_trained_rate(torch.tensor([center % 1], dtype=torch.float64, device=bank.device))[0]
        given = rate * scale if isinstance(scale, Tensor) else rate
        return lambda delays: band_limited_taps(
            trained, delays, first, last, given, min(rate, trained_rate), trained_rate
        )
    if design == "time":
        m = torch.arange(first, last + 1, dtype=torch.float64, device=bank.device)

        def in_time(delays: Tensor) -> Tensor:
            offsets = delays[:, None] - m
            taps = time_domain_taps(bank, offsets.flatten(), rate * scale, duration, taper)
            return taps.unflatten(1, offsets.shape).transpose(0, 1)

        return in_time
    in_frequency = frequency_domain_design(
        bank, -last, last - first + 1, rate * scale, duration, taper, trained_rate / 2
    )
    return lambda delays: in_frequency(delays).flip(-1)
