"""Speech sings: recorded words of many speakers on notes and on a beat, by the WORLD vocoder, as tracks of the MUSDB layout.

    python tools/music4/singers.py SPEECH OUT --over MUSIC/train

SPEECH has a folder of recordings (WAV, Ogg) for each speaker, at any depth. OUT/train/SING - <speaker> v<seed>/{mixture,vocals,...}.wav
is a minute of that speaker over drums, bass and other of a rendered track, which is drawn from the folders of MUSIC/train; without --over
those are silent, and OUT is a folder of voices for the other renderers (`--voices OUT`). Run again, it goes on. The same files and seed
give the same line.

Of each word WORLD tells fundamental, spectral envelope and aperiodicity every 5 ms. What is drawn for a line:

- sung (two of three): a voiced stretch is held on notes of a scale around the speaker's median pitch, up to 3 times as long, with glides of
  75 ms between notes and a vibrato on long ones; or spoken in time: the speaker's own melody, words that begin on eighths.
- the pitch, 4 semitones down to 7 up, and the formants, 0.85 to 1.18 times as high, as of a longer or shorter throat.
- what a producer does to it (`players.produced`): doubling, echo, reverb, drive, a telephone.

Needs: pip install pyworld. Source: M. Morise et al., IEICE Trans. Inf. Syst. E99-D(7):1877, 2016 (WORLD).
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.random import Generator

from sfi_zoo.audio.resample import resample
from sfi_zoo.errors import InputError
from tools.music4.players import produced
from tools.music4.programs import add_seeds, print_each, seeded, told
from tools.music4.render_midi import generator_of, levelled, write_track

PERIOD = 5.0  # of the vocoder's frames, in ms
SCALES = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # semitones
SUFFIXES = (".wav", ".ogg")
RATES = (32_000, 48_000)  # of recordings that are taken, in Hz: lower ones lack the consonants
LENGTHS = (0.3, 12.0)  # of recordings that are taken, in s
FEWEST = 8  # words of a speaker
VOICED = 8  # frames of a stretch at least
GLIDE = np.hanning(17)[1:-1] / np.hanning(17).sum()
LEVEL = (-24.0, -15.0)  # of the vocals, in dB
PARTS = ("drums", "bass", "other")


class Word(NamedTuple):
    """What WORLD tells of a word.

    Attributes:
        pitch: (frames,) in Hz, 0 where nothing is voiced.
        envelope: (frames, bins), power.
        noise: (frames, bins), the share of the amplitude that is noise.
    """

    pitch: np.ndarray
    envelope: np.ndarray
    noise: np.ndarray


def words_of(folder: Path, rate: int, broken: list[str]) -> Iterator[np.ndarray]:
    """Recordings of a speaker without the silence around them, at the power of one: (time,) each.

    Names of those that cannot be read are appended to `broken`.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        try:
            info = soundfile.info(path)
            if not (RATES[0] <= info.samplerate <= RATES[1] and LENGTHS[0] < info.duration < LENGTHS[1]):
                continue
            x = soundfile.read(path, always_2d=True)[0].mean(1)
        except soundfile.LibsndfileError:
            broken.append(path.name)
            continue
        x = np.asarray(resample(x, info.samplerate, rate), dtype=float)
        block = rate // 50
        level = np.sqrt(np.convolve(np.square(x), np.full(block, 1 / block), "same"))
        heard = np.flatnonzero(level > 0.05 * level.max())
        if level.max() > 1e-3 and np.ptp(heard) > 0.15 * rate:
            x = x[heard[0] : heard[-1] + 1]
            yield x / np.sqrt(np.square(x).mean())


def analysed(x: np.ndarray, rate: int) -> Word:
    """What WORLD tells of a word: (time,)."""
    import pyworld

    pitch, times = pyworld.dio(x, rate, f0_floor=60, f0_ceil=700, frame_period=PERIOD)
    pitch = pyworld.stonemask(x, pitch, times, rate)
    return Word(pitch, pyworld.cheaptrick(x, pitch, times, rate), pyworld.d4c(x, pitch, times, rate))


