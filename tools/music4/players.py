"""Who plays an electronic song: drum machine, bass, the instruments of the rest, and the singer; each gives a line (time,)."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator

from sfi_zoo.data.tracks import Track
from sfi_zoo.training.augment import Alteration
from tools.music4 import synthesiser as s
from tools.music4.composer import Note
from tools.music4.render_midi import sung

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


def played(notes: Sequence[Note], beat: float, length: int, rate: int, rng: Generator) -> np.ndarray:
    """A channel of the other part, by an instrument with its filter and effects."""
    kind = str(rng.choice(INSTRUMENTS))
    colour = rng.random(4)
    if kind == "arpeggio":
        notes = arpeggio(notes, beat * rng.choice([0.25, 0.25, 0.5]), int(rng.integers(1, 4)))
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
    return _coloured(line, [note.start for note in notes], kind, beat, rate, rng)


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
        line = _echoed(line, beat, (0.2, 0.6), rate, rng)
    if rng.random() < 0.6:
        line = s.reverb(line, rng.uniform(0.5, 3), rng.uniform(0.1, 0.8), rng, rate)
    return line


def _echoed(line: np.ndarray, beat: float, wet: tuple[float, float], rate: int, rng: Generator) -> np.ndarray:
    """With an echo in time with the song; `wet` is its lowest and highest level."""
    return s.echo(line, beat * rng.choice([0.5, 0.75, 1]), rng.uniform(0.2, 0.6), rng.uniform(*wet), rate)


def vocals_of(length: int, rate: int, voices: Sequence[Track], beat: float, rng: Generator) -> np.ndarray:
    """Phrases of the voices, produced."""
    return produced(sung(length, rate, voices, rng), rate, beat, rng)


def produced(line: np.ndarray, rate: int, beat: float, rng: Generator) -> np.ndarray:
    """A line of vocals as a producer might leave it, of the same length; `beat` is in seconds."""
    length = len(line)
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
        line = _echoed(line, beat, (0.1, 0.5), rate, rng)
    if rng.random() < 0.7:
        line = s.reverb(line, rng.uniform(0.4, 3), rng.uniform(0.1, 0.6), rng, rate)
    return line
