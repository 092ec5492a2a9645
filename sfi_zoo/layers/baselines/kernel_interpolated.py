r"""Baseline: a plain convolution whose kernel is interpolated to the sampling frequency of the signal.

    w_F[i] = g sum_j w[j] c(p_i - j),    p_i = (i - (L - 1) / 2) F0 / F + (L0 - 1) / 2,    i = 0 ... L - 1

The kernel keeps its centre and its duration, L = L0 F / F0 rounded; c is the hat function ("linear") or Keys' cubic convolution
("cubic"), and weights beyond the kernel are zero. The gain g is F0 / F in analysis and 1 in synthesis, so that levels do not depend
on F. Stride and padding are rounded to whole samples: frames drift where S0 F / F0 is not whole. Nothing keeps the interpolated kernel
from aliasing at low F, nor from responding to images of its band at high F: that is what a baseline is for.

Source of the cubic: R. Keys, IEEE Trans. ASSP 29(6):1153, 1981.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.filters.interpolated import interpolate_kernel
from sfi_zoo.layers.baselines.arguments import PaddingMode, check_arguments, check_channels, check_length
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate, primal

INTERPOLATIONS = ("linear", "cubic")


class KernelSize(NamedTuple):
    """A convolution in samples of one rate; `spacing`: of its taps in taps of the trained kernel; `left`, `right`: padding."""

    taps: int
    spacing: float
    stride: int
    dilation: int
    left: int
    right: int

    @property
    def span(self) -> int:
        """Samples from the first tap to the last, both counted."""
        return (self.taps - 1) * self.dilation + 1


def kernel_size_at(layer: nn.Conv1d | nn.ConvTranspose1d, rate: float, trained_rate: float) -> KernelSize:
    """The size of a plain convolution at another rate.

    Kernel, stride and dilation keep their durations up to rounding; a stride or dilation of 1 is one sample at any rate. The padding
    puts the centre of frame 0 as near as can be to where it is at F0.

    Raises:
        InputError: the rate is so low that nothing is left of the kernel, its stride or its dilation.
    """
    padding = layer.padding if isinstance(layer.padding, str) else layer.padding[0]
    length, stride, dilation = layer.kernel_size[0], layer.stride[0], layer.dilation[0]
    return KernelSize(*_kernel_size(length, stride, padding, dilation, rate, trained_rate))


@torch.compiler.assume_constant_result  # rational arithmetic is not for a compiled graph
def _kernel_size(
    length: int, stride: int, padding: int | str, dilation: int, rate: float, trained_rate: float
) -> tuple[int, float, int, int, int, int]:
    ratio = Fraction(rate) / Fraction(trained_rate)
    new_stride, new_dilation = (1 if n == 1 else _round(n * ratio) for n in (stride, dilation))
    spacing = new_dilation / (dilation * ratio)
    taps = _round(length / spacing) if spacing else 0
    if not (new_stride and taps):
        raise InputError(
            f"sample_rate {rate} Hz leaves a kernel of {taps} taps, a dilation of {new_dilation} and a stride of {new_stride} samples;"
            f" the layer has {length}, {dilation} and {stride} at {trained_rate} Hz"
        )
    reach = (taps - 1) * new_dilation
    if padding == "same":
        return taps, float(spacing), new_stride, new_dilation, reach // 2, reach - reach // 2
    zeros = 0 if isinstance(padding, str) else padding
    centre = (Fraction(dilation * (length - 1), 2) - zeros) * ratio
    side = max(0, _round(Fraction(reach, 2) - centre))
    return taps, float(spacing), new_stride, new_dilation, side, side


class KernelInterpolatedConv1d(nn.Conv1d, SampleRateAware):
    """Baseline layer: `nn.Conv1d` with plain digital weights, interpolated to the sampling frequency of the input.

    At F0 it is `nn.Conv1d`, and its state dict is that of one. Elsewhere see the formula at the head of this file. A stride of 1
    gives one output per sample at every F; any other stride is a hop in seconds, rounded to samples at F.

    Args: those of `nn.Conv1d`, sizes in samples at F0, then
        sample_rate: F0 in Hz, the trained rate.
        interpolation: "linear" or "cubic".

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        sample_rate: float,
        interpolation: str = "linear",
    ) -> None:
        check_arguments(
            in_channels, out_channels, groups, kernel_size=kernel_size, stride=stride, dilation=dilation
        )
        _check_interpolation(interpolation)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.trained_rate = check_sample_rate(sample_rate)
        self.interpolation = interpolation

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal.

        Args:
            x: (batch, in_channels, time) or (in_channels, time).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A 0-dim tensor is differentiated through.

        Returns:
            (batch, out_channels, frames) or (out_channels, frames).

        Raises:
            InputError: wrong number of channels, a signal shorter than the kernel, or a rate too low for the layer.
        """
        rate = self._rate(sample_rate)
        check_channels(x, self.in_channels, "time")
        size = kernel_size_at(self, primal(rate), self.trained_rate)
        check_length(x.shape[-1], primal(rate), size.left + x.shape[-1] + size.right, size.span)
        if not isinstance(rate, Tensor) and rate == self.trained_rate:
            return super().forward(x)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = functional.pad(x, (size.left, size.right), mode)
        spacing = size.spacing * (primal(rate) / rate)  # a rate that is a tensor brings its derivative
        kernel = spacing * interpolate_kernel(self.weight, size.taps, spacing, self.interpolation)
        return functional.conv1d(x, kernel.to(x.dtype), self.bias, size.stride, 0, size.dilation, self.groups)

    def extra_repr(self) -> str:
        """The arguments of `nn.Conv1d`, then ours."""
        return f"{super().extra_repr()}, sample_rate={self.trained_rate}, interpolation={self.interpolation}"


class KernelInterpolatedConvTranspose1d(nn.ConvTranspose1d, SampleRateAware):
    """Baseline layer: `nn.ConvTranspose1d` with plain digital weights, interpolated to the sampling frequency of the output.

    The counterpart of `KernelInterpolatedConv1d`, without its gain; `nn.ConvTranspose1d` at F0.

    Args: those of `nn.ConvTranspose1d`, sizes in samples at F0, then
        sample_rate: F0 in Hz, the trained rate.
        interpolation: "linear" or "cubic".

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int = 1,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        sample_rate: float,
        interpolation: str = "linear",
    ) -> None:
        check_arguments(
            in_channels, out_channels, groups, kernel_size=kernel_size, stride=stride, dilation=dilation
        )
        _check_interpolation(interpolation)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        self.trained_rate = check_sample_rate(sample_rate)
        self.interpolation = interpolation

    def forward(  # type: ignore[override]
        self, z: Tensor, sample_rate: float | None = None, length: int | None = None
    ) -> Tensor:
        """Synthesise a signal.

        Args:
            z: (batch, in_channels, frames) or (in_channels, frames).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A 0-dim tensor is differentiated through.
            length: samples wanted; by default what `nn.ConvTranspose1d` gives with the sizes at F.

        Returns:
            (batch, out_channels, length) or (out_channels, length).

        Raises:
            InputError: wrong number of channels, a length that is not positive, or a rate too low for the layer.
        """
        rate = self._rate(sample_rate)
        check_channels(z, self.in_channels, "frames")
        if not isinstance(rate, Tensor) and rate == self.trained_rate and length is None:
            return super().forward(z)
        size = kernel_size_at(self, primal(rate), self.trained_rate)
        spacing = size.spacing * (primal(rate) / rate)
        kernel = interpolate_kernel(self.weight, size.taps, spacing, self.interpolation)
        y = functional.conv_transpose1d(z, kernel, None, size.stride, 0, 0, self.groups, size.dilation)
        if length is None:
            extra = _round(self.output_padding[0] * primal(rate) / self.trained_rate)
            length = y.shape[-1] - size.left - size.right + extra
        if length < 1:
            raise InputError(f"length must be positive, got {length}")
        y = functional.pad(y, (-size.left, size.left + length - y.shape[-1]))
        return y if self.bias is None else y + self.bias[:, None]

    def extra_repr(self) -> str:
        """The arguments of `nn.ConvTranspose1d`, then ours."""
        return f"{super().extra_repr()}, sample_rate={self.trained_rate}, interpolation={self.interpolation}"


def _check_interpolation(interpolation: str) -> None:
    if interpolation not in INTERPOLATIONS:
        raise InputError(f"interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}")


def _round(x: Fraction | float) -> int:
    """To the nearest whole number, halves up; exact for a fraction."""
    return math.floor(2 * x + 1) // 2
