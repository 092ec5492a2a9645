"""Random excerpts: which, how they are varied, and that each depends on (seed, index) alone."""

import dataclasses
import sys

import numpy as np
import pytest
import soxr
import torch
from scipy import stats
from torch.utils.data import DataLoader

from sfi_zoo import InputError
from sfi_zoo.data.tracks import training_tracks
from sfi_zoo.training.augment import Alteration, AugmentConfig, equalised, vary
from sfi_zoo.training.excerpts import Excerpts, read_excerpt, validation_excerpts
from tests.musdb_layout import RATE, STEMS, ArrayTrack, ramp, write_track

PLAIN = AugmentConfig(remix=0.0, gain_db=(0.0, 0.0), swap_channels=False, flip_sign=False)


def excerpts(
    tracks, seconds=0.25, augment=PLAIN, seed=0, length=1000, channels=1, sample_rate=RATE, sources=STEMS
):
    return Excerpts(tracks, sources, sample_rate, seconds, channels, augment, seed, length)


def constant(level, frames=RATE, channels=1):
    """A track that can be recognised in any part of any stem."""
    return ArrayTrack(str(level), dict.fromkeys(STEMS, np.full((channels, frames), level)))


def noise(seed, frames=RATE, channels=1, rate=RATE, stems=STEMS):
    rng = np.random.default_rng(seed)
    return ArrayTrack(str(seed), {s: rng.uniform(-0.5, 0.5, (channels, frames)) for s in stems}, rate)


def tone(frequency, seconds=4.0, rate=32000):
    t = np.arange(round(seconds * rate)) / rate
    return ArrayTrack("tone", {"vocals": 0.5 * np.sin(2 * np.pi * frequency * t)[None]}, rate)


def pitch_of(signal, rate):
    """Hz of the strongest partial, from the phase of a windowed spectrum's peak by parabolic interpolation."""
    spectrum = np.log(np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) + 1e-12)
    k = int(spectrum.argmax())
    a, b, c = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * rate / len(signal)


# Purity


def test_an_example_depends_on_seed_and_index_alone():
    tracks = [noise(1), noise(2, frames=3 * RATE)]
    one, other = (excerpts(tracks, augment=AugmentConfig()) for _ in range(2))
    forward = [one[i] for i in range(12)]
    assert all(torch.equal(forward[i], other[i]) for i in reversed(range(12)))
    assert not any(torch.equal(forward[i], forward[j]) for i in range(12) for j in range(i))
    assert not torch.equal(excerpts(tracks, augment=AugmentConfig(), seed=1)[0], forward[0])


def test_more_examples_only_go_on():
    tracks = [noise(1)]
    assert torch.equal(excerpts(tracks, length=10)[7], excerpts(tracks, length=10_000)[7])


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_make_the_same_examples(tmp_path, start):
    for seed, name in enumerate("ab"):
        write_track(tmp_path / "train" / name, seconds=1, seed=seed)
    tracks, _ = training_tracks(tmp_path, "train", STEMS)
    dataset = excerpts(tracks, augment=AugmentConfig(), channels=2, length=12)
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=start)
    assert torch.equal(torch.cat(list(loader)), torch.stack([dataset[i] for i in range(12)]))


def test_it_is_a_data_set_of_so_many_examples():
    dataset = excerpts([noise(0)], length=3)
    assert (len(dataset), len(list(dataset))) == (3, 3)
    with pytest.raises(IndexError, match="example 3 of 3"):
        dataset[3]


# Which excerpt


def test_a_share_of_the_examples_takes_its_sources_from_different_tracks():
    tracks = [constant(level) for level in (0.1, 0.2, 0.3, 0.4, 0.5)]
    dataset = excerpts(
        tracks, augment=AugmentConfig(0.6, (0.0, 0.0), False, False), length=3000, seconds=0.001
    )
    levels = np.array([x[:, 0, 0].numpy() for x in dataset])
    mixed = np.mean([len(set(row)) > 1 for row in levels])
    expected = 0.6 * (1 - 5 * 0.2**4)  # four draws may fall on one track
    assert abs(mixed - expected) < 5 * np.sqrt(expected * (1 - expected) / 3000)


def test_a_track_is_drawn_as_often_as_it_is_long():
    dataset = excerpts([constant(0.1), constant(0.2, frames=3 * RATE)], length=2000, seconds=0.001)
    share = np.mean([x[0, 0, 0] < 0.15 for x in dataset])
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 2000)


def test_places_are_uniform_from_the_first_to_the_last_sample():
    track = ramp(frames=5000)
    starts = np.array(
        [float(x[0, 0, 0]) * 2**20 - 1 for x in excerpts([track], seconds=4000 / RATE, length=3000)]
    )
    assert (starts.min(), starts.max()) == (0, 1000)
    assert stats.kstest((starts + 0.5) / 1001, "uniform").pvalue > 1e-3


