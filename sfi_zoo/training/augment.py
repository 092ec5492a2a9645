"""What is done to the sources of an example before they are mixed: level, sign, channels; speed, tempo, pitch."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sfi_zoo.audio.resample import resample
from sfi_zoo.errors import InputError
from sfi_zoo.training.tables import Table, within

LOWEST_OCTAVE, OCTAVES = 62.5, 9  # Hz; up to 16 kHz


@dataclass(frozen=True)
class AugmentConfig(Table):
    """The [augment] table of a recipe.

    Speed, tempo and pitch are of a place in a track: where all sources of an example come from one, they stay together.

    Attributes:
        remix: share of the examples whose sources come from different tracks.
        gain_db: lowest and highest gain of a source, uniform in dB.
        swap_channels: exchange left and right of a source, half of the time.
        flip_sign: invert a source, half of the time.
        altered: share of the places in tracks that are played at another speed, tempo and pitch.
        speed: lowest and highest factor of the speed; tempo and pitch go along, as with a tape (by soxr).
        tempo: lowest and highest factor of the tempo, at the same pitch (by Signalsmith Stretch).
        pitch: lowest and highest change of the pitch in semitones, at the same tempo (by Signalsmith Stretch).
        eq_db: largest gain or loss of a source at a frequency: a smooth curve through random values at octaves; 0 for none.
        mute: share of the sources that are made silent, so that silence is learnt (see `silence` of [loss]); never the last that is heard.
    """

    table: ClassVar[str] = "augment"
    remix: float = within(0.6, 0, 1)
    gain_db: tuple[float, float] = within((-6.0, 6.0), -60, 60)
    swap_channels: bool = True
    flip_sign: bool = True
    altered: float = within(0.25, 0, 1)
    speed: tuple[float, float] = within((1.0, 1.0), 0.25, 4)
    # below 0.6 the stretching has random phases: not repeatable
    tempo: tuple[float, float] = within((1.0, 1.0), 0.6, 2)
    pitch: tuple[float, float] = within((0.0, 0.0), -24, 24)
    eq_db: float = within(0.0, 0, 60)
    mute: float = within(0.0, 0, 0.9)

    @property
    def alters(self) -> bool:
        """Whether speed, tempo or pitch is ever changed."""
        return self.altered > 0 and (self.speed, self.tempo, self.pitch) != ((1, 1), (1, 1), (0, 0))

    def check_libraries(self) -> None:
        """Check at the start that the libraries are installed, not in the first worker that needs them.

        Raises:
            InputError: tempo or pitch is to be changed, and the library for it is not installed.
        """
        if self.alters and (self.tempo != (1, 1) or self.pitch != (0, 0)):
            _signalsmith()


@dataclass(frozen=True)
class Alteration:
    """Another speed, tempo (factors) and pitch (semitones)."""

    speed: float = 1.0
    tempo: float = 1.0
    pitch: float = 0.0

    def needed(self, length: int) -> int:
        """How many samples are needed to make `length` altered ones."""
        return math.ceil(length * self.speed * self.tempo)

    def apply(self, signal: Tensor, sample_rate: float, length: int) -> Tensor:
        """(channels, `needed(length)`) -> (channels, length)."""
        if self.tempo != 1 or self.pitch != 0:
            signal = _stretched(signal, sample_rate, self.tempo, self.pitch)
        if self.speed != 1:
            signal = resample(signal, self.speed, 1.0)
        missing = length - signal.shape[-1]
        return pad(signal, (0, missing)) if missing else signal  # a negative pad cuts


def draw_alteration(config: AugmentConfig, rng: np.random.Generator) -> Alteration:
    """Draws the alteration for a place in a track."""
    if not config.alters or rng.random() >= config.altered:
        return Alteration()
    return Alteration(rng.uniform(*config.speed), rng.uniform(*config.tempo), rng.uniform(*config.pitch))


def vary(stems: Tensor, sample_rate: float, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Level, timbre, sign, channels and silence of each source, in place.

    Args:
        stems: (sources, channels, time).
        sample_rate: in Hz.
        config: what is done.
        rng: read in the same way whatever the config, so that switching one thing off leaves the others as they were.
    """
    gains = 10 ** (rng.uniform(*config.gain_db, size=len(stems)) / 20)
    flips, swaps = rng.random((2, len(stems))) < 0.5
    colours = rng.uniform(-1, 1, size=(len(stems), OCTAVES))
    silenced = torch.from_numpy(rng.random(len(stems)) < config.mute)
    heard = stems.flatten(1).any(1)
    if bool((heard & ~silenced).any()):
        stems[silenced] = 0.0
    if config.eq_db:
        for stem, colour in zip(stems, colours, strict=True):
            stem.copy_(equalised(stem, sample_rate, config.eq_db * colour))
    if config.flip_sign:
        gains = np.where(flips, -gains, gains)
    stems *= torch.from_numpy(gains).to(stems)[:, None, None]
    if config.swap_channels and stems.shape[1] > 1:
        swapped = torch.from_numpy(swaps)
        stems[swapped] = stems[swapped].flip(1)
    return stems


def equalised(signal: Tensor, sample_rate: float, gains_db: np.ndarray) -> Tensor:
    """A signal through a zero-phase equaliser, (..., time); the signal counts as periodic.

    Args:
        signal: (..., time).
        sample_rate: in Hz.
        gains_db: at 62.5 Hz and the octaves above, linear in log f between, constant beyond.
    """
    frequencies = torch.fft.rfftfreq(signal.shape[-1], 1 / sample_rate).clamp(min=1).numpy()
    places = np.log2(frequencies / LOWEST_OCTAVE)
    gain = 10 ** (np.interp(places, np.arange(len(gains_db)), gains_db) / 20)
    spectrum = torch.fft.rfft(signal) * torch.from_numpy(gain).to(signal)
    return torch.fft.irfft(spectrum, n=signal.shape[-1])


def _stretched(signal: Tensor, sample_rate: float, tempo: float, pitch: float) -> Tensor:
    stretch = _signalsmith().Stretch()
    stretch.preset(len(signal), sample_rate)
    stretch.setTransposeSemitones(pitch)
    stretch.timeFactor = tempo  # above 1 is shorter
    return torch.from_numpy(stretch.process(np.ascontiguousarray(signal.numpy())))


def _signalsmith():  # type: ignore[no-untyped-def]
    try:
        from python_stretch import Signalsmith
    except ImportError:
        raise InputError(
            "[augment] tempo and pitch need python-stretch: pip install -e '.[train]' (speed does not need it)"
        ) from None
    return Signalsmith
