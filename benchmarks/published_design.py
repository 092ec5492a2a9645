"""The frequency-domain design as published, written from its description: the peer that ours is timed against.

Source: Saito et al., IEEE/ACM TASLP 30:2928, 2022, and their code, which keeps the pseudo-inverse of a sampling frequency and designs the
taps anew at every forward pass.
"""

import math

import torch
from torch import Tensor

from sfi_zoo.filters import ModulatedGaussian

POINTS = 640


def pseudo_inverse(num_taps: int) -> Tensor:
    """(L, 2 M) float32: that of [cos(w n); -sin(w n)], M = 640 points w on [0, pi], n = -(P - 1) ... P for L = 2 P."""
    n = torch.arange(num_taps) - (num_taps - 1) // 2
    angle = torch.linspace(0, math.pi, POINTS)[:, None] * n
    return torch.pinverse(torch.cat([angle.cos(), -angle.sin()]))


def response(bank: ModulatedGaussian, omega: Tensor) -> Tensor:
    """(C, M) complex64, the formula as it stands: float32, and exp of whatever comes (denormal numbers slow down all that follows)."""
    mu, sigma = (2 * math.pi * x[:, None] for x in (bank.center_khz * 1000, bank.log_bandwidth_hz.exp()))
    turn = torch.exp(1j * bank.phase[:, None])
    positive = torch.exp(-((omega - mu) ** 2) / (2 * sigma**2)) * turn
    return positive + torch.exp(-((omega + mu) ** 2) / (2 * sigma**2)) * turn.conj()


def taps(bank: ModulatedGaussian, inverse: Tensor, sample_rate: float) -> Tensor:
    """(C, L): one matrix-vector product per filter, as a broadcast product, time-reversed."""
    wanted = response(bank, torch.linspace(0, math.pi * sample_rate, POINTS))
    stacked = torch.cat([wanted.real, wanted.imag], dim=1)
    return (inverse[None] @ stacked[:, :, None])[:, :, 0].flip(-1)
