r"""A ceiling: the stems together are never louder than the mixture.

In short-time spectra, frames k and frequencies f, with X the mixture and S_i the estimates, for every channel on its own:

    S_i(f, k) <- c(f, k) S_i(f, k),     c = min(1, |X| / |sum_j S_j|)

It takes away what a model adds: filters without a stop band (neural analog filters: -35 dB, all the way) let a loud bass leak into the
highs of every stem as hiss, above the mixture itself where that is quiet. Consistency alone mends the sum, and leaves it in the stems.

In the same spectra what lies above the model's band is shared out, where that is wanted (`Above.share_in_spectra`): one transform for both.

Frames are 35 ms long (25 to 49), and two neighbours share a third of one: square roots of Hann windows there, 1 between. With so little in
common a sample is transformed 1.5 times, and not twice. Source: ours.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sfi_zoo.separation.above import Above
from sfi_zoo.separation.hops import in_hops

_HOP_SECONDS = 0.0232
_PIECE = 14


class Ceiling:
    """Turns stems down to the mixture, on a stream.

    Args:
        sample_rate: F in Hz.
        above: which stems get what lies above the model's band; None: no stem does.

    Attributes:
        hop: distance of frames in samples.
    """

    def __init__(self, sample_rate: float, above: Above | None = None) -> None:
        self.hop = 2 ** round(math.log2(_HOP_SECONDS * sample_rate))
        self._fade = self.hop // 2  # what two frames share
        ramp = torch.hann_window(2 * self._fade, dtype=torch.float64).sqrt()[: self._fade]
        flat = torch.ones(self.hop - self._fade, dtype=torch.float64)
        self._above = above if above is not None and above.active else None
        self._window = torch.cat([ramp, flat, (1 - ramp.square()).clamp(min=0).sqrt()])

    def over(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """All blocks of a signal in order: (sources, channels, n) and the mixture, (channels, n); out the same samples in other blocks."""
        return in_hops(pairs, self.hop, 1, _PIECE, self._lowered)

    def _lowered(self, signals: Tensor) -> Tensor:
        """With a hop of context on both sides -> without."""
        window = self._window.to(signals)
        spectra = torch.fft.rfft(signals.unfold(-1, len(window), self.hop) * window)
        spectra, mixture = spectra[:-1], spectra[-1]
        gain = (_power(mixture) / _power(spectra.sum(0))).nan_to_num_(1.0).clamp_(max=1).sqrt_()
        spectra *= gain
        if self._above is not None:
            self._above.share_in_spectra(spectra, mixture, len(window))
        frames = torch.fft.irfft(spectra, n=len(window)).mul_(window)
        out = signals[..., self.hop : -self.hop].clone()
        stems = frames[..., 1:, : self.hop]
        stems[..., : self._fade] += frames[..., :-1, self.hop :]
        out[:-1].unflatten(-1, (-1, self.hop)).copy_(stems)
        return out


def _power(spectra: Tensor) -> Tensor:
    """|.|^2, without the care of `abs` for what overflows."""
    return torch.view_as_real(spectra).square().sum(-1)
