"""The small data set for enhancers: voices of songs, and noise of a formula."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from sfi_zoo.data.musdb_folder import MusdbFolder

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.music4.voice_in_noise import CORNER, RATIOS, main, noise


def test_the_noise_has_the_spectrum_of_the_formula() -> None:
    f, power = welch(noise(60 * 16_000, 16_000, seed=3), 16_000, nperseg=4096)
    heard = (f > 60) & (f < 7000)
    wanted = 1 / (1 + (f[heard] / CORNER) ** 2)
    ratio = 10 * np.log10(power[heard] / wanted)
    assert np.abs(ratio - ratio.mean()).max() < 3 and abs(ratio[:20].mean() - ratio[-2000:].mean()) < 0.5


def test_pairs_stand_at_the_ratios_and_silent_voices_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        folder = tmp_path / "songs" / "test" / f"song {number}"
        folder.mkdir(parents=True)
        voice = rng.uniform(-0.5, 0.5, (22_050, 2)) * (number != 3)
        soundfile.write(folder / "vocals.wav", voice, 22_050)
    assert main([str(tmp_path / "songs"), str(tmp_path / "out")]) == 0
    assert "song 3: no voice" in capsys.readouterr().out
    data = MusdbFolder(tmp_path / "out")
    assert data.names == ["song 0", "song 1", "song 2"]
    for ratio, name in zip(RATIOS, data.names, strict=True):
        mixture, sources = data.clip(name, ("speech", "noise"), 1).at(22_050)
        speech, other = sources.numpy()
        assert 20 * np.log10(np.std(speech) / np.std(other)) == pytest.approx(ratio, abs=0.05)
        assert np.abs(mixture.numpy() - speech - other).max() < 1e-6 and np.abs(mixture.numpy()).max() <= 0.95


def test_no_songs_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "has no <track>/vocals.wav" in capsys.readouterr().err and not (tmp_path / "out").exists()
