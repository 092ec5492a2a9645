"""Short-time Fourier transforms at one sampling frequency as plain convolutions with windowed exponentials.

A kernel for every bin of every phase is much where phases are many: 147 phases of 2230 bins and 4459 samples take 12 GB. Beyond
`MOST_KERNEL_BYTES` the frames are taken out of the signal instead, each under its own window, and transformed as the layers do it: by an
FFT, and a narrow matrix where a period is no whole number of samples (`sfi_zoo.layers.fractional_fft`). What is left of a phase is a
rotation of every bin. As exact, in 1 / P of the memory and quicker.
"""

import math
from fractions import Fraction
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.layers.fractional_fft import Block, fractional_plan, multiplied
from sfi_zoo.layers.frame_pieces import NO_ENERGY, added, analysed, in_place
from sfi_zoo.layers.frame_tables import FrameTables
from sfi_zoo.layers.short_time import Frames, ShortTimeFourier
from sfi_zoo.layers.stft import SFIISTFT, SFISTFT, frames_at_a_time
from sfi_zoo.layers.surgery.frozen_phases import Interleaved, Overlapped

MOST_KERNEL_BYTES = 64 * 2**20


class _PlainTransform(nn.Module):
    """What both directions hold: whole numbers that place frames, windows and the phases of bins.

    Frame k starts at sample ceil((k hop - padding) / per).
    """

    by_fft: Final[bool]
    window: Tensor
    rotation: Tensor
    correction: Tensor

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
        frames: Frames = layer._frames(rows, rate, each=True)
        self.frames = frames
        self.rows, self.taps = len(frames.starts), frames.taps
        self.features, self.alive, self.analog_window = frames.features, frames.alive, layer.window
        self.stride = int(hop * rows)
        # kernels of all phases would take too much memory
        sizes = self.rows * self.alive * self.taps
        self.by_fft = 2 * sizes * torch.get_default_dtype().itemsize > MOST_KERNEL_BYTES

    def _exact_tables(self, layer: ShortTimeFourier) -> tuple[Tensor, Tensor]:
        """The window of every phase, (P, taps), and its rotation of every bin, complex (P, bins), in double precision."""
        tables = FrameTables(self.frames, layer.window, None, torch.zeros((), dtype=torch.float64))
        rows = len(self.frames.starts)
        phases = tables.phases(0, rows)
        if phases is None:
            phases = torch.ones(1, self.frames.alive, dtype=torch.complex128)
        return tables.windows(0, rows).expand(rows, -1), phases.expand(rows, -1)

    def _hold_tables(self, layer: ShortTimeFourier, direction: str) -> None:
        """Window (P, taps), rotation (P, 2, 1, bins), and what the transform takes, in the default precision.

        Args:
            direction: "analysis" or "synthesis".
        """
        dtype = torch.get_default_dtype()
        window, phases = self._exact_tables(layer)
        rotation = torch.view_as_real(phases).movedim(-1, 1)[:, :, None]
        correction, blocks = torch.ones(()), tuple[Block, ...]()
        self.length = self.frames.taps
        if not self.frames.whole:
            plan = fractional_plan(self.frames.period, self.frames.taps, self.frames.alive, dtype)
            self.length, correction, blocks = plan.length, plan.correction, getattr(plan, direction)
        self.places = [block[:4] for block in blocks]
        for name, table in (("window", window), ("rotation", rotation), ("correction", correction)):
            self.register_buffer(name, table.to(dtype).contiguous(), persistent=False)
        for n, block in enumerate(blocks):
            self.register_buffer(f"matrix_{n}", block.matrix, persistent=False)

    def _multiplied(self, parts: Tensor) -> Tensor:
        """Interleaved real and imaginary parts by the blocks, where a period is not whole."""
        matrices = [Block(*place, getattr(self, f"matrix_{n}")) for n, place in enumerate(self.places)]
        return multiplied(parts, matrices) if matrices else parts

    def _places(self, first: int, last: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Phases of the frames first ... last - 1, and what they cover, (frames, taps), counted from the first sample of frame 0."""
        k = torch.arange(first, last, device=device)
        starts = -torch.div(self.padding - k * self.hop, self.per, rounding_mode="floor") - self._start(0)
        return k % self.rows, starts[:, None] + torch.arange(self.taps, device=device)

    def _exponentials(self, layer: ShortTimeFourier) -> tuple[Tensor, Tensor]:
        """The window of every phase, (P, taps), and exp(-j 2 pi m df t), (P, bins, taps), in double precision."""
        window, phases = self._exact_tables(layer)
        m = torch.arange(self.frames.alive, dtype=torch.float64)[:, None]
        angle = -2 * math.pi / self.frames.period * m * torch.arange(self.frames.taps)
        return window, torch.polar(torch.ones_like(angle), angle) * phases[..., None]

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
        before = Fraction(2 * layer._padding - layer.n_fft)
        hop = Fraction(layer.hop_length)
        self.hops_per = math.lcm(hop.denominator, before.denominator)
        self.trained_hop, self.before = int(hop * self.hops_per), int(before * self.hops_per)
        self.pad_mode = layer.pad_mode if layer.center else "constant"
        scale = self.n_fft**-0.5 if self.normalized else 1.0
        if self.by_fft:
            self._hold_tables(layer, "analysis")
            self.window *= self.correction * (scale / self.frames.ratio)
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
        frames = (duration * self.hops_per + self.before) // self.trained_hop + 1
        left, right = -self._start(0), self._start(frames - 1) + self.taps - x.shape[-1]
        signal = functional.pad(x.reshape(-1, 1, x.shape[-1]), (left, max(0, right)), self.pad_mode)
        if self.by_fft:
            if not self.frames.whole and in_place(signal):  # as the layer does it
                z = self._in_place(signal[:, 0], frames, left)
                return z.reshape(x.shape[:-1] + z.shape[1:])
            pieces = [self._transformed(signal, *some) for some in frames_at_a_time(frames, signal)]
            z = torch.cat(pieces, dim=2).mT
        else:
            z = self.convs(signal, frames).unflatten(1, (2, -1))
        z = functional.pad(z, (0, 0, 0, self.features - self.alive)).movedim(1, -1)
        return torch.view_as_complex(z.reshape(x.shape[:-1] + z.shape[1:]).contiguous())

    def _in_place(self, signal: Tensor, frames: int, left: int) -> Tensor:
        placed = self.frames._replace(number=frames, step=self.stride)
        scale = (self.n_fft**-0.5 if self.normalized else 1.0) / placed.ratio
        z = analysed(signal, placed, left, self.analog_window, scale)
        return functional.pad(z, (0, 0, 0, self.features - self.alive))

    def _transformed(self, signal: Tensor, first: int, last: int) -> Tensor:
        """(batch, 1, time) -> (batch, 2, frames first ... last - 1, bins)."""
        phase, index = self._places(first, last, signal.device)
        segments = signal[:, 0, index] * self.window[phase]  # (batch, frames, taps)
        parts = torch.view_as_real(torch.fft.rfft(segments, n=self.length)).flatten(-2)
        parts = self._multiplied(parts)[..., : 2 * self.frames.alive]
        real, imaginary = parts.unflatten(-1, (-1, 2)).unbind(-1)  # each (batch, frames, bins)
        cosine, sine = self.rotation[phase][:, :, 0].unbind(1)  # each (frames, bins)
        return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=1)


class PlainISTFT(_PlainTransform):
    """`SFIISTFT` at one rate.

    Args: those of `PlainSTFT`.
    """

    def __init__(self, layer: SFIISTFT, rate: float) -> None:
        super().__init__(layer, rate)
        ratio = Fraction(rate) / Fraction(layer.trained_rate)
        length = (layer.n_fft - 2 * layer._padding) * ratio
        self.floor = NO_ENERGY
        self.length_per = math.lcm(length.denominator, self.per)
        self.beyond = int(length * self.length_per)
        scale = self.n_fft ** (-0.5 if self.normalized else -1.0)
        weights = torch.full((self.frames.alive, 1), 2 * scale, dtype=torch.float64)
        weights[0] = scale
        last = int(self.frames.period // 2)
        if self.frames.alive == last + 1:
            weights[-1] = (1 + self.frames.period - 2 * last) * scale
        if self.by_fft:
            self._hold_tables(layer, "synthesis")
            # an inverse FFT doubles bins and divides by its length by itself
            self.weights = weights[:, 0].to(self.rotation.dtype)
            scales = weights[:, 0] if self.places else weights[:, 0].clone().fill_(scale * self.length)
            self.rotation *= scales.to(self.rotation.dtype)
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
        if self.by_fft:  # noqa: SIM102 (TorchScript leaves a block of its own out)
            if not self.frames.whole and in_place(z):  # as the layer does it
                y = self._in_place(z, length)
                return y.reshape(z.shape[:-2] + y.shape[1:])
        # everything else in real numbers: exporters know few complex operations
        parts = torch.view_as_real(z)
        parts = parts.reshape(-1, parts.shape[-3], frames, 2)[:, : self.alive].movedim(-1, 1)
        if self.by_fft:
            y, energy = self._synthesised(parts, left + length)
        else:
            y = self.convs(parts.flatten(1, 2), left + length)
            energy = self.energy(parts.new_ones(1, 1, frames), left + length)
        y = (y / energy.clamp(min=self.floor))[:, 0, left:]
        return y.reshape(z.shape[:-2] + y.shape[-1:])

    def _in_place(self, z: Tensor, length: int) -> Tensor:
        """(batch, length)."""
        placed = self.frames._replace(number=z.shape[-1], step=self.stride)
        bins = z.reshape(-1, self.features, z.shape[-1])[:, : self.alive]
        return added(bins, placed, self.analog_window, self.weights, length)

    def _synthesised(self, parts: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(batch, 2, bins, frames) -> sums of the segments and of the squared windows, (., 1, length)."""
        y = parts.new_zeros(len(parts), max(length, self._reach(parts.shape[-1])))
        energy = y.new_zeros(1, y.shape[-1])
        for first, last in frames_at_a_time(parts.shape[-1], parts):
            phase, index = self._places(first, last, parts.device)
            window = self.window[phase]
            segments = self._segments(parts[..., first:last], phase) * (window * self.correction)
            y.index_add_(-1, index.flatten(), segments.flatten(1))
            energy.index_add_(-1, index.flatten(), window.square().flatten()[None])
        return y[:, None, :length], energy[:, None, :length]

    def _segments(self, parts: Tensor, phase: Tensor) -> Tensor:
        """(batch, 2, bins, frames), and the phases of the frames -> (batch, frames, taps)."""
        real, imaginary = parts.mT.unbind(1)  # each (batch, frames, bins)
        cosine, sine = self.rotation[phase][:, :, 0].unbind(1)
        back = torch.stack([real * cosine + imaginary * sine, imaginary * cosine - real * sine], dim=-1)
        bins = self._multiplied(back.flatten(-2)).unflatten(-1, (-1, 2))
        # irfft would do this with complex zeros, which exporters do not know
        bins = functional.pad(bins, (0, 0, 0, self.length // 2 + 1 - bins.shape[-2]))
        z = torch.view_as_complex(bins.contiguous())
        return torch.fft.irfft(z, n=self.length)[..., : self.frames.taps]

    def _reach(self, frames: int) -> int:
        """Samples from the first one of frame 0 to the last one of the last frame."""
        return self._start(frames - 1) - self._start(0) + self.taps
