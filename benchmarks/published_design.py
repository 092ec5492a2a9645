"""The frequency-domain design as published, written from its description: the peer that ours is timed against.

Source: Saito et al., IEEE/ACM TASLP 30:2928, 2022, and their code, which keeps the pseudo-inverse of a sampling frequency and designs the
taps anew at every forward pass.
"""

import math

import torch
from torch import Tensor

from sfi_zoo.filters import AnalogFilterBank

POINTS = 640


def pseudo_inverse(num_taps: int) -> Tensor:
    """(L, 2 M) float32: that of [cos(w n); -sin(w n)], M = 640 points w on [0, pi], n = -(P - 1) ... P for L = 2 P."""
    n = torch.arange(num_taps) - (num_taps - 1) // 2
    angle = torch.linspace(0, math.pi, POINTS)[:, None] * n
    return torch.pinverse(torch.cat([angle.cos(), -angle.sin()]))


def taps(bank: AnalogFilterBank, inverse: Tensor, sample_rate: float) -> Tensor:
    """(C, L): one matrix-vector product per filter, as a broadcast product, time-reversed."""
    response = bank.frequency_response(torch.linspace(0, math.pi * sample_rate, POINTS))
    stacked = torch.cat([response.real, response.imag], dim=1)
    return (inverse[None] @ stacked[:, :, None])[:, :, 0].flip(-1)
