"""Short-time Fourier transforms at one sampling frequency as plain convolutions with windowed exponentials.

A kernel for every bin of every phase is much where phases are many: 147 phases of 2230 bins and 4459 samples take 12 GB. Beyond
`MOST_KERNEL_BYTES` the frames are taken out of the signal instead, each under its own window, and multiplied with one matrix of
exponentials that they share; what is left of a phase is a rotation of every bin:

    exp(-j 2 pi m df (t + delay)) = exp(-j 2 pi m df t) exp(-j 2 pi m df delay)

The same operations in another order: as exact, as fast, in 1 / P of the memory, and no more than products, sums and indices to export.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.layers.short_time import Frames, ShortTimeFourier
from sfi_zoo.layers.stft import NO_ENERGY, SFIISTFT, SFISTFT
from sfi_zoo.layers.surgery.frozen_phases import Interleaved, Overlapped

MOST_KERNEL_BYTES = 64 * 2**20


class _PlainTransform(nn.Module):
    """What both directions hold: whole numbers that place frames, and cosines and sines of every phase.

    Frame k starts at sample ceil((k hop - padding) / per).
    """

    window: Tensor
    rotation: Tensor
    waves: Tensor

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

    def _shares_matrix(self) -> bool:
        """Whether kernels of all phases would take too much memory."""
        sizes = len(self.frames.starts) * self.frames.alive * self.frames.taps
        return 2 * sizes * torch.get_default_dtype().itemsize > MOST_KERNEL_BYTES

    def _hold_tables(self, layer: ShortTimeFourier, scale: Tensor) -> None:
        """Window (P, taps), rotation (P, 2, 1, bins), and real and imaginary parts of the exponentials, (2, bins, taps), times `scale`.

        All in the default precision; the scale has a value for each bin.
        """
        window, phases = layer._tables(self.frames, None, torch.zeros((), dtype=torch.float64))
        rows, dtype = len(self.frames.starts), torch.get_default_dtype()
        turns = torch.arange(self.frames.alive, dtype=torch.float64)[:, None] / self.frames.period
        angle = -2 * math.pi * (turns * torch.arange(self.frames.taps, dtype=torch.float64) % 1)
        waves = torch.stack([(part(angle) * scale).to(dtype) for part in (torch.cos, torch.sin)])
        if phases is None:
            phases = torch.ones(rows, self.frames.alive, dtype=torch.complex128)
        rotation = torch.view_as_real(phases).movedim(-1, 1)[:, :, None]
        for name, table in (("window", window.expand(rows, -1)), ("rotation", rotation), ("waves", waves)):
            self.register_buffer(name, table.to(dtype).contiguous(), persistent=False)

    def _places(self, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Phase of every frame, (frames,), and the samples that it covers, from the first one of frame 0 on: (frames, taps)."""
        k = torch.arange(frames, device=device)
        starts = -torch.div(self.padding - k * self.hop, self.per, rounding_mode="floor") - self._start(0)
        return k % len(self.frames.starts), starts[:, None] + torch.arange(self.frames.taps, device=device)

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
        scale = self.n_fft**-0.5 if self.normalized else 1.0
        self.shared = self._shares_matrix()
        if self.shared:
            self._hold_tables(layer, torch.tensor(scale / self.frames.ratio, dtype=torch.float64))
            return
        window, waves = self._exponentials(layer)
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
        z = (
            self._by_matrix(signal, frames)
            if self.shared
            else self.convs(signal, frames).unflatten(1, (2, -1))
        )
        z = functional.pad(z, (0, 0, 0, self.frames.features - self.frames.alive)).movedim(1, -1)
        return torch.view_as_complex(z.reshape(*x.shape[:-1], *z.shape[1:]).contiguous())

    def _by_matrix(self, signal: Tensor, frames: int) -> Tensor:
        """(batch, 1, time) -> (batch, 2, bins, frames)."""
        phase, index = self._places(frames, signal.device)
        segments = signal[:, :, index] * self.window[phase]  # (batch, 1, frames, taps)
        real, imaginary = (segments @ self.waves.mT).unbind(1)  # each (batch, frames, bins)
        cosine, sine = self.rotation[phase][:, :, 0].unbind(1)  # each (frames, bins)
        return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=1).mT


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
        scale = self.n_fft ** (-0.5 if self.normalized else -1.0)
        weights = torch.full((self.frames.alive, 1), 2 * scale, dtype=torch.float64)
        weights[0] = scale
        last = int(self.frames.period // 2)
        if self.frames.alive == last + 1:
            weights[-1] = (1 + self.frames.period - 2 * last) * scale
        self.shared = self._shares_matrix()
        if self.shared:
            self._hold_tables(layer, weights)
            return
        window, waves = self._exponentials(layer)
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
        parts = parts.reshape(-1, *parts.shape[-3:])[:, : self.frames.alive].movedim(-1, 1)
        if self.shared:
            y, energy = self._by_matrix(parts, left + length)
        else:
            y = self.convs(parts.flatten(1, 2), left + length)
            energy = self.energy(parts.new_ones(1, 1, frames), left + length)
        y = (y / energy.clamp(min=NO_ENERGY))[:, 0, left:]
        return y.reshape(*z.shape[:-2], y.shape[-1])

    def _by_matrix(self, parts: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(batch, 2, bins, frames) -> sums of the segments and of the squared windows, (., 1, length)."""
        phase, index = self._places(parts.shape[-1], parts.device)
        real, imaginary = parts.mT.unbind(1)  # each (batch, frames, bins)
        cosine, sine = self.rotation[phase][:, :, 0].unbind(1)
        back = torch.cat([real * cosine + imaginary * sine, imaginary * cosine - real * sine], dim=-1)
        window = self.window[phase]
        segments = back @ self.waves.flatten(0, 1) * window
        y = parts.new_zeros(len(parts), max(length, self._reach(parts.shape[-1])))
        energy = y.new_zeros(1, y.shape[-1]).index_add(-1, index.flatten(), window.square().flatten()[None])
        y = y.index_add(-1, index.flatten(), segments.flatten(1))
        return y[:, None, :length], energy[:, None, :length]

    def _reach(self, frames: int) -> int:
        """Samples from the first one of frame 0 to the last one of the last frame."""
        return self._start(frames - 1) - self._start(0) + self.frames.taps
