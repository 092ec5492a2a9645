"""Two processes that write to one place at the same time."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sfi_zoo import hub
from sfi_zoo.metrics.scoring.records import read_records
from tests.processes import finish, start
from tests.tiny_separators import tiny

GOLDEN = Path(__file__).parent / "golden"

pytestmark = pytest.mark.slow


def both(folder: Path, *calls: list[str]) -> list[int]:
    """Exit codes of calls that run side by side."""
    running = [start(*call, log=folder / f"log{number}") for number, call in enumerate(calls)]
    return [finish(process) for process in running]


def model(folder: Path) -> None:
    hub.save(tiny("convtasnet", sources=("vocals", "drums"), sample_rate=16000), folder / "model")


def hidden(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


def test_the_same_file_separated_twice(folder: Path) -> None:
    model(folder)
    soundfile.write("song.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (16000 * 4, 2)), 16000)
    call = ["separate", "-m", "model", "-o", "out", "song.wav", "--overwrite"]
    assert finish(start(*call[:3], *call[3:4], "alone", *call[5:], log=folder / "log")) == 0
    assert both(folder, call, call) == [0, 0]
    for name in ("vocals", "drums"):
        assert Path(f"out/song/{name}.wav").read_bytes() == Path(f"alone/song/{name}.wav").read_bytes()
    assert hidden(folder) == []


def test_a_checkpoint_imported_twice(folder: Path) -> None:
    call = ["import", str(GOLDEN / "asteroid_global_relu.bin"), "-o", "model", "--sample-rate", "8000"]
    for _ in range(3):
        assert both(folder, call, call) == [0, 0]
        hub.load("model")
        assert hidden(folder) == []


def test_one_results_folder_has_one_writer_and_every_unit_once(folder: Path) -> None:
    model(folder)
    call = [
        "score",
        "model",
        "--sample-rates",
        "8000,16000",
        "--tracks",
        "2",
        "--seconds",
        "1",
        "-o",
        "results",
    ]
    codes = both(folder, call, call)
    assert sorted(codes) in ([0, 2], [0, 0])  # the slower one is refused, or finds everything done
    if 2 in codes:
        assert "another run is writing it" in (folder / f"log{codes.index(2)}").read_text()
    assert finish(start(*call, log=folder / "log")) == 0
    records = read_records(folder / "results")
    lines = (folder / "results" / "records-0.jsonl").read_text().splitlines()
    assert len(records) == len(lines) == 2 * 2 * 3  # tracks, rates, and native, resample, none
    assert all(json.loads(line) in records for line in lines)