def test_sources_of_an_example_that_is_not_remixed_are_of_one_place():
    for x in excerpts([ramp()], length=20):
        shifted = x - torch.arange(4)[:, None, None]
        torch.testing.assert_close(shifted[1:], shifted[:1].expand(3, -1, -1), atol=1e-6, rtol=0)
        assert x.shape == (4, 1, RATE // 4) and x.dtype == torch.float32


def test_a_short_track_is_filled_with_zeros():
    track = constant(0.5, frames=1000)
    for x in excerpts([track], seconds=0.25, length=4):
        assert (x[..., :1000] == 0.5).all() and (x[..., 1000:] == 0).all()


def test_silence_is_rare_but_a_source_may_be_silent():
    half = np.repeat([[0.0, 0.3]], RATE, axis=-1)
    track = ArrayTrack("half", {"vocals": half, "drums": np.zeros_like(half)})
    dataset = excerpts([track], seconds=0.01, length=500, sources=("vocals", "drums"))
    silent = np.mean([not x.any() for x in dataset])
    assert silent < 0.02  # 0.5^8 = 0.004 where silence is drawn again seven times, else 0.5
    assert all(not x[1].any() for x in dataset)


def test_where_there_is_silence_only_an_example_is_silent():
    assert not excerpts([constant(0.0)])[0].any()


# How it is read


def test_a_file_at_the_training_rate_is_read_as_it_is(tmp_path):
    signals = write_track(tmp_path / "train" / "Song", seconds=1)
    (track,), _ = training_tracks(tmp_path, "train", STEMS)
    for start in (0, 1234, RATE - 4000):
        part = read_excerpt(track, "bass", start, 4000, RATE, 2)
        np.testing.assert_allclose(part, signals[2, :, start : start + 4000], atol=2**-23)


@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(44100, 32000), (22050, 32000), (48000, 32000), (44100, 11025), (16000, 44100)]
)
def test_a_resampled_excerpt_is_an_excerpt_of_the_resampled_track(rate_in, rate_out):
    track = noise(5, frames=3 * rate_in, channels=2, rate=rate_in)
    whole = soxr.resample(track.stems["drums"].T, rate_in, rate_out, quality="VHQ").T
    length, end = rate_out // 2, whole.shape[1]
    for start in (0, 7, 1000, 20011, end - length - 3, end - length, end - 100):
        part = read_excerpt(track, "drums", start, length, rate_out, 2).double().numpy()
        expected = whole[:, start : start + length]
        error = part[:, : expected.shape[1]] - expected
        assert 10 * np.log10(np.sum(expected**2) / np.sum(error**2)) > 90  # dB
        assert not part[:, expected.shape[1] :].any()


def test_of_a_long_track_only_the_excerpt_is_read():
    track = noise(0, frames=60 * 44100, rate=44100)
    read_excerpt(track, "drums", 30 * 32000, 32000, 32000, 1)
    ((_, start, stop),) = track.reads
    assert stop - start < 1.2 * 44100


def test_channels_are_averaged_or_repeated():
    stereo, mono = noise(0, channels=2), noise(1)
    x = read_excerpt(stereo, "bass", 10, 100, RATE, 1)
    np.testing.assert_allclose(x, stereo.stems["bass"][:, 10:110].mean(0, keepdims=True), atol=1e-7)
    x = read_excerpt(mono, "bass", 10, 100, RATE, 2)
    np.testing.assert_allclose(x, np.repeat(mono.stems["bass"][:, 10:110], 2, 0), atol=1e-7)


# What is done to sources


@pytest.mark.parametrize("flip", [False, True])
def test_gains_are_those_of_an_independent_computation(flip):
    tracks = [noise(1)]
    varied = excerpts(tracks, augment=AugmentConfig(0.0, (-6.0, 6.0), False, flip), seed=9)
    for index, (x, y) in enumerate(zip(excerpts(tracks, seed=9, length=20), varied, strict=False)):
        rng = np.random.default_rng(np.random.SeedSequence([9, index]).spawn(2)[1])
        gains = 10 ** (rng.uniform(-6, 6, 4) / 20)
        signs = np.where(rng.random(4) < 0.5, -1, 1) if flip else 1
        np.testing.assert_allclose(y, x * torch.from_numpy(gains * signs)[:, None, None], rtol=1e-6)


def test_signs_are_even_and_gains_within_their_range():
    dataset = excerpts([constant(0.5)], augment=AugmentConfig(0.0, (-3.0, 9.0)), seconds=0.001, length=1000)
    ratios = np.array([x[:, 0, 0].numpy() / 0.5 for x in dataset]).ravel()
    decibels = 20 * np.log10(np.abs(ratios))
    assert stats.kstest((decibels + 3) / 12, "uniform").pvalue > 1e-3
    assert abs(np.mean(ratios < 0) - 0.5) < 5 * 0.5 / np.sqrt(4000)


