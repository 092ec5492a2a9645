"""What SFI convolutions share: analog filters, a geometry in seconds, and digital kernels designed for the rate that comes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sfi_zoo.design import (
    INTERPOLATION_WIDTH,
    MAX_PHASES,
    FrameGrid,
    Kernel,
    Sampling,
    alive_filters,
    chebyshev_delays,
    half_support,
    interpolated_delays,
    interpolation_nodes,
    is_sampled_directly,
    lagrange,
    native_design,
    reference_taps,
)
from sfi_zoo.design.frequency_grid import FREQUENCY_GRIDS
from sfi_zoo.errors import InputError
from sfi_zoo.filters import AnalogFilterBank, create_filters, filter_layer_options
from sfi_zoo.filters.base import at_least_float32
from sfi_zoo.layers.design_cache import DesignCache
from sfi_zoo.layers.fractional_fft import in_full_precision
from sfi_zoo.layers.geometry import STRIDE_MODES, Layout, dilated, layout, whole
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate, derivative_of, primal

DEFAULT_TAPER = 0.25
FREQUENCY_POINTS = 640
KEPT_BYTES = (
    32 * 2**20
)  # of all phases of one rate, in each layer; where it is more, taps for a few delays are kept
NODES_AT_CORNERS = 8  # of filters with hard ends, which more nodes make worse: 7e-6 at the Nyquist frequency
PHASE_ERROR = 1e-8  # of phases whose taps come from those of other delays: below the rounding of float32
PIECE_BYTES = 16 * 2**20  # designed at once, in float64


class Geometry(NamedTuple):
    """A layer at one sampling frequency: what follows from the rate alone, worked out once in a call and handed on.

    Attributes:
        layout: kernel, frames and padding in samples.
        grid: where frames lie, and how many phases are kept.
        sampling: the rate, and which taps there are; indices are relative to the integer part of a frame's position.
    """

    layout: Layout
    grid: FrameGrid
    sampling: Sampling

    @property
    def rate(self) -> float:
        """F in Hz."""
        return self.sampling.rate


class Design(NamedTuple):
    """Digital kernels for one sampling frequency.

    Attributes:
        taps: (delays, filters, taps), one set for each delay of the frame grid.
        first: index of the first tap relative to the integer part of a frame's position.
        moving: where the sampling frequency carries a derivative, what the taps gain when a frame moves by `drift` samples: zero, with
            its derivative. Frame k at position p_k moves by p_k times that.
        drift: F / F_primal - 1: zero, with its derivative.
    """

    taps: Tensor
    first: int
    moving: Tensor | None = None
    drift: Tensor | None = None


class DesignedConv(SampleRateAware):
    """What the two layers share: the analog filters, the geometry in time, and the designed weights."""

    _transposed: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int],
        padding: float | str | tuple[int],
        dilation: int | tuple[int],
        groups: int,
        bias: bool,
        sample_rate: float,
        *,
        filters: str | AnalogFilterBank,
        filter_options: dict[str, Any] | None,
        design: str,
        flavour: str,
        stride_mode: str | None,
        taper: float,
        frequency_points: int,
        frequency_grid: str,
        hilbert: bool,
    ) -> None:
        super().__init__()
        self.trained_rate = primal(check_sample_rate(sample_rate))
        sizes = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation, "groups": groups}
        kernel_size, stride, dilation, groups = (whole(name, value) for name, value in sizes.items())
        if in_channels % groups or out_channels % groups:
            raise InputError(
                f"in_channels {in_channels} and out_channels {out_channels} must be divisible by groups {groups}"
            )
        if stride_mode is None:
            stride_mode = "round" if flavour == "reference" else "exact"
        for name, choice, allowed in (
            ("design", design, ("time", "frequency")),
            ("flavour", flavour, ("native", "reference")),
            ("stride_mode", stride_mode, STRIDE_MODES),
            ("frequency_grid", frequency_grid, FREQUENCY_GRIDS),
        ):
            if choice not in allowed:
                raise InputError(f"{name} must be one of {allowed}, got {choice!r}")
        if not 0 <= taper <= 1:
            raise InputError(f"taper must lie in [0, 1], got {taper}")
        if flavour == "native" and (hilbert or frequency_grid != "fixed"):
            raise InputError(
                "hilbert and frequency_grid are settings of flavour='reference'; native banks take quadrature=True"
            )
        if flavour == "reference" and (stride_mode == "exact" or dilation > 1):
            raise InputError(
                "flavour='reference' has no exact strides and no dilation, as published: use stride_mode='round' or 'interpolate'"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding = padding[0] if isinstance(padding, tuple) and len(padding) == 1 else padding
        self.design, self.flavour, self.taper, self.stride_mode = design, flavour, taper, stride_mode
        self.frequency_points, self.frequency_grid, self.hilbert = frequency_points, frequency_grid, hilbert
        num_filters = in_channels * out_channels // groups
        if hilbert:
            if num_filters % 2:
                raise InputError(f"hilbert=True needs an even number of filters, got {num_filters}")
            num_filters //= 2
        self.filters = self._bank(filters, num_filters, filter_options or {})
        self.layout()  # complains of an impossible padding
        like = next(self.filters.parameters(), torch.empty(0))
        self.bias = nn.Parameter(like.new_zeros(out_channels)) if bias else None
        self._cache = DesignCache()

    def _bank(self, filters: str | AnalogFilterBank, count: int, options: dict[str, Any]) -> AnalogFilterBank:
        """The analog filters: those given, or new ones of a family.

        Raises:
            InputError: not so many, or without the response that the design samples.
        """
        if isinstance(filters, str):
            given = {"duration": self.duration, "sample_rate": self.trained_rate}
            needed = {key: given[key] for key in filter_layer_options(filters)}
            filters = create_filters(filters, count, **needed | options)
        if filters.num_filters != count:
            raise InputError(f"the layer needs {count} filters, the bank has {filters.num_filters}")
        sampled, other = {"time": ("impulse", "frequency"), "frequency": ("frequency", "time")}[self.design]
        if not filters.gives(f"{sampled}_response"):
            raise InputError(f"{type(filters).__name__} has no {sampled} response: take design={other!r}")
        return filters

    # geometry ------------------------------------------------------------------------------------------------------

    def layout(self, sample_rate: float | None = None) -> Layout:
        """Kernel, frames and padding in samples at `sample_rate`."""
        return self._layout(primal(self._rate(sample_rate)))

    def _layout(self, rate: float) -> Layout:
        return layout(
            self._extent,
            self.stride,
            self.padding,
            self.trained_rate,
            rate,
            self.flavour == "reference",
            self.stride_mode,
        )

    def _geometry(self, rate: float) -> Geometry:
        """Layout, frames and taps at `rate`, a plain number that was checked.

        Raises:
            InputError: no sample is left of the kernel.
        """
        at_rate = self._layout(rate)
        grid = self._grid(rate, at_rate)
        return Geometry(at_rate, grid, self._sampling(rate, at_rate, grid))

    def _sampling(self, rate: float, at_rate: Layout, grid: FrameGrid) -> Sampling:
        """Which taps there are for the delays of the grid."""
        direct = self._is_direct(rate, at_rate)
        margin = INTERPOLATION_WIDTH if self.stride_mode == "interpolate" and grid.phases > 1 else 0
        if self.flavour == "reference":
            taps = at_rate.kernel // at_rate.per
            first = -((taps - 1) // 2)  # the integer part of a half-sample centre is its left neighbour
            return Sampling(rate, first - margin, first + taps - 1 + margin, direct)
        delays = self._designed_delays(grid)
        radius = rate * half_support(self._kernel, rate, direct)
        slack = 1e-9 * radius  # a tap on the very edge of the kernel belongs to it
        first, last = math.ceil(min(delays) - radius - slack), math.floor(max(delays) + radius + slack)
        if last < first:
            raise InputError(
                f"sample_rate {rate} Hz is too low: a kernel of {self.duration} s holds no sample"
            )
        return Sampling(rate, first - margin, last + margin, direct)

    def _is_direct(self, rate: float, at_rate: Layout) -> bool:
        on_grid = at_rate.left % at_rate.per == 0
        return is_sampled_directly(self.filters, self._kernel, rate, on_grid)

    def _grid(self, rate: float, at_rate: Layout) -> FrameGrid:
        taps = math.ceil(rate * self.duration) + 2 * INTERPOLATION_WIDTH
        fit = KEPT_BYTES // (4 * self.filters.num_filters * taps)
        corners = self.flavour == "native" and self._is_direct(rate, at_rate)
        nodes = NODES_AT_CORNERS if corners else interpolation_nodes(min(1.0, self.trained_rate / rate))
        return replace(at_rate.grid, most=min(MAX_PHASES, max(fit, nodes)), nodes=nodes)

    @property
    def _kernel(self) -> Kernel:
        return Kernel(self.design, self._extent, self.trained_rate, self.taper)

    @property
    def duration(self) -> float:
        """Length of the kernel in seconds."""
        return self._extent / self.trained_rate

    @property
    def _extent(self) -> int:
        """Samples of F0 from the first to the last tap."""
        return dilated(self.kernel_size, self.dilation)

    def frame_grid(self, sample_rate: float | None = None) -> FrameGrid:
        """Positions of the frames in samples at `sample_rate`, and how many phases are kept there: what fits into `KEPT_BYTES`."""
        return self._geometry(primal(self._rate(sample_rate))).grid

    def frame_times(self, frames: int, sample_rate: float | None = None) -> Tensor:
        """Centres of the first `frames` frames in seconds: (frames,) float64."""
        rate = primal(self._rate(sample_rate))
        return self._layout(rate).grid.positions(frames) / rate

    def num_frames(self, length: int, sample_rate: float | None = None) -> int:
        """Frames that a signal of `length` samples gives: floor((T + 2 p - L) / S) + 1 in samples of F0.

        It depends on the duration of the signal only. Not positive where the signal is shorter than the kernel.
        """
        rate = primal(self._rate(sample_rate))
        return self._num_frames(length, rate, self._layout(rate))

    def _num_frames(self, length: int, rate: float, at_rate: Layout) -> int:
        return at_rate.num_frames(length)

    def center_frequencies(self) -> Tensor:
        """(filters of the bank,) Hz, as `filters` has them; in inference they are looked for once: some families take an FFT."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.filters.center_frequencies()
        key = (self.trained_rate, "center_frequencies")
        return self._cache.get(self.filters, key, self.filters.center_frequencies)

    def alive(self, sample_rate: float | None = None) -> Tensor:
        """(filters,) bool: centre below min(F, F0) / 2.

        Dead filters keep what little they have below F / 2 in the native flavour, as the latent at F0 has it for a signal that
        ends there; filters that are dead at F0 itself are zero.
        """
        return self._alive(primal(self._rate(sample_rate)))

    def _alive(self, rate: float) -> Tensor:
        alive = alive_filters(self.filters, rate, self.trained_rate)
        return alive.repeat(2) if self.hilbert else alive

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the layer. Where it is half, kernels are designed and signals computed in float32 all the same."""
        return self.filters.dtype

    # weights -------------------------------------------------------------------------------------------------------

    def weights(self, sample_rate: float | None = None) -> tuple[Tensor, int]:
        """Digital kernels at a sampling frequency, one set for each delay of the frame grid; in float32 at least.

        Returns:
            (delays, filters, taps), and the index of the first tap relative to the integer part of a frame's position.
        """
        design = self.designed(sample_rate)
        return design.taps, design.first

    def designed(self, sample_rate: float | None = None) -> Design:
        """`weights`, and how they change with the delay where `sample_rate` is a tensor, to be differentiated through.

        What is piecewise constant in F (which filters are alive, where they are cut off, how many taps they take) has no derivative.
        """
        given = self._rate(sample_rate)
        return self._designed(self._geometry(primal(given)), derivative_of(given))

    def _designed(self, at: Geometry, drift: Tensor | None) -> Design:
        """`designed`, with the geometry of the rate and its derivative."""
        dtype = at_least_float32(self.filters.dtype)
        if drift is not None:
            if at.rate == self.trained_rate:
                # at F0 the derivative is that from above: there alone long kernels are sampled directly, and at no rate beside it
                near = math.nextafter(at.rate, math.inf)
                at = at._replace(sampling=self._sampling(near, self._layout(near), at.grid))
            moving = None
            if self.stride_mode != "round" and not at.grid.interpolated:
                moving = (self._design(at, shift=drift) - self._design(at)).to(dtype)
            scaled = at._replace(sampling=replace(at.sampling, scale=1 + drift))
            return Design(self._design(scaled).to(dtype), at.sampling.first, moving, drift)

        def design() -> Tensor:
            taps = self._design(at, dtype=dtype)
            # phases are made of these, and products with their frames are quicker where the taps of all filters lie side by side
            return taps if self._transposed or not at.grid.interpolated else taps.mT.contiguous().mT

        if self.training or torch.compiler.is_compiling():
            taps = design()
        else:
            key = (at.rate, self.trained_rate, self.design, self.taper, self.stride_mode)
            taps = self._cache.get(self.filters, key, design)
        return Design(taps, at.sampling.first)

    def _designed_delays(self, grid: FrameGrid) -> list[float]:
        """The delays for which filters are designed: all, or that of the first frame where the rest is interpolated."""
        if self.stride_mode == "interpolate":
            return [grid.first % grid.per / grid.per]
        return grid.delays()

    def _design(
        self, at: Geometry, shift: Tensor | float = 0.0, dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Taps for every delay of the grid plus `shift` samples: (delays, filters, taps)."""
        device = self.filters.device
        with in_full_precision(device):  # a kernel is worth more than half its digits
            return self._design_in_full(at, device, shift, dtype)

    def _design_in_full(
        self, at: Geometry, device: torch.device, shift: Tensor | float, dtype: torch.dtype
    ) -> Tensor:
        grid, sampling = at.grid, replace(at.sampling, dtype=_summed_in(dtype))
        delays = torch.tensor(grid.delays(), dtype=torch.float64, device=device) + shift
        if self.stride_mode == "interpolate" and grid.phases > 1:
            base = delays.new_tensor(self._designed_delays(grid))
            first, last = sampling.first + INTERPOLATION_WIDTH, sampling.last - INTERPOLATION_WIDTH
            taps = self._taps(replace(sampling, first=first, last=last))(base)[0]
            return interpolated_delays(taps, delays - base).to(dtype)
        taps_at = self._taps(sampling)
        nodes = self._fewer_delays(at)
        if nodes is None:
            count = sampling.last - sampling.first + 1
            at_once = max(1, PIECE_BYTES // (8 * self.filters.num_filters * count))
            return _joined((taps_at(some).to(dtype) for some in delays.split(at_once)), len(delays))
        designed = taps_at(delays.new_tensor(nodes))
        weights = lagrange(nodes, delays).to(designed.dtype)
        return _joined((torch.tensordot(w[None], designed, 1).to(dtype) for w in weights), len(delays))

    def _fewer_delays(self, at: Geometry) -> list[float] | None:
        """Delays from whose taps those of all phases follow, where these are many and smooth in the delay."""
        # taper and analog filter may have corners
        corners = self.flavour == "reference" or at.sampling.direct
        nodes = interpolation_nodes(min(1.0, self.trained_rate / at.rate), PHASE_ERROR)
        if corners or at.grid.interpolated or at.grid.phases <= nodes:
            return None
        every = at.grid.delays()
        return chebyshev_delays(nodes, min(every), max(every))

    def _taps(self, sampling: Sampling) -> Callable[[Tensor], Tensor]:
        """A function of the delays: w[m] = h((delay - m) / F) / F, m = first ... last; synthesis taps are / F0 instead.

        Or the published ones, which have one delay. It gives (delays, filters, taps), in float64 or in that of `sampling`.
        """
        rate = sampling.rate
        if self.flavour == "reference":
            published = reference_taps(
                self.filters,
                self.design,
                sampling.last - sampling.first + 1,
                rate,
                self.trained_rate,
                frequency_points=self.frequency_points,
                hilbert=self.hilbert,
                frequency_grid=self.frequency_grid if self.training else "fixed",
                dtype=sampling.dtype,
            )
            return lambda _: published[None]
        alive = self._alive(rate)
        # a graph that is being compiled or has no data cannot ask
        if not (torch.compiler.is_compiling() or alive.is_meta or alive.any()):
            raise InputError(
                f"sample_rate {rate} Hz leaves no filter alive: the lowest centre is above {rate / 2} Hz"
            )
        gain = rate / self.trained_rate * sampling.scale if self._transposed else 1.0
        level = self._alive(self.trained_rate).double()[:, None] * gain
        return native_design(self.filters, self._kernel, sampling, level)

    def train(self, mode: bool = True) -> "DesignedConv":
        """Sets the mode; where it changes, what was designed is dropped. (`model.eval()` says so to layers that evaluate already.)"""
        if bool(mode) != self.training:
            self._cache.clear()
        return super().train(mode)

    def extra_repr(self) -> str:
        """The arguments of the plain layer, then ours."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, sample_rate={self.trained_rate}, "
            f"design={self.design}, flavour={self.flavour}, stride_mode={self.stride_mode}, taper={self.taper}"
        )


def _summed_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the sums that make taps in `dtype`: that one, where its products keep all digits."""
    # what is asked of PyTorch's settings cannot be compiled
    if torch.compiler.is_compiling() or torch.get_float32_matmul_precision() != "highest":
        return torch.float64
    return dtype


def _joined(pieces: Iterator[Tensor], count: int) -> Tensor:
    """The pieces one after the other in memory, `count` rows in all; without gradients they are never all there twice."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.cat(list(pieces))
    whole, begin = torch.empty(0), 0
    for piece in pieces:
        if len(piece) == count:
            return piece.contiguous()
        if not begin:
            whole = piece.new_empty(count, *piece.shape[1:])
        whole[begin : begin + len(piece)] = piece
        begin += len(piece)
    return whole
