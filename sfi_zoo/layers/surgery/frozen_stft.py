"""Short-time Fourier transforms at one sampling frequency as plain convolutions with windowed exponentials."""

import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.layers.short_time import Frames, ShortTimeFourier
from sfi_zoo.layers.stft import NO_ENERGY, SFIISTFT, SFISTFT
from sfi_zoo.layers.surgery.frozen_phases import Interleaved, Overlapped


class _PlainTransform(nn.Module):
    """What both directions hold: whole numbers that place frames, and cosines and sines of every phase.

    Frame k starts at sample ceil((k hop - padding) / per).
    """

    def __init__(self, layer: ShortTimeFourier, rate: float) -> None:
        super().__init__()
        if layer.stride_mode != "exact":
            raise InputError(
                f"a transform with stride_mode={layer.stride_mode!r} cannot be frozen; use 'exact'"
            )
        ratio = Fraction(rate) / Fraction(layer.trained_rate)
        hop, padding = layer.hop_length * ratio, layer._padding * ratio
        self.per = math.lcm(hop.denominator, padding.denominator)
        self.hop, self.padding = int(hop * self.per), int(padding * self.per)
        self.n_fft, self.normalized = float(layer.n_fft), layer.normalized
        rows = hop.denominator
        self.frames: Frames = layer._frames(rows, rate, each=True)
        self.stride = int(hop * rows)

    def _exponentials(self, layer: ShortTimeFourier) -> tuple[Tensor, Tensor]:
        """The window of every phase, (P, taps), and exp(-j 2 pi m df t), (P, bins, taps), in double precision."""
        window, phases = layer._tables(self.frames, None, torch.zeros((), dtype=torch.float64))
        window = window.expand(len(self.frames.starts), -1)
        m = torch.arange(self.frames.alive, dtype=torch.float64)[:, None]
        angle = -2 * math.pi / self.frames.period * m * torch.arange(self.frames.taps)
        waves = torch.polar(torch.ones_like(angle), angle).expand(len(window), -1, -1)
        return window, waves if phases is None else waves * phases[..., None]

    def _start(self, frame: int) -> int:
        return -((self.padding - frame * self.hop) // self.per)


class PlainSTFT(_PlainTransform):
    """`SFISTFT` at one rate; complex (..., features, frames).

    Args:
        layer: the transform.
        rate: F in Hz.
    """

    def __init__(self, layer: SFISTFT, rate: float) -> None:
        super().__init__(layer, rate)
        ratio = Fraction(rate) / Fraction(layer.trained_rate)
        self.scaled = (ratio.denominator, ratio.numerator)  # F0 / F
        self.before = 2 * layer._padding - layer.n_fft
        self.trained_hop = layer.hop_length
        self.pad_mode = layer.pad_mode if layer.center else "constant"
        window, waves = self._exponentials(layer)
        scale = self.n_fft**-0.5 if self.normalized else 1.0
        kernels = torch.view_as_real(waves * window[:, None] * (scale / self.frames.ratio))
        # (P, real parts and imaginary parts, 1, taps)
        kernels = kernels.movedim(-1, 1).flatten(1, 2)[:, :, None]
        begins = [start - self.frames.starts[0] for start in self.frames.starts]
        self.convs = Interleaved(kernels.to(torch.get_default_dtype()), begins, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(..., time) -> (..., features, frames)."""
        numerator, denominator = self.scaled
        duration = (2 * x.shape[-1] * numerator + denominator) // (2 * denominator)
        frames = int((duration + self.before) // self.trained_hop) + 1
        left, right = -self._start(0), self._start(frames - 1) + self.frames.taps - x.shape[-1]
        signal = functional.pad(x.reshape(-1, 1, x.shape[-1]), (left, max(0, right)), self.pad_mode)
        z = self.convs(signal, frames).unflatten(1, (2, -1))
        z = functional.pad(z, (0, 0, 0, self.frames.features - self.frames.alive)).movedim(1, -1)
        return torch.view_as_complex(z.reshape(*x.shape[:-1], *z.shape[1:]).contiguous())


class PlainISTFT(_PlainTransform):
    """`SFIISTFT` at one rate.

    Args: those of `PlainSTFT`.
    """

    def __init__(self, layer: SFIISTFT, rate: float) -> None:
        super().__init__(layer, rate)
        ratio = Fraction(rate) / Fraction(layer.trained_rate)
        length = (layer.n_fft - 2 * layer._padding) * ratio
        self.length_per = math.lcm(length.denominator, self.per)
        self.beyond = int(length * self.length_per)
        window, waves = self._exponentials(layer)
        scale = self.n_fft ** (-0.5 if self.normalized else -1.0)
        weights = torch.full((self.frames.alive, 1), 2 * scale, dtype=torch.float64)
        weights[0] = scale
        last = int(self.frames.period // 2)
        if self.frames.alive == last + 1:
            weights[-1] = (1 + self.frames.period - 2 * last) * scale
        kernels = (
            torch.view_as_real(waves * window[:, None] * weights).movedim(-1, 1).flatten(1, 2)[:, :, None]
        )
        begins = [start - self.frames.starts[0] for start in self.frames.starts]
        dtype = torch.get_default_dtype()
        self.convs = Overlapped(kernels.to(dtype), begins, self.stride)
        self.energy = Overlapped(window.square()[:, None, None].to(dtype), begins, self.stride)

    def forward(self, z: Tensor, length: int | None = None) -> Tensor:
        """(..., features, frames) -> (..., length)."""
        frames, left = z.shape[-1], -self._start(0)
        if length is None:
            per = self.length_per
            samples = (frames - 1) * self.hop * (per // self.per) + self.beyond
            length = (2 * samples + per) // (2 * per)
            if (2 * samples + per) % (2 * per) == 0:  # halves go to the even number, as `round` has it
                length -= length % 2
        # everything else in real numbers: exporters know few complex operations
        parts = torch.view_as_real(z)
        parts = parts.reshape(-1, *parts.shape[-3:])[:, : self.frames.alive].movedim(-1, 1).flatten(1, 2)
        y = self.convs(parts, left + length)
        energy = self.energy(parts.new_ones(1, 1, frames), left + length)
        y = (y / energy.clamp(min=NO_ENERGY))[:, 0, left:]
        return y.reshape(*z.shape[:-2], y.shape[-1])
