"""Where frames sit: at the same seconds at every sampling frequency, whatever the hop is in samples."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

MAX_PHASES = 32
INTERPOLATION_ERROR = 1e-6


def interpolation_nodes(band: float = 1.0, error: float = INTERPOLATION_ERROR) -> int:
    """How many Chebyshev delays in [0, 1) give exp(j pi band delay) at all others to an error: 2 (pi band / 4)^n / n! <= error.

    Nine for 1e-6 at the Nyquist frequency (band 1), eight where nothing is heard above 0.73 of it, five for a sixth of it.
    """
    nodes, bound = 1, math.pi * band / 2
    while bound > error:
        nodes += 1
        bound *= math.pi * band / 4 / nodes
    return nodes


def chebyshev_delays(nodes: int, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Where a polynomial through `nodes` values between `low` and `high` is close everywhere."""
    middle, reach = (low + high) / 2, (high - low) / 2
    return [middle - reach * math.cos(math.pi * (2 * i + 1) / (2 * nodes)) for i in range(nodes)]


def lagrange(nodes: list[float], delays: Tensor) -> Tensor:
    """Weight of the value at every node for every delay: (delays,) -> (delays, nodes). Rows sum to one; differentiable."""
    columns = []
    for i, node in enumerate(nodes):
        column = torch.ones_like(delays)
        for other in nodes[:i] + nodes[i + 1 :]:
            column = column * (delays - other) / (node - other)
        columns.append(column)
    return torch.stack(columns, dim=-1)


@dataclass(frozen=True)
class FrameGrid:
    """Frame k is centred at (first + k hop) / per samples, all whole numbers: integer part + delay in [0, 1).

    A hop of p / q samples in lowest terms takes q different delays ("phases") before they repeat. Up to `most` of them each gets
    taps of its own, kept from call to call (at the cost of an ordinary convolution). Beyond, taps are designed and kept at Chebyshev
    delays and those of a phase come out of them by Lagrange interpolation in the delay: for a component at the Nyquist
    frequency the error is at most 2 (pi / 4)^n / n! = 6e-7 with n = 9 nodes, and it falls with the nth power of frequency.

    Attributes:
        first: position of frame 0 in samples, times `per`.
        hop: distance between frames in samples, times `per`.
        per: common denominator.
        most: phases that get taps of their own.
        nodes: Chebyshev delays where there are more.
    """

    first: int
    hop: int
    per: int
    most: int = MAX_PHASES
    nodes: int = interpolation_nodes()

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
        return self.phases > self.most

    def delays(self) -> list[float]:
        """The delays taps are designed for, in samples, each in [0, 1)."""
        if self.interpolated:
            return chebyshev_delays(self.nodes)
        return self.every_delay()

    def every_delay(self) -> list[float]:
        """The delays of frames 0 ... q - 1, in samples, each in [0, 1)."""
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
        return lagrange(self.delays(), delays)
