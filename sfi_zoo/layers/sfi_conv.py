"""Sampling-frequency-independent (SFI) convolution and transposed convolution.

Both are drop-ins for `nn.Conv1d` and `nn.ConvTranspose1d`: kernel size, stride and padding are counted in samples of the trained
rate F0 and kept as durations at every other rate F. Frame k sits at

    tau_k = ((L0 - 1) / 2 - padding + k S0) / F0 seconds

whatever F is, so a latent at F and one at F0 can be laid side by side.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sfi_zoo.design import FrameGrid
from sfi_zoo.errors import InputError
from sfi_zoo.filters import AnalogFilterBank
from sfi_zoo.filters.base import is_half
from sfi_zoo.layers.design_cache import cannot_be_compared
from sfi_zoo.layers.designed import DEFAULT_TAPER, FREQUENCY_POINTS, Design, DesignedConv
from sfi_zoo.layers.geometry import whole
from sfi_zoo.layers.sample_rate import derivative_of, primal

BLOCK = 1024  # frames
LANES = 16  # taps: products with rows of a multiple of this are fast
MANY_FRAMES = 128  # of a phase, from where aligning its taps pays
FEW_PHASES = 4  # up to here frames are taken out of a latent phase by phase; with more, turning all of it around is cheaper
MOST_OVERLAP = 4  # strides in a kernel up to which frames are copied out of a signal
COST_OF_A_PHASE = 10  # a product that makes taps takes as long as so many that use them
PHASES_BYTES = (
    8 * 2**20
)  # of taps that are computed at once and not kept: each time all those at the nodes are read
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class SFIConv1d(DesignedConv):
    """Convolution with analog filters: one set of parameters, any sampling frequency.

        z_k = sum_n x[n] h(tau_k - n/F) / F   ~   integral x(t) h(tau_k - t) dt

    Frames sit at the same seconds and features have the same level at every rate. A hop that is not a whole number of samples is
    exact: see `FrameGrid`. In evaluation mode the designed weights are cached per rate; the cost is about that of `nn.Conv1d`
    with the same numbers in samples at F, for every real F whose hop has at most 32 phases. Where a hop is not whole the output lies
    frames first in memory (as that of `torch.stft` does); the shape is the same.

    Source: Saito et al., IEEE/ACM TASLP 30:2928, 2022; exact strides and the taper are ours.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: L0, in samples at F0.
        stride: S0, in samples at F0.
        padding: on both sides in samples at F0; or "valid", "same" (stride 1), or "centered" for (L0 - S0) / 2.
        dilation: the kernel covers (L0 - 1) dilation + 1 samples at F0, as in `nn.Conv1d`; analog filters fill all of it.
        groups: as in `nn.Conv1d`.
        bias: add a trained constant to each output channel, as `nn.Conv1d` does by default; it starts at zero.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: of the parameters.
        dtype: of the parameters.
        sample_rate: F0 in Hz, the trained rate.
        filters: a family name (see `sfi_zoo.filters.FILTER_FAMILIES`) or a bank of out_channels * in_channels / groups filters.
        filter_options: arguments of the family.
        design: "time" (impulse invariance) or "frequency" (least squares; no aliasing of a filter's upper part).
        flavour: "native", or "reference" to reproduce the published layers.
        stride_mode: "exact" (native's default); "interpolate": windowed-sinc interpolation of a stride-1 convolution (Imamura et al.,
            arXiv:2306.10718); "round" (reference's default): int() of the stride at F, which drifts.
        taper: fraction of the kernel that the compact taper takes, 0 to 1; not used by "reference".
        frequency_points: grid size of the reference frequency-domain design.
        frequency_grid: reference only: "fixed", "jittered" or "random" points in training (Imamura et al., 2024).
        hilbert: reference only: the second half of the kernels are the discrete Hilbert pairs of the first.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: float | str | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        sample_rate: float,
        filters: str | AnalogFilterBank = "modulated_gaussian",
        filter_options: dict[str, Any] | None = None,
        design: str = "time",
        flavour: str = "native",
        stride_mode: str | None = None,
        taper: float = DEFAULT_TAPER,
        frequency_points: int = FREQUENCY_POINTS,
        frequency_grid: str = "fixed",
        hilbert: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            sample_rate,
            filters=filters,
            filter_options=filter_options,
            design=design,
            flavour=flavour,
            stride_mode=stride_mode,
            taper=taper,
            frequency_points=frequency_points,
            frequency_grid=frequency_grid,
            hilbert=hilbert,
        )
        if padding_mode not in PADDING_MODES:
            raise InputError(f"padding_mode must be one of {tuple(PADDING_MODES)}, got {padding_mode!r}")
        self.padding_mode = padding_mode
        self.to(device, dtype)

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal.

        Args:
            x: (batch, in_channels, time) or (in_channels, time). Half precision is computed in float32.
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. Differentiable, where it is a tensor of one number:
                frames move with F, the number of samples and frames does not.

        Returns:
            (batch, out_channels, frames) or (out_channels, frames).

        Raises:
            InputError: wrong number of channels, or a signal shorter than the kernel (padding included).
        """
        if x.ndim == 2:
            return self.forward(x[None], sample_rate)[0]
        if is_half(x.dtype):
            return self.forward(x.float(), sample_rate).to(x.dtype)
        given = self._rate(sample_rate)
        if x.ndim != 3 or x.shape[1] != self.in_channels:
            raise InputError(f"input must be (batch, {self.in_channels}, time), got {tuple(x.shape)}")
        at = self._geometry(primal(given))
        frames, grid = self._num_frames(x.shape[-1], at.rate, at.layout), at.grid
        if frames < 1:
            raise InputError(
                f"{x.shape[-1]} samples at {at.rate} Hz are shorter than the kernel of {self.duration * 1e3:g} ms less padding"
            )
        design = self._designed(at, derivative_of(given))
        taps = design.taps.shape[-1]
        left = max(0, -(grid.start(0) + design.first))
        right = max(0, grid.start(frames - 1) + design.first + taps - x.shape[-1])
        is_plain = grid.phases == 1 and design.moving is None and self.padding_mode == "zeros"
        if is_plain and right <= left == -(grid.start(0) + design.first):
            kernel = self._kernels(design.taps)[0]
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return functional.conv1d(x, kernel, bias, grid.stride, left, groups=self.groups)[..., :frames]
        phased = each_phase_is_cheaper(grid, design, frames * len(x))
        # every phase gets as many frames as the first
        last = -(-frames // grid.phases) * grid.phases - 1 if phased else frames - 1
        room = max(0, grid.start(last) + design.first + taps - x.shape[-1] - right)
        x = self._padded(x, left, right, room)
        design = design._replace(first=design.first + left)
        return (self._phased if phased else self._interpolated)(x, design, grid, frames)

    def _padded(self, x: Tensor, left: int, right: int, room: int) -> Tensor:
        """What the frames reach outside of the signal, and room for frames that nobody asked for."""
        if self.padding_mode == "zeros":
            return functional.pad(x, (left, right + room))
        longest = {"reflect": x.shape[-1] - 1, "circular": x.shape[-1]}.get(self.padding_mode, right + left)
        if max(left, right) > longest:
            raise InputError(
                f"{x.shape[-1]} samples are too few for {self.padding_mode!r} padding of {max(left, right)} samples"
            )
        return functional.pad(functional.pad(x, (left, right), PADDING_MODES[self.padding_mode]), (0, room))

    def _kernels(self, taps: Tensor) -> Tensor:
        """(..., filters, taps) -> (..., out_channels, in_channels / groups, taps)."""
        return taps.unflatten(-2, (self.out_channels, self.in_channels // self.groups))

    def _phased(self, x: Tensor, design: Design, grid: FrameGrid, frames: int) -> Tensor:
        """One ordinary strided convolution per phase; frames are interleaved as rows."""
        moving = None if design.moving is None else self._kernels(design.moving)
        phases, stride, taps = grid.phases, grid.stride, design.taps.shape[-1]
        if self._are_rows(taps, stride) and nobody_follows(x, design.taps, self.bias):
            return self._phased_in_place(x[:, 0], design, grid, frames)
        count = -(-frames // phases)
        y: Tensor | None = None
        for phase, of_phase in enumerate(taps_of_phases(design, grid, min(phases, frames))):
            begin = grid.start(phase) + design.first
            segment = x[..., begin : begin + (count - 1) * stride + taps]
            rows = self._rows(segment, self._kernels(of_phase), stride)
            if moving is not None:  # later frames move further
                positions = grid.positions(count * phases, x.device)[phase::phases].to(x)
                rows = rows + self._rows(segment, moving[phase], stride) * positions[:, None]
            if self.bias is not None:
                rows = rows + self.bias.to(rows.dtype)
            if phases == 1:
                return rows.mT
            if y is None:
                y = rows.new_zeros(len(rows), count, phases, rows.shape[-1])
            y[:, :, phase] = rows
        assert y is not None
        return y.flatten(1, 2)[:, :frames].mT

    def _phased_in_place(self, x: Tensor, design: Design, grid: FrameGrid, frames: int) -> Tensor:
        """The same for one channel, (batch, time), without derivatives: products are written where their frames lie."""
        taps, count, given = design.taps.shape[-1], -(-frames // grid.phases), min(grid.phases, frames)
        y = x.new_empty(len(x), count, grid.phases, self.out_channels)
        bias = None if self.bias is None else self.bias.to(y.dtype)
        begins = torch.tensor([grid.start(phase) + design.first for phase in range(given)], device=x.device)
        if not grid.interpolated:
            for phase, (begin, kernel) in enumerate(zip(begins.tolist(), design.taps, strict=False)):
                segments = x[:, begin : begin + (count - 1) * grid.stride + taps].unfold(
                    -1, taps, grid.stride
                )
                for segment, rows in zip(segments, y[:, :, phase], strict=True):
                    if bias is None:
                        torch.mm(segment, kernel.mT, out=rows)
                    else:
                        torch.addmm(bias, segment, kernel.mT, out=rows)
            return y.flatten(1, 2)[:, :frames].mT
        # there are few frames of each phase: one batch of products for some phases
        strides, first = torch.arange(count, device=x.device) * grid.stride, 0
        for kernels in made_for_phases(design.taps.mT, grid, given):
            some = slice(first, first + len(kernels))
            segments = x.unfold(-1, taps, 1)[:, begins[some, None] + strides].transpose(0, 1).flatten(1, 2)
            rows = torch.bmm(segments, kernels) if bias is None else torch.baddbmm(bias, segments, kernels)
            y[:, :, some] = rows.unflatten(1, (len(x), count)).permute(1, 2, 0, 3)
            first = some.stop
        return y.flatten(1, 2)[:, :frames].mT

    def _rows(self, x: Tensor, kernel: Tensor, stride: int) -> Tensor:
        """`conv1d`, (batch, frames, out_channels).

        A matrix product where frames of one input channel overlap little; the gradient of its frames would be slow.
        """
        needs_gradient = x.requires_grad and torch.is_grad_enabled()
        if self._are_rows(kernel.shape[-1], stride) and not needs_gradient:
            return torch.matmul(x[:, 0].unfold(-1, kernel.shape[-1], stride), kernel[:, 0].mT)
        return functional.conv1d(x, kernel, stride=stride, groups=self.groups).mT

    def _are_rows(self, taps: int, stride: int) -> bool:
        """Whether frames are those of one channel and overlap little: rows of a matrix that is not much more than the signal."""
        return self.in_channels == 1 and taps <= MOST_OVERLAP * stride

    def _interpolated(self, x: Tensor, design: Design, grid: FrameGrid, frames: int) -> Tensor:
        """All nodes at every frame's integer position, combined by Lagrange weights in the delay."""
        kernels = self._kernels(design.taps)
        starts, weights = grid.starts_and_weights(frames, x.dtype, x.device, design.drift)
        # starts are computed in floating point: a sample of room on both sides
        index = (starts + (design.first + 1))[:, None] + torch.arange(kernels.shape[-1], device=x.device)
        segments = functional.pad(x, (1, 1))[..., index]  # (batch, in_channels, frames, taps)
        segments = segments.unflatten(1, (self.groups, -1)).transpose(2, 3).flatten(3)
        # (nodes, groups, out / groups, in / groups * taps)
        kernels = kernels.unflatten(1, (self.groups, -1)).flatten(3)
        y = torch.matmul(kernels[0], segments.mT) * weights[:, 0]  # (batch, groups, out / groups, frames)
        for node in range(1, len(kernels)):
            y = torch.addcmul(y, torch.matmul(kernels[node], segments.mT), weights[:, node])
        y = y.flatten(1, 2)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None]


