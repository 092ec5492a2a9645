r"""A ceiling: the stems together are never louder than the mixture.

In short-time spectra, frames k and frequencies f, with X the mixture and S_i the estimates, for every channel on its own:

    S_i(f, k) <- c(f, k) S_i(f, k),     c = min(1, |X| / |sum_j S_j|)

It takes away what a model adds: filters without a stop band (neural analog filters: -35 dB, all the way) let a loud bass leak into the
highs of every stem as hiss, above the mixture itself where that is quiet. Consistency alone mends the sum, and leaves it in the stems.

Windows are square roots of Hann windows, 23 ms long (16 to 33), overlapping by half. Source: ours.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sfi_zoo.separation.hops import in_hops

_HOP_SECONDS = 0.0116
_PIECE = 62


class Ceiling:
    """Turns stems down to the mixture, on a stream.

    Args:
        sample_rate: F in Hz.

    Attributes:
        hop: distance of frames in samples.
    """

    def __init__(self, sample_rate: float) -> None:
        self.hop = 2 ** round(math.log2(_HOP_SECONDS * sample_rate))
        self._window = torch.hann_window(2 * self.hop, dtype=torch.float64).sqrt()

    def over(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """All blocks of a signal in order: (sources, channels, n) and the mixture, (channels, n); out the same samples in other blocks."""
        return in_hops(pairs, self.hop, 1, _PIECE, self._lowered)

    def _lowered(self, signals: Tensor) -> Tensor:
        """With a hop of context on both sides -> without."""
        window = self._window.to(signals)
        spectra = torch.fft.rfft(signals.unfold(-1, 2 * self.hop, self.hop) * window)
        spectra, mixture = spectra[:-1], spectra[-1]
        total = spectra.sum(0).abs()
        gain = torch.where(total > 0, mixture.abs() / total, 1.0).clamp(max=1)
        frames = torch.fft.irfft(spectra * gain, n=2 * self.hop) * window
        rising, falling = frames.split(self.hop, -1)
        stems = (rising[..., 1:, :] + falling[..., :-1, :]).flatten(-2)
        return torch.cat([stems, signals[-1:, :, self.hop : -self.hop]])
