r"""What may happen to estimates after the model: gains that fit them to the mixture, mixture consistency, two stems.

In this order, for every channel on its own, with estimates s_i and the mixture x:

    rescale:        s_i <- g_i s_i,                          g minimises sum_t (x - sum_i g_i s_i)^2 over the whole signal
    ceiling:        S_i <- min(1, |X| / |sum_j S_j|) S_i,    in short-time spectra, see `sfi_zoo.separation.ceiling`
    above:          s_i <- s_i + w_i high(x - sum_j s_j),    what lies above the model's band, see `sfi_zoo.separation.above`
    consistency:    s_i <- s_i + w_i (x - sum_j s_j),        sum_i w_i = 1: then the stems sum to the mixture
                    "equal": w_i = 1 / N;   "energy": w_i = sum_t s_i^2 / sum_j sum_t s_j^2 over the whole signal,
                    of the (rescaled) estimates of the model
    two stems:      s_1, s_2 <- s_k, sum of the others ("rest", or "no_vocals" where it was asked for by that name)

g solves G g = b with G_ij = sum_t s_i s_j and b_i = sum_t s_i x; where G is singular it is the shortest such g. So a first pass over the
signal adds up S x S numbers for each channel, and a second one applies the gains: memory does not grow with the length. A gain may be
negative, and that of a source that is not in the track is arbitrary noise of the fit; the published SFI Conv-TasNet, whose training leaves
the scale of each estimate open, is to be heard with `rescale`.

Sources: Wisdom et al., ICASSP 2019, arXiv:1811.08521 (mixture consistency); the gains are those of the published SFI Conv-TasNet (Saito et
al., IEEE/ACM TASLP 30:2928, 2022), its file `separate_audiofile.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.separation.options import DEFAULTS, SeparationOptions

REST = "rest"
NO = "no_"  # "no_vocals" for vocals and the rest, the rest by that name


class Queue(Protocol):
    """Where blocks wait for the second pass: a `collections.deque`, or a `Spool`."""

    def append(self, block: Tensor, /) -> None:
        """Puts a block at the end."""

    def popleft(self) -> Tensor:
        """Takes the first block."""

    def __len__(self) -> int: ...


class Step(Protocol):
    """What is done with (estimates, mixture), block by block."""

    def over(self, pairs: Iterable[tuple[Tensor, Tensor]], /) -> Iterator[tuple[Tensor, Tensor]]:
        """All blocks of a signal in order."""


class MixtureFit:
    """Inner products of estimates and mixture over a whole signal, added up block by block.

    Args:
        only_energies: all that `shares` needs, at a tenth of the cost: G is its diagonal then, and there is no b.

    Attributes:
        gram: (channels, sources, sources) G.
        correlation: (channels, sources) b.
    """

    gram: Tensor
    correlation: Tensor

    def __init__(self, only_energies: bool = False) -> None:
        self.gram = torch.zeros((), dtype=torch.float64)
        self.correlation = torch.zeros((), dtype=torch.float64)
        self._only_energies = only_energies

    def update(self, stems: Tensor, mixture: Tensor) -> None:
        """(sources, channels, n) and (channels, n)."""
        if self._only_energies:
            energies = torch.linalg.vector_norm(stems, dim=-1).double().square()
            self.gram = self.gram + torch.diag_embed(energies.T)
            return
        s, x = stems.double().transpose(0, 1), mixture.double()
        self.gram = self.gram + s @ s.mT
        self.correlation = self.correlation + (s @ x[..., None])[..., 0]

    def gains(self) -> Tensor:
        """(sources, channels): g."""
        inverse = torch.linalg.pinv(self.gram, rtol=1e-10, hermitian=True)
        return (inverse @ self.correlation[..., None])[..., 0].T

    def shares(self, gains: Tensor | None = None) -> Tensor:
        """(sources, channels): shares of the energy after the gains; equal ones in a silent channel."""
        energies = self.gram.diagonal(dim1=-2, dim2=-1).T
        if gains is not None:
            energies = energies * gains.square()
        total = energies.sum(0, keepdim=True)
        return torch.where(total > 0, energies / total.clamp(min=1e-300), 1 / len(energies))


class Finish:
    """The steps above, as they were asked for.

    Args:
        sources: names of the estimates.
        options: `consistency`, `rescale` and `two_stems`.

    Attributes:
        names: of the results.
        two_pass: whether a result depends on the whole signal.

    Raises:
        InputError: no such source.
    """

    def __init__(self, sources: Sequence[str], options: SeparationOptions = DEFAULTS) -> None:
        kept, rest = options.two_stems, REST
        if kept is not None and kept not in sources and kept.startswith(NO):
            kept, rest = kept.removeprefix(NO), kept
        if kept is not None and kept not in sources:
            raise InputError(f"two_stems is {options.two_stems}: this model gives {', '.join(sources)}")
        self.consistency, self.rescale = options.consistency, options.rescale
        self._kept = None if kept is None else list(sources).index(kept)
        self.names = tuple(sources) if kept is None else (kept, rest)
        self.two_pass = self.rescale or self.consistency == "energy"

    def over(self, pairs: Iterable[tuple[Tensor, Tensor]], waiting: Queue, *steps: Step) -> Iterator[Tensor]:
        """All blocks of a signal: (estimates, mixture) in order -> results in order.

        Args:
            pairs: (sources, channels, n) and (channels, n).
            waiting: holds them between two passes.
            steps: between the gains and the consistency.

        Yields:
            (results, channels, n), in blocks of other lengths than came.
        """
        fit = MixtureFit(only_energies=not self.rescale) if self.two_pass else None
        if fit:
            for stems, mixture in pairs:
                fit.update(stems, mixture)
                waiting.append(torch.cat([stems, mixture.to(stems)[None]]))
            pairs = _taken_from(waiting)
        gains = fit.gains() if fit and self.rescale else None
        if gains is not None:
            pairs = ((stems * gains[..., None].to(stems), mixture) for stems, mixture in pairs)
        shares = fit.shares(gains) if fit and self.consistency == "energy" else None
        for step in steps:
            pairs = step.over(pairs)
        for stems, mixture in pairs:
            yield self._folded(self._consistent(stems, mixture, shares))

    def _consistent(self, stems: Tensor, mixture: Tensor, shares: Tensor | None) -> Tensor:
        if not self.consistency:
            return stems
        rest = mixture.to(stems) - stems.sum(0)
        share = stems.new_tensor(1 / len(stems)) if shares is None else shares[..., None].to(stems)
        return torch.addcmul(stems, share, rest)

    def _folded(self, stems: Tensor) -> Tensor:
        if self._kept is None:
            return stems
        others = [i for i in range(len(stems)) if i != self._kept]
        return torch.stack([stems[self._kept], stems[others].sum(0)])


def _taken_from(waiting: Queue) -> Iterator[tuple[Tensor, Tensor]]:
    while len(waiting):
        held = waiting.popleft()
        yield held[:-1], held[-1]
