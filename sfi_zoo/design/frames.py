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
    """Frame k is centred at (first + k hop) / per samples, all whole numbers: integer part + delay in [0, 1).

    A hop of p / q samples in lowest terms takes q different delays ("phases") before they repeat. Up to `MAX_PHASES` of them each gets
    taps of its own (exact, at the cost of an ordinary convolution). Beyond, taps are designed at `INTERPOLATION_NODES` Chebyshev delays
    and the results are combined by Lagrange interpolation in the delay: for a component at the Nyquist frequency
    the error is (pi/2)^8 / (2^7 8!) = 7e-6, and it falls with the 8th power of frequency; the price is 8 convolutions.

    Attributes:
        first: position of frame 0 in samples, times `per`.
        hop: distance between frames in samples, times `per`.
        per: common denominator.
    """

    first: int
    hop: int
    per: int

    @classmethod
    def of(cls, first: Fraction, hop: Fraction) -> "FrameGrid":
        """The grid of two rational numbers of samples."""
        per = math.lcm(first.denominator, hop.denominator)
        return cls(int(first * per), int(hop * per), per)

    @property
    def phases(self) -> int:
        """q, the number of different delays."""
        return self.per // math.gcd(self.hop, self.per)

    @property
    def stride(self) -> int:
        """p, samples from one frame to the next of the same phase."""
        return self.hop // math.gcd(self.hop, self.per)

    @property
    def interpolated(self) -> bool:
        """Whether delays are interpolated instead of designed one by one."""
        return self.phases > MAX_PHASES

    def delays(self) -> list[float]:
        """The delays taps are designed for, in samples, each in [0, 1)."""
        if self.interpolated:
            n = INTERPOLATION_NODES
            return [0.5 - 0.5 * math.cos(math.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
        return [((self.first + j * self.hop) % self.per) / self.per for j in range(self.phases)]

    def start(self, frame: int) -> int:
        """Integer part of a frame's position."""
        return (self.first + frame * self.hop) // self.per

    def positions(self, frames: int, device: torch.device | None = None) -> Tensor:
        """Positions of the first `frames` frames in samples: (frames,) float64."""
        k = torch.arange(frames, dtype=torch.float64, device=device)
        return self.first / self.per + self.hop / self.per * k

    def starts_and_weights(
        self, frames: int, dtype: torch.dtype, device: torch.device, drift: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Integer parts of the positions, (frames,) int64, and the weight of every node for every frame, (frames, nodes).

        Args:
            frames: how many.
            dtype: of the weights.
            device: of both.
            drift: relative change of the sampling frequency that the weights follow (its derivative; the value is zero).
        """
        positions = self.positions(frames, device)
        starts = positions.floor()
        moved = positions if drift is None else positions * (1 + drift)
        return starts.long(), self.lagrange(moved - starts).to(dtype)

    def lagrange(self, delays: Tensor) -> Tensor:
        """Weight of every node for every delay: (frames,) -> (frames, nodes). Rows sum to one; differentiable."""
        nodes = self.delays()
        columns = []
        for i, node in enumerate(nodes):
            column = torch.ones_like(delays)
            for other in nodes[:i] + nodes[i + 1 :]:
                column = column * (delays - other) / (node - other)
            columns.append(column)
        return torch.stack(columns, dim=-1)
