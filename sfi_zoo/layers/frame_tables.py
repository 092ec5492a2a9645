"""What the frames of a short-time transform are multiplied with: a window under each of them, and a phase for each of their bins.

Every frame has a table of its own where delays do not repeat. They are never held together: some frames are computed at a time, and each
for a product of small factors; where few delays repeat, tables are kept for the next period. A window is a sum of cosines, so the windows
under all frames are a matrix of few columns,

    cos(a + b delay) = cos(a) cos(b delay) - sin(a) sin(b delay),

and phases are products of a coarse and a fine step,

    exp(-j 2 pi (32 q + r) delay / N) = exp(-j 2 pi 32 q delay / N) exp(-j 2 pi r delay / N).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sfi_zoo.filters.windows import Window
from sfi_zoo.layers.fractional_fft import in_full_precision
from sfi_zoo.layers.short_time import Frames

FEW_COSINES = 8  # terms of a window, up to which factors are quicker than the window itself
FINE_STEPS = 32
MOST_KEPT = 256  # delays: tables of a few megabytes


class FrameTables:
    """Windows and phases of frames at one sampling frequency.

    Args:
        frames: where frames lie.
        window: the window of the transform.
        drift: relative change of the sampling frequency that is differentiated through (its value is zero).
        like: of the real dtype and the device that are wanted.
        scale: what windows are multiplied with, a number or (taps,).
        middle: the sample from which the transform counts, where it does so: phases start there, and bins come first.
    """

    def __init__(
        self,
        frames: Frames,
        window: Window,
        drift: Tensor | None,
        like: Tensor,
        scale: Tensor | float = 1.0,
        middle: int | None = None,
    ) -> None:
        self._frames, self._window, self._like, self._scale = frames, window, like, scale
        self._middle, self._bins_first = middle or 0, middle is not None
        self._stretch: Tensor | float = 1.0 if drift is None else 1 + drift
        self._rows = len(frames.starts)
        self._delays = self._column(frames.delays)
        if drift is not None:
            self._delays = self._delays - self._column(frames.positions) * drift
        self._begins, self._ends = self._column(frames.begins), self._column(frames.ends)
        self._delayed = drift is not None or bool(self._middle) or any(frames.delays)
        self._kept: dict[tuple[str, int, int], Tensor] = {}
        few = drift is None and len(window.cycles) <= FEW_COSINES
        self._factors = self._basis() if few and self._rows > 1 else None

    def windows(self, first: int, last: int) -> Tensor:
        """The windows under the frames first ... last - 1: (frames, taps), or (1, taps) where all are the same."""
        return self._once("windows", self._windows, first, last)

    def phases(self, first: int, last: int) -> Tensor | None:
        """exp(-j 2 pi m (delay + middle) / N) of the frames first ... last - 1: (frames or 1, bins), the other way round where bins come
        first, or None where it is 1.
        """
        return self._once("phases", self._phases, first, last) if self._delayed else None

    def _once(self, name: str, compute: Callable[[int, int], Tensor], first: int, last: int) -> Tensor:
        """What was computed for frames with the same delays."""
        if self._rows > MOST_KEPT:
            return compute(first, last)
        key = (name, first % self._rows, 1 if self._rows == 1 else last - first)
        if key not in self._kept:
            self._kept[key] = compute(first, last)
        return self._kept[key]

    def _windows(self, first: int, last: int) -> Tensor:
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

    def _phases(self, first: int, last: int) -> Tensor:
        delays = self._delays[self._listed(first, last)] + self._middle
        steps = -2 * math.pi / (self._frames.period * self._stretch) * delays
        bins = self._frames.alive
        coarse = torch.arange(0, bins, FINE_STEPS, device=self._like.device)
        fine = torch.arange(FINE_STEPS, device=self._like.device)
        dtype = torch.promote_types(self._like.dtype, torch.complex64)
        coarse, fine = (torch.polar(torch.ones_like(steps * m), steps * m).to(dtype) for m in (coarse, fine))
        if self._bins_first:
            return (coarse.mT[:, None].contiguous() * fine.mT.contiguous()).flatten(0, 1)[:bins]
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
