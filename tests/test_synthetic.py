"""Songs from a formula: one function of time, sampled exactly at every rate."""

import math
from itertools import pairwise

import numpy as np
import pytest
import soxr
from scipy.signal import get_window, resample_poly

from sfi_zoo.data.synthetic import HIGHEST, FixedPartials, GlidingPartials, compose, song
from sfi_zoo.errors import InputError

STEMS = ["vocals", "drums", "bass", "other"]


def mono(stem, **arguments):
    return song(channels=1, **arguments)[stem][0]


def decibels(part, whole):
    return 10 * math.log10(np.sum(np.abs(part) ** 2) / np.sum(np.abs(whole) ** 2) + 1e-30)


def energy_above(frequency, signal, sample_rate):
    """Energy above `frequency` (Hz), in dB of the whole; the window leaks less than -90 dB."""
    spectrum = np.fft.rfft(signal * get_window("blackmanharris", len(signal)))
    return decibels(spectrum[np.fft.rfftfreq(len(signal), 1 / sample_rate) > frequency], spectrum)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(("low", "high"), [(8000, 16000), (8000, 48000), (11025, 44100), (32000, 96000)])
def test_rates_agree_where_their_instants_coincide(stem, low, high):
    at_low, at_high = (mono(stem, duration=5.0, sample_rate=rate, max_frequency=4000) for rate in (low, high))
    np.testing.assert_allclose(at_low, at_high[:: high // low], rtol=0, atol=1e-10)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(
    "resample", [lambda x: soxr.resample(x, 48000, 32000, "VHQ"), lambda x: resample_poly(x, 2, 3)]
)
def test_resampling_a_song_gives_the_song_at_the_other_rate(stem, resample):
    at_48k, at_32k = (
        mono(stem, duration=4.0, sample_rate=rate, max_frequency=13_000) for rate in (48000, 32000)
    )
    middle = slice(3200, -3200)
    error = resample(at_48k)[middle] - at_32k[middle]
    assert decibels(error, at_32k[middle]) < -60


@pytest.mark.parametrize("sample_rate", [8000, 11025, 22050, 32000])
@pytest.mark.parametrize("stem", STEMS)
def test_the_partials_of_a_rate_hold_nothing_above_its_nyquist_frequency(stem, sample_rate):
    finely_sampled = mono(stem, duration=4.0, sample_rate=96000, max_frequency=sample_rate / 2)
    assert energy_above(sample_rate / 2, finely_sampled, 96000) < -80


def test_nothing_lies_above_twenty_kilohertz():
    for seed in range(5):
        notes = [note for stem in compose(seed, 20.0).values() for note in stem]
        assert max(note.highest_frequencies().max() for note in notes) <= HIGHEST


def test_max_frequency_above_the_nyquist_frequency_changes_nothing():
    np.testing.assert_array_equal(
        mono("drums", duration=1.0, sample_rate=8000, max_frequency=20_000),
        mono("drums", duration=1.0, sample_rate=8000),
    )


def test_high_rates_hold_content_that_low_rates_cannot():
    assert energy_above(11_025, mono("drums", duration=4.0), 44100) > -20


def test_a_song_is_its_seed_alone():
    np.random.seed(1)
    first = song(7, 2.0, 16000)
    np.random.seed(2)
    second = song(np.int64(7), 2.0, 16000)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])


def test_two_seeds_are_two_songs():
    first, second = (sum(song(seed, 3.0, 16000).values()) for seed in (0, 1))
    assert abs(np.corrcoef(first[0], second[0])[0, 1]) < 0.3


@pytest.mark.parametrize("stem", STEMS)
def test_a_shorter_song_is_the_beginning_of_a_longer_one(stem):
    short = mono(stem, duration=3.3, sample_rate=16000)
    long = mono(stem, duration=9.0, sample_rate=16000)
    np.testing.assert_allclose(short, long[: len(short)], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("duration", "sample_rate"), [(1.0, 44100), (0.5, 11025.5), (1e-6, 8000), (2.0, 1)])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_stems_are_float64_channels_by_time(duration, sample_rate, channels):
    stems = song(0, duration, sample_rate, channels)
    assert list(stems) == STEMS
    for stem in stems.values():
        assert stem.shape == (channels, round(duration * sample_rate))
        assert stem.dtype == np.float64


@pytest.mark.parametrize("channels", [2, 3, 6])
@pytest.mark.parametrize("stem", STEMS)
def test_the_mean_of_the_channels_is_the_mono_song(stem, channels):
    stems = song(3, 2.0, 16000, channels)
    np.testing.assert_allclose(
        stems[stem].mean(axis=0), mono(stem, seed=3, duration=2.0, sample_rate=16000), rtol=0, atol=1e-12
    )


def test_stems_stand_in_different_places():
    balance = {stem: x[1].std() / x[0].std() for stem, x in song(0, 4.0, 16000).items()}
    assert len({round(ratio, 3) for ratio in balance.values()}) == len(STEMS)


@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_the_mixture_is_loud_and_never_clips(sample_rate):
    peaks = [np.abs(sum(song(seed, 10.0, sample_rate).values())).max() for seed in range(8)]
    assert min(peaks) > 0.5
    assert max(peaks) < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_every_stem_is_heard(seed):
    levels = {stem: np.sqrt(np.mean(x**2)) for stem, x in song(seed, 6.0, 8000).items()}
    assert min(levels.values()) > 0.02


@pytest.mark.parametrize("seed", range(4))
def test_stems_are_not_alike(seed):
    correlation = np.corrcoef([stem[0] for stem in song(seed, 6.0, 16000).values()])
    assert np.abs(correlation - np.eye(4)).max() < 0.3


