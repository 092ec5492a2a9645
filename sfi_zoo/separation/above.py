r"""The band above the model's: what a model cannot hold is shared out among its estimates.

A model's latent ends at its band edge B (Hz): F0 / 2, or its highest filter or bin at this sample rate. With x the mixture and s_i the
estimates of N sources, for every channel on its own:

    s_i(t) <- s_i(t) + w_i(t) high(x - sum_j s_j)(t),      sum_i w_i = 1

`high` is a zero-phase filter, 0 up to 0.90 B, a raised cosine, and 1 from 0.95 B on: there the stems add up to the mixture; below, they
are the model's. The shares w_i are the masks nearest below, in frames k under a Hann window h of 8 to 16 ms (half overlap), linear between:

    w_i(k) = m_i(k) / sum_j m_j(k),     m_i(k) = max(0, sum_t h(t - t_k) s_i(t) b(t)) / sum_t h(t - t_k) x(t) b(t)

where b is the mixture in the octave [0.45 B, 0.90 B]: in the frequency domain m_i is the mean of the masks S_i / X, weighted by the energy
|X|^2 of the mixture. It needs nothing of a model but its estimates, and hiss of theirs, which is not in the mixture, has no part in it.
Numerators are smoothed over three frames. A ceiling, which has short-time spectra already, shares in those, by the same formula: then k are
its frames, 35 ms long. Where the octave holds less than 1e-4 of the energy to be shared, w_i goes to 1 / N.

Source: ours.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from sfi_zoo.separation.hops import in_hops
from sfi_zoo.separation.options import DEFAULTS, SeparationOptions
from sfi_zoo.separation.rates import trained_rate

PASS, STOP = 0.90, 0.95  # of the band edge: where `high` begins, and where it is 1
WHOLE = 0.995  # of F / 2: a band that reaches so far has nothing above it
SILENT = 1e-4  # energy of the octave, relative to what is to be shared, that says nothing
_HOP_SECONDS = 0.0058
_AROUND = 4  # hops of context: two for the filters, two for frames and their smoothing
_PIECE = 56  # hops worked on at once: with the context a power of two

Pairs = Iterable[tuple[Tensor, Tensor]]


def band_edge(model: nn.Module, sample_rate: float) -> float:
    """The highest frequency (Hz) that a model holds at a sample rate: what its own `band_edge` says, else F0 / 2, or F / 2 below that."""
    own = getattr(model, "band_edge", None)
    if callable(own):
        return float(own(sample_rate))
    return min(sample_rate, trained_rate(model)) / 2


class Above:
    """Shares out what lies above, on a stream.

    Args:
        edge: B in Hz.
        sample_rate: F in Hz.
        options: `above`.

    Attributes:
        active: whether there is anything above, and it is wanted.
        hop: distance of frames in samples.
    """

    def __init__(self, edge: float, sample_rate: float, options: SeparationOptions = DEFAULTS) -> None:
        self.active = options.above != "none" and edge < WHOLE * sample_rate / 2
        self.hop = 2 ** round(math.log2(_HOP_SECONDS * sample_rate))
        self._equal = options.above == "equal"
        self._edge = edge / sample_rate
        self._kernels = _kernels(edge / sample_rate, (_AROUND - 2) * self.hop)
        self._filters: dict[int, Tensor] = {}
        window = torch.hann_window(2 * self.hop, dtype=torch.float64)
        self._window = torch.stack(window.split(self.hop)).T  # (hop, 2): rising and falling half
        self._ramp = (torch.arange(self.hop, dtype=torch.float64) + 0.5) / self.hop

    def over(self, pairs: Pairs) -> Iterator[tuple[Tensor, Tensor]]:
        """All blocks of a signal in order: (sources, channels, n) and the mixture, (channels, n); out the same samples in other blocks."""
        if not self.active:
            yield from pairs
            return
        yield from in_hops(pairs, self.hop, _AROUND, _PIECE, self._shared)

    def _shared(self, signals: Tensor) -> Tensor:
        """Estimates and mixture with context on both sides -> without it, and with all that is above."""
        context = _AROUND * self.hop
        stems, mixture = signals[:-1], signals[-1]
        high, octave = self._filtered(torch.stack([mixture - stems.sum(0), mixture]))
        inner = slice(context, signals.shape[-1] - context)
        out = signals[..., inner].clone()
        if self._equal:
            out[:-1] += high[..., inner] / len(stems)
            return out
        weights = self._shares(stems, octave, high)[..., _AROUND:-_AROUND, None]  # at the ends of every hop
        ramp = self._ramp.to(signals)
        gains = torch.lerp(weights[..., :-1, :], weights[..., 1:, :], ramp)
        out[:-1].addcmul_(gains.flatten(-2), high[..., inner])
        return out

    def share_in_spectra(self, stems: Tensor, mixture: Tensor, length: int) -> None:
        """Adds what lies above to short-time spectra, in place.

        Args:
            stems: (sources, channels, frames, bins).
            mixture: (channels, frames, bins).
            length: of a frame in samples; bins are length // 2 + 1.
        """
        high, octave = _responses(torch.arange(length // 2 + 1, dtype=torch.float64) / length / self._edge)
        above, below = _where(high), _where(octave)
        rest = (mixture[..., above] - stems[..., above].sum(0)).mul_(high[above].to(stems.real))
        if self._equal:
            stems[..., above] += rest / len(stems)
            return
        weighted = mixture[..., below] * octave[below].square().to(stems.real)
        found = torch.einsum("scfb,cfb->scf", stems[..., below], weighted.conj()).real
        stems[..., above] += self._weights(found, _energy(rest))[..., None] * rest

    def _shares(self, stems: Tensor, octave: Tensor, high: Tensor) -> Tensor:
        """(sources, channels, hops + 1): w_i at the start of every hop, and at the end of the last."""
        return self._weights(self._framed(stems * octave), self._framed(high.square()))

    def _weights(self, found: Tensor, above: Tensor) -> Tensor:
        """w_i of the numerators of m_i, (sources, ...), and of the energy that is to be shared, (...)."""
        masks = found.clamp(min=0) + above * (SILENT / len(found))
        total = masks.sum(0)
        return torch.where(total > 0, masks / total.clamp(min=torch.finfo(total.dtype).tiny), 1 / len(found))

    def _framed(self, products: Tensor) -> Tensor:
        """(..., hops x hop) -> (..., hops + 1): sums under windows around the ends of hops, smoothed."""
        rising, falling = (products.unflatten(-1, (-1, self.hop)) @ self._window.to(products)).unbind(-1)
        frames = nn.functional.pad(rising, (2, 1)) + nn.functional.pad(falling, (1, 2))
        return 0.25 * frames[..., :-2] + 0.5 * frames[..., 1:-1] + 0.25 * frames[..., 2:]

    def _filtered(self, signals: Tensor) -> Tensor:
        """(2, channels, n): the first `high`, the second in the octave below; but for the ends, where the filters reach beyond."""
        length = signals.shape[-1]
        if length not in self._filters:
            taps = self._kernels.shape[-1]
            padded = nn.functional.pad(self._kernels, (0, length - taps)).roll(-(taps // 2), -1)
            self._filters[length] = torch.fft.rfft(padded).real[:, None]  # zero phase
        return torch.fft.irfft(torch.fft.rfft(signals) * self._filters[length].to(signals), n=length)


def _kernels(edge: float, reach: int) -> Tensor:
    """(2, 2 reach + 1): `high` and the octave below for a band edge in cycles per sample, under a Hann window."""
    size = 2 ** math.ceil(math.log2(16 * reach))
    responses = torch.stack(_responses(torch.fft.rfftfreq(size, dtype=torch.float64) / edge))
    taps = torch.fft.irfft(responses, n=size).roll(reach, -1)
    return taps[:, : 2 * reach + 1] * torch.hann_window(2 * reach + 1, periodic=False, dtype=torch.float64)


def _responses(f: Tensor) -> tuple[Tensor, Tensor]:
    """`high` and the octave below at frequencies relative to the band edge."""

    def rises(first: float, last: float) -> Tensor:
        return torch.sin(0.5 * math.pi * ((f - first) / (last - first)).clamp(0, 1)) ** 2

    return rises(PASS, STOP), rises(0.5 * PASS - (STOP - PASS), 0.5 * PASS) * (1 - rises(PASS, STOP))


def _where(response: Tensor) -> slice:
    """The bins that it is not zero at, which are neighbours."""
    bins = response.nonzero()[:, 0]
    return slice(int(bins[0]), int(bins[-1]) + 1) if len(bins) else slice(0, 0)


def _energy(spectra: Tensor) -> Tensor:
    return torch.view_as_real(spectra).square().sum((-1, -2))
