"""What SFI convolutions share: analog filters, a geometry in seconds, and digital kernels designed for the rate that comes."""

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.design import (
    FrameGrid,
    alive_filters,
    frequency_domain_taps,
    reference_taps,
    time_domain_taps,
)
from sfi_zoo.errors import InputError
from sfi_zoo.filters import AnalogFilterBank, create_filters, filter_layer_options
from sfi_zoo.layers.design_cache import DesignCache
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate

DEFAULT_TAPER = 0.25


class DesignedConv(SampleRateAware):
    """What the two layers share: the analog filters, the geometry in time, and the designed weights."""

    _transposed: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: float | str = 0,
        groups: int = 1,
        bias: bool = False,
        *,
        sample_rate: float,
        filters: str | AnalogFilterBank = "modulated_gaussian",
        filter_options: dict[str, Any] | None = None,
        design: str = "time",
        flavour: str = "native",
        taper: float = DEFAULT_TAPER,
        frequency_points: int = 640,
        hilbert: bool = False,
    ) -> None:
        super().__init__()
        self.trained_rate = self.sample_rate = check_sample_rate(sample_rate)
        for name, value in (("kernel_size", kernel_size), ("stride", stride), ("groups", groups)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive whole number of samples at F0, got {value!r}")
        if in_channels % groups or out_channels % groups:
            raise InputError(
                f"in_channels {in_channels} and out_channels {out_channels} must be divisible by groups {groups}"
            )
        for name, choice, allowed in (
            ("design", design, ("time", "frequency")),
            ("flavour", flavour, ("native", "reference")),
        ):
            if choice not in allowed:
                raise InputError(f"{name} must be one of {allowed}, got {choice!r}")
        if not 0 <= taper <= 1:
            raise InputError(f"taper must lie in [0, 1], got {taper}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.design, self.flavour, self.taper = design, flavour, taper
        self.frequency_points, self.hilbert = frequency_points, hilbert
        if hilbert and flavour == "native":
            raise InputError(
                "hilbert=True is a setting of flavour='reference'; native banks take quadrature=True"
            )
        num_filters = in_channels * out_channels // groups
        if hilbert:
            if num_filters % 2:
                raise InputError(f"hilbert=True needs an even number of filters, got {num_filters}")
            num_filters //= 2
        if isinstance(filters, str):
            given = {"duration": self.duration, "sample_rate": self.trained_rate}
            needed = {key: given[key] for key in filter_layer_options(filters)}
            filters = create_filters(filters, num_filters, **needed | (filter_options or {}))
        if filters.num_filters != num_filters:
            raise InputError(f"the layer needs {num_filters} filters, the bank has {filters.num_filters}")
        self.filters = filters
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self._cache = DesignCache()

    # geometry ------------------------------------------------------------------------------------------------------

    @property
    def duration(self) -> float:
        """Length of the kernel in seconds."""
        return self.kernel_size / self.trained_rate

    def _ratio(self, sample_rate: float) -> Fraction:
        """F / F0, exactly."""
        return Fraction(sample_rate) / Fraction(self.trained_rate)

    def _reference_geometry(self, sample_rate: float) -> tuple[int, int, int]:
        """Kernel size, stride and padding in samples as the published layers truncate them."""
        ratio = self._ratio(sample_rate)
        kernel, stride = int(self.kernel_size * ratio), int(self.stride * ratio)
        if kernel < 1 or stride < 1:
            raise InputError(
                f"sample_rate {sample_rate} Hz leaves a kernel of {kernel} and a stride of {stride} samples"
            )
        padding = (kernel - stride) // 2 if isinstance(self.padding, str) else int(self.padding * ratio)
        return kernel, stride, padding

    def _padding(self) -> Fraction:
        """Padding in samples at F0; "centered" puts frame k at (k + 1/2) S0 (less half a sample)."""
        if isinstance(self.padding, str):
            if self.padding != "centered":
                raise InputError(f"padding must be a number or 'centered', got {self.padding!r}")
            return Fraction(self.kernel_size - self.stride, 2)
        return Fraction(self.padding)

    def frame_grid(self, sample_rate: float | None = None) -> FrameGrid:
        """Positions of the frames in samples at `sample_rate`."""
        sample_rate = self._rate(sample_rate)
        if self.flavour == "reference":
            kernel, stride, padding = self._reference_geometry(sample_rate)
            return FrameGrid(Fraction(kernel - 1, 2) - padding, Fraction(stride))
        ratio = self._ratio(sample_rate)
        return FrameGrid((Fraction(self.kernel_size - 1, 2) - self._padding()) * ratio, self.stride * ratio)

    def frame_times(self, frames: int, sample_rate: float | None = None) -> Tensor:
        """Centres of the first `frames` frames in seconds: (frames,) float64."""
        rate, grid = self._rate(sample_rate), self.frame_grid(sample_rate)
        return (float(grid.first) + float(grid.hop) * torch.arange(frames, dtype=torch.float64)) / rate

    def num_frames(self, length: int, sample_rate: float | None = None) -> int:
        """Frames that a signal of `length` samples gives: floor((T + 2 p - L) / S) + 1 in samples of F0.

        It depends on the duration of the signal only. Not positive where the signal is shorter than the kernel.
        """
        rate = self._rate(sample_rate)
        if self.flavour == "reference":
            kernel, stride, padding = self._reference_geometry(rate)
            return (length + 2 * padding - kernel) // stride + 1
        return (
            math.floor((length / self._ratio(rate) + 2 * self._padding() - self.kernel_size) / self.stride)
            + 1
        )

    def alive(self, sample_rate: float | None = None) -> Tensor:
        """(filters,) bool: centre below min(F, F0) / 2. Dead filters are zero in the native flavour."""
        alive = alive_filters(self.filters, self._rate(sample_rate), self.trained_rate)
        return alive.repeat(2) if self.hilbert else alive

    def _rate(self, sample_rate: float | None) -> float:
        return self.sample_rate if sample_rate is None else check_sample_rate(sample_rate)

    # weights -------------------------------------------------------------------------------------------------------

    def weights(self, sample_rate: float | None = None) -> tuple[Tensor, int]:
        """Digital kernels at a sampling frequency, one set for each delay of the frame grid.

        Returns:
            (delays, filters, taps), and the index of the first tap relative to the integer part of a frame's position.
        """
        rate = self._rate(sample_rate)
        grid = self.frame_grid(rate)
        dtype = next((p.dtype for p in self.filters.parameters()), torch.get_default_dtype())
        if self.flavour == "reference":
            kernel = self._reference_geometry(rate)[0]
            first = -((kernel - 1) // 2)  # the integer part of a half-sample centre is its left neighbour
            design = lambda: self._reference_design(kernel, rate).to(dtype)  # noqa: E731
        else:
            radius = self.kernel_size * self._ratio(rate) / 2
            delays = grid.delays()
            first, last = math.ceil(min(delays) - radius), math.floor(max(delays) + radius)
            if last < first:
                raise InputError(
                    f"sample_rate {rate} Hz is too low: a kernel of {self.duration} s holds no sample"
                )
            design = lambda: self._native_design(rate, delays, first, last).to(dtype)  # noqa: E731
        if self.training:
            return design(), first
        return self._cache.get(
            self.filters, (rate, self.trained_rate, self.design, self.taper), design
        ), first

    def _reference_design(self, kernel: int, rate: float) -> Tensor:
        taps = reference_taps(
            self.filters, self.design, kernel, rate, self.trained_rate, self.frequency_points, self.hilbert
        )
        return taps[None]

    def _native_design(self, rate: float, delays: list[float], first: int, last: int) -> Tensor:
        """Taps w[m] = h((delay - m) / F) / F, m = first ... last; synthesis taps are / F0 instead."""
        alive = self.alive(rate)
        if not alive.any():
            raise InputError(
                f"sample_rate {rate} Hz leaves no filter alive: the lowest centre is above {rate / 2} Hz"
            )
        m = torch.arange(first, last + 1, dtype=torch.float64, device=alive.device)
        cutoff = min(rate, self.trained_rate) / 2
        taps = []
        for delay in delays:
            if self.design == "time":
                taps.append(
                    time_domain_taps(self.filters, delay - m, rate, self.duration, self.taper, cutoff)
                )
            else:
                reversed_taps = frequency_domain_taps(
                    self.filters, -last, len(m), delay, rate, self.duration, self.taper, cutoff
                )
                taps.append(reversed_taps.flip(-1))
        gain = float(self._ratio(rate)) if self._transposed else 1.0
        return torch.stack(taps) * (alive.double()[:, None] * gain)

    def train(self, mode: bool = True) -> "DesignedConv":
        """Sets training mode; what was designed in evaluation is dropped."""
        self._cache.clear()
        return super().train(mode)

    def extra_repr(self) -> str:
        """The arguments of the plain layer, then ours."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, groups={self.groups}, sample_rate={self.trained_rate}, design={self.design}, "
            f"flavour={self.flavour}, taper={self.taper}"
        )
