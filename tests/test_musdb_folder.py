"""Folders in the MUSDB layout: what is read, and what is said of broken ones."""

import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo import InputError
from sfi_zoo.data.musdb_folder import MusdbFolder
from sfi_zoo.data.songs import SyntheticSongs
from tests.musdb_layout import RATE, STEMS, write_track


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_stems_and_mixture_in_the_models_order(tmp_path, suffix):
    signals = write_track(tmp_path / "test" / "Song", suffix=suffix)
    songs = MusdbFolder(tmp_path)
    assert (songs.names, songs.problems) == (["Song"], [])
    mixture, references = songs.clip("Song", ("bass", "vocals"), 2).at(RATE)
    np.testing.assert_allclose(references, signals[[2, 0]], atol=2**-23)
    np.testing.assert_allclose(mixture, signals.sum(0), atol=2**-21)


def test_channels_are_averaged_for_a_model_that_hears_one(tmp_path):
    signals = write_track(tmp_path / "Song")  # the folder of the subset itself
    mixture, references = MusdbFolder(tmp_path).clip("Song", STEMS, 1).at(RATE)
    np.testing.assert_allclose(references[:, 0], signals.mean(1), atol=2**-23)
    assert mixture.shape == (1, signals.shape[-1])


def test_a_mono_file_is_heard_in_all_channels(tmp_path):
    signals = write_track(tmp_path / "Song", channels=1)
    _, references = MusdbFolder(tmp_path).clip("Song", STEMS, 2).at(RATE)
    np.testing.assert_allclose(references, np.repeat(signals, 2, 1), atol=2**-23)


def test_without_a_mixture_it_is_the_sum_of_all_stems(tmp_path):
    signals = write_track(tmp_path / "Song", mixture=False)
    mixture, _ = MusdbFolder(tmp_path).clip("Song", ("vocals",), 2).at(RATE)
    np.testing.assert_allclose(mixture, signals.sum(0), atol=2**-21)


def test_the_accompaniment_is_the_sum_of_what_is_left(tmp_path):
    signals = write_track(tmp_path / "Song")
    songs = MusdbFolder(tmp_path)
    _, references = songs.clip("Song", ("accompaniment", STEMS[1]), 2).at(RATE)
    rest = np.delete(signals, 1, axis=0).sum(0)
    np.testing.assert_allclose(references, np.stack([rest, signals[1]]), atol=2**-21)
    with pytest.raises(InputError, match="has no instrumental, choir; it has"):
        songs.clip("Song", ("instrumental", "choir"), 2).at(RATE)
    with pytest.raises(InputError, match="has no no_vocals"):  # alone it would be the mixture
        songs.clip("Song", ("no_vocals",), 2).at(RATE)
    mixture, synthetic = SyntheticSongs(1, 1.0).clip("synthetic 0", ("vocals", "accompaniment"), 1).at(8000)
    np.testing.assert_allclose(synthetic.sum(0), mixture, atol=1e-6)


def test_at_another_rate_it_is_as_long_in_seconds(tmp_path):
    write_track(tmp_path / "Song")
    mixture, references = MusdbFolder(tmp_path).clip("Song", STEMS, 1).at(11025)
    assert mixture.shape == (1, 5513) and references.shape == (4, 1, 5513)


def test_seconds_are_from_the_middle(tmp_path):
    signals = write_track(tmp_path / "Song", seconds=1)
    _, references = MusdbFolder(tmp_path, seconds=0.25).clip("Song", STEMS, 2).at(RATE)
    np.testing.assert_allclose(references, signals[..., 6000:10000], atol=2**-23)


def test_as_many_tracks_as_asked_for(tmp_path):
    for name in "cab":
        write_track(tmp_path / "test" / name)
    assert MusdbFolder(tmp_path, tracks=2).names == ["a", "b"]


def other_length(folder):
    soundfile.write(folder / "drums.wav", np.zeros((10, 2)), RATE)


def cut(folder):
    path = folder / "drums.wav"
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (other_length, "10 samples"),
        (cut, "truncated"),
        (lambda folder: (folder / "drums.wav").write_text("no sound"), "not a sound file"),
        (lambda folder: (folder / "drums.wav").write_bytes(b""), "empty"),
    ],
)
def test_a_broken_track_is_left_out_and_its_file_named(tmp_path, damage, says):
    write_track(tmp_path / "test" / "good")
    write_track(tmp_path / "test" / "broken")
    damage(tmp_path / "test" / "broken")
    songs = MusdbFolder(tmp_path)
    assert songs.names == ["good"]
    assert len(songs.problems) == 1
    assert str(tmp_path / "test" / "broken" / "drums.wav") in songs.problems[0] and says in songs.problems[0]


def test_a_track_without_files_is_left_out(tmp_path):
    write_track(tmp_path / "test" / "good")
    (tmp_path / "test" / "empty").mkdir()
    assert "has no sound files" in MusdbFolder(tmp_path).problems[0]


def test_a_source_without_a_file_is_named(tmp_path):
    write_track(tmp_path / "Song", stems=("vocals", "drums"))
    with pytest.raises(InputError, match=r"Song: has no bass; it has drums, mixture, vocals"):
        MusdbFolder(tmp_path).clip("Song", ("vocals", "bass"), 1).at(RATE)


def test_no_folder_and_no_track(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        MusdbFolder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no tracks"):
        MusdbFolder(tmp_path)


def test_stem_mp4_is_read_by_musdb(tmp_path, monkeypatch):
    """A stand-in for musdb with its interface: (time, channels) arrays."""
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "Song.stem.mp4").touch()

    class Audio:
        def __init__(self, level):
            self.audio = np.full((100, 2), level)

    class Track(Audio):
        name, rate, path = "Song", 44100, "Song.stem.mp4"
        sources = {"vocals": Audio(0.25), "drums": Audio(0.5)}  # noqa: RUF012

    musdb = ModuleType("musdb")
    musdb.DB = lambda root, subsets: [Track(0.75)] if subsets == "test" else []
    monkeypatch.setitem(sys.modules, "musdb", musdb)
    songs = MusdbFolder(tmp_path)
    mixture, references = songs.clip("Song", ("vocals", "drums"), 2).at(44100)
    assert torch.equal(mixture, torch.full((2, 100), 0.75))
    assert references.shape == (2, 2, 100) and references[:, 0, 0].tolist() == [0.25, 0.5]


def test_stem_mp4_without_musdb_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "Song.stem.mp4").touch()
    monkeypatch.setitem(sys.modules, "musdb", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[musdb\]'"):
        MusdbFolder(tmp_path)
