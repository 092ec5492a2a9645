"""What the frames of a short-time transform are multiplied with: a window under each of them, and a phase for each of their bins.

Every frame has a table of its own where delays do not repeat. They are never held together: some frames are computed at a time, and each
for a product of small factors. A window is a sum of cosines, so the windows under all frames are a matrix of few columns,

    cos(a + b delay) = cos(a) cos(b delay) - sin(a) sin(b delay),

and phases are products of a coarse and a fine step,

    exp(-j 2 pi (32 q + r) delay / N) = exp(-j 2 pi 32 q delay / N) exp(-j 2 pi r delay / N).
"""

import math

import torch
from torch import Tensor

from sfi_zoo.filters.windows import Window
from sfi_zoo.layers.fractional_fft import in_full_precision
from sfi_zoo.layers.short_time import Frames

FEW_COSINES = 8  # terms of a window, up to which factors are quicker than the window itself
FINE_STEPS = 32


class FrameTables:
    """Windows and phases of frames at one sampling frequency.

    Args:
        frames: where frames lie.
        window: the window of the transform.
        drift: relative change of the sampling frequency that is differentiated through (its value is zero).
        like: of the real dtype and the device that are wanted.
        scale: what windows are multiplied with, a number or (taps,).
    """

    def __init__(
        self, frames: Frames, window: Window, drift: Tensor | None, like: Tensor, scale: Tensor | float = 1.0
    ) -> None:
        self._frames, self._window, self._like, self._scale = frames, window, like, scale
        self._stretch: Tensor | float = 1.0 if drift is None else 1 + drift
        self._rows = len(frames.starts)
        self._delays = self._column(frames.delays)
        if drift is not None:
            self._delays = self._delays - self._column(frames.positions) * drift
        self._begins, self._ends = self._column(frames.begins), self._column(frames.ends)
        self._delayed = drift is not None or any(frames.delays)
        few = drift is None and len(window.cycles) <= FEW_COSINES
        self._factors = self._basis() if few and self._rows > 1 else None

    def windows(self, first: int, last: int) -> Tensor:
        """The windows under the frames first ... last - 1: (frames, taps), or (1, taps) where all are the same."""
        listed = self._listed(first, last)
        if self._factors is None:
            i = torch.arange(self._frames.taps, device=self._like.device)
            start, length = self._frames.window
            delays = self._delays[listed]
            u = (i + delays - start * self._stretch) / (length * self._stretch) - 0.5
            windows = self._window(u.to(self._like.dtype))
        else:
            turns, basis = self._factors
            angles = self._delays[listed] * turns
            factors = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1).to(basis.dtype)
            with in_full_precision(basis.device):
                windows = factors @ basis
        return self._cut(windows, listed) * self._scale

    def phases(self, first: int, last: int) -> Tensor | None:
        """exp(-j 2 pi m delay / N) of the frames first ... last - 1: (frames or 1, bins), or None where no frame is delayed."""
        if not self._delayed:
            return None
        steps = -2 * math.pi / (self._frames.period * self._stretch) * self._delays[self._listed(first, last)]
        bins = self._frames.alive
        coarse = torch.arange(0, bins, FINE_STEPS, device=self._like.device)
        fine = torch.arange(FINE_STEPS, device=self._like.device)
        dtype = torch.promote_types(self._like.dtype, torch.complex64)
        coarse, fine = (torch.polar(torch.ones_like(steps * m), steps * m).to(dtype) for m in (coarse, fine))
        return (coarse[:, :, None] * fine[:, None]).flatten(1)[:, :bins]

    def _column(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._like.device)[:, None]

    def _listed(self, first: int, last: int) -> Tensor | slice:
        """Rows of the lists, which repeat."""
        if self._rows == 1:
            return slice(None)
        return torch.arange(first, last, device=self._like.device) % self._rows

    def _basis(self) -> tuple[Tensor, Tensor]:
        """b of every cosine, (cosines,), and a_j cos(a), -a_j sin(a) of every sample: (2 cosines, taps)."""
        w, (start, length) = self._window, self._frames.window
        u = (torch.arange(self._frames.taps, dtype=torch.float64, device=self._like.device) - start) / length
        amplitudes, cycles, phases = (self._column(x) for x in (w.amplitudes, w.cycles, w.phases))
        angles = 2 * math.pi * cycles * (u - 0.5) + phases
        basis = torch.cat([amplitudes * torch.cos(angles), -amplitudes * torch.sin(angles)])
        return (2 * math.pi / length * cycles)[:, 0], basis.to(self._like.dtype)

    def _cut(self, windows: Tensor, listed: Tensor | slice) -> Tensor:
        """Zero outside. Which samples the window reaches is counted exactly: at its edge a rounding error would decide."""
        i = torch.arange(self._frames.taps, device=self._like.device)
        begins, ends = self._begins[listed], self._ends[listed]
        # all windows reach what lies between the edges
        head, tail = max(self._frames.begins), min(self._frames.ends)
        if head >= tail:
            return windows * ((i >= begins) & (i < ends))
        edges = (windows[:, :head] * (i[:head] >= begins), windows[:, tail:] * (i[tail:] < ends))
        return torch.cat([edges[0], windows[:, head:tail], edges[1]], dim=1)
