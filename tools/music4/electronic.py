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
import zlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator

from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from sfi_zoo.training.augment import Alteration
from tools.music4 import synthesiser as s
from tools.music4.composer import Note, Score, composed
from tools.music4.render_midi import levelled, read_song, sung, write_track

RENDERED = ("MIDI - ", "ELEC - ")  # beginnings of the names of tracks whose vocals are phrases of others
LEVELS = {
    "vocals": (-25.0, -17.0),
    "drums": (-22.0, -15.0),
    "bass": (-28.0, -17.0),
    "other": (-24.0, -16.0),
}  # dB of full scale where they are heard
ABSENT = {"vocals": 0.1, "drums": 0.08, "bass": 0.15, "other": 0.03}  # share of the songs without
GENERAL_MIDI = {
    **dict.fromkeys((35, 36), "kick"),
    **dict.fromkeys((38, 40), "snare"),
    **dict.fromkeys((39, 37), "clap"),
    **dict.fromkeys((42, 44), "hat"),
    46: "open_hat",
    **dict.fromkeys((41, 43, 45, 47, 48, 50), "tom"),
    **dict.fromkeys((49, 51, 52, 55, 57, 59), "cymbal"),
    **dict.fromkeys((54, 69, 70, 82), "shaker"),
}  # every other is a cowbell


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


def drums_of(notes: Sequence[Note], length: int, rate: int, rng: Generator) -> np.ndarray:
    """A drum machine plays them."""
    machine = {name: sound(rng, rate) for name, sound in s.DRUMS.items()}
    volumes = {name: rng.uniform(0.2, 0.8) for name in s.DRUMS}
    volumes |= {"kick": rng.uniform(0.6, 1), "snare": rng.uniform(0.5, 1.3), "clap": rng.uniform(0.4, 1.3)}
    line = np.zeros(length)
    for note in notes:
        name = GENERAL_MIDI.get(int(note.pitch), "cowbell")
        at = round(note.start * rate)
        sound = machine[name][: max(0, length - at)]
        line[at : at + len(sound)] += volumes[name] * note.level * sound
    if rng.random() < 0.3:
        line = s.reverb(line, rng.uniform(0.2, 1.2), rng.uniform(0.1, 0.4), rng, rate)
    if rng.random() < 0.15:
        line = s.crushed(line, int(rng.integers(6, 11)), int(rng.integers(1, 4)))
    if rng.random() < 0.5:
        line = s.high_passed(line, rng.uniform(30, 120), rate)
    return s.driven(line, rng.uniform(0.5, 6))


def bass_of(notes: Sequence[Note], length: int, rate: int, rng: Generator) -> np.ndarray:
    """One voice: the last note that began sounds, between the octaves of 33 and 130 Hz."""
    starts = np.array([note.start for note in notes])
    pitches = np.array([note.pitch for note in notes], float)
    pitches -= 12 * np.ceil(np.maximum(0, pitches - rng.integers(40, 49)) / 12)
    pitches += 12 * np.ceil(np.maximum(0, 24 - pitches) / 12)
    which = np.maximum(np.searchsorted(starts, np.arange(length) / rate, "right") - 1, 0)
    glide = np.exp(-1 / (rate * rng.choice([0.001, 0.004, 0.03])))
    pitch = s.lfilter([1 - glide], [1, -glide], pitches[which] - pitches[0]) + pitches[0]
    frequency = s.frequency_of(pitch)
    falling = s.decays(starts, rng.uniform(0.05, 0.6), length, rate)
    kind = rng.choice(["saw", "pulse", "sub", "fm", "detuned", "acid"])
    if kind in ("saw", "acid"):
        line = s.saw(frequency, length, rate)
    elif kind == "pulse":
        line = s.pulse(frequency, length, rate, rng.uniform(0.1, 0.5))
    elif kind == "sub":
        line = s.sine(frequency, length, rate)
    elif kind == "fm":
        moved = s.sine(frequency * rng.choice([0.5, 1, 1, 2, 3]), length, rate)
        line = s.sine(frequency, length, rate, rng.uniform(0.5, 6) * (0.1 + falling) * moved)
    else:
        line = sum(s.saw(frequency * (1 + d), length, rate, rng.random()) for d in (-0.006, 0, 0.007))
    if kind != "sub":
        cutoff = rng.uniform(80, 700) * 2 ** (rng.uniform(0, 5) * falling)
        line = s.swept(line, cutoff, rate, rng.uniform(3, 9) if kind == "acid" else rng.uniform(0.6, 2.5))
        if rng.random() < 0.4:
            line = line + rng.uniform(0.3, 1) * s.sine(frequency, length, rate)
    line = line * _held(notes, length, rate, rng.uniform(0.03, 0.2))
    if rng.random() < 0.2:
        line = s.chorus(line, rng, rate)
    return s.driven(line, rng.uniform(1, 8) if rng.random() < 0.5 else 0.5)


