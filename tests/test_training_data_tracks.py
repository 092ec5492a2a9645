"""Which tracks a folder has for training and validation, and what is said of broken ones."""

import importlib.util
import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo import InputError
from sfi_zoo.data.layout import MUSDB18_VALID
from sfi_zoo.data.tracks import training_tracks
from tests.musdb_layout import RATE, STEMS, write_track

UNPACK = Path(__file__).parents[1] / "tools" / "unpack_music4.py"


def names(folder, split, **options):
    return [track.name for track in training_tracks(folder, split, STEMS, **options)[0]]


def write_tracks(folder, *tracks):
    for seed, name in enumerate(tracks):
        write_track(folder / name, seconds=0.1, seed=seed)


# Splits


def test_setup_file_names_the_validation_tracks(tmp_path):
    write_tracks(tmp_path / "train", "c", "a", "b")
    write_tracks(tmp_path / "test", "d")
    (tmp_path / "mus.yaml").write_text("sample_rate: 44100\nvalidation_tracks:\n- 'b'\n- not here\n")
    assert [names(tmp_path, split) for split in ("train", "valid", "test")] == [["a", "c"], ["b"], ["d"]]


def test_a_folder_of_its_own_holds_the_validation_tracks(tmp_path):
    write_tracks(tmp_path / "train", "a", MUSDB18_VALID[0])
    write_tracks(tmp_path / "valid", "b")
    assert names(tmp_path, "train") == [MUSDB18_VALID[0], "a"]
    assert names(tmp_path, "valid") == ["b"]


def test_what_the_setup_file_keeps_is_not_trained_on_beside_a_folder_for_validation(tmp_path):
    """Songs of another source are rendered into valid/ beside those that mus.yaml names in train/."""
    write_tracks(tmp_path / "train", "a", "b")
    write_tracks(tmp_path / "valid", "c")
    (tmp_path / "mus.yaml").write_text("validation_tracks: [b]")
    assert [names(tmp_path, split) for split in ("train", "valid")] == [["a"], ["b", "c"]]


def test_without_either_they_are_those_of_musdb18(tmp_path):
    write_tracks(tmp_path / "train", "a", MUSDB18_VALID[3], MUSDB18_VALID[1])
    assert names(tmp_path, "train") == ["a"]
    assert names(tmp_path, "valid") == sorted([MUSDB18_VALID[3], MUSDB18_VALID[1]])


def test_names_of_musdb18_are_those_of_its_package():
    yaml = pytest.importorskip("yaml")
    spec = importlib.util.find_spec("musdb")
    if spec is None:
        pytest.skip("musdb is not installed")
    setup = Path(spec.origin).parent / "configs" / "mus.yaml"
    assert yaml.safe_load(setup.read_text())["validation_tracks"] == list(MUSDB18_VALID)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_track_knows_its_rate_and_length_and_reads_any_part(tmp_path, suffix):
    signals = write_track(tmp_path / "train" / "Song", suffix=suffix, mixture=False)
    ((track,), problems) = training_tracks(tmp_path, "train", ("bass", "vocals"))
    assert (track.name, track.sample_rate, track.frames, problems) == ("Song", RATE, RATE // 2, [])
    np.testing.assert_allclose(track.read("bass", 100, 300), signals[2, :, 100:300], atol=2**-23)
    assert track.file("bass") == tmp_path / "train" / "Song" / f"bass.{suffix}"


# Broken tracks


def other_length(folder):
    soundfile.write(folder / "drums.wav", np.zeros((10, 2)), RATE)


def other_rate(folder):
    soundfile.write(folder / "drums.wav", np.zeros((1600, 2)), 2 * RATE)


def cut_flac(folder):
    (folder / "drums.wav").unlink()
    path = folder / "drums.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (1600, 2)), RATE)
    path.write_bytes(path.read_bytes()[:2000])


def not_finite(folder):
    x = np.zeros((1600, 2))
    x[1000] = np.nan
    soundfile.write(folder / "drums.wav", x, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "drums.wav").unlink(), "has no drums; it has bass, mixture, other, vocals"),
        (other_length, "drums.wav: has 10 samples at 16000 Hz, vocals.wav 1600 at 16000 Hz; they must agree"),
        (other_rate, "drums.wav: has 1600 samples at 32000 Hz"),
        (cut_flac, "drums.flac: "),
        (not_finite, "drums.wav: not a finite sample"),
        (lambda folder: (folder / "drums.wav").write_bytes(b""), "drums.wav: is an empty file"),
        (lambda folder: (folder / "drums.wav").write_text("no sound"), "drums.wav: not a sound file"),
    ],
)
def test_a_broken_track_is_refused_or_skipped_and_named(tmp_path, damage, says):
    write_tracks(tmp_path / "train", "good", "broken")
    damage(tmp_path / "train" / "broken")
    with pytest.raises(InputError) as error:
        training_tracks(tmp_path, "train", STEMS)
    assert str(tmp_path / "train" / "broken") in str(error.value)
    assert says in str(error.value) and "on_broken" in str(error.value)
    tracks, problems = training_tracks(tmp_path, "train", STEMS, on_broken="skip")
    assert [track.name for track in tracks] == ["good"]
    assert len(problems) == 1 and says in problems[0] and "\n" not in problems[0]


