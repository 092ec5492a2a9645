"""Folders in the MUSDB layout to read, and tracks that need no files."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch

STEMS = ("vocals", "drums", "bass", "other")
RATE = 16000


def write_track(
    folder,
    seconds=0.5,
    channels=2,
    suffix="wav",
    stems=STEMS,
    mixture=True,
    seed=0,
    rate=RATE,
    subtype="PCM_24",
):
    """Random stems; returns them, (stems, channels, time)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    signals = rng.uniform(-0.2, 0.2, (len(stems), channels, round(seconds * rate)))
    for name, signal in zip(stems, signals, strict=True):
        soundfile.write(folder / f"{name}.{suffix}", signal.T, rate, subtype=subtype)
    if mixture:
        soundfile.write(folder / f"mixture.{suffix}", signals.sum(0).T, rate, subtype=subtype)
    return signals


@dataclass
class ArrayTrack:
    """A `sfi_zoo.data.tracks.Track` of arrays (channels, time)."""

    name: str
    stems: dict[str, np.ndarray]
    sample_rate: float = RATE
    reads: list = field(default_factory=list)

    @property
    def frames(self):
        return next(iter(self.stems.values())).shape[-1]

    def file(self, source):
        return Path(self.name, source)

    def read(self, source, start, stop):
        assert 0 <= start < stop <= self.frames
        self.reads.append((source, start, stop))
        return torch.from_numpy(self.stems[source][:, start:stop].astype(np.float32))


def ramp(name="ramp", frames=8 * RATE, sample_rate=RATE, offset=1, channels=1, stems=STEMS):
    """Sample n of stem s is s + (n + offset) / 2^20, exactly."""
    n = (np.arange(frames) + offset) / 2**20
    return ArrayTrack(
        name, {stem: np.tile(i + n, (channels, 1)) for i, stem in enumerate(stems)}, sample_rate
    )
