"""The published designs, reproduced to 1e-5 because published checkpoints need them."""

import math

import torch
from torch import Tensor

from sfi_zoo.design.frequency_domain import least_squares_taps
from sfi_zoo.filters.base import AnalogFilterBank


def hilbert_pair(taps: Tensor) -> Tensor:
    """Discrete Hilbert transform of (C, L) taps as published: rfft times -j, inverse."""
    return torch.fft.irfft(-1j * torch.fft.rfft(taps), n=taps.shape[-1])


def reference_taps(
    bank: AnalogFilterBank,
    design: str,
    num_taps: int,
    sample_rate: float,
    trained_rate: float,
    frequency_points: int = 640,
    hilbert: bool = False,
) -> Tensor:
    """Taps as the published layers store them: time-reversed, for a correlation.

    Source: Saito et al. 2022, their code (MIT). Time domain: instants centred on half a sample, no gain correction, filters
    above F / 2 zeroed when F is below the trained rate. Frequency domain: `frequency_points` points on [0, pi F], taps from
    -(P - 1) to P for L = 2 P and from -P to P for L = 2 P + 1.

    Args:
        bank: the analog filters (half as many as are returned, with `hilbert`).
        design: "time" or "frequency".
        num_taps: L at this rate.
        sample_rate: F in Hz.
        trained_rate: F0 in Hz.
        frequency_points: grid size M of the frequency-domain design.
        hilbert: append the discrete Hilbert pairs of all filters.

    Returns:
        (C, L) float64.
    """
    if design == "time":
        taps = bank.reference_taps(num_taps, sample_rate)
        if trained_rate > sample_rate:
            # like the published layer, decide in float32 whether a centre lies above the Nyquist frequency
            taps = taps * (bank.center_frequencies().float() <= sample_rate / 2)[:, None]
    else:
        device = bank.center_frequencies().device
        omega = torch.linspace(0, math.pi * sample_rate, frequency_points, dtype=torch.float64, device=device)
        first = -((num_taps - 1) // 2)
        taps = least_squares_taps(bank.frequency_response(omega), first, num_taps)
    taps = taps.flip(-1)
    return torch.cat([taps, hilbert_pair(taps)]) if hilbert else taps