def hann_step(u):
    """The step of the envelope, by numerical integration of its slope 1 - cos(2 pi u)."""
    grid = np.linspace(0, 1, 20_001)
    slope = 1 - np.cos(2 * np.pi * grid)
    integral = np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2)]) * grid[1]
    return np.interp(u, grid, integral)


def rendered(note, sample_rate, length):
    signal = np.zeros(length)
    note.add_to(signal, sample_rate, sample_rate / 2)
    return signal


def test_fixed_partials_are_decaying_sinusoids_under_the_envelope():
    amplitudes, frequencies, decays = (
        np.array([0.5, 0.2j, -0.1]),
        np.array([300.0, 1234.5, 2000.0]),
        np.array([3.0, 9, 0]),
    )
    note = FixedPartials(0.1, 0.5, 0.01, 0.05, amplitudes, frequencies, decays)
    t = np.arange(8000) / 8000 - 0.1
    direct = np.zeros(8000)
    for a, f, d in zip(amplitudes, frequencies, decays, strict=True):
        direct += abs(a) * np.exp(-d * t) * np.cos(2 * np.pi * f * t + np.angle(a))
    direct *= hann_step(t / 0.01) * hann_step((0.5 - t) / 0.05)
    np.testing.assert_allclose(rendered(note, 8000, 8000), direct, rtol=0, atol=1e-7)


def test_gliding_partials_are_harmonics_of_a_closed_form_phase():
    amplitudes = np.array([[0.3, 0.2j, 0.1], [0.1, 0.1, -0.2]])
    note = GlidingPartials(
        0.05,
        0.8,
        0.04,
        0.04,
        amplitudes,
        220.0,
        -30.0,
        0.05,
        vibrato=4.0,
        vibrato_rate=5.0,
        decay=1.0,
        initial_phase=0.3,
    )
    t = np.arange(8000) / 8000 - 0.05
    phase = 0.3 + 220 * t - 30 * 0.05 * (1 - np.exp(-t / 0.05))
    phase += 4 / (2 * np.pi * 5) * hann_step(t / 0.5) * np.sin(2 * np.pi * 5 * t)
    vowel = hann_step((t / 0.8 - 0.3) / 0.4)
    direct = np.zeros(8000)
    for k in (1, 2, 3):
        a = (1 - vowel) * amplitudes[0, k - 1] + vowel * amplitudes[1, k - 1]
        direct += np.real(a * np.exp(2j * np.pi * k * phase))
    direct *= np.exp(-t) * hann_step(t / 0.04) * hann_step((0.8 - t) / 0.04)
    np.testing.assert_allclose(rendered(note, 8000, 8000), direct, rtol=0, atol=1e-6)


def test_the_highest_frequency_bounds_the_pitch_of_every_gliding_note():
    t = np.linspace(0, 2, 200_001)
    for stem in compose(0, 20.0).values():
        for note in stem:
            if isinstance(note, GlidingPartials):
                pitch = np.gradient(note.phase(t), t)
                assert pitch.max() <= note.highest_frequencies()[0] * (1 + 1e-6)


def test_a_partial_is_in_where_it_stays_clear_of_the_limit_by_the_width_of_its_envelope():
    note = FixedPartials(0.0, 0.5, 0.004, 0.05, np.ones(1), np.array([1000.0]), np.zeros(1))
    inside, outside = np.zeros(4000), np.zeros(4000)
    note.add_to(inside, 8000, 1000 + 2 / 0.004 + 1e-6)
    note.add_to(outside, 8000, 1000 + 2 / 0.004)
    assert inside.any()
    assert not outside.any()


def test_sung_notes_of_one_breath_go_on_in_pitch_and_phase():
    voice = compose(0, 10.0)["vocals"]
    for before, after in pairwise(voice):
        overlap = before.start + before.duration - after.start
        if overlap > 0:
            phases = [float(note.phase(np.array(after.start - note.start))) for note in (before, after)]
            assert abs(np.exp(2j * np.pi * phases[0]) - np.exp(2j * np.pi * phases[1])) < 1e-9
            assert after.pitch + after.glide == pytest.approx(before.pitch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is -1: give a whole number of 0 or more"),
        ({"seed": 1.5}, "seed is 1.5: give a whole number of 0 or more"),
        ({"seed": None}, "seed is None: give a whole number of 0 or more"),
        ({"duration": 0}, "duration is 0: give seconds above 0 and at most 3600"),
        ({"duration": -1.0}, "duration is -1.0: give"),
        ({"duration": math.nan}, "duration is nan: give"),
        ({"duration": math.inf}, "duration is inf: give"),
        ({"duration": 3601}, "duration is 3601: give"),
        ({"sample_rate": 0}, "sample_rate is 0: give Hz from 1 to 1e6"),
        ({"sample_rate": math.nan}, "sample_rate is nan: give"),
        ({"sample_rate": 1e7}, "sample_rate is 10000000.0: give"),
        ({"sample_rate": "44100"}, "sample_rate is '44100': give"),
        ({"channels": 0}, "channels is 0: give a whole number of 1 or more"),
        ({"channels": 2.0}, "channels is 2.0: give"),
        ({"max_frequency": 0}, "max_frequency is 0: give Hz above 0, or None"),
        ({"max_frequency": math.nan}, "max_frequency is nan: give"),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(arguments, message):
    with pytest.raises(InputError) as error:
        song(**arguments)
    assert str(error.value).startswith(message)
