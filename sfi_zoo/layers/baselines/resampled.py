"""Baselines: resample to the trained rate, run what is there, and resample back where a waveform comes out."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.audio.resampling import Resampler, create_resampler
from sfi_zoo.errors import InputError
from sfi_zoo.layers.baselines.arguments import PaddingMode, check_arguments, check_channels, check_length
from sfi_zoo.layers.sample_rate import SampleRateAware, at_sample_rate, check_sample_rate

OUTPUTS = ("waveform", "frames")


class Resampled(SampleRateAware):
    """Baseline: any module, run at the rate it was trained at.

        y = back(module(resample(x, F, F0)), F0, F)     output="waveform"
        y = module(resample(x, F, F0))                  output="frames"

    A waveform that the module leaves at its length comes back at the length of the input. Frames keep their distance in seconds
    without more ado: frame k is where it is at F0. SFI layers inside the module run at F0.

    Args:
        module: takes (..., time) at F0 and returns (..., time) at F0, or frames.
        sample_rate: F0 in Hz.
        resampler: a name (see `sfi_zoo.audio.resampling`) or a `Resampler`; to train through the way back, a differentiable one.
        output: "waveform" or "frames".

    Raises:
        InputError: an argument outside what is allowed.
    """

    def __init__(
        self,
        module: nn.Module,
        sample_rate: float,
        resampler: str | Resampler = "windowed_sinc",
        output: str = "waveform",
    ) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise InputError(f"output must be one of {OUTPUTS}, got {output!r}")
        self.trained_rate = check_sample_rate(sample_rate)
        self.module, self.output = module, output
        self.resampler = create_resampler(resampler)

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Run the module on a signal of any rate.

        Args:
            x: (..., time).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A 0-dim tensor is differentiated through.

        Returns:
            What the module returns; a waveform at F.

        Raises:
            InputError: a rate that is not positive and finite, or one that the resampler cannot do, or a gradient it has not.
        """
        rate = self._rate(sample_rate)
        inner = self.resampler(x, rate, self.trained_rate)
        has_sfi_layers = any(isinstance(layer, SampleRateAware) for layer in self.module.modules())
        with at_sample_rate(self.module, self.trained_rate) if has_sfi_layers else nullcontext():
            y = self.module(inner)
        if self.output == "frames":
            return y
        length = x.shape[-1] if y.shape[-1] == inner.shape[-1] else None
        return _back(self.resampler, y, self.trained_rate, rate, length)

    def extra_repr(self) -> str:
        """The settings."""
        return f"sample_rate={self.trained_rate}, output='{self.output}'"


class ResampledConv1d(nn.Conv1d, SampleRateAware):
    """Baseline layer: resample to F0, `nn.Conv1d`, and, where the stride is 1, resample back.

    With a stride of 1 a waveform comes out, at the rate of the input. With any other, frames do: they keep the hop of F0 in seconds and
    there is nothing to resample back. At F0 it is `nn.Conv1d`, and its state dict is that of one.

    Args: those of `nn.Conv1d`, sizes in samples at F0, then
        sample_rate: F0 in Hz, the trained rate.
        resampler: a name (see `sfi_zoo.audio.resampling`) or a `Resampler`.

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
        resampler: str | Resampler = "windowed_sinc",
    ) -> None:
        check_arguments(
            in_channels, out_channels, groups, kernel_size=kernel_size, stride=stride, dilation=dilation
        )
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
        self.resampler = create_resampler(resampler)

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal.

        Args:
            x: (batch, in_channels, time) or (in_channels, time).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A 0-dim tensor is differentiated through.

        Returns:
            (batch, out_channels, time or frames) or (out_channels, time or frames).

        Raises:
            InputError: wrong number of channels, a signal shorter than the kernel, or a gradient that the resampler has not.
        """
        rate = self._rate(sample_rate)
        check_channels(x, self.in_channels, "time")
        inner = self.resampler(x, rate, self.trained_rate)
        padding = sum(self._reversed_padding_repeated_twice)
        span = self.dilation[0] * (self.kernel_size[0] - 1) + 1
        check_length(inner.shape[-1], self.trained_rate, inner.shape[-1] + padding, span)
        y = super().forward(inner)
        if self.stride[0] > 1:
            return y
        length = x.shape[-1] if y.shape[-1] == inner.shape[-1] else None
        return _back(self.resampler, y, self.trained_rate, rate, length)

    def extra_repr(self) -> str:
        """The arguments of `nn.Conv1d`, then ours."""
        return f"{super().extra_repr()}, sample_rate={self.trained_rate}"


class ResampledConvTranspose1d(nn.ConvTranspose1d, SampleRateAware):
    """Baseline layer: `nn.ConvTranspose1d` at F0, its waveform resampled to the rate wanted.

    The counterpart of `ResampledConv1d`: with a stride of 1 the input is a waveform too, and is resampled to F0 first.

    Args: those of `nn.ConvTranspose1d`, sizes in samples at F0, then
        sample_rate: F0 in Hz, the trained rate.
        resampler: a name (see `sfi_zoo.audio.resampling`) or a `Resampler`.

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
        resampler: str | Resampler = "windowed_sinc",
    ) -> None:
        check_arguments(
            in_channels, out_channels, groups, kernel_size=kernel_size, stride=stride, dilation=dilation
        )
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
        self.resampler = create_resampler(resampler)

    def forward(  # type: ignore[override]
        self, z: Tensor, sample_rate: float | None = None, length: int | None = None
    ) -> Tensor:
        """Synthesise a signal.

        Args:
            z: (batch, in_channels, frames) or (in_channels, frames).
            sample_rate: F in Hz; the stored rate (F0 unless set) when omitted. A 0-dim tensor is differentiated through.
            length: samples wanted; by default those of `nn.ConvTranspose1d`, resampled.

        Returns:
            (batch, out_channels, length) or (out_channels, length).

        Raises:
            InputError: wrong number of channels, a length that is not positive, or a gradient that the resampler has not.
        """
        rate = self._rate(sample_rate)
        check_channels(z, self.in_channels, "frames")
        if length is not None and length < 1:
            raise InputError(f"length must be positive, got {length}")
        inner = self.resampler(z, rate, self.trained_rate) if self.stride[0] == 1 else z
        y = super().forward(inner)
        if length is None and self.stride[0] == 1 and y.shape[-1] == inner.shape[-1]:
            length = z.shape[-1]
        return _back(self.resampler, y, self.trained_rate, rate, length)

    def extra_repr(self) -> str:
        """The arguments of `nn.ConvTranspose1d`, then ours."""
        return f"{super().extra_repr()}, sample_rate={self.trained_rate}"


def _back(resampler: Resampler, y: Tensor, trained_rate: float, rate: float, length: int | None) -> Tensor:
    """(..., time) at F0 -> at F, cut or filled with zeros to `length` where that is given."""
    y = resampler.way_back(y, trained_rate, rate)
    return y if length is None else functional.pad(y, (0, length - y.shape[-1]))