def test_channels_are_swapped_half_of_the_time_source_by_source():
    track = ArrayTrack("s", {s: np.array([[0.1], [0.2]]).repeat(RATE, 1) for s in STEMS})
    dataset = excerpts(
        [track], augment=AugmentConfig(0.0, (0.0, 0.0), True, False), channels=2, seconds=0.001
    )
    left, right = np.array([x[:, :, 0].numpy() for x in dataset]).reshape(-1, 2).T
    np.testing.assert_allclose(left + right, 0.3, atol=1e-6)
    assert abs(np.mean(left > right) - 0.5) < 5 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_moves_the_pitch_with_it(factor):
    config = AugmentConfig(remix=0.0, gain_db=(0, 0), altered=1.0, speed=(factor, factor))
    x = excerpts([tone(1000.0)], seconds=1, augment=config, sample_rate=32000, sources=("vocals",))[3]
    assert x.shape == (1, 1, 32000)
    assert abs(pitch_of(x[0, 0, 1000:-1000].numpy(), 32000) / (1000 * factor) - 1) < 1e-3


def test_pitch_moves_by_semitones_and_keeps_the_tempo():
    clicks = np.zeros((1, 4 * 32000))
    clicks[:, 32000::16000] = 1.0
    signal = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(32000) / 32000)[None]
    moved = Alteration(pitch=3.0).apply(torch.from_numpy(signal).float(), 32000, 32000)
    assert abs(pitch_of(moved[0, 4000:-4000].numpy(), 32000) / (1000 * 2 ** (3 / 12)) - 1) < 3e-3
    kept = Alteration(pitch=3.0).apply(torch.from_numpy(clicks).float(), 32000, 4 * 32000)[0].abs()
    assert abs(int(kept[40000:56000].argmax()) + 40000 - 48000) < 640  # 20 ms


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_tempo_moves_events_and_keeps_the_pitch(tempo):
    alteration = Alteration(tempo=tempo)
    needed = alteration.needed(32000)
    assert needed == round(32000 * tempo)
    signal = np.sin(2 * np.pi * 1000 * np.arange(needed) / 32000)[None]
    same = alteration.apply(torch.from_numpy(signal).float(), 32000, 32000)
    assert same.shape == (1, 32000)
    assert abs(pitch_of(same[0, 4000:-4000].numpy(), 32000) / 1000 - 1) < 3e-3
    click = np.zeros((1, needed))
    click[:, needed // 2] = 1.0
    moved = alteration.apply(torch.from_numpy(click).float(), 32000, 32000)[0].abs()
    assert abs(int(moved.argmax()) - 16000) < 640


def test_sources_of_one_place_are_altered_together_and_the_same_again():
    one = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 4 * RATE))
    track = ArrayTrack("same", dict.fromkeys(STEMS, one))
    config = AugmentConfig(0.0, (0.0, 0.0), False, False, 0.5, (0.9, 1.1), (0.9, 1.1), (-2.0, 2.0))
    dataset = excerpts([track], augment=config, length=8)
    again = excerpts([track], augment=config, length=8)
    for x, y in zip(dataset, again, strict=True):
        assert torch.equal(x, y)
        assert torch.equal(x, x[:1].expand_as(x))


def test_a_share_of_the_sources_is_muted_and_nothing_else_changes():
    """Half of the sources are drawn; of four, all are drawn in a sixteenth of the examples, and then none is muted."""
    tracks = [noise(0)]
    shape = {"remix": 0.0, "gain_db": (-3.0, 3.0)}
    whole = excerpts(tracks, augment=AugmentConfig(**shape), length=400)
    muted = excerpts(tracks, augment=AugmentConfig(**shape, mute=0.5), length=400)
    silent = []
    for x, y in zip(whole, muted, strict=True):
        heard = y.flatten(1).any(1)
        assert heard.any() and torch.equal(x[heard], y[heard])
        silent.append(1 - heard.float().mean())
    expected = 0.5 - 1 / 16
    assert np.mean(silent) == pytest.approx(
        expected, abs=4 * 0.25 / 20
    )  # a quarter: deviation of the mean of four


def test_the_only_source_that_is_heard_is_not_muted():
    stems = torch.zeros(4, 1, 100)
    stems[2] = 1.0
    config = AugmentConfig(gain_db=(0.0, 0.0), flip_sign=False, mute=0.9)
    for seed in range(20):
        assert torch.equal(vary(stems.clone(), RATE, config, np.random.default_rng(seed)), stems)


# Bad input


