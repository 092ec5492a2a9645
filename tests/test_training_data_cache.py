"""The cache of decoded stems: the same samples, whoever filled it and when."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import save_file

from sfi_zoo import InputError
from sfi_zoo.data.tracks import training_tracks
from sfi_zoo.training.augment import AugmentConfig
from sfi_zoo.training.excerpts import Excerpts, read_excerpt
from sfi_zoo.training.stem_cache import cached_tracks
from tests.musdb_layout import RATE, STEMS, write_track

FILL = """
import sys
from sfi_zoo.data.tracks import training_tracks
from sfi_zoo.training.stem_cache import cached_tracks
STEMS = ("vocals", "drums", "bass", "other")
tracks, _ = training_tracks(sys.argv[1], "train", STEMS)
input()  # both start together
cached_tracks(tracks, STEMS, 12000, 1, sys.argv[2])
"""


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate("abc"):
        write_track(tmp_path / "data" / "train" / name, seconds=0.5 + seed, seed=seed, subtype="PCM_16")
    return tmp_path / "data"


def tracks_of(data, on_broken="refuse"):
    return training_tracks(data, "train", STEMS, on_broken)[0]


def state(folder):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_at_the_files_rate_16_bits_are_kept_exactly(data, tmp_path):
    extremes = np.zeros((RATE, 2), np.int16)
    extremes[::2] = -(2**15)
    extremes[1::2] = 2**15 - 1
    for stem, x in zip(STEMS, (extremes, -(extremes // 2), extremes // 2**12, 0 * extremes), strict=True):
        soundfile.write(data / "train" / "a" / f"{stem}.wav", x, RATE, subtype="PCM_16")
    tracks = tracks_of(data)
    cached, problems = cached_tracks(tracks, STEMS, RATE, 2, tmp_path / "cache")
    assert problems == [] and [t.name for t in cached] == ["a", "b", "c"]
    for track, copy in zip(tracks, cached, strict=True):
        for stem in STEMS:
            assert torch.equal(copy.read(stem, 0, copy.frames), track.read(stem, 0, track.frames))
    for pair in zip(
        *(Excerpts(t, STEMS, RATE, 0.3, 2, AugmentConfig(), 5, 20) for t in (tracks, cached)), strict=True
    ):
        assert torch.equal(*pair)


@pytest.mark.parametrize(("rate", "channels"), [(12000, 1), (22050, 2)])
def test_at_another_rate_examples_differ_by_the_rounding_to_16_bits(data, tmp_path, rate, channels):
    tracks = tracks_of(data)
    cached, _ = cached_tracks(tracks, STEMS, rate, channels, tmp_path / "cache")
    shape = (STEMS, rate, 0.3, channels, AugmentConfig(gain_db=(0.0, 0.0)), 5, 20)
    for x, y in zip(Excerpts(tracks, *shape), Excerpts(cached, *shape), strict=True):
        assert 0 < (x - y).abs().max() <= 2**-17  # half a step where the peak is below 0.5


def test_a_second_run_decodes_nothing(data, tmp_path):
    cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache")
    before = state(tmp_path / "cache")
    told = []
    cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache", report=lambda *x: told.append(x))
    assert state(tmp_path / "cache") == before and len(before) == 12
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_rates_and_channel_counts_live_side_by_side(data, tmp_path):
    shapes = [(RATE, 1), (RATE, 2), (8000, 1)]
    cached = [cached_tracks(tracks_of(data), STEMS, *shape, tmp_path / "cache")[0] for shape in shapes]
    assert len(state(tmp_path / "cache")) == 3 * 12
    for (rate, channels), tracks in zip(shapes, cached, strict=True):
        assert tracks[1].read("bass", 0, 10).shape == (channels, 10)
        assert (tracks[1].sample_rate, tracks[1].frames) == (rate, 3 * rate // 2)


def test_a_stem_that_has_changed_is_decoded_again(data, tmp_path):
    before = cached_tracks(tracks_of(data), STEMS, RATE, 2, tmp_path / "cache")[0]
    old = before[0].read("drums", 0, 100)
    drums = data / "train" / "a" / "drums.wav"
    x, _ = soundfile.read(drums)
    soundfile.write(drums, x[::-1], RATE, subtype="PCM_16")
    os.utime(drums, ns=(1, 1))
    tracks = tracks_of(data)
    after = cached_tracks(tracks, STEMS, RATE, 2, tmp_path / "cache")[0]
    new = after[0].read("drums", 0, 100)
    assert torch.equal(new, tracks[0].read("drums", 0, 100)) and not torch.equal(new, old)
    assert len(state(tmp_path / "cache")) == 12  # in place of the old one


@pytest.mark.parametrize("kind", ["text", "cut", "foreign"])
def test_whatever_else_lies_there_is_replaced(data, tmp_path, kind):
    tracks = tracks_of(data)
    target = cached_tracks(tracks, STEMS, RATE, 2, tmp_path / "cache")[0][0].file("drums")
    if kind == "text":
        target.write_text("no cache")
    elif kind == "cut":
        target.write_bytes(target.read_bytes()[:-100])
    else:
        save_file({"samples": np.zeros((2, 8000), np.int16)}, target, metadata={"stamp": "x", "step": "1"})
    again = cached_tracks(tracks, STEMS, RATE, 2, tmp_path / "cache")[0]
    assert torch.equal(again[0].read("drums", 0, 8000), tracks[0].read("drums", 0, 8000))


@pytest.mark.slow
def test_two_processes_build_one_cache(data, tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", FILL, str(data), str(cache)]
    root = Path(__file__).parents[1]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, cwd=root, text=True) for _ in range(2)]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(120) for process in both] == [0, 0]
    names = set(state(cache))
    assert len(names) == 12 and not any("partial" in name for name in names)
    before = state(cache)
    tracks = tracks_of(data)
    cached, _ = cached_tracks(tracks, STEMS, 12000, 1, cache)
    assert state(cache) == before  # all of them are fresh
    whole = read_excerpt(tracks[2], "other", 0, cached[2].frames, 12000, 1)
    assert (cached[2].read("other", 0, cached[2].frames) - whole).abs().max() <= 2**-17


def damaged_inside(data):
    """Headers and ends are whole, so it comes out when all is decoded."""
    drums = data / "train" / "b" / "drums.wav"
    x, _ = soundfile.read(drums)
    x[1000] = np.nan
    soundfile.write(drums, x, RATE, subtype="FLOAT")


def test_damage_inside_a_file_is_refused_or_skipped(data, tmp_path):
    damaged_inside(data)
    with pytest.raises(InputError, match=r"drums\.wav: not a finite sample .* at 0\.062 s.*on_broken"):
        cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache")
    tracks, problems = cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache", on_broken="skip")
    assert [track.name for track in tracks] == ["a", "c"]
    assert len(problems) == 1 and str(data / "train" / "b" / "drums.wav") in problems[0]


def test_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cache: the cache cannot be made"):
        cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache")


def test_a_full_disk_leaves_nothing_half_written(data, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfi_zoo.training.stem_cache.save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache")
    assert state(tmp_path / "cache") == {}


def test_a_cache_that_goes_away_is_named(data, tmp_path):
    track = cached_tracks(tracks_of(data), STEMS, RATE, 1, tmp_path / "cache")[0][0]
    track.file("bass").unlink()
    with pytest.raises(InputError, match="gone from the cache or damaged"):
        track.read("bass", 0, 10)
