"""Which stem an instrument belongs to: by its name where that is telling, else by its notes and by how it sounds alone.

`heard` measures a line that an instrument plays alone, `part_of` decides: drums, bass, other, or None where it cannot tell. A guess that is
left open costs an instrument; a wrong one puts a melody into the drums. So None is common, and who asks leaves those instruments out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PARTS = ("drums", "bass", "other")
WINDOW = 4096  # samples; also the distance of the frames
FRAMES = 60  # at most, of those within 30 dB of the loudest
LOWEST, HIGHEST = 35.0, 1200.0  # Hz, of the pitches that are looked for
EDGE = 128  # samples of a step of the envelope

DRUMS = re.compile(
    r"kick|snare|\bsnr|\bsd\d?\b|\bbd\d?\b|clap|hi-?hat|\bh\.?hat|\bhh\d?\b|\bch\b|\boh\b|\bhats?\b|crash|cymb|\bride|\btoms?\d?\b|drum"
    r"|shaker|tambour|tamb\b|rimshot|\brim\b|\bperc|conga|bongo|cowbell|clave|maracas|breakbeat|\bbreak\b|\bloop\b|timpani",
    re.IGNORECASE,
)
BASS = re.compile(r"\bbass(?!oon)|bass\b|bass\d|\bsub\b|slap", re.IGNORECASE)
BASS_DRUM = re.compile(r"bass ?-?drum", re.IGNORECASE)
VOICE = re.compile(
    r"voice|\bvox|vocal|speech|choir|\bsing|\byeah|scream|\btalk|\bsay|\bhey\b|\bvoc|chant|\baah|\booh|\blaugh|scratch",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Heard:
    """How a line sounds.

    Attributes:
        energy: sum of squares.
        active: share of the frames within 40 dB of the loudest.
        below_150, below_250: shares of the energy below 150 and 250 Hz.
        centroid: Hz, of the power spectrum.
        flatness: geometric over arithmetic mean of the power from 100 Hz to 10 kHz; 0 for a tone, about 0.56 for white noise.
        pitched: highest peak of the autocorrelation between lags of 1/1200 and 1/35 s; 1 for what repeats exactly.
        low_pitch, high_pitch: of what is pitched, the share below 110 and above 220 Hz.
        decay: seconds until a beginning has fallen by 15 dB, the median; 9 where nothing begins.
    """

    energy: float
    active: float = 0.0
    below_150: float = 0.0
    below_250: float = 0.0
    centroid: float = 0.0
    flatness: float = 0.0
    pitched: float = 0.0
    low_pitch: float = 0.0
    high_pitch: float = 0.0
    decay: float = 9.0


def heard(line: np.ndarray, rate: int) -> Heard:
    """Measure a line (time,); one that is silent or too short has an energy, and nothing else."""
    energy = float(line @ line)
    if len(line) < WINDOW or energy < 1e-9:
        return Heard(energy)
    frames = line[: len(line) // WINDOW * WINDOW].reshape(-1, WINDOW).astype(np.float64)
    energies = np.square(frames).sum(1)
    loud = np.flatnonzero(energies > 1e-3 * energies.max())
    loud = loud[np.unique(np.linspace(0, len(loud) - 1, FRAMES).astype(int))]
    power = np.abs(np.fft.rfft(frames[loud] * np.hanning(WINDOW), 2 * WINDOW)) ** 2
    frequency = np.fft.rfftfreq(2 * WINDOW, 1 / rate)
    share = power.sum(0) / power.sum()
    middle = power[:, (frequency > 100) & (frequency < 10_000)]
    flatness = np.exp(np.log(middle + 1e-12 * power.max()).mean(1)) / middle.mean(1).clip(1e-30)
    weight = energies[loud]
    peaks, pitches = _pitches(power, rate)
    voiced = weight * (peaks > 0.6)
    whole = voiced.sum() + 1e-12
    return Heard(
        energy=energy,
        active=float((energies > 1e-4 * energies.max()).mean()),
        below_150=float(share[frequency < 150].sum()),
        below_250=float(share[frequency < 250].sum()),
        centroid=float(frequency @ share),
        flatness=float(flatness @ weight / weight.sum()),
        pitched=float(peaks @ weight / weight.sum()),
        low_pitch=float(voiced @ (pitches < 110) / whole),
        high_pitch=float(voiced @ (pitches > 220) / whole),
        decay=_decay(line, rate),
    )


def _pitches(power: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame the highest peak of the autocorrelation, as a share of its energy, and the frequency of the first nearly as high."""
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(WINDOW), 2 * WINDOW)) ** 2)
    first, last = int(rate // HIGHEST), int(rate // LOWEST)
    lags = np.fft.irfft(power)[:, : last + 1]
    lags = lags / (lags[:, :1] + 1e-12) / (window[: last + 1] / window[0])
    peaks, pitches = np.zeros(len(power)), np.zeros(len(power))
    for frame, row in enumerate(lags[:, first:]):
        tops = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:])) + 1
        if len(tops) and (best := row[tops].max()) > 0:
            peaks[frame] = best
            pitches[frame] = rate / (first + tops[row[tops] > 0.92 * best][0])
    return peaks, pitches


