"""SFI twins of plain layers, for models that do not know of sampling frequencies: same call, same numbers at F0."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from sfi_zoo.filters import InterpolatedKernels
from sfi_zoo.layers.geometry import Layout
from sfi_zoo.layers.sample_rate import primal
from sfi_zoo.layers.sfi_conv import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.layers.short_time import ShortTimeFourier

MOST_LENGTHS = 64  # of signals that are remembered


class Analysed(NamedTuple):
    """A signal that became frames.

    Attributes:
        samples: its length at F.
        counted: frames that a plain encoder gives of so many samples.
        trained: its length at F0, rounded.
        trained_counted: frames of that.
        ratio: F0 / F.
        padded: the model has padded it to whole hops, in samples.
    """

    samples: int
    counted: int
    trained: int
    trained_counted: int
    ratio: float
    padded: bool


class SharedLength:
    """What encoders tell the decoders with their hop of the signals that went in.

    The model around them counts hops of S0 samples at any F; how it pads and reshapes rests on that.
    """

    def __init__(self) -> None:
        self._signals: OrderedDict[int, Analysed] = OrderedDict()

    def note(
        self, frames: int, samples: int, ratio: float, count: Callable[[int], int], padded: bool
    ) -> None:
        """A signal became `frames` frames.

        Args:
            frames: as many as came out, S0 / F0 seconds apart.
            samples: its length.
            ratio: F0 / F.
            count: frames that a plain encoder gives of so many samples.
            padded: the model pads signals to whole hops.
        """
        trained = round(samples * ratio)
        self._signals[frames] = Analysed(samples, count(samples), trained, count(trained), ratio, padded)
        self._signals.move_to_end(frames)
        if len(self._signals) > MOST_LENGTHS:
            self._signals.popitem(last=False)

    def length(self, frames: int, made: Callable[[int], int]) -> int | None:
        """Length in samples that a decoder makes of this number of frames; None where no signal had as many frames.

        A signal that plain layers leave at its length at F0 is left at its length. A model that has padded it to whole hops in samples gets
        what plain layers would make of so many samples. Else it is the length at F0, in seconds.

        Args:
            frames: that go into the decoder.
            made: samples that a plain decoder makes of so many frames.
        """
        signal = self._signals.get(frames)
        if signal is None:
            return None
        at_trained = made(signal.trained_counted)
        if at_trained == signal.trained:
            return signal.samples
        return made(signal.counted) if signal.padded else round(at_trained / signal.ratio)


class Count(int):
    """A number of samples that can be asked for as plain layers have it, a tuple of one: `kernel_size[0]`."""

    def __getitem__(self, axis: int) -> int:
        return (int(self),)[axis]

    def __iter__(self) -> Iterator[int]:
        return iter((int(self),))

    def __len__(self) -> int:
        return 1


class ConvertedConv1d(SFIConv1d):
    """An `nn.Conv1d` with interpolated filters.

    Alone it is `SFIConv1d`. As the encoder of a `ConvertedConvTranspose1d` it gives the frames that cover what the plain layer would
    have covered. Some models pad signals to whole hops (`whole_hops`), but count them in samples of F0: the last S0 - 1 samples may be
    such padding and get no frame of their own.

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
        self.whole_hops = True
        _count(self)
        self.train(plain.training)

    @property
    def weight(self) -> Tensor:
        """The kernels at F0, as the plain layer has them: models ask for their dtype and their size."""
        return self.filters.weight  # type: ignore[return-value]

    def _num_frames(self, length: int, rate: float, at_rate: Layout) -> int:
        """Frames for a signal of `length` samples; see the class."""
        counted = self.counted(length)
        if self.shared is None or rate == self.trained_rate or counted < 1:
            return super()._num_frames(length, rate, at_rate)
        trained = self._layout(self.trained_rate)
        covered = ((counted - 1) * trained.hop + trained.kernel - trained.left - trained.right) // trained.per
        if not self.whole_hops or covered != length:  # nobody has padded it: as many frames as at F0
            return self.counted(round(length * self.trained_rate / rate))
        beyond = covered * at_rate.per + at_rate.left + at_rate.right - at_rate.kernel
        padding = min((self.stride - 1) * at_rate.per, at_rate.hop - 1)
        return -((padding - beyond) // at_rate.hop) + 1

    def counted(self, length: int) -> int:
        """Frames that the plain layer would give."""
        return self._layout(self.trained_rate).num_frames(length)

    def forward(self, x: Tensor, sample_rate: float | None = None) -> Tensor:
        """Analyse a signal, see `SFIConv1d`."""
        rate = self._rate(sample_rate)
        y = super().forward(x, rate).contiguous()  # models may view it
        if self.shared is not None:
            ratio = self.trained_rate / primal(rate)
            self.shared.note(y.shape[-1], x.shape[-1], ratio, self.counted, self.whole_hops)
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
        _count(self)
        self.train(plain.training)

    @property
    def weight(self) -> Tensor:
        """The kernels at F0, as the plain layer has them: models ask for their dtype and their size."""
        return self.filters.weight  # type: ignore[return-value]

    def made(self, frames: int) -> int:
        """Length in samples that the plain layer makes of this number of frames."""
        return self._layout(self.trained_rate).output_length(frames, self.output_padding)

    def forward(
        self,
        z: Tensor,
        sample_rate: float | Sequence[int] | None = None,
        length: int | None = None,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        """Synthesise a signal, see `SFIConvTranspose1d`; the length is by default what the model expects.

        `output_size` is that of `nn.ConvTranspose1d`, where it is the second argument; its last number is the length.
        """
        if isinstance(sample_rate, Sequence):
            sample_rate, output_size = None, sample_rate
        if output_size is not None:
            length = int(output_size[-1])
        # at F0 an encoder that is redirected elsewhere notes nothing
        at_trained = self._rate(sample_rate) == self.trained_rate
        if length is None and self.shared is not None and not at_trained:
            length = self.shared.length(z.shape[-1], self.made)
        return super().forward(z, sample_rate, length).contiguous()


def pair_lengths(encoders: list[ConvertedConv1d], decoders: list[ConvertedConvTranspose1d]) -> None:
    """Lets every decoder know the lengths of what went into the encoders with the same hop."""
    by_hop = {decoder.stride: SharedLength() for decoder in decoders}
    for encoder in encoders:
        encoder.shared = by_hop.get(encoder.stride)
    for decoder in decoders:
        decoder.shared = by_hop[decoder.stride]


def _count(layer: Any) -> None:
    """Sizes of a layer as plain layers have them."""
    for name in ("kernel_size", "stride", "dilation", "padding", "output_padding"):
        if isinstance(getattr(layer, name, None), int):
            setattr(layer, name, Count(getattr(layer, name)))


def _interpolated(plain: nn.Conv1d | nn.ConvTranspose1d, sample_rate: float) -> InterpolatedKernels:
    kernels = plain.weight.shape[0] * plain.weight.shape[1]
    return InterpolatedKernels(kernels, sample_rate, weight=plain.weight, dilation=plain.dilation[0])


class _Transform(nn.Module):
    """What the two modules around a transform share: at F0 they are torch's own, which is faster."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def _at_its_own_rate(self, layer: nn.Module) -> TypeGuard[ShortTimeFourier]:
        """Whether a layer is at F0; it is a plain one in a frozen model."""
        return isinstance(layer, ShortTimeFourier) and layer.current_rate == layer.trained_rate

    def _settings(self, layer: ShortTimeFourier, like: Tensor) -> dict[str, Any]:
        """Arguments of `torch.stft` and `torch.istft` at F0."""
        length, at = int(layer.win_length), (like.dtype, like.device)
        if at not in self._windows:
            instants = torch.arange(length, dtype=like.dtype, device=like.device) / length - 0.5
            self._windows[at] = layer.window(instants).detach()
        return {
            "n_fft": int(layer.n_fft),
            "hop_length": int(layer.hop_length),
            "win_length": length,
            "window": self._windows[at],
            "center": layer.center,
            "normalized": layer.normalized,
        }


class ConvertedSTFT(_Transform):
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
        z = self._transformed(x)
        z = z if self.scale == 1 else z * self.scale
        if self.as_real:
            return torch.view_as_real(z)
        return z if self.power is None else z.abs() ** self.power

    def _transformed(self, x: Tensor) -> Tensor:
        if not self._at_its_own_rate(self.stft) or x.dtype not in (torch.float32, torch.float64):
            return self.stft(x)
        settings = self._settings(self.stft, x) | {"pad_mode": self.stft.pad_mode, "return_complex": True}
        z = torch.stft(x.reshape(-1, x.shape[-1]), **settings)
        return z.reshape(*x.shape[:-1], *z.shape[-2:])


class ConvertedISTFT(_Transform):
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
        y = self._inverted(z, length)
        return y if self.scale == 1 else y * self.scale

    def _inverted(self, z: Tensor, length: int | None) -> Tensor:
        half = z.dtype not in (torch.complex64, torch.complex128)
        # torch's wants weight everywhere
        if not self._at_its_own_rate(self.istft) or half or not self.istft.center:
            return self.istft(z, length=length)
        y = torch.istft(z.reshape(-1, *z.shape[-2:]), **self._settings(self.istft, z.real), length=length)
        return y.reshape(*z.shape[:-2], y.shape[-1])
