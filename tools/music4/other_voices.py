"""Songs sung by another voice: vocals at other formants, and octaves, by the WORLD vocoder; the accompaniment stays.

    python tools/music4/other_voices.py MUSIC OUT --only 'PJS*'

For each training track of MUSIC (layout of MUSDB18) OUT/train/VOICE - <track> v<seed>/{mixture,vocals,...}.wav: in mono, in its key and
tempo, with drums, bass and other as they are, and vocals as loud beside them as before. Run again, it goes on. The same track and seed
give the same song.

What is drawn, if the median pitch then lies between 80 and 500 Hz:

- an octave up (one of four), with formants 1.08 to 1.22 times as high;
- an octave down (one of four), with formants 0.84 to 0.94 times as high;
- else the same pitch, with formants 0.82 to 0.92 or 1.1 to 1.22 times as high.

WORLD models one voice: of a choir, or of vocals with much reverb, it makes something else. Needs: pip install pyworld.
"""

import argparse
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.random import Generator

from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from tools.music4.programs import add_seeds, print_each, seeded, told
from tools.music4.render_midi import generator_of, write_track
from tools.music4.singers import PARTS, VOICED, analysed, spoken

SUNG = (80.0, 500.0)  # Hz, the median of a voice
DEEPER, HIGHER = (0.82, 0.92), (1.1, 1.22)  # formants at the same pitch
OCTAVES = {1: (1.08, 1.22), -1: (0.84, 0.94)}  # formants with an octave


def drawn(median: float, rng: Generator) -> tuple[int, float]:
    """Octaves up, and the factor of the formants, for a voice whose median pitch is `median` Hz."""
    octave = int(rng.choice((-1, 0, 0, 1)))
    if octave and SUNG[0] <= median * 2.0**octave <= SUNG[1]:
        return octave, float(rng.uniform(*OCTAVES[octave]))
    return 0, float(rng.uniform(*(HIGHER if rng.random() < 0.5 else DEEPER)))


def another(vocals: np.ndarray, rate: int, rng: Generator) -> np.ndarray | None:
    """Vocals by another voice, of the same power: (time,) both. None if nothing in them is voiced."""
    word = analysed(vocals, rate)
    voiced = word.pitch[word.pitch > 0]
    if len(voiced) < VOICED:
        return None
    octave, formants = drawn(float(np.median(voiced)), rng)
    y = spoken(word, np.arange(len(word.pitch)), word.pitch * 2.0**octave, formants, rate)
    y = np.pad(y[: len(vocals)], (0, max(0, len(vocals) - len(y))))
    return y * np.sqrt(np.square(vocals).sum() / np.square(y).sum())


def render(job: tuple[Track, int], args: argparse.Namespace) -> str:
    """A track and a seed become a song, if it was not there before; what to print."""
    track, seed = job
    name = f"VOICE - {track.name} v{seed}"
    target = args.out / "train" / name
    if target.exists():
        return f"{name} was there"
    rate = round(track.sample_rate)
    stems = {part: track.read(part, 0, track.frames).mean(0).double().numpy() for part in ("vocals", *PARTS)}
    vocals = another(stems["vocals"], rate, generator_of(track.name, seed, 2))
    if vocals is None:
        return f"{name} left out: no voice was found in its vocals"
    write_track(target, stems | {"vocals": vocals}, rate)
    return name


def main() -> None:
    """All training tracks, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("music", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="*", help="tracks whose names match this shell pattern")
    add_seeds(parser)
    args = parser.parse_args()
    with told(parser, package="pyworld"):
        found, _ = training_tracks(args.music, "train", ("vocals", *PARTS))
        tracks = [track for track in found if fnmatch(track.name, args.only)]
        if not tracks:
            raise InputError(f"{args.music}: no training track matches {args.only!r}")
        print_each(render, seeded(tracks, args), args)


if __name__ == "__main__":
    main()
