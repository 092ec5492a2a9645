"""Speech that sings: notes and formants of tones that are known, the tracks that come out, and what is said where something is missing."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("pyworld")
pytest.importorskip("scipy")
from tests.programs import RATE, said, vowel
from tools.music4 import singers


def peak_hz(x: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 8 * RATE))
    hertz = np.arange(len(spectrum)) / 8
    inside = (hertz >= low) & (hertz <= high)
    return float(hertz[inside][np.argmax(spectrum[inside])])


def test_notes_are_of_the_scale_and_a_word_is_read_from_its_beginning_to_its_end():
    pitch = np.concatenate(
        [np.zeros(20), np.full(120, 150.0), np.zeros(15), np.full(60, 170.0), np.zeros(10)]
    )
    scale = singers.SCALES[0]
    for seed in range(20):
        places, line = singers.on_notes(pitch, 160.0, scale, 1.5, np.random.default_rng(seed))
        assert len(places) == len(line) and places[0] == 0 and places[-1] == len(pitch) - 1
        assert (np.diff(places) >= 0).all()
        np.testing.assert_array_equal(line > 0, pitch[np.round(places).astype(int)] > 0)
        semitones = 12 * np.log2(line[line > 0] / 160.0) + 5
        notes = np.array([12 * octave + step for octave in (-1, 0, 1, 2) for step in scale])
        away = np.abs(semitones[:, None] - notes).min(1)
        assert np.median(away) < 0.25  # the vibrato moves by less than half a semitone, glides are short


def test_a_word_gets_the_pitch_that_is_asked_for_and_keeps_or_moves_its_formant():
    word = singers.analysed(vowel(140.0, 1000.0), RATE)
    places = np.arange(len(word.pitch), dtype=float)
    for factor in (1.0, 1.18):
        y = singers.spoken(word, places, np.full(len(places), 100.0), factor, RATE)
        middle = y[len(y) // 4 : 3 * len(y) // 4]
        lags = np.correlate(middle, middle, "full")[len(middle) :]
        assert RATE / (1 + RATE // 200 + np.argmax(lags[RATE // 200 : RATE // 60])) == pytest.approx(
            100, rel=0.02
        )
        assert peak_hz(middle, 500, 2000) == pytest.approx(
            1000 * factor, abs=60
        )  # a harmonic is at most 50 Hz away


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    (folder / "anna").mkdir()
    for n in range(8):
        soundfile.write(folder / "anna" / f"{n}.wav", vowel(180 + 10 * n, 700 + 100 * n), RATE)
    (folder / "telephone").mkdir()
    soundfile.write(folder / "telephone" / "one.wav", vowel(120, 800)[::4], RATE // 4)
    (folder / "anna" / "broken.ogg").write_bytes(b"no sound")
    (folder / "wind").mkdir()
    for n in range(8):
        whistle = 0.3 * np.sin(2 * np.pi * (3000 + 100 * n) * np.arange(RATE // 2) / RATE)
        soundfile.write(folder / "wind" / f"{n}.wav", whistle, RATE)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    return partial(said, singers, monkeypatch, capsys)


def test_tracks_are_written_whole_twice_the_same_and_over_an_accompaniment(run, speech, tmp_path):
    first = run(speech, tmp_path / "one", "--seconds", 4)
    assert "SING - anna v0; 1 cannot be read: broken.ogg" in first
    assert "telephone v0 left out: 0 recordings" in first and "wind v0 left out: no voice" in first
    assert not list((tmp_path / "one").rglob("*wind*"))
    track = tmp_path / "one" / "train" / "SING - anna v0"
    stems = {p.stem: soundfile.read(p, dtype="int16")[0] for p in track.glob("*.wav")}
    assert len(stems["vocals"]) == 4 * RATE and stems["vocals"].any() and not stems["drums"].any()
    np.testing.assert_array_equal(stems["mixture"], stems["vocals"])
    assert "was there" in run(speech, tmp_path / "one", "--seconds", 4)

    over = tmp_path / "music" / "train"
    (over / "song").mkdir(parents=True)
    for n, part in enumerate(singers.PARTS):
        soundfile.write(over / "song" / f"{part}.wav", np.full(6 * RATE, 0.01 * (n + 1)), RATE)
    for name in ("two", "three"):
        assert "anna" in run(speech, tmp_path / name, "--seconds", 4, "--over", over)
    again = [
        {
            p.stem: soundfile.read(p, dtype="int16")[0]
            for p in (tmp_path / name / "train" / "SING - anna v0").glob("*.wav")
        }
        for name in ("two", "three")
    ]
    for part, x in again[0].items():
        np.testing.assert_array_equal(x, again[1][part])
    assert again[0]["bass"].min() == again[0]["bass"].max() > 0
    total = sum(again[0][part].astype(int) for part in ("vocals", *singers.PARTS))
    np.testing.assert_array_equal(again[0]["mixture"], total)


def test_missing_folders_and_other_rates_are_told(run, speech, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no recordings" in run(tmp_path / "empty", tmp_path / "out")
    assert "no tracks" in run(speech, tmp_path / "out", "--over", tmp_path / "empty")
    (tmp_path / "music" / "song").mkdir(parents=True)
    for part in singers.PARTS:
        soundfile.write(tmp_path / "music" / "song" / f"{part}.wav", np.zeros(1000), 44100)
    assert "44100 Hz" in run(speech, tmp_path / "out", "--seconds", 1, "--over", tmp_path / "music")
    assert not list((tmp_path / "out").rglob("*.wav"))
