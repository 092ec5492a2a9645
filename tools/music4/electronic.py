"""Electronic arrangements, by a synthesiser of our own, as stems of the MUSDB layout.

    python tools/music4/electronic.py OUT --songs SONGS --seeds 2 --composed 40 --voices MUSIC

OUT/train/ELEC - <song> v<seed>/{mixture,vocals,drums,bass,other}.wav are mono, 16 bit, and the mixture is exactly the sum. SONGS is a
folder of .mid files, `--composed` so many songs are drawn: a loop of chords, patterns of sixteenths. Run again, it goes on; the same song,
seed and voices give the same files.

- Drums: machines whose sounds are drawn for each song (synthesiser.py). Bass: saw, pulse, sine, FM, detuned saws with a swept filter,
  glide, drive. Other: supersaws, plucks, pads, FM keys, organs, leads, arpeggios, with chorus, echo, reverb, gates.
- The kick ducks bass and other; every stem has its own limiter, so that the sum stays exact.
- Vocals: phrases of the training tracks of MUSIC that are not rendered (never of its validation tracks), with other speeds and pitches,
  doubling, chops, drive, telephone, echo, reverb.
- Some songs have no vocals, drums, bass or other at all, some lose one for a while: a separator must learn silence.

Needs: pip install mido python-stretch.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from tools.music4 import synthesiser as s
from tools.music4.composer import Note, Score, composed
from tools.music4.players import GENERAL_MIDI, bass_of, drums_of, played, vocals_of
from tools.music4.programs import print_each, seeded, told
from tools.music4.render_midi import add_options, generator_of, levelled, read_song, write_track

RENDERED = (
    "MIDI - ",
    "ELEC - ",
    "REAL - ",
)  # beginnings of the names of tracks whose vocals are phrases of others
LEVELS = {
    "vocals": (-25.0, -17.0),
    "drums": (-22.0, -15.0),
    "bass": (-28.0, -17.0),
    "other": (-24.0, -16.0),
}  # dB of full scale where they are heard
ABSENT = {"vocals": 0.1, "drums": 0.08, "bass": 0.15, "other": 0.03}  # share of the songs without


def midi_score(path: Path, rng: Generator, limit: float) -> Score:
    """A window of a MIDI file, in another key and tempo.

    Raises:
        InputError: it is none, or has no note.
    """
    song = read_song(path)
    tempo, key = rng.uniform(0.85, 1.15), int(rng.integers(-5, 6))
    whole = song.events[-1][0] * tempo
    duration = min(whole + 1.0, limit)
    begin = rng.uniform(0, max(0.0, whole - duration))
    sounding: dict[tuple[int, int], tuple[float, int]] = {}
    parts: dict[str, dict[int, list[Note]]] = defaultdict(lambda: defaultdict(list))
    for seconds, message in song.events:
        if not message.type.startswith("note") or message.channel not in song.parts:
            continue
        now, place = seconds * tempo - begin, (message.channel, message.note)
        started = sounding.pop(place, None)
        if started and started[0] >= 0 and started[0] < duration:
            part = song.parts[message.channel]
            pitch = message.note + (0 if part == "drums" else key)
            parts[part][message.channel].append(Note(started[0], now - started[0], pitch, started[1] / 127))
        if message.type == "note_on" and message.velocity:
            sounding[place] = (now, message.velocity)
    found = {part: {c: sorted(notes) for c, notes in channels.items()} for part, channels in parts.items()}
    return Score(path.stem, 0.5 * tempo, duration, found)


def stems_of(score: Score, seed: int, rate: int, voices: Sequence[Track]) -> dict[str, np.ndarray]:
    """The stems of a song at their levels, of one length; a pure function of the song, the seed and the voices."""
    rngs = {part: generator_of(score.name, seed, use) for use, part in enumerate((*LEVELS, "mix"), 1)}
    mix, length = rngs["mix"], round(score.duration * rate)
    parts = {
        part: [note for notes in channels.values() for note in notes]
        for part, channels in score.parts.items()
    }
    found = {part: np.zeros(length) for part in LEVELS}
    found["vocals"] = vocals_of(length, rate, voices, score.beat, rngs["vocals"])
    if parts.get("drums"):
        found["drums"] = drums_of(parts["drums"], length, rate, rngs["drums"])
    if parts.get("bass"):
        found["bass"] = bass_of(sorted(parts["bass"]), length, rate, rngs["bass"])
    for notes in score.parts.get("other", {}).values():
        line = levelled(played(notes, score.beat, length, rate, rngs["other"]), rate, -20.0)
        found["other"] += 10 ** (rngs["other"].uniform(-8, 0) / 20) * line
    kicks = [note.start for note in parts.get("drums", ()) if GENERAL_MIDI.get(int(note.pitch)) == "kick"]
    depth = mix.uniform(0.2, 0.9) if mix.random() < 0.6 else 0.0
    ducked = 1 - depth * s.decays(kicks, mix.uniform(0.04, 0.25), length, rate)
    for part, loud in LEVELS.items():
        x = found[part] * (ducked if part in ("bass", "other") else 1.0)
        x = s.driven(x, mix.uniform(0.3, 3)) * _present(length, ABSENT[part], score.beat, rate, mix)
        found[part] = levelled(x, rate, mix.uniform(*loud))
    return found


def _present(length: int, absent: float, beat: float, rate: int, rng: Generator) -> np.ndarray:
    """One where a stem is heard: nowhere in a share of the songs, else not in some stretches of 4 to 16 beats."""
    heard = np.full(length, float(rng.random() >= absent))
    for _ in range(int(rng.integers(0, 3))):
        at = int(rng.integers(0, length))
        heard[at : at + round(rng.uniform(4, 16) * beat * rate)] = 0.0
    return np.minimum(1.0, np.convolve(heard, np.full(321, 1 / 321), "same"))


def render(job: tuple[str, Path | None, int], args: argparse.Namespace) -> str:
    """A song and a seed become a track, if it was not there before; its name."""
    song, path, seed = job
    name = f"ELEC - {song} v{seed}"
    folder = args.out / args.split / name
    if folder.exists():
        return f"{name} was there"
    rng = generator_of(song, seed, 0)
    score = composed(song, rng, args.limit) if path is None else midi_score(path, rng, args.limit)
    voices = training_tracks(args.voices, "train", ("vocals",))[0] if args.voices else []
    voices = [track for track in voices if not track.name.startswith(RENDERED)]
    write_track(folder, stems_of(score, seed, args.rate, voices), args.rate)
    return name


def main() -> None:
    """All songs, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--songs", type=Path, help="a folder of .mid files")
    parser.add_argument("--composed", type=int, default=0, help="how many songs are drawn beside them")
    add_options(parser, limit=60.0)
    args = parser.parse_args()
    with told(parser):
        paths = sorted(args.songs.glob("*.mid")) if args.songs else []
        if args.songs and not paths:
            raise InputError(f"{args.songs}: no *.mid")
        songs = [(path.stem, path) for path in paths]
        songs += [(f"composed {number:03d}", None) for number in range(args.composed)]
        if not songs:
            raise InputError("nothing to render: give --songs FOLDER, --composed NUMBER, or both")
        print_each(render, [(*song, seed) for song, seed in seeded(songs, args)], args)


if __name__ == "__main__":
    main()
