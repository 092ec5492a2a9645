"""Plain layers for one sampling frequency, where a hop is not a whole number of samples or a transform is short-time Fourier.

They hold whole numbers, `nn.Conv1d` and `nn.ConvTranspose1d` only, so they are scripted, traced, exported and run wherever these are.
Hence the plain code: TorchScript has neither `zip` of modules nor methods of tuples, and lengths must follow from that of the input in
whole numbers, for the exporters.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.layers.geometry import Layout


class Interleaved(nn.Module):
    """P strided convolutions, interleaved: frame k is made by convolution k mod P.

    Args:
        kernels: (P, out_channels, in_channels / groups, taps).
        begins: first sample of each of the frames 0 ... P - 1, none negative.
        stride: samples from frame k to frame k + P.
        groups: as in `nn.Conv1d`.
    """

    def __init__(self, kernels: Tensor, begins: list[int], stride: int, groups: int = 1) -> None:
        super().__init__()
        self.begins, self.stride, self.taps = begins, stride, kernels.shape[-1]
        out_channels, in_channels = kernels.shape[1], kernels.shape[2] * groups
        self.convs = nn.ModuleList()
        for kernel in kernels:
            conv = nn.Conv1d(in_channels, out_channels, self.taps, stride, groups=groups, bias=False)
            conv.weight = nn.Parameter(kernel.detach().clone())
            self.convs.append(conv)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(batch, in_channels, time) -> (batch, out_channels, frames)."""
        rounds = -(-frames // len(self.convs))
        span = (rounds - 1) * self.stride + self.taps
        x = functional.pad(x, (0, max(self.begins) + span - x.shape[-1]))  # a negative padding cuts
        outputs: list[Tensor] = []
        for j, conv in enumerate(self.convs):
            outputs.append(conv(x.narrow(-1, self.begins[j], span)))
        return torch.stack(outputs, dim=-1).flatten(-2).narrow(-1, 0, frames)


class Overlapped(nn.Module):
    """P strided transposed convolutions, added: frame k is synthesised by convolution k mod P.

    Args:
        kernels: (P, in_channels, out_channels / groups, taps).
        begins: first sample of each of the frames 0 ... P - 1, none negative.
        stride: samples from frame k to frame k + P.
        groups: as in `nn.ConvTranspose1d`.
    """

    def __init__(self, kernels: Tensor, begins: list[int], stride: int, groups: int = 1) -> None:
        super().__init__()
        self.begins, self.stride, self.taps = begins, stride, kernels.shape[-1]
        in_channels, out_channels = kernels.shape[1], kernels.shape[2] * groups
        self.convs = nn.ModuleList()
        for kernel in kernels:
            conv = nn.ConvTranspose1d(in_channels, out_channels, self.taps, stride, groups=groups, bias=False)
            conv.weight = nn.Parameter(kernel.detach().clone())
            self.convs.append(conv)

    def forward(self, z: Tensor, length: int) -> Tensor:
        """(batch, in_channels, frames) -> (batch, out_channels, length)."""
        phases, frames = len(self.convs), z.shape[-1]
        rounds = -(-frames // phases)
        z = functional.pad(z, (0, rounds * phases - frames)).unflatten(-1, (rounds, phases))
        span = (rounds - 1) * self.stride + self.taps
        total = max(length, max(self.begins) + span)
        y = torch.zeros_like(z[:, :1, :1, 0])
        for j, conv in enumerate(self.convs):
            begin = self.begins[j]
            y = y + functional.pad(conv(z[..., j]), (begin, total - begin - span))
        return y[..., :length]


class PlainConv1d(nn.Module):
    """A convolution with a fractional hop.

    Args:
        layout: kernel, hop and padding in samples.
        kernels: of every phase, see `Interleaved`.
        begins: first sample of each of the frames 0 ... P - 1.
        groups: as in `nn.Conv1d`.
        bias: (out_channels,) or None.
    """

    def __init__(
        self, layout: Layout, kernels: Tensor, begins: list[int], groups: int, bias: Tensor | None
    ) -> None:
        super().__init__()
        self.hop, self.per = layout.hop, layout.per
        self.beyond = layout.left + layout.right - layout.kernel  # as `Layout.num_frames` counts
        self.left = max(0, -min(begins))
        self.convs = Interleaved(kernels, [b + self.left for b in begins], layout.grid.stride, groups)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_channels, time) -> (..., out_channels, frames)."""
        frames = (x.shape[-1] * self.per + self.beyond) // self.hop + 1
        batched = x if x.ndim == 3 else x[None]
        y = self.convs(functional.pad(batched, (self.left, 0)), frames)
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y if x.ndim == 3 else y[0]


class PlainConvTranspose1d(nn.Module):
    """A transposed convolution with a fractional hop.

    Args: those of `PlainConv1d`; kernels as in `Overlapped`.
        output_padding: samples more at the end.
    """

    def __init__(
        self,
        layout: Layout,
        kernels: Tensor,
        begins: list[int],
        groups: int,
        bias: Tensor | None,
        output_padding: float = 0,
    ) -> None:
        super().__init__()
        # as `Layout.output_length` counts
        self.hop, self.per = layout.hop, layout.per
        self.beyond = layout.kernel - layout.left - layout.right
        self.more = int(2 * output_padding * layout.per) + layout.per
        self.left = max(0, -min(begins))
        self.convs = Overlapped(kernels, [b + self.left for b in begins], layout.grid.stride, groups)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, z: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(..., in_channels, frames) -> (..., out_channels, time); `output_size` ends with the time, as in `nn.ConvTranspose1d`."""
        samples = (z.shape[-1] - 1) * self.hop + self.beyond
        length = (2 * samples + self.more) // (2 * self.per)
        if output_size is not None:
            length = int(output_size[-1])
        batched = z if z.ndim == 3 else z[None]
        y = self.convs(batched, self.left + length)[..., self.left :]
        y = y if self.bias is None else y + self.bias[:, None]
        return y if z.ndim == 3 else y[0]
