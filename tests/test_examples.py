"""The scripts in examples/ run as their heads say, in a folder of their own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(folder: Path, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_separate_a_song(tmp_path: Path) -> None:
    shown = run(tmp_path, "separate_a_song.py")
    assert len(shown.splitlines()) == 4
    assert {path.name for path in (tmp_path / "stems").iterdir()} == {
        f"{name}.wav" for name in ("vocals", "drums", "bass", "other")
    }


def test_score_own_convtasnet(tmp_path: Path) -> None:
    pytest.importorskip("torchaudio")
    shown = run(tmp_path, "score_own_convtasnet.py")
    assert "replaced: encoder, decoder" in shown
    assert float(re.search(r"change at 16000 Hz: (\S+)", shown)[1]) < 1e-5  # type: ignore[index]
    lee = {
        (mode, rate): float(value)
        for mode, rate, value in re.findall(r"(native|none) +(\d+) Hz: mask LEE +(\S+) dB", shown)
    }
    assert lee["native", "44100"] < lee["none", "44100"] and lee["native", "8000"] < lee["none", "8000"]


def test_train_tiny_model(tmp_path: Path) -> None:
    shown = run(tmp_path, "train_tiny_model.py", "here", "6")
    assert "6 steps" in shown
    assert "stems at 44.1 kHz: (4, 2, 88200)" in shown
    assert (tmp_path / "here" / "6 steps" / "model" / "model.safetensors").is_file()
