"""Signals that several tests share."""

import math

import torch
from torch import Tensor


def band_limited(sample_rate: float, limit_hz: float = 2950.0, seconds: float = 1.0, seed: int = 1) -> Tensor:
    """The same continuous-time signal at any rate: 200 tones below `limit_hz` under a smooth envelope. (1, 1, time) float64."""
    n = torch.arange(round(sample_rate * seconds), dtype=torch.float64) / sample_rate
    generator = torch.Generator().manual_seed(seed)
    tones = 50 + torch.rand(200, generator=generator, dtype=torch.float64) * (limit_hz - 50)
    phases = torch.rand(200, generator=generator, dtype=torch.float64) * 2 * math.pi
    envelope = torch.sin(math.pi * n / seconds) ** 6
    return ((2 * math.pi * tones[:, None] * n + phases[:, None]).cos().sum(0) / 20 * envelope)[None, None]


def relative_error(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||."""
    return float(((a - b).norm() / b.norm()).detach())
