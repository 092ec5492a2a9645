"""The benchmarks run: each prints its tables. Figures are not tested, machines differ."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RUNS = {
    "accuracy.py": ["8", "11.025", "44.1", "modulated_gaussian"],
    "speed.py": ["nn.Conv1d", "nn.ConvTranspose1d", "published", "training step"],
    "memory.py": ["encoder", "MiB"],
    "taper_width.py": ["training loss", "a = 0"],
    "scoring.py": ["scored / unavoidable", "1 process / 2 processes"],
    "training.py": ["mono 32 kHz", "cached", "share"],
    "foreign_models.py": ["a mask on torch.stft", "conv1d by hand", "wrapped"],
    "on_device.py": ["SFISTFT / torch.stft", "separate / forward", "examples a second"],
    "peers.py": ["sfi-zoo separate", "Open-Unmix", "peak, MiB"],
    "separators.py": ["torchaudio's", "grouped SFI Conv-TasNet", "native / resample", "bsroformer"],
}


@pytest.mark.slow
@pytest.mark.parametrize("script", RUNS)
def test_prints_a_table(script, tmp_path):
    options = ["--quick"] + (["--log", str(tmp_path / "log.jsonl")] if script == "taper_width.py" else [])
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| --- \|", done.stdout, re.M)
    assert [word for word in RUNS[script] if word not in done.stdout] == []


def test_a_ratio_is_that_of_the_medians_of_pairs(monkeypatch):
    """Three pairs of 2 and 1 seconds, one of them disturbed: the median is 2."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import timing

    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    slow = iter([2.0, 9.0, 2.0])

    def first():
        clock[0] += next(slow)

    def second():
        clock[0] += 1.0

    result = timing.compare(first, second, pairs=3, warm_up=0)
    assert (result.ratio, result.first, result.second) == (2.0, 2.0, 1.0)
