"""Songs from a formula: four stems in continuous time, exact at every sampling frequency, never resampled.

`compose` says what the song of a seed is: notes, each a sum of partials with closed-form envelope and phase.
`song` evaluates these formulas at the instants n / sample_rate.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Array = npt.NDArray[Any]
Random = np.random.Generator

PANS = {"vocals": 0.0, "drums": 0.1, "bass": -0.1, "other": 0.4}  # -1 is left, 1 is right
HIGHEST = 20_000.0  # Hz; no song has anything above
CHUNK = 1024  # samples of a gliding note worked on together, so that they stay in the cache
# Semitones of a major scale; chords as scale degrees, one a bar; sung (onset, length) in beats, and a breath.
SCALE = (0, 2, 4, 5, 7, 9, 11)
PROGRESSIONS = ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (0, 3, 5, 4), (5, 4, 3, 4))
PHRASES = (((0, 1.5), (1.5, 0.5), (2, 1.5)), ((0.5, 0.5), (1, 1), (2, 0.5), (2.5, 1)), ((0, 1), (1, 2.25)))
# Formants of the voice in Hz: two that make the vowel (a, e, i, o, u), three that all vowels share.
VOWELS = np.array([[800, 1200], [450, 1900], [300, 2300], [480, 850], [340, 750]])
SHARED_FORMANTS = np.array([2800, 3500, 8000])
FORMANT_WIDTHS = np.array([130, 150, 220, 280, 3000])
FORMANT_GAINS = np.array([1.0, 0.6, 0.45, 0.4, 0.15])


def song(
    seed: int = 0,
    duration: float = 10.0,
    sample_rate: float = 44100,
    channels: int = 2,
    max_frequency: float | None = None,
) -> dict[str, Array]:
    """A short song as four stems, the exact samples of one continuous-time signal.

    A partial of a note is rendered if, and only if, over its whole life
        max_t frequency(t) + 2 / min(attack, release) < min(sample_rate / 2, max_frequency),
    so aliases lie below -90 dB: the signal at one rate is the band-limited version of that at a higher one.
    Partials within this margin (50 Hz for the voice, 667 Hz for drums) of the Nyquist frequency are left out.
    With one `max_frequency`, at most the lowest Nyquist frequency, all rates sample one function of time.

    Args:
        seed: which song; a whole number of 0 or more. A shorter song is the beginning of a longer one.
        duration: seconds, above 0 and at most 3600.
        sample_rate: Hz, from 1 to 1e6, not necessarily whole.
        channels: 1 is the mean of the stereo pair; more than 2 spread the stems evenly from left to right.
        max_frequency: Hz, or None for the Nyquist frequency. Nothing lies above 20 kHz.

    Returns:
        "vocals", "drums", "bass", "other": (channels, round(duration * sample_rate)) float64 each. Their sum,
        the mixture, peaks between about 0.5 and 0.9.

    Raises:
        InputError: an argument is outside its range.
    """
    highest = math.inf if max_frequency is None else max_frequency
    tiny = math.ulp(0.0)  # the smallest number above 0
    _check("seed", seed, Integral, 0, math.inf, "a whole number of 0 or more")
    _check("duration", duration, Real, tiny, 3600, "seconds above 0 and at most 3600")
    _check("sample_rate", sample_rate, Real, 1, 1e6, "Hz from 1 to 1e6")
    _check("channels", channels, Integral, 1, math.inf, "a whole number of 1 or more")
    _check("max_frequency", highest, Real, tiny, math.inf, "Hz above 0, or None")
    # Gain 1 + pan * position. Positions are symmetric: the mean of the channels is the mono song.
    positions = np.linspace(-1, 1, channels) if channels > 1 else np.zeros(1)
    stems = {}
    for stem, notes in compose(seed, duration).items():
        mono = np.zeros(round(duration * sample_rate))
        for note in notes:
            note.add_to(mono, sample_rate, min(sample_rate / 2, highest))
        stems[stem] = (1 + PANS[stem] * positions)[:, None] * mono
    return stems


def _check(name: str, value: Any, kind: type, low: float, high: float, allowed: str) -> None:
    if not (isinstance(value, kind) and low <= value <= high):  # type: ignore[operator]
        raise InputError(f"{name} is {value!r}: give {allowed}")


def rise(u: Array) -> Array:
    """Smooth step: 0 for u <= 0, 1 for u >= 1; its slope is the raised cosine 1 - cos(2 pi u)."""
    u = np.clip(u, 0.0, 1.0)
    return u - np.sin(2 * np.pi * u) / (2 * np.pi)


@dataclass(frozen=True, eq=False)
class Note(ABC):
    """Partials under one envelope; t is in seconds from `start`.

    e(t) = rise(t / attack) * rise((duration - t) / release), 0 outside (0, duration). The spectrum of its
    slope, a raised cosine, has its main lobe within 2 / attack Hz: so far the envelope spreads a partial.
    """

    start: float
    duration: float
    attack: float
    release: float
    amplitudes: Array  # complex: size and phase

    @abstractmethod
    def highest_frequencies(self) -> Array:
        """The highest instantaneous frequency (Hz) of each partial over its whole life, (partials,)."""

    @abstractmethod
    def waveform(self, t: Array, sample_rate: float, keep: Array) -> Array:
        """Sum of the partials chosen by `keep` at t = t[0] + n / sample_rate, without the envelope."""

    def add_to(self, signal: Array, sample_rate: float, limit: float) -> None:
        """Add the partials that stay below `limit` (Hz) to a signal (time,)."""
        keep = self.highest_frequencies() + 2 / min(self.attack, self.release) < limit
        first = max(0, math.ceil(self.start * sample_rate))
        last = min(len(signal), math.floor((self.start + self.duration) * sample_rate) + 1)
        if first < last and keep.any():
            t = np.arange(first, last) / sample_rate - self.start
            envelope = rise(t / self.attack) * rise((self.duration - t) / self.release)
            signal[first:last] += envelope * self.waveform(t, sample_rate, keep)


@dataclass(frozen=True, eq=False)
class FixedPartials(Note):
    """Strings, drums and noise: Re sum_k amplitudes_k exp((-decays_k + 2 pi j frequencies_k) t).

    All three are (partials,), frequencies in Hz, decays in 1/s.
    """

    frequencies: Array
    decays: Array

    def highest_frequencies(self) -> Array:
        """The frequencies themselves."""
        return self.frequencies

    def waveform(self, t: Array, sample_rate: float, keep: Array) -> Array:
        """exp(s (t_q + r / F)) = exp(s t_q) exp(s r / F): a matrix product in place of exponentials."""
        s = (-self.decays + 2j * np.pi * self.frequencies)[keep]
        block = math.isqrt(len(t)) + 1
        left = self.amplitudes[keep] * np.exp(np.outer(t[::block], s))
        right = np.exp(np.outer(s, np.arange(block) / sample_rate))
        return (np.hstack([left.real, -left.imag]) @ np.vstack([right.real, right.imag])).ravel()[: len(t)]


@dataclass(frozen=True, eq=False)
class GlidingPartials(Note):
    """Harmonics k = 1 ... K of a moving pitch: exp(-decay t) Re sum_k a_k(t) exp(2 pi j k phase(t)).

    The pitch starts at pitch + glide and settles at `pitch`, with a vibrato of +-`vibrato` (all in Hz).
    a_k(t) goes from amplitudes[0, k] to amplitudes[1, k] (two vowels) in the middle of the note.
    """

    pitch: float
    glide: float
    glide_time: float = 0.05
    vibrato: float = 0.0
    vibrato_rate: float = 5.5
    vibrato_onset: float = 0.5
    decay: float = 0.0
    initial_phase: float = 0.0

    def phase(self, t: Array) -> Array:
        """The integral of the pitch, in cycles."""
        glided = -self.glide * self.glide_time * np.expm1(-t / self.glide_time)
        omega = 2 * np.pi * self.vibrato_rate
        swing = self.vibrato / omega * rise(t / self.vibrato_onset) * np.sin(omega * t)
        return self.initial_phase + self.pitch * t + glided + swing

    def highest_frequencies(self) -> Array:
        """k times a bound of the derivative of `phase`; the slope of rise(u) is at most 2."""
        swing = self.vibrato * (1 + 2 / (2 * np.pi * self.vibrato_rate * self.vibrato_onset))
        return (self.pitch + max(self.glide, 0.0) + swing) * np.arange(1, self.amplitudes.shape[1] + 1)

    def waveform(self, t: Array, sample_rate: float, keep: Array) -> Array:
        """Powers z^k of z = exp(2 pi j phase(t)), then one matrix product for both vowels."""
        amplitudes = self.amplitudes[:, keep]  # keeps k = 1, 2, ... up to some k
        parts = []
        for chunk in np.split(t, range(CHUNK, len(t), CHUNK)):
            z = np.exp(2j * np.pi * self.phase(chunk))
            powers = np.cumprod(np.broadcast_to(z, (amplitudes.shape[1], len(z))), axis=0)
            first, second = (amplitudes @ powers).real
            weight = rise((chunk / self.duration - 0.3) / 0.4)
            parts.append(np.exp(-self.decay * chunk) * (first + weight * (second - first)))
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Bar:
    start: float  # seconds
    beat: float  # seconds
    tonic: float  # Hz
    root: int  # scale degree of the chord

    def at(self, beats: float) -> float:
        return self.start + beats * self.beat

    def pitch(self, degree: int, octave: int) -> float:
        return self.tonic * 2 ** (octave + degree // 7 + SCALE[degree % 7] / 12)


def compose(seed: int, duration: float) -> dict[str, list[Note]]:
    """Write those bars of the song of a seed that begin before `duration` (seconds)."""
    players = {"vocals": _sing, "drums": _drum, "bass": _play_bass, "other": _play_keys}
    # A generator for each stem, read bar after bar: a longer song only goes on.
    plan, *generators = (np.random.default_rng([int(seed), i]) for i in range(1 + len(players)))
    beat = 60 / plan.uniform(84, 120)
    tonic = 110 * 2 ** (plan.integers(-3, 4) / 12)
    progression = PROGRESSIONS[plan.integers(len(PROGRESSIONS))]
    count = math.ceil(duration / (4 * beat))
    bars = [_Bar(4 * beat * i, beat, tonic, progression[i % 4]) for i in range(count)]
    parts = zip(players.items(), generators, strict=True)
    return {stem: [note for bar in bars for note in play(rng, bar)] for (stem, play), rng in parts}


def _unit(amplitudes: Array) -> Array:
    """Scale the sum of the partials to a root mean square of 1."""
    return amplitudes / np.sqrt(np.sum(np.abs(amplitudes) ** 2, axis=-1, keepdims=True) / 2)


def _vowel(pitch: float, vowel: np.integer[Any]) -> Array:
    """Amplitudes of the harmonics: glottal 1 / k times the formants; quadratic phase keeps the peaks low."""
    k = np.arange(1, int(15_000 / pitch))
    distance = (pitch * k[:, None] - np.append(VOWELS[vowel], SHARED_FORMANTS)) / FORMANT_WIDTHS
    return _unit(np.exp(0.3j * k**2) / k * (0.01 + np.sum(FORMANT_GAINS / (1 + distance**2), axis=-1)))


def _sing(rng: Random, bar: _Bar) -> list[Note]:
    notes: list[Note] = []
    vowel = rng.integers(len(VOWELS))
    degree = bar.root + rng.choice([0, 2, 4]) - (7 if bar.root > 3 else 0)
    pitch, phase, fade = 0.0, 0.0, 0.04
    for onset, beats in PHRASES[rng.integers(len(PHRASES))]:
        before, pitch = pitch, bar.pitch(degree, octave=1)
        vowels, vowel = vowel, rng.integers(len(VOWELS))
        note = GlidingPartials(
            *(bar.at(onset), beats * bar.beat + fade, fade, fade),
            rng.uniform(0.07, 0.09) * np.stack([_vowel(pitch, vowels), _vowel(pitch, vowel)]),
            pitch=pitch,
            glide=(before or 0.94 * pitch) - pitch,  # on one breath, pitch and phase go on from note to note
            vibrato=pitch * rng.uniform(0.010, 0.018),
            vibrato_rate=rng.uniform(5.0, 6.0),
            initial_phase=phase,
        )
        notes.append(note)
        phase = float(note.phase(np.float64(beats * bar.beat))) % 1
        degree = min(max(degree + rng.choice([-2, -1, 1, 2]), -2), 8)
    return notes


def _pluck(start: float, length: float, pitch: float, top: float, level: float, decay: float) -> Note:
    """A string: harmonics k up to about `top` Hz, a little sharp, that die away the faster the higher."""
    k = np.arange(1, int(top / pitch) + 1)
    amplitudes = level * _unit(np.exp(0.7j * k**2) / k**1.2)
    frequencies = pitch * k * np.sqrt(1 + 1e-4 * k**2)
    return FixedPartials(start, length, 0.004, 0.05, amplitudes, frequencies, decay * (1 + 0.3 * k))


def _play_bass(rng: Random, bar: _Bar) -> list[Note]:
    steps = ((0, 1.5), (1.5, 0.5), (2, 1.5), (3.5, 0.5)) if rng.random() < 0.5 else ((0, 2), (2, 1), (3, 1))
    pitch = bar.pitch(bar.root, octave=-2 if bar.root > 3 else -1)
    return [_pluck(bar.at(onset), 0.95 * beats * bar.beat, pitch, 1000, 0.1, 1.2) for onset, beats in steps]


def _play_keys(rng: Random, bar: _Bar) -> list[Note]:
    """The triad held through the bar, and broken in eighths above that."""
    held = [bar.pitch(bar.root + degree, octave=0) for degree in (0, 2, 4)]
    broken = [bar.pitch(bar.root + degree, octave=1) for degree in rng.permutation([0, 2, 4, 7, 4, 2, 7, 4])]
    chord = [_pluck(bar.start, 4 * bar.beat, pitch, 4000, 0.025, 0.15) for pitch in held]
    return chord + [
        _pluck(bar.at(i / 2), 2 * bar.beat, pitch, HIGHEST / 2, 0.045, 2.0) for i, pitch in enumerate(broken)
    ]


def _noise(rng: Random, start: float, low: float, high: float, decay: float, level: float) -> Note:
    """A burst of 400 partials with random phases, spread over low ... high Hz, amplitude f^-0.3."""
    edges = np.linspace(low, high, 401)
    frequencies = rng.uniform(edges[:-1], edges[1:])
    amplitudes = level * _unit(np.exp(2j * np.pi * rng.random(400)) * frequencies**-0.3)
    return FixedPartials(start, 8 / decay, 0.003, 0.003, amplitudes, frequencies, np.full(400, decay))


def _drum(rng: Random, bar: _Bar) -> list[Note]:
    """Kick (a chirp and a click), snare (two modes and noise) and hi-hat (noise)."""
    notes: list[Note] = []
    for beat in (0, 2) if rng.random() < 0.5 else (0, 1.5, 2.5):
        kick = np.tile([-0.28j, -0.04j], (2, 1))
        notes.append(GlidingPartials(bar.at(beat), 0.4, 0.003, 0.1, kick, 48.0, 150.0, 0.03, decay=9.0))
        notes.append(_noise(rng, bar.at(beat), 800, 6000, 250.0, 0.04))
    for beat in (1, 3):
        shell = np.array([-0.08j, -0.06j]), np.array([185.0, 331.0]), np.array([22.0, 22.0])
        notes.append(FixedPartials(bar.at(beat), 0.25, 0.003, 0.05, *shell))
        notes.append(_noise(rng, bar.at(beat), 200, 16_000, 28.0, 0.075))
    for eighth in range(8):
        level = rng.uniform(0.8, 1.2) * (0.03 if eighth % 2 else 0.02)
        notes.append(_noise(rng, bar.at(eighth / 2), 5500, HIGHEST, 60.0, level))
    return notes
