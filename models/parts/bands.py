r"""Bands of fixed hertz: how band-split networks see an STFT, and how they make masks of it.

    z_bk = linear_b(norm_b(X_k[m] for all bins m of band b)),    masks_b = GLU(linear(tanh(linear(norm(h_bk)))))

A network between the two works on (items, frames, bands, width). Bands have their edges at the same hertz at every sampling frequency F,
and end at F / 2: a band exists at F where its lowest bin does. The bins that are missing from the last one are zeros. Masks of what does
not exist are zero. So one set of weights, one pair of layers for each band, serves all F.

Sources: Luo and Yu, TASLP 31:1893, 2023, arXiv:2209.15174 (band-split RNN); Yu and Luo, ICASSP 2023 (bands at any sampling frequency).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Latent
from sfi_zoo.models.parts.config import check_choice, check_size, later
from sfi_zoo.models.parts.masks import MASKS, masks_from
from sfi_zoo.models.parts.norms import ItemNorm, UnitNorm
from sfi_zoo.models.stft import STFTConfig, STFTSeparator

# <how many>x<Hz each>, from 0 Hz on. A band holds the bins from its lower edge on, its upper edge left out.
SPLITS = {
    "universal": "1x250 19x200 6x500 7x2000 1x3000",  # Yu and Luo: 34 bands at 48 kHz, 5, 19 x 4, 6 x 10, 7 x 40, 60 bins of 50 Hz
    "half": "1x450 9x400 3x1000 3x4000 1x5000",  # two and two of these: 17 bands
    "music": "10x100 12x250 8x500 8x1000 2x2000 1x2050",  # Luo and Yu, "V7": 41 bands at 44.1 kHz
    # Lu et al., 62 bands at 44.1 kHz: 24 x 2, 12 x 4, 8 x 12, 8 x 24, 8 x 48, 128 and 129 bins of 44100 / 2048 Hz
    "fine": "24x43.06640625 12x86.1328125 8x258.3984375 8x516.796875 8x1033.59375 1x2756.25 1x2777.783203125",
}
MOST_BANDS = 1000
MEL = re.compile(r"mel ?(\d{1,3})")
# Slaney's mel scale: linear up to 1 kHz, then logarithmic
MEL_HERTZ, MEL_KNEE, MEL_STEP = 200 / 3, 1000.0, math.log(6.4) / 27
EPSILON = 1e-8
Norm = Callable[[int], nn.Module]
Ranges = tuple[tuple[int, int], ...]


def band_edges(bands: str, sample_rate: int, n_fft: int) -> tuple[int, ...]:
    """Which bins of an STFT belong to which band.

    Args:
        bands: a name of `SPLITS`, or a text of that form. The last band that exists takes all bins that are left.
        sample_rate: in Hz.
        n_fft: in samples at that rate.

    Returns:
        First bins of the bands, and the number of bins: band b holds the bins from edge b to edge b + 1, that left out.

    Raises:
        InputError: a text of another form, or a band without a bin.
    """
    spacing, bins = Fraction(sample_rate, n_fft), n_fft // 2 + 1
    try:
        runs = [run.split("x") for run in SPLITS.get(bands, bands).split()]
        widths = [Fraction(hertz) for count, hertz in runs for _ in range(min(int(count), MOST_BANDS))]
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        widths = []
    if not 0 < len(widths) < MOST_BANDS or min(widths) <= 0:
        known = ", ".join(sorted(SPLITS))
        raise InputError(f"bands must be one of {known}, or a text such as '1x250 19x200'; got {bands!r}")
    lower = [Fraction(0), *accumulate(widths[:-1])]
    firsts = [-(-edge // spacing) for edge in lower]
    edges = (*(first for first in firsts if first < bins), bins)
    for hertz, (low, high) in zip(lower, pairwise(edges), strict=False):
        if low == high:
            raise InputError(
                f"bands={bands!r}: no bin in the band from {float(hertz):g} Hz on, bins are {float(spacing):g} Hz apart; "
                "take a longer n_fft or wider bands"
            )
    return edges


def mel_ranges(count: int, sample_rate: int, n_fft: int) -> Ranges:
    """Bins of overlapping bands: those within the triangles of a mel filter bank from 0 Hz to F0 / 2 (Slaney's scale, as librosa has it).

    Args:
        count: number of bands.
        sample_rate: F0 in Hz.
        n_fft: in samples at F0.

    Returns:
        First bin of each band, and the bin after its last: band b holds the bins strictly between the centres of bands b - 1 and b + 1. The
        first bin is in the first band, the last one in the last.

    Raises:
        InputError: a band without a bin, or a bin without a band.

    Source: Wang, Lu and Won, ISMIR 2023 late-breaking, arXiv:2310.01809 (mel-band RoFormer).
    """
    knee, top = MEL_KNEE / MEL_HERTZ, sample_rate / 2
    highest = top / MEL_HERTZ if top < MEL_KNEE else knee + math.log(top / MEL_KNEE) / MEL_STEP
    mels = np.linspace(0, highest, count + 2)
    edges = np.where(mels < knee, MEL_HERTZ * mels, MEL_KNEE * np.exp(MEL_STEP * (mels - knee)))
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    ranges = []
    for low, high in zip(edges[:-2], edges[2:], strict=True):
        inside = np.flatnonzero((bins > low) & (bins < high))
        if len(inside):
            ranges.append((int(inside[0]), int(inside[-1]) + 1))
    if len(ranges) < count:
        raise InputError(
            f"{count} mel bands leave a band without a bin of {sample_rate / n_fft:g} Hz; take fewer, or a longer n_fft"
        )
    ranges[0], ranges[-1] = (0, ranges[0][1]), (ranges[-1][0], len(bins))
    for (_, high), (low, _) in pairwise(ranges):
        if low > high:
            raise InputError(f"{count} mel bands leave out bin {high}; take fewer, or a longer n_fft")
    return tuple(ranges)


def as_ranges(edges: tuple[int, ...] | Ranges) -> Ranges:
    """First bin of each band and the bin after its last, from those, or from edges (see `band_edges`)."""
    values: Any = edges
    return tuple(values) if isinstance(values[0], tuple) else tuple(pairwise(values))


@dataclass(frozen=True)
class BandSplitConfig(STFTConfig):
    """Bands and masks: the settings that all band-split separators have.

    Attributes, beside those of `STFTConfig`:
        bands: "universal", "half", "music" or "fine" (see `SPLITS`), or a text of that form; or "mel 60", so many overlapping ones
            (see `mel_ranges`), whose masks are averaged where they overlap.
        width: size of a band's vector (N).
        layers: of the network between band split and masks.
        mask: "complex", or a real mask: "softmax" over the sources, "sigmoid", "relu" or "linear".
        mask_hidden: hidden size of the perceptrons that make the masks, shared by all sources.
        absent: bands above F / 2 are "dropped", which saves their cost, or "silent": the network sees zeros there and gives, for a signal
            that has nothing above F / 2 anyway, what it gives at F0.
        alive_norm: the norm of a band that F / 2 cuts has the statistics of the bins that are alive; else zeros count.
        mask_layers: hidden layers of these perceptrons.
        mask_per_source: each source has perceptrons of its own.
        zero_dc: masks are zero at 0 Hz.
        residual: what is added to mask * latent, of perceptrons like those of complex masks: "none"; "equal", which is as strong at every
            sampling frequency F; "samples", F0 / F times that: as strong beside the sums over samples that `torch.stft` gives at F.
        chunk: length of the chunks that `separate` cuts long signals into, in samples at F0; None for its default.
    """

    bands: str = "universal"
    width: int = 48
    layers: int = 3
    mask: str = "complex"
    mask_hidden: int = 64
    absent: str = "dropped"
    alive_norm: bool = False
    mask_layers: int = later(1)
    mask_per_source: bool = later(False)
    zero_dc: bool = later(False)
    chunk: int | None = later(None)
    residual: str = later("none")

    def __post_init__(self) -> None:
        """Checks what the layers do not check themselves."""
        super().__post_init__()
        check_choice(self, "mask", ("complex", *MASKS))
        check_choice(self, "absent", ("dropped", "silent"))
        check_choice(self, "residual", ("none", "equal", "samples"))
        for name in ("alive_norm", "mask_per_source", "zero_dc"):
            check_choice(self, name, (False, True))
        for name in ("width", "layers", "mask_hidden"):
            check_size(self, name)
        check_size(self, "mask_layers", optional=True)
        if self.chunk is not None:
            check_size(self, "chunk")
        _ = self.ranges

    @property
    def ranges(self) -> Ranges:
        """First bin of each band that exists at F0, and the bin after its last."""
        mel = MEL.fullmatch(self.bands) if isinstance(self.bands, str) else None
        if mel is not None and int(mel[1]) > 0:
            return mel_ranges(int(mel[1]), self.sample_rate, self.n_fft)
        return as_ranges(band_edges(self.bands, self.sample_rate, self.n_fft))


class BandSplit(nn.Module):
    """A norm and a linear layer for each band: real and imaginary parts of its bins, in all channels, to one vector.

    Args:
        edges: see `band_edges`, or ranges of bins, which may overlap.
        channels: heard together.
        width: size of the vectors.
        norm: makes the norm of so many values, `nn.LayerNorm`, `nn.RMSNorm`, `UnitNorm` or `ItemNorm`.
    """

    def __init__(self, edges: tuple[int, ...] | Ranges, channels: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.ranges = as_ranges(edges)
        sizes = [2 * channels * (high - low) for low, high in self.ranges]
        self.norms = nn.ModuleList(norm(size) for size in sizes)
        self.linears = nn.ModuleList(nn.Linear(size, width) for size in sizes)

    def forward(self, x: Tensor, bands: int, alive: int | None = None) -> Tensor:
        """(items, frames, channels, bins, 2) -> (items, frames, bands, width).

        Args:
            x: the latent; 2 for real and imaginary part.
            bands: how many bands, from the lowest on.
            alive: the bins after so many do not count in the norm of the band they begin in; None: they do.
        """
        vectors: list[Tensor] = []
        for (low, high), norm, linear in zip(self.ranges[:bands], self.norms, self.linears, strict=False):
            inside = x[..., low:high, :]
            if alive is None or not low < alive < high:
                vectors.append(linear(norm(inside.flatten(-3))))
            else:
                counted = inside.new_zeros(inside.shape[-3:], dtype=torch.bool)
                counted[:, : alive - low] = True
                vectors.append(linear(norm_of_part(norm, inside.flatten(-3), counted.flatten())))
        return torch.stack(vectors, dim=-2)


def norm_of_part(norm: nn.Module, x: Tensor, counted: Tensor) -> Tensor:
    """An `nn.LayerNorm`, `nn.RMSNorm`, `UnitNorm` or `ItemNorm` of some of the values, as if there were no others; zero for these.

    Args:
        norm: the norm.
        x: (..., values).
        counted: (values,) bool.
    """
    part, y = x[..., counted], torch.zeros_like(x)
    if isinstance(norm, nn.LayerNorm):
        part = functional.layer_norm(
            part, part.shape[-1:], norm.weight[counted], norm.bias[counted], norm.eps
        )
    elif isinstance(norm, nn.RMSNorm):
        part = functional.rms_norm(part, part.shape[-1:], norm.weight[counted], norm.eps)
    elif isinstance(norm, ItemNorm):
        part = functional.layer_norm(part, part.shape[1:], eps=norm.eps)
        part = part * norm.weight[counted] + norm.bias[counted]
    elif isinstance(norm, UnitNorm):
        part = functional.normalize(part, dim=-1) * (part.shape[-1] ** 0.5 * norm.weight[counted])
    y[..., counted] = part
    return y


class BandMasks(nn.Module):
    """A perceptron for each band, from its vector to the masks of its bins.

    The hidden layer is shared by the sources: with one source it is the published network, which the papers train once for each.

    Args:
        edges: see `band_edges`, or ranges of bins: where they overlap, masks are averaged.
        channels: heard together.
        sources: number of masks.
        width: size of the vectors.
        hidden: of the hidden layer.
        norm: makes the norm of so many values, before the hidden layer; `nn.Identity` for none.
        kind: "complex", or one of `sfi_zoo.models.parts.masks.MASKS`.
        layers: hidden layers.
        per_source: each source has a perceptron of its own.
        zero_dc: masks are zero at bin 0.
    """

    count: Tensor

    def __init__(
        self,
        edges: tuple[int, ...] | Ranges,
        channels: int,
        sources: int,
        width: int,
        hidden: int,
        norm: Norm,
        kind: str,
        layers: int = 1,
        per_source: bool = False,
        zero_dc: bool = False,
    ) -> None:
        super().__init__()
        self.ranges = as_ranges(edges)
        self.channels, self.sources, self.kind, self.zero_dc = channels, sources, kind, zero_dc
        self.parts = 2 if kind == "complex" else 1
        scores = channels * self.parts * (1 if per_source else sources)

        def perceptron(size: int) -> nn.Sequential:
            sizes = [width, *[hidden] * layers]
            inner = (m for low, high in pairwise(sizes) for m in (nn.Linear(low, high), nn.Tanh()))
            return nn.Sequential(norm(width), *inner, nn.Linear(sizes[-1], 2 * size), nn.GLU(dim=-1))

        sizes = [scores * (high - low) for low, high in self.ranges]
        self.perceptrons = nn.ModuleList(
            Together(perceptron(size) for _ in range(sources)) if per_source else perceptron(size)
            for size in sizes
        )
        count = torch.zeros(self.ranges[-1][1], dtype=torch.long, device="cpu")
        for low, high in self.ranges:
            count[low:high] += 1
        self.overlapping = bool((count > 1).any())
        self.register_buffer("count", count, persistent=False)

    def forward(self, h: Tensor, alive: int) -> Tensor:
        """(items, frames, bands, width) -> masks (items, sources, channels x bins, frames), zero but in the first `alive` bins."""
        scores = [
            rearrange(
                perceptron(vector),
                "i k (s c f r) -> i k s c f r",
                s=self.sources,
                c=self.channels,
                r=self.parts,
            )
            for vector, perceptron in zip(h.unbind(dim=-2), self.perceptrons, strict=False)
        ]
        every = rearrange(self._joined(scores)[..., :alive, :], "i k s c f r -> i s c f k r").contiguous()
        # there are no complex numbers of bfloat16
        every = every.to(torch.promote_types(every.dtype, torch.float32))
        masks = (
            torch.view_as_complex(every) if self.kind == "complex" else masks_from(every[..., 0], self.kind)
        )
        if self.zero_dc:
            masks = torch.cat([torch.zeros_like(masks[..., :1, :]), masks[..., 1:, :]], dim=-2)
        dead = self.ranges[-1][1] - alive
        return functional.pad(masks, (0, 0, 0, dead)).flatten(2, 3) if dead else masks.flatten(2, 3)

    def _joined(self, scores: list[Tensor]) -> Tensor:
        """Scores of bands, each (items, frames, sources, channels, bins of the band, parts), on the bins; averaged where bands overlap."""
        if not self.overlapping:
            return torch.cat(scores, dim=-2)
        shape = (*scores[0].shape[:-2], self.ranges[-1][1], scores[0].shape[-1])
        total = scores[0].new_zeros(shape)
        for (low, high), score in zip(self.ranges, scores, strict=False):
            total[..., low:high, :] += score
        return total / self.count[:, None]


class Together(nn.ModuleList):
    """Modules that see the same, their outputs side by side on the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., values) -> (..., values of all)."""
        return torch.cat([module(x) for module in self], dim=-1)


class BandSplitSeparator(STFTSeparator):
    """Band split, a network, masks for each band. A subclass says which network.

    Args:
        config: the settings.
        network: (items, frames, bands, width) -> the same shape, any number of frames and bands.
        norm: makes the norms of band split and masks.
        mask_norm: there is a norm before the perceptrons of the masks.
    """

    config: BandSplitConfig

    def __init__(self, config: BandSplitConfig, network: nn.Module, norm: Norm, mask_norm: bool) -> None:
        super().__init__(config)
        ranges, channels, width = config.ranges, config.channels, config.width
        self.split = BandSplit(ranges, channels, width, norm)
        self.network = network

        def masks(kind: str) -> BandMasks:
            return BandMasks(
                ranges,
                channels,
                len(config.sources),
                width,
                config.mask_hidden,
                norm if mask_norm else nn.Identity,
                kind,
                config.mask_layers,
                config.mask_per_source,
                config.zero_dc,
            )

        self.masks = masks(config.mask)
        self.residuals = None if config.residual == "none" else masks("complex")

    @property
    def chunk_seconds(self) -> float | None:
        """That of the configuration."""
        return None if self.config.chunk is None else self.config.chunk / self.config.sample_rate

    def encode(self, waveform: Tensor, sample_rate: float | None = None) -> Latent:
        """Analyse, see `STFTSeparator.encode`.

        Raises:
            InputError: as there, or the lowest band has bins above F / 2.
        """
        latent = super().encode(waveform, sample_rate)
        whole = self.split.ranges[0][1]
        if self.alive_bins(latent) < whole:
            upper = (whole - 1) * self.config.sample_rate / self.config.n_fft
            raise InputError(
                f"a sample rate of {self.check_rate(sample_rate):.10g} Hz is below the lowest band, whose last bin is at {upper:g} Hz; "
                f"take {2 * upper:g} Hz or more"
            )
        return latent

    def predict_masks(self, latent: Latent) -> Tensor:
        """Masks, (items, sources, features, frames); zero for dead features."""
        return self.masks(*self._seen(latent))

    def predict(self, latent: Latent) -> tuple[Tensor, Tensor | None]:
        """Masks, and the residual where the model has one; zero for dead features."""
        seen = self._seen(latent)
        return self.masks(*seen), None if self.residuals is None else self.residuals(*seen)

    def decode(
        self,
        latents: Tensor,
        sample_rate: float | None = None,
        length: int | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """Synthesise, see `STFTSeparator.decode`.

        Args:
            latents: (items, sources, features, frames).
            sample_rate: F in Hz; `current_rate` when omitted.
            length: samples wanted; by default what the frames cover.
            residual: what `predict` gives beside the masks, which is added to the latents.
        """
        if residual is not None:
            ratio = self.trained_rate / self.check_rate(sample_rate)
            latents = latents + (residual * ratio if self.config.residual == "samples" else residual)
        return super().decode(latents, sample_rate, length)

    def _seen(self, latent: Latent) -> tuple[Tensor, int]:
        """What the network gives for each band that exists, (items, frames, bands, width), and how many bins are alive."""
        alive, ranges = self.alive_bins(latent), self.split.ranges
        bands = sum(low < alive for low, _ in ranges)
        seen = bands if self.config.absent == "dropped" else len(ranges)
        x = torch.view_as_real(latent.values).to(next(self.split.parameters()).dtype)
        x = rearrange(x, "i (c f) k r -> i k c f r", c=self.config.channels)
        h = self.network(self.split(x, seen, alive if self.config.alive_norm else None))
        return h[:, :, :bands], alive
