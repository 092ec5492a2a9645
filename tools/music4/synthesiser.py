"""A small synthesiser of electronic sounds: oscillators, sweeps, drum machines and effects. Signals are (time,).

A saw of phase p (turns) that moves by d a sample jumps once a turn; what that jump folds back is taken away by a polynomial (PolyBLEP):

    saw = 2 p - 1 - blep(p),    blep = 2 q - q^2 - 1 with q = p / d below d,    q^2 + 2 q + 1 with q = (p - 1) / d above 1 - d

A filter whose cutoff moves is a mix of fixed low-pass filters at whole octaves, the two next to the cutoff, linear in log f: what it costs
does not depend on how fast it moves. Source: Valimaki & Huovilainen, IEEE Signal Processing Magazine 24(2), 2007 (PolyBLEP).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.random import Generator
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

LOWEST_CUTOFF = 60.0  # Hz; the fixed filters are octaves above it
METAL = (263.0, 400.0, 421.0, 474.0, 587.0, 845.0)  # Hz: squares of inharmonic frequencies sound like cymbals
Signal = np.ndarray


def saw(frequency: Signal | float, length: int, rate: int, phase: float = 0.0) -> Signal:
    """A saw between -1 and 1; `frequency` in Hz, one or (length,)."""
    turns = np.broadcast_to(np.asarray(frequency, float) / rate, (length,))
    p = (phase + np.cumsum(turns)) % 1
    d = np.maximum(turns, 1e-6)
    below, above = p / d, (p - 1) / d
    blep = np.where(below < 1, 2 * below - below**2 - 1, np.where(above > -1, above**2 + 2 * above + 1, 0.0))
    return 2 * p - 1 - blep


def pulse(frequency: Signal | float, length: int, rate: int, width: float = 0.5) -> Signal:
    """A pulse without offset: two saws, `width` of a turn apart."""
    return saw(frequency, length, rate) - saw(frequency, length, rate, width)


def sine(frequency: Signal | float, length: int, rate: int, moved: Signal | float = 0.0) -> Signal:
    """A sine; `moved` is added to the phase, in radians (frequency modulation)."""
    turns = np.broadcast_to(np.asarray(frequency, float) / rate, (length,))
    return np.sin(2 * np.pi * np.cumsum(turns) + moved)


def frequency_of(pitch: Signal | float) -> Signal:
    """Hz of a MIDI pitch."""
    return 440.0 * 2 ** ((np.asarray(pitch, float) - 69) / 12)


def low_passed(x: Signal, cutoff: float, rate: int, resonance: float = 0.7) -> Signal:
    """Second order, `resonance` is its Q."""
    w = 2 * math.pi * min(cutoff, 0.45 * rate) / rate
    a, c = math.sin(w) / (2 * resonance), math.cos(w)
    b = np.array([(1 - c) / 2, 1 - c, (1 - c) / 2])
    return lfilter(b / (1 + a), np.array([1 + a, -2 * c, 1 - a]) / (1 + a), x)


def swept(x: Signal, cutoff: Signal, rate: int, resonance: float = 0.7) -> Signal:
    """A low-pass whose `cutoff`, (time,) in Hz, moves; see above."""
    octaves = math.floor(math.log2(0.45 * rate / LOWEST_CUTOFF))
    place = np.clip(np.log2(np.maximum(cutoff, 1.0) / LOWEST_CUTOFF), 0, octaves)
    y = np.zeros_like(x)
    for octave in range(octaves + 1):
        weight = np.maximum(0.0, 1 - np.abs(place - octave))
        if weight.any():
            y += weight * low_passed(x, LOWEST_CUTOFF * 2**octave, rate, resonance)
    return y


def passed(x: Signal, low: float, high: float, rate: int) -> Signal:
    """Between two frequencies in Hz, second order on each side."""
    edges = [low, min(high, 0.45 * rate)]
    return sosfilt(butter(2, edges, "band", fs=rate, output="sos"), x)


def high_passed(x: Signal, low: float, rate: int) -> Signal:
    """Above a frequency in Hz, second order."""
    return sosfilt(butter(2, min(low, 0.45 * rate), "high", fs=rate, output="sos"), x)


def decays(starts: Sequence[float], seconds: float, length: int, rate: int) -> Signal:
    """One where something starts, falling by 1 / e in `seconds`, (length,)."""
    hits = np.zeros(length)
    places = np.round(np.asarray(starts, float) * rate).astype(int)
    hits[places[(places >= 0) & (places < length)]] = 1.0
    return np.minimum(lfilter([1.0], [1.0, -math.exp(-1 / (seconds * rate))], hits), 1.0)


def note_envelope(length: int, held: int, attack: float, release: float, rate: int) -> Signal:
    """Up in `attack` s, held until `held` samples, then falling by 60 dB in `release` s."""
    t = np.arange(length)
    up = np.minimum(1.0, (t + 1) / max(1.0, attack * rate))
    return up * np.exp(-6.9 * np.maximum(0, t - held) / max(1.0, release * rate))


# Drums: a machine draws each of its sounds once, a hit is that sound at another level.


def _falling(length: int, seconds: float, rate: int) -> Signal:
    """By 60 dB in `seconds`."""
    return np.exp(-6.9 * np.arange(length) / (seconds * rate))


def kick(rng: Generator, rate: int) -> Signal:
    """A sine that falls in pitch, with a click."""
    seconds, low, depth = rng.uniform(0.15, 0.9), rng.uniform(38, 65), rng.uniform(60, 500)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    body = sine(low + depth * np.exp(-t / rng.uniform(0.008, 0.05)), n, rate) * _falling(n, seconds, rate)
    click = rng.normal(size=n) * _falling(n, 0.01, rate) * rng.uniform(0, 0.4)
    drive = rng.uniform(1, 5)
    return np.tanh(drive * (body + click)) / math.tanh(drive)


def tom(rng: Generator, rate: int) -> Signal:
    """A kick an octave or two up, or a laser's zap."""
    seconds, low, depth = rng.uniform(0.1, 0.5), rng.uniform(80, 300), rng.uniform(20, 2000)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    return sine(low + depth * np.exp(-t / rng.uniform(0.01, 0.08)), n, rate) * _falling(n, seconds, rate)


