"""Songs by another voice: what is drawn, what stays, and what is said where nothing is sung."""

from functools import partial

import numpy as np
import pytest
import soundfile

pytest.importorskip("pyworld")
pytest.importorskip("scipy")
from tests.programs import RATE, said, vowel
from tools.music4 import other_voices
from tools.music4.singers import PARTS, analysed


@pytest.mark.parametrize("pitch", [100.0, 200.0, 400.0])
def test_a_voice_is_moved_by_what_is_drawn_and_keeps_its_power(pitch):
    x, octaves = vowel(pitch, seconds=1.0), set()
    for seed in range(12):
        octave, formants = other_voices.drawn(pitch, np.random.default_rng(seed))
        y = other_voices.another(x, RATE, np.random.default_rng(seed))
        assert len(y) == len(x) and np.square(y).sum() == pytest.approx(np.square(x).sum())
        heard = analysed(y, RATE).pitch
        assert np.median(heard[heard > 0]) == pytest.approx(pitch * 2.0**octave, rel=0.02)
        assert 80 <= pitch * 2.0**octave <= 500 and abs(np.log(formants)) > np.log(1.06)
        octaves.add(octave)
    assert octaves == {100.0: {0, 1}, 200.0: {-1, 0, 1}, 400.0: {-1, 0}}[pitch]


@pytest.fixture
def run(monkeypatch, capsys):
    return partial(said, other_voices, monkeypatch, capsys)


def test_the_accompaniment_stays_and_what_has_no_voice_is_told(run, tmp_path):
    noise = np.random.default_rng(0)
    for name, vocals in {
        "sung": vowel(150.0, seconds=1.0),
        "noise": 1e-3 * noise.standard_normal(RATE),
    }.items():
        folder = tmp_path / "music" / "train" / name
        folder.mkdir(parents=True)
        stems = {part: 0.05 * noise.standard_normal(RATE) for part in PARTS} | {"vocals": vocals}
        for part, x in (stems | {"mixture": sum(stems.values())}).items():
            soundfile.write(folder / f"{part}.wav", x, RATE, subtype="PCM_16")
    said = run(tmp_path / "music", tmp_path / "out")
    assert "VOICE - noise v0 left out: no voice" in said
    track = tmp_path / "out" / "train" / "VOICE - sung v0"
    found = {path.stem: soundfile.read(path, dtype="int16")[0].astype(int) for path in track.glob("*.wav")}
    assert set(found) == {"mixture", "vocals", *PARTS}
    np.testing.assert_array_equal(found["mixture"], sum(found[part] for part in ("vocals", *PARTS)))
    given = {
        part: soundfile.read(tmp_path / "music" / "train" / "sung" / f"{part}.wav", dtype="int16")[0]
        for part in PARTS
    }
    for part in PARTS:  # but for one gain, by which a song is kept from clipping
        assert np.corrcoef(found[part], given[part])[0, 1] > 0.9999
    assert "was there" in run(tmp_path / "music", tmp_path / "out")
    assert "no training track matches 'EIF*'" in run(tmp_path / "music", tmp_path / "out", "--only", "EIF*")
    assert "no such folder" in run(tmp_path / "nowhere", tmp_path / "out")