def test_a_mixture_and_stems_that_are_not_needed_may_be_broken(tmp_path):
    write_tracks(tmp_path / "train", "Song")
    (tmp_path / "train" / "Song" / "mixture.wav").write_text("no sound")
    (tmp_path / "train" / "Song" / "other.wav").unlink()
    assert len(training_tracks(tmp_path, "train", ("vocals", "drums"))[0]) == 1


def test_nothing_that_is_whole(tmp_path):
    write_tracks(tmp_path / "train", "Song")
    (tmp_path / "train" / "Song" / "bass.wav").unlink()
    with pytest.raises(InputError, match=r"no track is whole; .*Song: has no bass"):
        training_tracks(tmp_path, "train", STEMS, on_broken="skip")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("validation_tracks: [a", "cannot be read as YAML"),
        ("validation_tracks: a", "must be a list of names"),
        ("validation_tracks: [1]", "must be a list of names"),
        ("- a", "must be a list of names"),
        ("!!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_a_setup_file_that_makes_no_sense(tmp_path, text, says):
    write_tracks(tmp_path / "train", "a")
    (tmp_path / "mus.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"mus\.yaml: .*{says}") as error:
        training_tracks(tmp_path, "train", STEMS)
    assert "\n" not in str(error.value)


def test_folders_without_tracks(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        training_tracks(tmp_path / "nowhere", "train", STEMS)
    with pytest.raises(InputError, match=r"has no folder train; wanted are .*; it holds nothing"):
        training_tracks(tmp_path, "train", STEMS)
    (tmp_path / "song").mkdir()
    (tmp_path / "mix.wav").touch()
    with pytest.raises(InputError, match=rf"train/<track>/{STEMS[0]}\.wav, .*; it holds mix\.wav, song/$"):
        training_tracks(tmp_path, "train", STEMS)
    shutil.rmtree(tmp_path / "song")
    write_tracks(tmp_path / "train", "a")
    with pytest.raises(InputError, match=r"has no tracks for 'valid'; name them in mus\.yaml"):
        training_tracks(tmp_path, "valid", STEMS)
    (tmp_path / "mus.yaml").write_text("validation_tracks: [a]")
    with pytest.raises(InputError, match=r"has no tracks for 'train'$"):
        training_tracks(tmp_path, "train", STEMS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dev", STEMS), "split = 'dev'"),
        (("train", STEMS, "ignore"), "on_broken = 'ignore'"),
        (("train", ("bass", "bass")), "name each stem once"),
        (("train", ()), "name each stem once"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, arguments, says):
    with pytest.raises(InputError, match=says):
        training_tracks(tmp_path, *arguments)


# MUSDB18


@pytest.fixture
def stem_mp4(tmp_path):
    """Two tracks of a tone for each stream: 220 Hz the mixture, then 440 Hz drums, 660 Hz bass ..."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg is not installed")
    pytest.importorskip("musdb")
    stempeg = pytest.importorskip("stempeg")
    t = np.arange(2 * 44100) / 44100
    stems = 0.1 * np.sin(2 * np.pi * 220 * np.arange(1, 6)[:, None, None] * t[:, None]).repeat(2, -1)
    (tmp_path / "train").mkdir()
    for name in ("a", MUSDB18_VALID[0]):
        path = str(tmp_path / "train" / f"{name}.stem.mp4")
        stempeg.write_stems(path, stems, sample_rate=44100, writer=stempeg.StreamsWriter())
    return tmp_path


def test_stem_mp4_files_are_read_by_musdb(stem_mp4):
    (track,), _ = training_tracks(stem_mp4, "train", STEMS)
    assert (track.name, track.sample_rate, track.frames) == ("a", 44100, 88200)
    assert names(stem_mp4, "valid") == [MUSDB18_VALID[0]]
    whole, part = track.read("bass", 0, 88200), track.read("bass", 30000, 52050)
    assert torch.equal(part, whole[:, 30000:52050])
    assert np.abs(np.fft.rfft(part[0].numpy())).argmax() * 44100 / 22050 == 660


def test_a_damaged_stem_mp4_is_named(stem_mp4):
    path = stem_mp4 / "train" / "b.stem.mp4"
    path.write_bytes((stem_mp4 / "train" / "a.stem.mp4").read_bytes()[:10000])
    with pytest.raises(InputError, match=r"b\.stem\.mp4: not a file that ffmpeg reads"):
        training_tracks(stem_mp4, "train", STEMS)
    assert names(stem_mp4, "train", on_broken="skip") == ["a"]


def test_stem_mp4_without_musdb_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "Song.stem.mp4").touch()
    monkeypatch.setitem(sys.modules, "musdb", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[musdb\]'"):
        training_tracks(tmp_path, "train", STEMS)


# The pack of real songs


def test_the_pack_becomes_a_folder_whose_splits_we_and_musdb_see(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    songs = {
        "train": ["EIF - Caesium 092s", "EIF - Lithium", "PJS - 079", "PJS - 078"],
        "test": ["PJS - 089"],
    }
    for subset, tracks in songs.items():
        (tmp_path / "pack" / subset).mkdir(parents=True)
        for name in tracks:
            loud = rng.uniform(-0.9, 0.9, (8000, 4))  # their sum is beyond full scale
            soundfile.write(tmp_path / "pack" / subset / f"{name}.ogg", loud, 32000)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["unpack", str(tmp_path / "pack"), str(out)])
    runpy.run_path(str(UNPACK), run_name="__main__")
    assert names(out, "train") == ["EIF - Lithium", "PJS - 078"]
    assert names(out, "valid") == ["EIF - Caesium 092s", "PJS - 079"]
    assert names(out, "test") == ["PJS - 089"]
    for folder in out.glob("*/*/"):
        mixture, rate = soundfile.read(folder / "mixture.wav", dtype="int16")
        stems = [soundfile.read(folder / f"{stem}.wav", dtype="int16")[0] for stem in STEMS]
        np.testing.assert_array_equal(mixture, np.sum(stems, 0, dtype=np.int64))  # no overflow
        assert rate == 32000 and np.abs(mixture).max() < 2**15 - 1
    setup = json.loads((out / "mus.yaml").read_text())
    assert setup["validation_tracks"] == ["EIF - Caesium 092s", "PJS - 079"]
    if shutil.which("ffmpeg"):
        musdb = pytest.importorskip("musdb")
        options = {"is_wav": True, "setup_file": "mus.yaml", "subsets": "train"}
        assert [t.name for t in musdb.DB(str(out), split="valid", **options)] == names(out, "valid")
        assert [t.name for t in musdb.DB(str(out), split="train", **options)] == names(out, "train")