def _held(notes: Sequence[Note], length: int, rate: int, release: float) -> np.ndarray:
    """The level of one voice: that of its note while it is held, smooth at the edges."""
    line = np.zeros(length)
    for note, following in zip(notes, [*notes[1:], None], strict=True):
        end = note.start + note.duration
        end = min(end, following.start) if following else end
        line[round(note.start * rate) : round(end * rate)] = 0.3 + 0.7 * note.level
    pole = np.exp(-1 / (rate * 0.003))
    edge = np.exp(-3 / (rate * release))
    smooth = s.lfilter([1 - pole], [1, -pole], line)
    return np.maximum(smooth, s.lfilter([1 - edge], [1, -edge], line) * (line == 0))


def arpeggio(notes: Sequence[Note], step: float, octaves: int) -> list[Note]:
    """Chords as their notes in turn, a step each."""
    chords: dict[int, list[Note]] = defaultdict(list)
    for note in notes:
        chords[round(note.start / step)].append(note)
    found = []
    for chord in chords.values():
        chord.sort(key=lambda note: note.pitch)
        for k in range(max(1, int(max(note.duration for note in chord) / step))):
            round_, which = divmod(k, len(chord))
            note = chord[which]
            pitch = note.pitch + 12 * (round_ % octaves)
            found.append(Note(chord[0].start + k * step, 0.9 * step, pitch, note.level))
    return found


INSTRUMENTS = ("supersaw", "pluck", "pad", "keys", "organ", "lead", "arpeggio")


def tone(
    kind: str, frequency: float, n: int, rate: int, colour: Sequence[float], rng: Generator
) -> np.ndarray:
    """`n` samples of an instrument at full level; `colour` are four values from 0 to 1 of the song."""
    if kind in ("supersaw", "pad"):
        voices = 3 + int(4 * colour[0])
        detuned = np.linspace(-1, 1, voices) * (0.003 + 0.012 * colour[1])
        return sum(s.saw(frequency * (1 + d), n, rate, rng.random()) for d in detuned) / voices**0.5
    if kind == "keys":
        index = (0.5 + 5 * colour[0]) * np.exp(-np.arange(n) / (rate * (0.1 + colour[1])))
        ratio = (1, 2, 3.5, 7, 14)[int(4.99 * colour[2])]
        return s.sine(frequency, n, rate, index * s.sine(frequency * ratio, n, rate))
    if kind == "organ":
        bars = [1.0, *colour, colour[0] * colour[1]]
        heard = [(k + 1, level) for k, level in enumerate(bars) if frequency * (k + 1) < 0.45 * rate]
        return sum(level * s.sine(frequency * k, n, rate) for k, level in heard) * np.ones(n)
    if kind == "pluck" or colour[0] < 0.5:
        return s.saw(frequency, n, rate) + colour[1] * s.saw(frequency * 1.005, n, rate, 0.3)
    return s.pulse(frequency, n, rate, 0.1 + 0.4 * colour[2])


def played(notes: Sequence[Note], score: Score, length: int, rate: int, rng: Generator) -> np.ndarray:
    """A channel of the other part, by an instrument with its filter and effects."""
    kind = str(rng.choice(INSTRUMENTS))
    colour = rng.random(4)
    if kind == "arpeggio":
        notes = arpeggio(notes, score.beat * rng.choice([0.25, 0.25, 0.5]), int(rng.integers(1, 4)))
    attack = rng.uniform(0.1, 0.6) if kind == "pad" else rng.uniform(0.001, 0.02)
    release = rng.uniform(0.3, 1.5) if kind in ("pad", "keys") else rng.uniform(0.05, 0.4)
    if rng.random() < 0.35:
        notes = [note._replace(pitch=note.pitch - 12 if note.pitch > 47 else note.pitch) for note in notes]
    longest: dict[float, float] = defaultdict(float)
    for note in notes:
        longest[note.pitch] = max(longest[note.pitch], min(note.duration, 6.0))
    tones = {
        pitch: tone(kind, float(s.frequency_of(pitch)), round((held + release) * rate) + 1, rate, colour, rng)
        for pitch, held in longest.items()
    }
    line = np.zeros(length)
    for note in notes:
        at, held = round(note.start * rate), round(min(note.duration, 6.0) * rate)
        n = min(held + round(release * rate), length - at)
        if n > 0:
            envelope = s.note_envelope(n, held, attack, release, rate)
            line[at : at + n] += (0.3 + 0.7 * note.level) * envelope * tones[note.pitch][:n]
    return _coloured(line, [note.start for note in notes], kind, score.beat, rate, rng)


