"""Our design: taps at any sampling frequency that give the latent of F0."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfi_zoo.design.frequency_domain import frequency_domain_design
from sfi_zoo.design.interpolation import band_limited_taps, closest_taps, closest_width
from sfi_zoo.design.time_domain import time_domain_taps
from sfi_zoo.filters.base import AnalogFilterBank
from sfi_zoo.filters.kaiser import HALF_WIDTH

LONG_KERNEL = 20 * HALF_WIDTH  # samples at F0: interpolation makes such a kernel longer by a tenth at most


@dataclass(frozen=True)
class Kernel:
    """How a layer cuts a kernel out of an analog filter.

    Attributes:
        design: "time" or "frequency".
        size: L0 samples at F0.
        trained_rate: F0 in Hz.
        taper: fraction of the kernel that the compact taper takes.
    """

    design: str
    size: int
    trained_rate: float
    taper: float

    @property
    def duration(self) -> float:
        """T = L0 / F0 in seconds."""
        return self.size / self.trained_rate


@dataclass(frozen=True)
class Sampling:
    """Where taps are taken at one rate: w[m] = h((delay - m) / F) / F, m = first ... last.

    Attributes:
        rate: F in Hz.
        first: index of the first tap.
        last: index of the last tap.
        direct: the taps are samples of the analog filter (see `is_sampled_directly`); if not, those of F0 are interpolated.
        scale: factor on F that is differentiated through (its value is 1).
        dtype: of sums over frequencies; all else is float64.
    """

    rate: float
    first: int
    last: int
    direct: bool
    scale: Tensor | float = 1.0
    dtype: torch.dtype = torch.float64


def is_sampled_directly(bank: AnalogFilterBank, kernel: Kernel, rate: float, on_grid: bool) -> bool:
    """Whether taps at `rate` are samples of the analog filter; if not, the taps of F0 are interpolated.

    Below F0 sampling would alias what the filter has above the Nyquist frequency. Above F0 it lets the topmost filters hear what lies just
    above F0 / 2, which no signal at F0 has: long kernels, for which that costs little, are interpolated there too. Families that
    are `sampled` are interpolated at every rate but F0 itself, and there too where the frames do not lie on the samples of the
    kernel (`on_grid`).
    """
    at_trained_rate = rate == kernel.trained_rate
    # no taper ends what the fade makes longer
    if bank.sampled or (bank.compact and kernel.design == "frequency"):
        return at_trained_rate and on_grid
    return at_trained_rate or (rate > kernel.trained_rate and kernel.size < LONG_KERNEL)


def half_support(kernel: Kernel, rate: float, direct: bool) -> float:
    """Seconds from the centre of the kernel to its last tap: T / 2, and some samples of the lower rate where taps are interpolated."""
    if direct:
        return kernel.duration / 2
    width = closest_width(rate * kernel.duration) if _solves(kernel, rate) else HALF_WIDTH
    return kernel.duration / 2 + width / min(rate, kernel.trained_rate)


def _solves(kernel: Kernel, rate: float) -> bool:
    """Whether taps that are not sampled are `closest_taps`: below F0, where kernels are so short that their ends matter."""
    return rate < kernel.trained_rate and kernel.size < LONG_KERNEL


def native_design(
    bank: AnalogFilterBank, kernel: Kernel, sampling: Sampling, level: Tensor | float = 1.0
) -> Callable[[Tensor], Tensor]:
    """How to design taps, see `Sampling`, band-limited to min(F, F0) / 2 and tapered.

    Directly, or from the taps at F0 (see `is_sampled_directly`, `closest_taps` and `band_limited_taps`).

    Args:
        bank: C analog filters.
        kernel: what of them is kept.
        sampling: the rate and the taps that are wanted.
        level: factor of each filter, (C, 1), or of all; 1 is unit gain.

    Returns:
        A function: delays, (P,) fractions of a sample in float64 -> taps, (P, C, L), in float64 or that of `sampling`. What does not depend
        on the delays, such as the taps at F0, is computed once, before it returns.
    """
    kernel = replace(kernel, taper=0.0) if bank.compact else kernel
    rate, first, last, trained_rate = sampling.rate, sampling.first, sampling.last, kernel.trained_rate
    if not sampling.direct:
        center = (kernel.size - 1) / 2
        plain = Sampling(
            trained_rate, -math.floor(center), math.ceil(center), direct=True, dtype=sampling.dtype
        )
        middle = torch.tensor([center % 1], dtype=torch.float64, device=bank.device)
        trained = native_design(bank, kernel, plain)(middle)[0].double() * level
        given = rate * sampling.scale if isinstance(sampling.scale, Tensor) else rate
        if _solves(kernel, rate):
            return closest_taps(trained, first, last, given, trained_rate)
        return lambda delays: band_limited_taps(
            trained, delays, first, last, given, min(rate, trained_rate), trained_rate, sampling.dtype
        )
    scaled = rate * sampling.scale
    m = torch.arange(first, last + 1, dtype=torch.float64, device=bank.device)

    def in_time(delays: Tensor) -> Tensor:
        offsets = delays[:, None] - m
        taps = time_domain_taps(bank, offsets.flatten(), scaled, kernel.duration, kernel.taper)
        return taps.unflatten(1, offsets.shape).transpose(0, 1)

    design: Callable[[Tensor], Tensor] = in_time
    if kernel.design == "frequency":
        design = frequency_domain_design(
            bank, first, last, scaled, kernel.duration, kernel.taper, trained_rate / 2, sampling.dtype
        )

    def leveled(delays: Tensor) -> Tensor:
        taps = design(delays)
        return taps * (level.to(taps.dtype) if isinstance(level, Tensor) else level)

    return leveled
