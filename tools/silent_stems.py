"""How silent is a stem that is not in the song? Each source in turn is taken out of every mixture, and the level of its estimate measured.

    python tools/silent_stems.py SONGS convtasnet_mgf_gate.music4 convtasnet_mgf_projects.music4

SONGS has the layout of MUSDB18; its `test` songs are read, --seconds of the middle of each, mixed down to mono at their own rate. Printed
for each model: the level of a silent stem against the mixture (median over songs for each source; over all, median, mean, and the share at
-45 dB or below), and the SI-SDR that the sources of the whole songs gain (mean over sources of the means over songs, and the pairs that
are worse than the mixture).
"""

import argparse
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

import sfi_zoo
from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from sfi_zoo.metrics.sdr import si_sdr
from sfi_zoo.models.base import Separator
from sfi_zoo.training.objective import SILENT

WANTED = -45.0


def stems_of(track: Track, sources: Sequence[str], seconds: float) -> Tensor:
    """(sources, time), mono, the middle of the track."""
    length = min(track.frames, round(seconds * track.sample_rate))
    start = (track.frames - length) // 2
    return torch.stack([track.read(source, start, start + length).mean(0) for source in sources])


@torch.no_grad()
def levels_without(model: Separator, stems: Tensor, sample_rate: float) -> dict[str, float]:
    """Level of each source's estimate in dB against the mixture of the others; without sources that are silent anyway."""
    found = {}
    for index, source in enumerate(model.sources):
        mixture = stems.sum(0) - stems[index]
        if stems[index].any() and mixture.any():
            estimate = model(mixture[None, None], sample_rate)[0, index]
            energies = (x.double().square().sum() for x in (estimate, mixture))
            found[source] = 10 * float(torch.log10(torch.div(*energies) + 1e-12))
    return found


@torch.no_grad()
def gains(model: Separator, stems: Tensor, sample_rate: float) -> dict[str, float]:
    """SI-SDR over that of the mixture for each source that is heard beside others."""
    mixture = stems.sum(0)
    estimates = model(mixture[None, None], sample_rate)[0, :, 0]
    before, after = (si_sdr(x, stems) for x in (mixture.expand(stems.shape), estimates))
    loud = stems.square().sum(1) > SILENT * mixture.square().sum()
    kept = loud & torch.isfinite(before)
    return {s: float(after[i] - before[i]) for i, s in enumerate(model.sources) if kept[i]}


def row(name: str, levels: Sequence[dict[str, float]], gained: Sequence[dict[str, float]]) -> str:
    """A row of the table."""
    sources = list(dict.fromkeys(source for song in levels for source in song))
    cells = [f"{statistics.median(s[source] for s in levels if source in s):.1f}" for source in sources]
    every = [level for song in levels for level in song.values()]
    share = sum(level <= WANTED for level in every) / len(every)
    pairs = [gain for song in gained for gain in song.values()]
    heard = dict.fromkeys(source for song in gained for source in song)
    means = [statistics.fmean(s[source] for s in gained if source in s) for source in heard]
    cells += [f"{statistics.median(every):.1f}", f"{statistics.fmean(every):.1f}", f"{share:.0%}"]
    cells += [f"{statistics.fmean(means):.2f}", f"{sum(gain < 0 for gain in pairs)} of {len(pairs)}"]
    return f"| `{name}` | " + " | ".join(cells) + " |"


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    try:
        models = [sfi_zoo.load(name).eval() for name in args.models]
        if len({model.sources for model in models}) > 1:
            raise InputError("the models have other sources than each other")
        tracks, _ = training_tracks(args.songs, "test", models[0].sources)
    except InputError as error:
        parser.error(str(error))
    heads = ["silent stem, dB", *models[0].sources, "median", "mean", f"<= {WANTED:g} dB", "gained", "worse"]
    print("| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", sep="\n")
    songs = [(stems_of(track, models[0].sources, args.seconds), track.sample_rate) for track in tracks]
    for name, model in zip(args.models, models, strict=True):
        levels = [levels_without(model, *song) for song in songs]
        print(row(name, levels, [gains(model, *song) for song in songs]), flush=True)


if __name__ == "__main__":
    main()
