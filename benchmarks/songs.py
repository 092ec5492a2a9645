"""Songs to train on for a few minutes: four stems at 32 kHz, remixed on the fly, the same batches for equal seeds."""

from pathlib import Path

import soundfile
import torch
from torch import Tensor, nn

from sfi_zoo.data.synthetic import song

F0 = 32000
VALID = ("EIF - Caesium", *(f"PJS - {n:03d}" for n in range(79, 89)))


def load_songs(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """(4, time) int16 stems of all tracks: training and validation."""
    train, valid = [], []
    for path in sorted(folder.glob("*.ogg")):
        stems, rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert rate == F0, path
        (valid if path.stem.startswith(VALID) else train).append(torch.from_numpy(stems.T.copy()))
    if not train or not valid:
        raise SystemExit(f"{folder} holds no songs to train on, or none to validate on")
    return train, valid


def synthetic_songs() -> tuple[list[Tensor], list[Tensor]]:
    """Stand-ins for a quick look at whether everything runs."""
    songs = [song(seed, duration=3, sample_rate=F0, channels=1) for seed in range(3)]
    stems = [torch.cat([torch.from_numpy(x) for x in s.values()]) for s in songs]
    tracks = [(x / x.abs().max() * 32767).to(torch.int16) for x in stems]
    return tracks[:2], tracks[2:]


def excerpt(track: Tensor, length: int, rng: torch.Generator) -> Tensor:
    """(4, length) at a random place, float32 in [-1, 1]."""
    start = int(torch.randint(max(1, track.shape[1] - length), (1,), generator=rng))
    x = track[:, start : start + length].float() / 32768
    return nn.functional.pad(x, (0, length - x.shape[1]))


def batch(tracks: list[Tensor], items: int, length: int, rng: torch.Generator) -> Tensor:
    """(items, 4, length): stems of one song, or (more often) of four, re-levelled by up to 6 dB; the mixture has unit variance."""
    weights = torch.tensor([float(t.shape[1]) for t in tracks])
    out = []
    for _ in range(items):
        picks = torch.multinomial(weights, 4, replacement=True, generator=rng)
        if torch.rand(1, generator=rng) < 0.4:
            stems = excerpt(tracks[picks[0]], length, rng)
        else:
            stems = torch.stack([excerpt(tracks[p], length, rng)[s] for s, p in enumerate(picks)])
        out.append(stems * 10 ** (torch.empty(4, 1).uniform_(-6, 6, generator=rng) / 20))
    return unit_variance(torch.stack(out))


def unit_variance(stems: Tensor) -> Tensor:
    """Scales (items, sources, time) so that each mixture has unit variance."""
    return stems / (stems.sum(1, keepdim=True).std(-1, keepdim=True) + 1e-4)
