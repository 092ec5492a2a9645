"""Where frames sit: at the same seconds at every sampling frequency, whatever the hop is in samples."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

MAX_PHASES = 32
INTERPOLATION_NODES = 8


@dataclass(frozen=True)
class FrameGrid:
    """Frame k is centred at `first + k * hop` samples (both rational): integer part + delay in [0, 1).

    The hop p/q takes q different delays ("phases") before they repeat. Up to `MAX_PHASES` of them each gets taps of its own
    (exact, at the cost of an ordinary convolution). Beyond, taps are designed at `INTERPOLATION_NODES` Chebyshev delays
    and the results are combined by Lagrange interpolation in the delay: for a component at the Nyquist frequency
    the error is (pi/2)^8 / (2^7 8!) = 7e-6, and it falls with the 8th power of frequency; the price is 8 convolutions.

    Attributes:
        first: position of frame 0 in samples.
        hop: distance between frames in samples.
    """

    first: Fraction
    hop: Fraction

    @property
    def phases(self) -> int:
        """q, the number of different delays."""
        return self.hop.denominator

    @property
    def interpolated(self) -> bool:
        """Whether delays are interpolated instead of designed one by one."""
        return self.phases > MAX_PHASES

    def delays(self) -> list[float]:
        """The delays taps are designed for, in samples, each in [0, 1)."""
        if self.interpolated:
            n = INTERPOLATION_NODES
            return [0.5 - 0.5 * math.cos(math.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
        return [float((self.first + j * self.hop) % 1) for j in range(self.phases)]

    def start(self, frame: int) -> int:
        """Integer part of a frame's position."""
        return math.floor(self.first + frame * self.hop)

    def starts(self, frames: int, device: torch.device) -> Tensor:
        """Integer parts of the positions of the first `frames` frames: (frames,) int64."""
        return torch.tensor([self.start(k) for k in range(frames)], device=device)

    def lagrange(self, frames: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Weight of every node for every frame: (frames, nodes). Rows sum to one."""
        nodes = torch.tensor(self.delays(), dtype=torch.float64)
        delays = torch.tensor(
            [float((self.first + k * self.hop) % 1) for k in range(frames)], dtype=torch.float64
        )
        weights = torch.ones(frames, len(nodes), dtype=torch.float64)
        for i, node in enumerate(nodes):
            others = torch.cat([nodes[:i], nodes[i + 1 :]])
            weights[:, i] = ((delays[:, None] - others) / (node - others)).prod(dim=1)
        return weights.to(device=device, dtype=dtype)
