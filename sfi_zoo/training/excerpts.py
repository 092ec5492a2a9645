"""Examples to train on: random excerpts of tracks, each a pure function of (seed, index)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from sfi_zoo.audio.resample import rate_ratio, resample, resampled_length
from sfi_zoo.data.layout import as_channels
from sfi_zoo.data.tracks import Track
from sfi_zoo.errors import InputError
from sfi_zoo.training.augment import Alteration, AugmentConfig, draw_alteration, vary
from sfi_zoo.training.collections import REST, by_collection

_MARGIN = 1024  # samples at the lower rate on both sides of an excerpt: more than half of soxr's filter
_SILENCE = 1e-3  # root mean square below which a source is silent: -60 dB of full scale
_ATTEMPTS = 8  # draws before an example that is silent throughout is let pass


def read_excerpt(
    track: Track, source: str, start: int, length: int, sample_rate: float, channels: int
) -> Tensor:
    """A part of the track as it would be, were it resampled as a whole; zeros beyond its end.

    Args:
        track: at any rate, with any number of channels.
        source: which stem.
        start: first sample at `sample_rate`, 0 or more.
        length: samples at `sample_rate`.
        sample_rate: wanted, in Hz.
        channels: wanted; 1 is the mean.

    Returns:
        (channels, length) float32.
    """
    # `up` samples here last as long as `down` samples of the file: only there do samples of both fall together.
    down, up = rate_ratio(track.sample_rate, sample_rate)
    margin = 0 if down == up else math.ceil(_MARGIN * max(1, up / down))
    block = max(0, start - margin) // up
    first = block * down
    last = min(track.frames, -(-(start + length + margin) * down // up))
    if first >= last:
        return torch.zeros(channels, length)
    samples = as_channels(track.read(source, first, last), channels)
    if down != up:
        samples = resample(samples, track.sample_rate, sample_rate)
    samples = samples[:, start - block * up :][:, :length]
    return pad(samples, (0, length - samples.shape[1])) if samples.shape[1] < length else samples


@dataclass(frozen=True)
class _Place:
    """Where sources come from: samples at the training rate."""

    track: int
    start: int
    alteration: Alteration


class Excerpts(Dataset[Tensor]):
    """Random excerpts. Example `index` depends on (seed, index) alone: any number of processes and a resumed run see the same.

    A track is drawn with a probability proportional to its length, or with its share. Tracks shorter than an excerpt are filled with zeros.

    Args:
        tracks: of `training_tracks`, cached or not.
        sources: in the model's order.
        sample_rate: training rate in Hz.
        seconds: length of an excerpt.
        channels: 1 (mixed down) or more.
        augment: what is done to the sources.
        seed: 0 or more.
        length: how many examples there are.
        shares: probability of each track, see `sfi_zoo.training.collections.track_shares`; by length when omitted.

    Raises:
        InputError: no tracks, an excerpt of no samples, a negative seed, or a library is missing that `augment` needs.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        sources: Sequence[str],
        sample_rate: float,
        seconds: float,
        channels: int,
        augment: AugmentConfig,
        seed: int,
        length: int,
        shares: Sequence[float] | None = None,
    ) -> None:
        _check(tracks, sample_rate, seconds, channels)
        if seed < 0 or length < 0:
            raise InputError(f"excerpts: seed = {seed}, length = {length}; give numbers of 0 or more")
        augment.check_libraries()
        self.tracks, self.sources, self.augment = tuple(tracks), tuple(sources), augment
        self.sample_rate, self.channels, self.seed = sample_rate, channels, seed
        self._length, self._samples = length, round(seconds * sample_rate)
        self._lengths = [resampled_length(t.frames, t.sample_rate, sample_rate) for t in tracks]
        self._edges = np.cumsum(self._lengths)
        self._shares = None if shares is None else np.cumsum(shares) / np.sum(shares)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        """The targets, (sources, channels, time) float32; the mixture is their sum.

        Raises:
            InputError: a file is damaged.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"example {index} of {self._length}")
        # Two streams: what is done to sources does not change where they come from.
        where, how = map(np.random.default_rng, np.random.SeedSequence([self.seed, index]).spawn(2))
        for _ in range(_ATTEMPTS):
            stems = self._draw(where)
            if any(map(_is_heard, stems)):
                break
        return vary(stems, self.sample_rate, self.augment, how)

    def _draw(self, rng: np.random.Generator) -> Tensor:
        count = len(self.sources) if rng.random() < self.augment.remix else 1
        places = [self._place(rng) for _ in range(count)] * (len(self.sources) // count)
        return torch.stack([self._read(*pair) for pair in zip(self.sources, places, strict=True)])

    def _place(self, rng: np.random.Generator) -> _Place:
        if self._shares is None:
            track = int(np.searchsorted(self._edges, rng.integers(self._edges[-1]), side="right"))
        else:
            track = int(np.searchsorted(self._shares, rng.random(), side="right"))
        alteration = draw_alteration(self.augment, rng)
        room = self._lengths[track] - alteration.needed(self._samples)
        return _Place(track, int(rng.integers(max(0, room) + 1)), alteration)

    def _read(self, source: str, place: _Place) -> Tensor:
        length = place.alteration.needed(self._samples)
        track = self.tracks[place.track]
        signal = read_excerpt(track, source, place.start, length, self.sample_rate, self.channels)
        return place.alteration.apply(signal, self.sample_rate, self._samples)


class FixedExcerpts(Dataset[Tensor]):
    """Excerpts at given places: (track, first sample at the training rate).

    Attributes:
        collections: of each excerpt, where the data has any; else all are of one.
    """

    def __init__(
        self,
        places: Sequence[tuple[Track, int]],
        sources: Sequence[str],
        sample_rate: float,
        samples: int,
        channels: int,
        collections: Sequence[str] | None = None,
    ) -> None:
        self.places, self.sources = tuple(places), tuple(sources)
        self.collections = tuple(collections or [REST] * len(places))
        self.sample_rate, self.samples, self.channels = sample_rate, samples, channels

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        """The targets, (sources, channels, time) float32."""
        track, start = self.places[index]
        shape = (start, self.samples, self.sample_rate, self.channels)
        return torch.stack([read_excerpt(track, source, *shape) for source in self.sources])


def validation_excerpts(
    tracks: Sequence[Track],
    sources: Sequence[str],
    sample_rate: float,
    seconds: float,
    channels: int,
    count: int,
) -> FixedExcerpts:
    """`count` excerpts, one in each of as many equal parts of all tracks played in a row: where most sources are heard.

    Of places in a part where equally many sources are heard it is the one nearest to the middle.

    Args:
        tracks: of `training_tracks`, cached or not.
        sources: in the model's order.
        sample_rate: training rate in Hz.
        seconds: length of an excerpt.
        channels: 1 (mixed down) or more.
        count: how many.

    Raises:
        InputError: no tracks, none asked for, or a file is damaged.
    """
    _check(tracks, sample_rate, seconds, channels)
    if count < 1:
        raise InputError(f"{count} validation excerpts: give 1 or more")
    ends = np.cumsum([track.frames / track.sample_rate for track in tracks])
    part = float(ends[-1]) / count
    places = []
    for middle in (np.arange(count) + 0.5) * part:
        i = int(np.searchsorted(ends, middle, side="right"))
        duration = tracks[i].frames / tracks[i].sample_rate
        inside = float(middle - ends[i]) + duration  # seconds
        low, high = max(0.0, inside - part / 2), min(duration, inside + part / 2) - seconds
        steps = max(1, math.ceil(2 * (high - low) / seconds) + 1)
        starts = np.linspace(low, high, steps) if high > low else [min(low, max(0.0, duration - seconds))]
        ranks = [
            (-_heard(tracks[i], sources, start, seconds), abs(start + seconds / 2 - inside), start)
            for start in starts
        ]
        places.append((tracks[i], round(min(ranks)[2] * sample_rate)))
    return FixedExcerpts(places, sources, sample_rate, round(seconds * sample_rate), channels)


def balanced_excerpts(
    tracks: Sequence[Track],
    patterns: Sequence[str],
    sources: Sequence[str],
    sample_rate: float,
    seconds: float,
    channels: int,
    count: int,
) -> FixedExcerpts:
    """`validation_excerpts` of each collection, as many of each, one or more.

    Args:
        tracks: of `training_tracks`, cached or not.
        patterns: of the collections, see `sfi_zoo.training.collections`.
        sources: in the model's order.
        sample_rate: training rate in Hz.
        seconds: length of an excerpt.
        channels: 1 (mixed down) or more.
        count: how many in all, up to rounding.

    Raises:
        InputError: no tracks, none asked for, or a file is damaged.
    """
    _check(tracks, sample_rate, seconds, channels)
    parts = by_collection(tracks, patterns)
    each = -(-count // len(parts))
    shape = (sources, sample_rate, seconds, channels)
    found = {name: validation_excerpts(members, *shape, each).places for name, members in parts.items()}
    places = [place for places in found.values() for place in places]
    names = [name for name, places in found.items() for _ in places]
    return FixedExcerpts(places, sources, sample_rate, round(seconds * sample_rate), channels, names)


def _heard(track: Track, sources: Sequence[str], start: float, seconds: float) -> int:
    """How many sources are not silent there."""
    first = round(start * track.sample_rate)
    last = min(track.frames, first + round(seconds * track.sample_rate))
    return sum(_is_heard(track.read(source, first, last)) for source in sources)


def _is_heard(signal: Tensor) -> bool:
    return float(torch.linalg.vector_norm(signal)) > _SILENCE * math.sqrt(signal.numel())


def _check(tracks: Sequence[Track], sample_rate: float, seconds: float, channels: int) -> None:
    if not tracks:
        raise InputError("excerpts: no tracks; give those of training_tracks")
    if not (seconds > 0 and round(seconds * sample_rate) > 0 and channels > 0):
        raise InputError(
            f"excerpts of {seconds} s at {sample_rate} Hz in {channels} channels: nothing to read"
        )
