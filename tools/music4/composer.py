"""Songs for machines, drawn: a loop of chords, patterns of sixteenths that come back, sections that lack a part.

A song is what `electronic` plays: notes by part and channel, with times in seconds. Drums have the pitches of General MIDI.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

SCALES = ((0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 11), (0, 1, 3, 5, 7, 8, 10))
LOOPS = ((0, 5, 2, 6), (0, 3, 4, 4), (0, 5, 3, 4), (0, 0, 5, 6), (0, 6, 5, 4), (0, 0, 0, 0), (0, 2, 3, 3))
KICKS = ((0, 4, 8, 12), (0, 4, 8, 12), (0, 6, 10), (0, 10), (0, 3, 8, 11), (0, 7, 8), (0, 8, 14))
SNARES = ((4, 12), (4, 12), (4, 12), (8,), (4, 7, 12, 15), (4, 10, 12))
HATS = ((2, 6, 10, 14), tuple(range(0, 16, 2)), tuple(range(16)), (0, 3, 6, 8, 11, 14), ())
BASSES = ((2, 6, 10, 14), tuple(range(0, 16, 2)), tuple(range(16)), (0,), (0, 3, 6, 8, 11, 14), (0, 6, 10))
STABS = ((0,), (0, 8), (2, 6, 10, 14), (0, 3, 6, 10, 13), (4, 12), (0, 6, 12))
BARS = 4  # of a loop, and of a section


class Note(NamedTuple):
    """Seconds, MIDI pitch, and a level up to 1."""

    start: float
    duration: float
    pitch: float
    level: float


@dataclass(frozen=True)
class Score:
    """Notes to be played.

    Attributes:
        name: of the song.
        beat: seconds.
        duration: seconds.
        parts: drums, bass or other -> channel -> notes in order.
    """

    name: str
    beat: float
    duration: float
    parts: dict[str, dict[int, list[Note]]]


def composed(name: str, rng: Generator, duration: float) -> Score:
    """A song of about this many seconds."""
    beat = 60 / rng.uniform(85, 155)
    step, swing = beat / 4, rng.choice([0.0, 0.0, 0.0, 0.15, 0.3])
    bars = max(1, int(duration / (4 * beat)))
    root, scale = int(rng.integers(38, 50)), SCALES[rng.integers(len(SCALES))]
    loop = LOOPS[rng.integers(len(LOOPS))]
    notes: dict[str, dict[int, list[Note]]] = {
        "drums": defaultdict(list),
        "bass": defaultdict(list),
        "other": defaultdict(list),
    }

    def add(part: str, channel: int, bar: int, at: float, steps: float, pitch: float, level: float) -> None:
        late = swing * step if at % 2 == 1 else 0.0
        notes[part][channel].append(Note((16 * bar + at) * step + late, steps * step, pitch, level))

    def degree(number: int) -> int:
        return root + 12 * (number // 7) + scale[number % 7]

    drums = _drum_patterns(rng)
    bass, bass_jumps = BASSES[rng.integers(len(BASSES))], rng.random(16) < rng.uniform(0, 0.5)
    bass_length = rng.uniform(0.4, 1.0) * (16 if bass == (0,) else 2)
    stabs, pad = STABS[rng.integers(len(STABS))], rng.random() < 0.6
    stab_length, chord = rng.uniform(0.5, 3), (0, 2, 4, 6)[: rng.integers(3, 5)]
    motif = [
        (int(at), int(rng.integers(7, 15))) for at in np.flatnonzero(rng.random(32) < rng.uniform(0.1, 0.5))
    ]
    playing: dict[object, bool] = {}

    def beats(bar: int) -> None:
        for pitch, pattern in drums.items():
            for at, level in pattern if playing[pitch] else ():
                add("drums", 9, bar, at, 1, pitch, level)
        if bar % BARS == BARS - 1 and playing[36] and rng.random() < 0.4:
            for at in range(12, 16):
                add("drums", 9, bar, at, 1, int(rng.choice([38, 45, 50])), rng.uniform(0.5, 1))

    def tones(bar: int, now: int) -> None:
        for at in bass if playing["bass"] else ():
            pitch = degree(now) - 12 + 12 * bool(bass_jumps[at])
            add("bass", 0, bar, at, bass_length, pitch, rng.uniform(0.7, 1))
        for third in chord:
            if pad and playing["pad"]:
                add("other", 1, bar, 0, 16, degree(now + third) + 12, 0.7)
            for at in stabs if playing["stabs"] else ():
                add("other", 2, bar, at, stab_length, degree(now + third) + 12, 0.9)
        for at, tone in motif if playing["lead"] else ():
            if at // 16 == bar % 2:
                add("other", 3, bar, at % 16, rng.uniform(0.8, 3), degree(tone) + 12, rng.uniform(0.6, 1))

    for bar in range(bars):
        if bar % BARS == 0:
            playing = {key: bool(rng.random() < 0.85) for key in (*drums, "bass", "pad", "stabs", "lead")}
            if rng.random() < 0.12:  # a break
                playing |= dict.fromkeys(drums, False)
        beats(bar)
        tones(bar, loop[bar % BARS])
    return Score(name, beat, bars * 4 * beat, {p: dict(c) for p, c in notes.items() if c})


def _drum_patterns(rng: Generator) -> dict[int, list[tuple[int, float]]]:
    """Pitch -> (sixteenth, level)."""
    drums = {36: [(at, 1.0) for at in KICKS[rng.integers(len(KICKS))]]}
    snares = SNARES[rng.integers(len(SNARES))]
    for pitch in ((38,), (39,), (38, 39))[rng.integers(3)]:
        drums[pitch] = [(at, 0.9) for at in snares]
    accent = rng.uniform(0.4, 1)
    drums[42] = [(at, accent if at % 4 else 0.8) for at in HATS[rng.integers(len(HATS))]]
    if rng.random() < 0.5:
        drums[46] = [(at, 0.7) for at in (2, 6, 10, 14)]
    for pitch in rng.choice([45, 50, 54, 56, 70, 76], size=rng.integers(0, 4), replace=False).tolist():
        drums[pitch] = [
            (int(at), rng.uniform(0.3, 0.9)) for at in rng.choice(16, rng.integers(1, 6), replace=False)
        ]
    return drums