@pytest.mark.parametrize(
    "wrong",
    [
        {"remix": 1.5},
        {"remix": float("nan")},
        {"gain_db": (6.0, -6.0)},
        {"gain_db": 3.0},
        {"gain_db": (1.0, 2.0, 3.0)},
        {"speed": (0.0, 1.0)},
        {"tempo": (0.3, 1.0)},
        {"pitch": ("a", "b")},
        {"altered": -0.1},
        {"eq_db": float("nan")},
        {"mute": 1.0},
        {"flip_sign": 1},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=rf"\[augment\] {next(iter(wrong))} must be .*, got "):
        AugmentConfig(**wrong)


def test_what_changes_pitch_and_is_missing_is_named_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_stretch", None)
    excerpts([noise(0)], augment=AugmentConfig(speed=(0.9, 1.1)))
    with pytest.raises(InputError, match=r"python-stretch: pip install -e '\.\[train\]'"):
        excerpts([noise(0)], augment=AugmentConfig(pitch=(-1.0, 1.0)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tracks": []}, "no tracks"),
        ({"seconds": 0.0}, "nothing to read"),
        ({"seconds": float("nan")}, "nothing to read"),
        ({"channels": 0}, "nothing to read"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_excerpts_that_make_no_sense_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        excerpts(**{"tracks": [noise(0)], **arguments})


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_inside_a_file_is_named_when_it_is_met(tmp_path, workers):
    write_track(tmp_path / "train" / "Song", seconds=4, suffix="flac")
    (track,), _ = training_tracks(tmp_path, "train", STEMS)
    path = track.file("drums")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"drums\.flac: damaged"):
        list(DataLoader(excerpts([track], seconds=1, length=50), num_workers=workers))


# Validation


def test_validation_takes_a_place_in_each_of_equal_parts_where_most_is_heard():
    frames = 10 * RATE
    heard = np.zeros((1, frames))
    heard[:, RATE : 3 * RATE] = heard[:, 7 * RATE : 9 * RATE] = 0.1
    track = ArrayTrack("a", {"vocals": heard, "drums": np.full((1, frames), 0.1)})
    chosen = validation_excerpts([track], ("vocals", "drums"), RATE, 1.0, 1, 2)
    starts = [start / RATE for _, start in chosen.places]
    assert 0 < starts[0] < 3 and 6 < starts[1] < 9
    assert all(chosen[i].square().mean(-1).min() > 1e-6 for i in range(2))
    assert chosen[0].shape == (2, 1, RATE)


def test_validation_is_spread_over_all_tracks_and_always_the_same():
    tracks = [noise(i, frames=(i + 1) * RATE) for i in range(4)]
    first, second = (validation_excerpts(tracks, STEMS, RATE, 0.5, 1, 10) for _ in range(2))
    assert [t.name for t, _ in first.places] == ["0", "1", "1", "2", "2", "2", "3", "3", "3", "3"]
    assert first.places == second.places and len(first) == 10
    assert all(0 <= start <= track.frames - RATE // 2 for track, start in first.places)
    inside = [track.stems["bass"][0, start] for track, start in first.places]
    np.testing.assert_allclose([x[2, 0, 0] for x in first], inside, atol=1e-6)


def test_validation_of_tracks_shorter_than_an_excerpt():
    chosen = validation_excerpts([constant(0.5, frames=100), constant(0.25)], STEMS, RATE, 2.0, 1, 3)
    assert [start for _, start in chosen.places] == [0, 0, 0]
    assert chosen[1].shape == (4, 1, 2 * RATE)


def test_no_validation_at_all_is_refused():
    with pytest.raises(InputError, match="give 1 or more"):
        validation_excerpts([noise(0)], STEMS, RATE, 0.5, 1, 0)


def test_an_equaliser_has_its_gains_at_octaves_and_a_line_between():
    rate, gains = 32000, np.linspace(-6, 10, 9)
    frequencies = [62.5 * 2**k for k in range(8)] + [1000 * 2**0.5]
    t = np.arange(rate * 2) / rate
    for f, expected in zip(frequencies, [*gains[:8], gains[4] + 1], strict=True):
        tone = np.cos(2 * np.pi * round(2 * f) / 2 * t)
        heard = equalised(torch.from_numpy(tone), rate, gains).numpy()
        assert 20 * np.log10(heard.std() / tone.std()) == pytest.approx(expected, abs=0.01)


def test_equalised_sources_differ_in_colour_alone():
    config = dataclasses.replace(PLAIN, eq_db=6.0)
    plain, coloured = (excerpts([noise(1)], augment=c)[0].numpy() for c in (PLAIN, config))
    a, b = (np.abs(np.fft.rfft(x)) for x in (plain, coloured))
    gains = 20 * np.log10(b[..., 1:] / a[..., 1:])
    assert 1 < np.abs(gains).max() < 6.01
    assert not np.allclose(gains[0], gains[1], atol=0.5)
    assert np.abs(np.diff(gains, axis=-1)).max() < 12 / np.log2(1.5)  # a smooth curve
