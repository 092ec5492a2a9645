"""SFI twins of plain layers, for models that do not know of sampling frequencies: same call, same numbers at F0."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfi_zoo.filters import InterpolatedKernels
from sfi_zoo.layers.sample_rate import primal
from sfi_zoo.layers.sfi_conv import SFIConv1d, SFIConvTranspose1d


@dataclass
class SharedLength:
    """What an encoder tells its decoder of the last signal.

    The model around them counts hops of S0 samples at any F; how it pads and reshapes rests on that.

    Attributes:
        counted: frames that a plain encoder would have given, floor((N + 2 p - L0) / S0) + 1.
        computed: frames that were given, S0 / F0 seconds apart.
    """

    counted: int = 0
    computed: int = 0


class ConvertedConv1d(SFIConv1d):
    """An `nn.Conv1d` with interpolated filters.

    Alone it is `SFIConv1d`. As the encoder of a `ConvertedConvTranspose1d` it gives the frames that cover what the plain layer would
    have covered. Models pad signals to whole hops, but count them in samples of F0: the last S0 - 1 samples may be such padding
    and get no frame of their own.

    Args:
        plain: the layer; its parameters are taken as they are, and stay tied to others.
        sample_rate: F0 in Hz.
    """

    def __init__(self, plain: nn.Conv1d, sample_rate: float) -> None:
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size[0],
            plain.stride[0],
            plain.padding if isinstance(plain.padding, str) else plain.padding[0],
            plain.dilation[0],
            plain.groups,
            bias=False,  # see below
            padding_mode=plain.padding_mode,
            sample_rate=sample_rate,
            filters=_interpolated(plain, sample_rate),
        )
        self.bias: nn.Parameter | None = plain.bias  # type: ignore[assignment]
        self.shared: SharedLength | None = None
        self.train(plain.training)

    def num_frames(self, length: int, sample_rate: float | None = None) -> int:
        """Frames for a signal of `length` samples; see the class."""
        rate = primal(self._rate(sample_rate))
        counted = self._counted(length)
        if self.shared is None or rate == self.trained_rate or counted < 1:
            return super().num_frames(length, rate)
        trained, at_rate = self.layout(self.trained_rate), self.layout(rate)
        covered = ((counted - 1) * trained.hop + trained.kernel - trained.left - trained.right) // trained.per
        beyond = covered * at_rate.per + at_rate.left + at_rate.right - at_rate.kernel
        padding = min((self.stride - 1) * at_rate.per, at_rate.hop - 1)
        return -((padding - beyond) // at_rate.hop) + 1

    def _counted(self, length: int) -> int:
        """Frames that the plain layer would give."""
        return self.layout(self.trained_rate).num_frames(length)

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal, see `SFIConv1d`."""
        y = super().forward(x, sample_rate)
        if self.shared is not None:
            self.shared.counted, self.shared.computed = self._counted(x.shape[-1]), y.shape[-1]
        return y


class ConvertedConvTranspose1d(SFIConvTranspose1d):
    """An `nn.ConvTranspose1d` with interpolated filters.

    The frames of its encoder become as many samples as plain layers would have made of the signal that went in. Alone it is
    `SFIConvTranspose1d`.

    Args: those of `ConvertedConv1d`.
    """

    def __init__(self, plain: nn.ConvTranspose1d, sample_rate: float) -> None:
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size[0],
            plain.stride[0],
            plain.padding[0],
            plain.output_padding[0],
            plain.groups,
            bias=False,
            dilation=plain.dilation[0],
            sample_rate=sample_rate,
            filters=_interpolated(plain, sample_rate),
        )
        self.bias: nn.Parameter | None = plain.bias  # type: ignore[assignment]
        self.shared: SharedLength | None = None
        self.train(plain.training)

    def forward(self, z: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """Synthesise a signal, see `SFIConvTranspose1d`; the length is by default what the model expects."""
        if length is None and self.shared is not None and self.shared.computed == z.shape[-1]:
            length = self.layout(self.trained_rate).output_length(self.shared.counted, self.output_padding)
        return super().forward(z, sample_rate, length)


def pair_lengths(encoders: list[ConvertedConv1d], decoders: list[ConvertedConvTranspose1d]) -> None:
    """Lets every decoder know the length of what went into the encoder with the same hop, where there is one."""
    for decoder in decoders:
        alike = [encoder for encoder in encoders if encoder.stride == decoder.stride]
        for encoder in sorted(alike, key=lambda e: abs(e.kernel_size - decoder.kernel_size))[:1]:
            encoder.shared = decoder.shared = encoder.shared or SharedLength()


def _interpolated(plain: nn.Conv1d | nn.ConvTranspose1d, sample_rate: float) -> InterpolatedKernels:
    kernels = plain.weight.shape[0] * plain.weight.shape[1]
    return InterpolatedKernels(kernels, sample_rate, weight=plain.weight, dilation=plain.dilation[0])


class ConvertedSTFT(nn.Module):
    """A module that computes an STFT, with `SFISTFT` inside.

    Args:
        stft: the transform.
        as_real: the result is (..., bins, frames, 2), real and imaginary part.
        power: the result is |X|^power; complex where None.
        scale: factor on X.
    """

    def __init__(self, stft: nn.Module, as_real: bool, power: float | None, scale: float) -> None:
        super().__init__()
        self.stft, self.as_real, self.power, self.scale = stft, as_real, power, scale

    def forward(self, x: Tensor) -> Tensor:
        """(..., time) -> (..., bins, frames), in the form of the module that was replaced."""
        z = self.stft(x) * self.scale
        if self.as_real:
            return torch.view_as_real(z)
        return z if self.power is None else z.abs() ** self.power


class ConvertedISTFT(nn.Module):
    """A module that inverts an STFT, with `SFIISTFT` inside.

    Args:
        istft: the transform.
        as_real: the argument is (..., bins, frames, 2), real and imaginary part.
        scale: factor on the result.
    """

    def __init__(self, istft: nn.Module, as_real: bool, scale: float) -> None:
        super().__init__()
        self.istft, self.as_real, self.scale = istft, as_real, scale

    def forward(self, z: Tensor, length: int | None = None) -> Tensor:
        """(..., bins, frames) -> (..., length)."""
        if self.as_real:
            z = torch.view_as_complex(z.contiguous())
        return self.istft(z, length=length) * self.scale