class SFIConvTranspose1d(DesignedConv):
    """Transposed convolution with analog filters: synthesis at any sampling frequency.

        y[n] = sum_k z_k g(tau_k - n/F) / F0

    the exact adjoint of `SFIConv1d` with the same filters, times F / F0: the level of the output does not depend on F. Cost and caching
    as there.

    Source: Saito et al., IEEE/ACM TASLP 30:2928, 2022; exact strides and the taper are ours.

    Args: those of `nn.ConvTranspose1d` (`output_padding` in samples at F0; `padding_mode` "zeros" alone), then those of `SFIConv1d`;
    filters: out_channels / groups * in_channels of them.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: float | str | tuple[int] = 0,
        output_padding: int | tuple[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int] = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        sample_rate: float,
        filters: str | AnalogFilterBank = "modulated_gaussian",
        filter_options: dict[str, Any] | None = None,
        design: str = "time",
        flavour: str = "native",
        stride_mode: str | None = None,
        taper: float = DEFAULT_TAPER,
        frequency_points: int = FREQUENCY_POINTS,
        frequency_grid: str = "fixed",
        hilbert: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            sample_rate,
            filters=filters,
            filter_options=filter_options,
            design=design,
            flavour=flavour,
            stride_mode=stride_mode,
            taper=taper,
            frequency_points=frequency_points,
            frequency_grid=frequency_grid,
            hilbert=hilbert,
        )
        if padding_mode != "zeros":
            raise InputError(f"padding_mode must be 'zeros', as in nn.ConvTranspose1d; got {padding_mode!r}")
        self.output_padding = whole("output_padding", output_padding, least=0)
        self.to(device, dtype)

    def forward(self, z: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise a signal.

        Args:
            z: (batch, in_channels, frames) or (in_channels, frames). Half precision is computed in float32.
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. Differentiable, as in `SFIConv1d`.
            length: samples wanted; by default what `nn.ConvTranspose1d` gives, ((K - 1) S0 - 2 p + L0) F / F0, rounded.

        Returns:
            (batch, out_channels, length) or (out_channels, length).

        Raises:
            InputError: wrong number of channels, or a length that is not positive.
        """
        if z.ndim == 2:
            return self.forward(z[None], sample_rate, length)[0]
        if is_half(z.dtype):
            return self.forward(z.float(), sample_rate, length).to(z.dtype)
        given = self._rate(sample_rate)
        if z.ndim != 3 or z.shape[1] != self.in_channels:
            raise InputError(f"input must be (batch, {self.in_channels}, frames), got {tuple(z.shape)}")
        frames, at = z.shape[-1], self._geometry(primal(given))
        if length is None:
            more = self.output_padding * at.rate / self.trained_rate
            length = at.layout.output_length(frames, more)
        if length < 1:
            raise InputError(f"length must be positive, got {length}")
        grid, design = at.grid, self._designed(at, derivative_of(given))
        taps = design.taps.shape[-1]
        left = max(0, -(grid.start(0) + design.first))
        total = max(left + length, left + grid.start(frames - 1) + design.first + taps)
        design = design._replace(first=design.first + left)
        phased = each_phase_is_cheaper(grid, design, frames * len(z))
        synthesise = self._phased if phased else self._interpolated
        y = synthesise(z, design, grid, total)[..., left : left + length]
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None]

    def _kernels(self, taps: Tensor) -> Tensor:
        """(..., filters, taps) -> (..., in_channels, out_channels / groups, taps)."""
        return taps.unflatten(-2, (self.in_channels, self.out_channels // self.groups))

    def _frames_of(self, z: Tensor, kernel: Tensor) -> Tensor:
        """Each frame's contribution: (batch, in, frames), (in, out / groups, taps) -> (batch, out, frames, taps)."""
        if self.groups == 1:  # one product for the whole batch; a broadcast one would copy the kernel
            pieces = torch.matmul(z.mT, kernel.flatten(1))
            return pieces.unflatten(-1, (self.out_channels, -1)).transpose(1, 2)
        z = z.unflatten(1, (self.groups, -1))
        # (groups, in / groups, out / groups * taps)
        kernel = kernel.unflatten(0, (self.groups, -1)).flatten(2)
        pieces = torch.matmul(z.mT, kernel)
        per_group = self.out_channels // self.groups
        return pieces.unflatten(-1, (per_group, -1)).transpose(2, 3).flatten(1, 2)

    def _phased(self, z: Tensor, design: Design, grid: FrameGrid, total: int) -> Tensor:
        """Overlap-add of every phase at its own whole stride."""
        moving = None if design.moving is None else self._kernels(design.moving)
        phases, taps, frames = grid.phases, design.taps.shape[-1], z.shape[-1]
        stride = grid.stride
        if self.out_channels == 1 and taps <= MOST_OVERLAP * stride and nobody_follows(z, design.taps):
            return self._phased_in_place(z, design, grid, total)
        # room for whole strides after the last frame
        y = z.new_zeros(z.shape[0], self.out_channels, total + stride * (taps // stride + 1))
        count = -(-frames // phases)
        # (phases, batch, in_channels, frames of a phase)
        by_phase = (
            functional.pad(z, (0, count * phases - frames)).unflatten(-1, (count, phases)).movedim(-1, 0)
        )
        by_phase = by_phase.contiguous()
        for j, of_phase in enumerate(taps_of_phases(design, grid, min(phases, frames))):
            kernel, some_frames = self._kernels(of_phase), by_phase[j, ..., : -(-(frames - j) // phases)]
            positions = None if moving is None else grid.positions(frames, z.device)[j::phases].to(z)
            begin = grid.start(j) + design.first
            # a block's contributions fit into the cache; the backward pass would keep a gradient for each
            size = some_frames.shape[-1] if torch.is_grad_enabled() else BLOCK
            for block in range(0, some_frames.shape[-1], size):
                some = some_frames[..., block : block + size]
                pieces = self._frames_of(some, kernel)
                if moving is not None and positions is not None:
                    moved = some * positions[block : block + size]
                    pieces = pieces + self._frames_of(moved, moving[j])
                overlap_add(y[..., begin + block * stride :], pieces, stride)
        return y[..., :total]

    def _phased_in_place(self, z: Tensor, design: Design, grid: FrameGrid, total: int) -> Tensor:
        """The same to one channel, without derivatives: products are added where their frames lie."""
        phases, stride, taps, frames = grid.phases, grid.stride, design.taps.shape[-1], z.shape[-1]
        # room for whole strides after the last frame
        y = z.new_zeros(len(z), total + stride * (taps // stride + 1))
        turned = z.mT.contiguous() if phases > FEW_PHASES else None
        add = add_blocks if frames >= MANY_FRAMES * phases else add_products
        for j, kernel in enumerate(taps_of_phases(design, grid, min(phases, frames))):
            rows = z[..., j::phases].contiguous().mT if turned is None else turned[:, j::phases]
            for signal, of_phase in zip(y[:, grid.start(j) + design.first :], rows, strict=True):
                add(signal, of_phase, kernel, stride)
        return y[:, None, :total]

    def _interpolated(self, z: Tensor, design: Design, grid: FrameGrid, total: int) -> Tensor:
        """The adjoint of the interpolated analysis."""
        kernels = self._kernels(design.taps)
        frames, taps = z.shape[-1], kernels.shape[-1]
        starts, weights = grid.starts_and_weights(frames, z.dtype, z.device, design.drift)
        pieces = self._frames_of(z * weights[:, 0], kernels[0])
        for node in range(1, len(kernels)):
            pieces = pieces + self._frames_of(z * weights[:, node], kernels[node])
        # starts are computed in floating point: a sample of room on both sides
        index = (starts + (design.first + 1))[:, None] + torch.arange(taps, device=z.device)
        y = z.new_zeros(z.shape[0], self.out_channels, total + 2)
        return y.index_add(-1, index.flatten(), pieces.flatten(2).to(y))[..., 1:-1]


def add_products(y: Tensor, rows: Tensor, kernel: Tensor, stride: int) -> None:
    """Adds rows (frames, filters) times kernel (filters, taps) to y (time,), `stride` samples apart, a stride's length at a time."""
    frames, taps = len(rows), kernel.shape[-1]
    for begin in range(0, taps, stride):
        piece = kernel[:, begin : begin + stride]
        strides = y[begin : begin + frames * stride].unflatten(0, (frames, stride))
        strides[:, : piece.shape[1]].addmm_(rows, piece)


def add_blocks(y: Tensor, rows: Tensor, kernel: Tensor, stride: int) -> None:
    """The same for many frames: whole products whose rows are aligned take two thirds of the time of those that end anywhere."""
    taps = kernel.shape[-1]
    kernel = functional.pad(kernel, (0, -taps % LANES))
    room = rows.new_empty(min(BLOCK, len(rows)), kernel.shape[-1])
    for block, some in enumerate(rows.split(len(room))):
        pieces = torch.mm(some, kernel, out=room[: len(some)])[:, :taps]
        overlap_add(y[None, None, block * len(room) * stride :], pieces[None, None], stride)


def overlap_add(y: Tensor, pieces: Tensor, stride: int) -> None:
    """Adds frames (batch, channels, frames, taps) to y (batch, channels, time), `stride` samples apart, in place.

    Piece by piece of a stride's length: such pieces do not overlap. y has room for a whole stride under each of them.
    """
    frames, taps = pieces.shape[-2:]
    for begin in range(0, taps, stride):
        piece = pieces[..., begin : begin + stride]
        strides = y[..., begin : begin + frames * stride].unflatten(-1, (frames, stride))
        strides[..., : piece.shape[-1]].add_(piece)


def each_phase_is_cheaper(grid: FrameGrid, design: Design, frames: int) -> bool:
    """Whether to convolve with taps for each phase. (The alternative is all nodes at every frame, n products for each.)

    Where phases are not kept, their taps cost n products each before a frame takes one.
    """
    if not grid.interpolated:
        return True
    made = COST_OF_A_PHASE * grid.nodes * grid.phases
    return design.drift is None and made + frames < grid.nodes * frames


def nobody_follows(*tensors: Tensor | None) -> bool:
    """Whether results may be written over memory that is there: no derivative, no graph, no autocast."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    given = [x for x in tensors if x is not None]
    return not cannot_be_compared(given) and not torch.is_autocast_enabled(given[0].device.type)


def taps_of_phases(design: Design, grid: FrameGrid, count: int) -> Iterator[Tensor]:
    """The taps of phases 0 ... count - 1, each (filters, taps): those that are kept, or from those at the nodes."""
    if not grid.interpolated:
        yield from design.taps[:count]
        return
    for some in made_for_phases(design.taps, grid, count):
        yield from some


def made_for_phases(at_nodes: Tensor, grid: FrameGrid, count: int) -> Iterator[Tensor]:
    """What phases 0 ... count - 1 have where the nodes have (nodes, ...): (phases, ...), a few of them at a time.

    Without gradients they are overwritten by the next: memory that is new each time would cost more than the product.
    """
    delays = torch.tensor(grid.every_delay()[:count], dtype=torch.float64, device=at_nodes.device)
    weights = grid.lagrange(delays).to(at_nodes)
    at_once = max(1, PHASES_BYTES // (at_nodes[0].numel() * 4))
    room = at_nodes.new_empty(at_once, at_nodes[0].numel()) if nobody_follows(at_nodes) else None
    for some in weights.split(at_once):
        made = torch.mm(some, at_nodes.flatten(1), out=None if room is None else room[: len(some)])
        yield made.unflatten(1, at_nodes.shape[1:])
