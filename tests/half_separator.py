"""A separator without weights, for tests of what surrounds a separator."""

import torch
from torch import nn


class Half(nn.Module):
    """Four sources, each a share of the mixture, so they sum to it exactly."""

    sources = ("vocals", "drums", "bass", "other")
    sample_rate = 32000
    frame_period = 0.0025
    shares = (0.5, 0.25, 0.125, 0.125)

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        return torch.stack([share * waveform for share in self.shares], 1)