def _decay(line: np.ndarray, rate: int) -> float:
    """Median time in seconds in which what begins falls by 15 dB."""
    level = np.sqrt(np.square(line[: len(line) // EDGE * EDGE].reshape(-1, EDGE)).mean(1))
    before = np.maximum(np.maximum(level[:-4], level[1:-3]), level[2:-2])
    falls: list[int] = []
    last = -9
    for begin in map(int, np.flatnonzero((level[4:] > 0.3 * level.max()) & (level[4:] > 2 * before)) + 4):
        if begin - last >= 8 and len(falls) < 200:
            tail = level[begin : begin + 500]
            tail = tail[tail[:12].argmax() :]
            below = np.flatnonzero(tail < 10 ** (-15 / 20) * tail[0])
            falls.append(int(below[0]) if len(below) else 500)
            last = begin
    return float(np.median(falls)) * EDGE / rate if falls else 9.0


def part_of(name: str, notes: Mapping[int, int], sound: Heard) -> tuple[str | None, str]:
    """The stem of an instrument, or None, and why.

    Args:
        name: of the instrument or its sample; in many modules it is a line of a greeting.
        notes: note -> how often it is played.
        sound: the instrument alone.
    """
    if sound.active == 0:
        return None, "silent"
    if VOICE.search(name):
        return None, "a voice, by its name"
    drums, bass = bool(DRUMS.search(name)), bool(BASS.search(name))
    if BASS_DRUM.search(name):
        drums, bass = True, False
    if drums != bass:
        return _checked("drums" if drums else "bass", len(notes), sound)
    share = max(notes.values(), default=0) / max(1, sum(notes.values()))
    if len(notes) <= 2 or (len(notes) <= 4 and share > 0.75):
        near = max(notes, default=0) - min(notes, default=0) <= 4
        return _of_few_notes(share, near, sum(notes.values()), sound)
    return _of_many_notes(len(notes), sound)


def _checked(named: str, notes: int, sound: Heard) -> tuple[str | None, str]:
    """What a name says, unless the sound speaks against it."""
    if named == "drums":
        melody = sound.pitched > 0.85 and sound.flatness < 0.01 and notes >= 5 and sound.active > 0.5
        return (None, "named drums, sounds like a melody") if melody else ("drums", "name")
    noisy = sound.flatness > 0.06 or sound.pitched < 0.55
    if sound.below_250 > 0.35 and not noisy and sound.low_pitch > 0.3:
        return "bass", "name"
    if sound.high_pitch > 0.7 and sound.below_250 < 0.15 and notes >= 3:
        return ("other", "named bass, is high") if sound.pitched > 0.8 else (None, "named bass, is neither")
    return ("bass", "name") if sound.below_250 > 0.6 and notes >= 3 else (None, "named bass, is not low")


Rule = tuple[bool, str | None, str]


def _of_few_notes(share: float, near: bool, count: int, sound: Heard) -> tuple[str | None, str]:
    """One note again and again is a drum, if it is short or noisy; a stab, a held chord or a low tone is not."""
    tonal = sound.flatness < 0.02 and sound.below_250 < 0.5 and sound.centroid < 2500
    one_drum = near and (sound.pitched < 0.6 or sound.flatness > 0.03) and sound.decay < 0.35
    several = sound.below_250 > 0.3 and share < 0.9 and not one_drum
    low_tone = sound.pitched > 0.93 and sound.below_150 > 0.5 and sound.active > 0.4
    a_little_noisy = (
        sound.flatness > 0.03 and sound.decay < 0.25 and sound.pitched < 0.8 and sound.active < 0.9
    )
    noisy = sound.flatness > 0.06 or sound.pitched < 0.55
    kick = (
        sound.below_150 > 0.6
        and sound.decay < 0.3
        and count >= 8
        and sound.active < 0.85
        and sound.pitched < 0.95
    )
    rules: list[Rule] = [
        (tonal and sound.decay > 0.15, None, "few notes: a stab or a chord?"),
        (several, None, "few notes: low, and more than one"),
        (a_little_noisy, "drums", "few notes, a little noisy"),
        (low_tone, None, "few notes: a low tone"),
        (noisy and sound.active < 0.9, "drums", "few notes, noisy"),
        (sound.flatness > 0.06 and sound.centroid > 1500, "drums", "few notes, noisy all the time"),
        (kick, "drums", "few notes, low and short"),
        (sound.decay < 0.2 and sound.pitched < 0.8, "drums", "few notes, short"),
    ]
    return _first(rules, "few notes")


def _of_many_notes(notes: int, sound: Heard) -> tuple[str | None, str]:
    """Bass where nearly all is low, other where nearly nothing is."""
    noisy = sound.flatness > 0.08 and sound.pitched < 0.5
    kick = sound.pitched < 0.65 and sound.decay < 0.08 and sound.active < 0.5 and notes <= 5
    low = sound.below_250 > 0.6 and sound.low_pitch > 0.6 and sound.high_pitch < 0.15
    both = sound.high_pitch > 0.25 and sound.low_pitch > 0.15 and sound.below_250 > 0.3
    high = sound.low_pitch < 0.15 and sound.below_250 < 0.5
    mostly_high = sound.low_pitch < 0.35 and sound.below_250 < 0.25 and notes >= 4
    chords = (
        sound.below_250 < 0.3 and sound.below_150 < 0.1 and sound.flatness < 0.03 and sound.centroid > 350
    )
    rules: list[Rule] = [
        (noisy and notes <= 6, "drums", "noisy"),
        (noisy, None, "many notes, noisy"),
        (sound.pitched < 0.6 and sound.flatness > 0.02, None, "many notes, neither pitched nor noisy"),
        (sound.pitched < 0.45, None, "many notes, unpitched"),
        (kick, None, "many notes: a kick?"),
        (low, "bass", "low"),
        (both, None, "low and high"),
        (high or mostly_high, "other", "high"),
        (chords and (sound.active > 0.15 or sound.decay > 0.3), "other", "chords"),  # whose period is low
    ]
    return _first(rules, "many notes, unsure")


def _first(rules: list[Rule], otherwise: str) -> tuple[str | None, str]:
    """What the first rule says that holds."""
    return next(((part, why) for holds, part, why in rules if holds), (None, otherwise))


def report_of(instruments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What became of instruments that have a part and an energy: shares of the energy of each part, of what is left out, of each."""
    whole = sum(float(one["energy"]) for one in instruments) + 1e-12

    def share(part: str | None) -> float:
        return round(sum(float(one["energy"]) for one in instruments if one["part"] == part) / whole, 4)

    shares = [{**one, "energy": round(float(one["energy"]) / whole, 4)} for one in instruments]
    return {"shares": {part: share(part) for part in PARTS}, "unsorted": share(None), "instruments": shares}
