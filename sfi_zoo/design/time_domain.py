"""Time-domain design: impulse invariance, h(t) at the sampling instants."""

import torch
from torch import Tensor

from sfi_zoo.design.taper import tukey_taper
from sfi_zoo.filters.base import AnalogFilterBank


def time_domain_taps(
    bank: AnalogFilterBank,
    offsets: Tensor,
    sample_rate: float | Tensor,
    duration: float,
    taper: float,
) -> Tensor:
    r"""Unit-gain taps h(t) w(t) / F at t = offset / F.

    sum_n x[n] h(t - n/F) / F is the Riemann sum of the analog convolution. For a signal and a filter that are band-limited
    it is exact, which is why the taps of two sampling frequencies give one and the same latent.

    Args:
        bank: C analog filters.
        offsets: (T,) instants in samples, relative to the centre of the kernel.
        sample_rate: F in Hz; a tensor is differentiated through.
        duration: kernel length in seconds; taps outside are zero.
        taper: fraction a of the kernel that `tukey_taper` tapers.

    Returns:
        (C, T), in the dtype of `offsets`.
    """
    t = offsets / sample_rate
    filter_time = t + duration / 2 if bank.causal else t
    return bank.impulse_response(filter_time) * tukey_taper(t, duration, taper, bank.causal) / sample_rate


def alive_filters(bank: AnalogFilterBank, sample_rate: float, trained_rate: float) -> Tensor:
    """(C,) bool: which filters are used at F: those whose centre lies below min(F, F0) / 2."""
    if not bank.drops_dead:
        return torch.ones(bank.num_filters, dtype=torch.bool, device=bank.device)
    nyquist = min(sample_rate, trained_rate) / 2
    return bank.center_frequencies() < nyquist + torch.finfo(torch.float32).eps * sample_rate