def snare(rng: Generator, rate: int) -> Signal:
    """Two sines and noise."""
    seconds, low = rng.uniform(0.1, 0.45), rng.uniform(150, 330)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    tone = sine(low * (1 + 0.5 * np.exp(-t / 0.01)), n, rate) + 0.6 * sine(1.6 * low, n, rate)
    noise = passed(rng.normal(size=n), rng.uniform(400, 2000), rng.uniform(5000, 14000), rate)
    tone *= _falling(n, rng.uniform(0.05, 0.25), rate) * rng.uniform(0.1, 0.8)
    return np.tanh(rng.uniform(1, 4) * (tone + noise * _falling(n, seconds, rate)))


def clap(rng: Generator, rate: int) -> Signal:
    """Bursts of noise a hundredth of a second apart, then a tail."""
    n = round(rng.uniform(0.15, 0.5) * rate)
    centre = rng.uniform(900, 2200)
    envelope = 0.5 * _falling(n, n / rate, rate)
    for burst in range(int(rng.integers(2, 5))):
        at = round(burst * rng.uniform(0.007, 0.014) * rate)
        envelope[at:] += _falling(n - at, 0.02, rate)
    return passed(rng.normal(size=n), 0.6 * centre, 1.8 * centre, rate) * envelope


def _metal(rng: Generator, rate: int, seconds: float) -> Signal:
    n = round(seconds * rate)
    tune, noise = rng.uniform(0.8, 2.5), rng.uniform(0, 1)
    squares = sum(np.sign(sine(f * tune, n, rate)) for f in METAL) / len(METAL)
    mix = noise * rng.normal(size=n) + (1 - noise) * squares
    return high_passed(mix, rng.uniform(4000, 9000), rate) * _falling(n, seconds, rate)


def hat(rng: Generator, rate: int) -> Signal:
    """A closed hi-hat, of metal and noise."""
    return _metal(rng, rate, rng.uniform(0.03, 0.12))


def open_hat(rng: Generator, rate: int) -> Signal:
    """The same, longer."""
    return _metal(rng, rate, rng.uniform(0.2, 0.7))


def cymbal(rng: Generator, rate: int) -> Signal:
    """The same, for seconds."""
    return _metal(rng, rate, rng.uniform(1.0, 2.5))


def cowbell(rng: Generator, rate: int) -> Signal:
    """Two squares through a band-pass: cowbells, blocks, rims."""
    seconds, low = rng.uniform(0.03, 0.3), rng.uniform(400, 1600)
    n = round(seconds * rate)
    tone = np.sign(sine(low, n, rate)) + np.sign(sine(1.48 * low, n, rate))
    return passed(tone, 0.8 * low, 4 * low, rate) * _falling(n, seconds, rate)


def shaker(rng: Generator, rate: int) -> Signal:
    """A short noise of a band."""
    seconds, low = rng.uniform(0.03, 0.2), rng.uniform(1500, 7000)
    n = round(seconds * rate)
    return passed(rng.normal(size=n), low, 2 * low, rate) * note_envelope(n, 0, 0.02, seconds, rate)


DRUMS: Mapping[str, Callable[[Generator, int], Signal]] = {
    f.__name__: f for f in (kick, tom, snare, clap, hat, open_hat, cymbal, cowbell, shaker)
}


# Effects


def chorus(x: Signal, rng: Generator, rate: int) -> Signal:
    """With a copy of itself whose delay moves: a chorus, or with a short delay a flanger."""
    t, delay, speed = np.arange(len(x)), rng.uniform(0.001, 0.02), rng.uniform(0.1, 1.5)
    moved = t - delay * rate * (1 + 0.4 * np.sin(2 * np.pi * speed * t / rate))
    return x + rng.uniform(0.4, 0.9) * np.interp(moved, t, x, left=0.0)


def echo(x: Signal, delay: float, feedback: float, wet: float, rate: int) -> Signal:
    """With repeats `delay` seconds apart, each `feedback` of the one before."""
    y, shift, level = x.copy(), round(delay * rate), wet
    for place in range(shift, len(x), shift):
        if level < 0.03:
            break
        y[place:] += level * x[: len(x) - place]
        level *= feedback
    return y


def reverb(x: Signal, seconds: float, wet: float, rng: Generator, rate: int) -> Signal:
    """With a tail of noise that falls by 60 dB in `seconds`; `wet` is its level against the dry sound."""
    n = round(seconds * rate)
    tail = low_passed(rng.normal(size=n) * _falling(n, seconds, rate), rng.uniform(1500, 9000), rate)
    return x + wet * fftconvolve(x, tail / math.sqrt(np.square(tail).sum()))[: len(x)]


def crushed(x: Signal, bits: int, hold: int) -> Signal:
    """In coarse steps of level and time."""
    peak = np.abs(x).max(initial=1e-9)
    kept = np.repeat(x[::hold], hold)[: len(x)]
    return np.round(kept / peak * 2 ** (bits - 1)) / 2 ** (bits - 1) * peak


def driven(x: Signal, drive: float) -> Signal:
    """Distorted, or softly limited for a small `drive`; the loudest stays where it is."""
    peak = np.abs(x).max(initial=1e-9)
    return np.tanh(drive * x / peak) / math.tanh(drive) * peak
