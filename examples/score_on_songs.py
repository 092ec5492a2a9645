"""Scores a model on folders of stems (the MUSDB layout), at any sampling frequencies; writes rows of JSON.

    python examples/score_on_songs.py convtasnet_mgf.music4 TREE/test --sample-rates 8000,16000,24000,44100,48000 -o scores.json

Mono: the channels of each stem are averaged. Stems are resampled to each rate by soxr. One track is in memory at a time.
"""

import argparse
import json
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

import sfi_zoo
from sfi_zoo.audio.io import read
from sfi_zoo.audio.resample import resample
from sfi_zoo.metrics import score_model
from sfi_zoo.metrics.scores import as_json


@lru_cache(maxsize=1)
def stems_of(folder: Path, sources: tuple[str, ...]) -> tuple[Tensor, int]:
    """(sources, time) mono, and the sample rate of the files."""
    signals, rates = zip(*(read(folder / f"{name}.wav") for name in sources), strict=True)
    return torch.stack([signal.mean(0) for signal in signals]), rates[0]


def main() -> None:
    """Score, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample-rates", default="8000,16000,24000,32000,44100,48000")
    parser.add_argument("--modes", default="native,resample,none")
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    model = sfi_zoo.load(args.model)

    def song_of(folder: Path):
        def at(rate: float) -> Tensor:
            stems, file_rate = stems_of(folder, model.sources)
            return resample(stems, file_rate, rate)

        return at

    songs = [song_of(folder) for folder in sorted(args.folder.iterdir()) if folder.is_dir()]
    rates = [int(rate) for rate in args.sample_rates.split(",")]
    rows = score_model(model, rates, songs, args.modes.split(","))
    per_source = score_by_source(model, songs)
    for row in (*rows, per_source):
        print(row)
    if args.out:
        args.out.write_text(
            json.dumps({"rows": as_json(rows), "improvement_at_trained_rate_db": per_source}, indent=2) + "\n"
        )


def score_by_source(model: sfi_zoo.models.base.Separator, songs: list) -> dict[str, float]:
    """SI-SDR improvement over the mixture at F0, per source: means over the tracks where the source is not silent."""
    found: dict[str, list[float]] = {name: [] for name in model.sources}
    for song in songs:
        references = song(model.sample_rate)
        mixture = references.sum(0)
        with torch.no_grad():
            estimates = model(mixture[None, None])[0, :, 0]
        for name, estimate, reference in zip(model.sources, estimates, references, strict=True):
            if reference.square().mean() > 1e-8:
                gain = sfi_zoo.metrics.si_sdr(estimate, reference) - sfi_zoo.metrics.si_sdr(
                    mixture, reference
                )
                found[name].append(float(gain))
    return {name: sum(values) / len(values) for name, values in found.items()}


if __name__ == "__main__":
    main()