def on_notes(
    pitch: np.ndarray, centre: float, scale: Sequence[int], pace: float, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where in a word each frame of its song is read, and its pitch there in Hz: (frames of the song,) both."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pitch > 0, [0]]).astype(int))).reshape(-1, 2)
    places, lines, end, degree = [], [], 0, int(rng.integers(-2, 4))
    for first, last in edges[np.ptp(edges, axis=1) >= VOICED]:
        places.append(np.arange(end, first, dtype=float))
        lines.append(np.zeros(first - end))
        notes = 1 if last - first < 40 else int(rng.integers(1, 1 + min(3, (last - first) // 25)))
        cuts = np.linspace(first, last, notes + 1)
        for begin, stop in pairwise(cuts):
            length = max(VOICED, round((stop - begin) * pace * rng.uniform(0.7, 1.6)))
            degree = int(np.clip(degree + rng.integers(-2, 3), -4, 7))
            octave, step = divmod(degree, len(scale))
            t = np.arange(length)
            vibrato = rng.uniform(0, 0.45) * np.sin(2e-3 * np.pi * rng.uniform(4.8, 6.2) * PERIOD * t)
            semitones = 12 * octave + scale[step] - 5 + vibrato * np.clip((t - 40) / 40, 0, 1)
            places.append(np.linspace(begin, stop - 1, length))
            lines.append(centre * 2 ** (semitones / 12))
        end = last
    places.append(np.arange(end, len(pitch), dtype=float))
    lines.append(np.zeros(len(pitch) - end))
    line = np.concatenate(lines)
    voiced = line > 0
    logs = np.convolve(np.where(voiced, np.log(np.maximum(line, 1)), 0), GLIDE, "same")
    weight = np.maximum(np.convolve(voiced.astype(float), GLIDE, "same"), 1e-9)
    return np.concatenate(places), np.where(voiced, np.exp(logs / weight), 0)


def spoken(word: Word, places: np.ndarray, pitch: np.ndarray, formants: float, rate: int) -> np.ndarray:
    """A word read at `places` with a pitch in Hz, its formants `formants` times as high: (time,)."""
    import pyworld

    near = np.clip(np.round(places).astype(int), 0, len(word.pitch) - 1)
    bins = np.clip(np.arange(word.envelope.shape[1]) / formants, 0, word.envelope.shape[1] - 1)
    low = bins.astype(int)
    high, part = np.minimum(low + 1, len(bins) - 1), bins - low

    def moved(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x[near][:, low] * (1 - part) + x[near][:, high] * part)

    y = pyworld.synthesize(np.ascontiguousarray(pitch), moved(word.envelope), moved(word.noise), rate, PERIOD)
    fade = np.linspace(0, 1, min(rate // 100, len(y) // 2))
    y[: len(fade)] *= fade
    y[len(y) - len(fade) :] *= fade[::-1]
    return np.asarray(y)


def line_of(words: Sequence[np.ndarray], length: int, rate: int, beat: float, rng: Generator) -> np.ndarray:
    """A line of one speaker, words and rests, with a peak of one: (length,); silent where no word is voiced."""
    line, at, misses = np.zeros(length), int(rng.uniform(0, 1) * rate), 0
    scale, sings = SCALES[int(rng.integers(len(SCALES)))], rng.random() < 0.65
    transposed, formants = 2 ** (rng.uniform(-4, 7) / 12), rng.uniform(0.85, 1.18)
    pace = rng.uniform(1.0, 2.6) if sings else rng.uniform(0.8, 1.15)
    while at < length and misses < 100:
        word = analysed(words[int(rng.integers(len(words)))], rate)
        voiced = word.pitch[word.pitch > 0]
        if len(voiced) < VOICED:
            misses += 1
            continue
        if sings:
            places, pitch = on_notes(word.pitch, float(np.median(voiced)) * transposed, scale, pace, rng)
        else:
            places = np.linspace(0, len(word.pitch) - 1, round(len(word.pitch) / pace))
            pitch = word.pitch[np.round(places).astype(int)] * transposed**0.5
        y = spoken(word, places, pitch, formants, rate)[: length - at]
        line[at : at + len(y)] += y
        eighth = beat / 2 * rate
        at = int(np.ceil((at + len(y)) / eighth) * eighth)
        if rng.random() < 0.12:
            at += int(rng.integers(1, 5) * beat * rate)
    return line / max(np.abs(line).max(), 1e-9)


def accompaniment(folders: Sequence[Path], length: int, rate: int, rng: Generator) -> dict[str, np.ndarray]:
    """Drums, bass and other of one of the tracks, an excerpt of `length` samples each; silence without tracks."""
    if not folders:
        return {part: np.zeros(length) for part in PARTS}
    folder = folders[int(rng.integers(len(folders)))]
    info = soundfile.info(folder / "drums.wav")
    if info.samplerate != rate:
        raise InputError(f"{folder}: {info.samplerate} Hz, but the lines are rendered at {rate} Hz")
    first = int(rng.integers(0, max(1, info.frames - length)))
    found = {}
    for part in PARTS:
        x = soundfile.read(folder / f"{part}.wav", start=first, stop=first + length, always_2d=True)[0].mean(
            1
        )
        found[part] = np.pad(x, (0, length - len(x)))
    return found


def render(job: tuple[Path, int], args: argparse.Namespace) -> str:
    """A speaker and a seed become a track, if it was not there before; what to print."""
    folder, seed = job
    speaker = "-".join(folder.relative_to(args.speech).parts) or folder.name
    name = f"SING - {speaker} v{seed}"
    target = args.out / "train" / name
    if target.exists():
        return f"{name} was there"
    broken: list[str] = []
    words = list(words_of(folder, args.rate, broken))
    cannot = f"; {len(broken)} cannot be read: {', '.join(broken[:3])}" if broken else ""
    if len(words) < FEWEST:
        return (
            f"{name} left out: {len(words)} recordings of {LENGTHS[0]:g} to {LENGTHS[1]:g} s at {RATES[0]} to {RATES[1]} Hz, "
            f"fewer than {FEWEST}{cannot}"
        )
    rng, length = generator_of(speaker, seed, 0), round(args.seconds * args.rate)
    beat = 60 / rng.uniform(75, 150)
    line = line_of(words, length, args.rate, beat, rng)
    if not line.any():
        return f"{name} left out: no voice was found in its {len(words)} recordings{cannot}"
    folders = sorted(path.parent for path in args.over.glob("*/drums.wav")) if args.over else []
    stems = accompaniment(folders, length, args.rate, generator_of(speaker, seed, 1))
    if folders:
        line = produced(line, args.rate, beat, rng)[:length]
    stems["vocals"] = levelled(line, args.rate, rng.uniform(*LEVEL))
    write_track(target, {part: stems[part] for part in ("vocals", *PARTS)}, args.rate)
    return name + cannot


def main() -> None:
    """All speakers, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--over", type=Path, help="folder of tracks whose drums, bass and other accompany")
    add_seeds(parser)
    parser.add_argument("--rate", type=int, default=32_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a line")
    args = parser.parse_args()
    with told(parser, package="pyworld"):
        speakers = sorted({p.parent for p in args.speech.rglob("*") if p.suffix.lower() in SUFFIXES})
        if not speakers:
            raise InputError(f"{args.speech}: no recordings ({', '.join(SUFFIXES)})")
        if args.over and not any(args.over.glob("*/drums.wav")):
            raise InputError(f"{args.over}: no tracks; --over takes a folder such as MUSIC/train")
        print_each(render, seeded(speakers, args), args)


if __name__ == "__main__":
    main()