def _coloured(
    line: np.ndarray, starts: Sequence[float], kind: str, beat: float, rate: int, rng: Generator
) -> np.ndarray:
    """A channel through its filter and effects."""
    length = len(line)
    if kind in ("pluck", "arpeggio", "lead") or rng.random() < 0.4:
        falling = s.decays(starts, rng.uniform(0.03, 0.5), length, rate)
        cutoff = rng.uniform(100, 1500) * 2 ** (rng.uniform(1, 5) * falling)
    else:
        slow = np.sin(2 * np.pi * np.arange(length) / (rate * rng.uniform(4, 30)) + rng.uniform(0, 6))
        cutoff = rng.uniform(300, 6000) * 2 ** (rng.uniform(0, 2) * slow)
    line = s.swept(line, cutoff, rate, rng.uniform(0.6, 4))
    if rng.random() < 0.5:
        line = s.high_passed(line, rng.uniform(40, 250), rate)
    if rng.random() < 0.2:  # a gate of sixteenths
        open_ = np.repeat(rng.random(16) < 0.6, round(beat / 4 * rate)).astype(float)
        line = line * s.lfilter([0.01], [1, -0.99], np.resize(open_, length))
    if rng.random() < 0.4:
        line = s.chorus(line, rng, rate)
    if rng.random() < 0.2:
        line = s.driven(line, rng.uniform(1, 6))
    if rng.random() < 0.4:
        line = s.echo(
            line, beat * rng.choice([0.5, 0.75, 1]), rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.6), rate
        )
    if rng.random() < 0.6:
        line = s.reverb(line, rng.uniform(0.5, 3), rng.uniform(0.1, 0.8), rng, rate)
    return line


def vocals_of(length: int, rate: int, voices: Sequence[Track], beat: float, rng: Generator) -> np.ndarray:
    """Phrases of the voices, produced."""
    line = sung(length, rate, voices, rng)
    if not line.any():
        return line

    def pitched(x: np.ndarray, semitones: float) -> np.ndarray:
        moved = Alteration(pitch=semitones).apply(torch.from_numpy(x).float()[None], rate, len(x))
        return moved[0].double().numpy()

    if rng.random() < 0.5:
        line = pitched(line, rng.uniform(-7, 4))
    if rng.random() < 0.4:
        line = s.low_passed(line, rng.uniform(500, 4000), rate)
    if rng.random() < 0.3:
        second = pitched(line, float(rng.choice([-12, -5, 0.15, 0.25, 3, 4, 7, 12])))
        line = line + rng.uniform(0.3, 0.9) * np.roll(second, round(rng.uniform(0.01, 0.03) * rate))
    if rng.random() < 0.15:  # chops: a slice again and again
        for _ in range(int(rng.integers(2, 12))):
            size, times = round(beat / 4 * rate) * int(rng.integers(1, 3)), int(rng.integers(2, 9))
            at = int(rng.integers(0, max(1, length - size * times)))
            again = np.tile(
                line[at : at + size] * s.note_envelope(size, round(0.9 * size), 0.003, 0.01, rate), times
            )
            line[at : at + len(again)] = again[: length - at]
    if rng.random() < 0.2:
        line = s.driven(line, rng.uniform(1, 6))
    if rng.random() < 0.15:
        line = s.passed(line, rng.uniform(200, 500), rng.uniform(2500, 4500), rate)
    else:
        line = s.high_passed(line, rng.uniform(60, 180), rate)
    if rng.random() < 0.2:
        line = s.chorus(line, rng, rate)
    if rng.random() < 0.4:
        line = s.echo(
            line, beat * rng.choice([0.5, 0.75, 1]), rng.uniform(0.2, 0.6), rng.uniform(0.1, 0.5), rate
        )
    if rng.random() < 0.7:
        line = s.reverb(line, rng.uniform(0.4, 3), rng.uniform(0.1, 0.6), rng, rate)
    return line


def stems_of(score: Score, seed: int, rate: int, voices: Sequence[Track]) -> dict[str, np.ndarray]:
    """The stems of a song at their levels, of one length; a pure function of the song, the seed and the voices."""
    rngs = {part: _generator(score.name, seed, use) for use, part in enumerate((*LEVELS, "mix"), 1)}
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
        line = levelled(played(notes, score, length, rate, rngs["other"]), rate, -20.0)
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


def _generator(name: str, seed: int, use: int) -> Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), seed, use])


def render(job: tuple[str, Path | None, int], args: argparse.Namespace) -> str:
    """A song and a seed become a track, if it was not there before; its name."""
    song, path, seed = job
    name = f"ELEC - {song} v{seed}"
    folder = args.out / args.split / name
    if folder.exists():
        return f"{name} was there"
    rng = _generator(song, seed, 0)
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
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--split", default="train")
    parser.add_argument("--voices", type=Path, help="folder of the MUSDB layout whose training tracks sing")
    parser.add_argument("--rate", type=int, default=32_000)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of a song at most")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    try:
        paths = sorted(args.songs.glob("*.mid")) if args.songs else []
        if args.songs and not paths:
            raise InputError(f"{args.songs}: no *.mid")
        songs = [(path.stem, path) for path in paths]
        songs += [(f"composed {number:03d}", None) for number in range(args.composed)]
        if not songs:
            raise InputError("nothing to render: give --songs FOLDER, --composed NUMBER, or both")
        jobs = [(*song, args.first_seed + seed) for seed in range(args.seeds) for song in songs]
        with ProcessPoolExecutor(args.jobs) as pool:
            for line in pool.map(partial(render, args=args), jobs):
                print(line, flush=True)
    except (InputError, OSError, ValueError) as error:
        parser.error(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
