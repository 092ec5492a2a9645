"""SIGINT and SIGTERM to real processes: the exit code, nothing half-written, and the same command goes on."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sfi_zoo import cli, hub
from tests.processes import finish, send, start, wait_until
from tests.tiny_separators import tiny

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
GOLDEN = Path(__file__).parent / "golden"
SCORE = ["score", "model", "--sample-rates", "8000,16000", "--tracks", "2", "--seconds", "1", "-o", "results"]

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("number", CODES)]


@pytest.fixture
def model(folder: Path) -> Path:
    return hub.save(tiny("convtasnet", sources=("vocals", "drums"), sample_rate=16000), folder / "model")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def song(folder: Path) -> str:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (16000 * 12, 2))
    soundfile.write("song.wav", noise, 16000)
    return "song.wav"


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_separate_leaves_all_stems_or_none(
    number: signal.Signals, delay: float, song: str, model: Path, folder: Path
) -> None:
    before = files(folder)
    call = ["separate", "-m", "model", "-o", "out", "--chunk-seconds", "0.5", "--overwrite", song]
    process = start(*call, log=folder / "log")
    wait_until(lambda: list(folder.glob("out/.*.partial")), process)
    time.sleep(delay)
    send(process, number)
    code = finish(process)
    left = files(folder) - before - {"log"}
    stems = {"out/song/vocals.wav", "out/song/drums.wav"}
    assert (code, left) in [(CODES[number], set()), (0, stems)] or (code, left) == (CODES[number], stems)
    assert (folder / "out").exists() == bool(left)
    assert "Traceback" not in (folder / "log").read_text()
    assert finish(start(*call, log=folder / "log")) == 0
    assert files(folder) - before - {"log"} == stems


def test_score_goes_on_where_it_was_stopped(number: signal.Signals, model: Path, folder: Path) -> None:
    records = folder / "results" / "records-0.jsonl"
    process = start(*SCORE, log=folder / "log")
    wait_until(lambda: records.is_file() and records.stat().st_size, process)
    send(process, number)
    assert finish(process) == CODES[number]
    assert "Traceback" not in (folder / "log").read_text()
    done = records.read_bytes()
    assert done.endswith(b"\n") and files(folder / "results") == {"manifest.json", "records-0.jsonl"}
    assert finish(start(*SCORE, log=folder / "log")) == 0
    assert records.read_bytes().startswith(done), "what was measured is not measured again"
    found = [json.loads(line) for line in records.read_text().splitlines()]
    units = {(record["track"], record["mode"], record["sample_rate"]) for record in found}
    assert len(found) == len(units) == 2 * 2 * 3  # tracks, rates, and native, resample, none


@pytest.mark.parametrize("delay", [0.2])
def test_report_writes_whole_files_or_none(
    number: signal.Signals, delay: float, model: Path, folder: Path
) -> None:
    assert finish(start(*SCORE, log=folder / "log")) == 0
    before = files(folder)
    call = ["report", "results", "-o", "page", "--scores-json", "page", "--resamples", "300"]
    process = start(*call, log=folder / "log")
    wait_until((folder / "page").exists, process)
    time.sleep(delay)
    send(process, number)
    assert finish(process) in (CODES[number], 0)
    whole = {"page/report.html", "page/report.md", "page/model/scores.json"}
    assert files(folder) - before <= whole
    assert finish(start(*call, log=folder / "log")) == 0
    assert files(folder) - before == whole


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_import_makes_a_whole_folder_or_none(number: signal.Signals, delay: float, folder: Path) -> None:
    call = ["import", str(GOLDEN / "asteroid_global_relu.bin"), "-o", "model", "--sample-rate", "8000"]
    process = start(*call, log=folder / "log")
    wait_until((folder / "log").exists, process)
    time.sleep(delay)
    send(process, number)
    finish(process)
    left = files(folder) - {"log"}
    whole = {f"model/{name}" for name in ("config.json", "model.safetensors", "README.md")}
    assert left in (set(), whole) and {path.name for path in folder.iterdir()} <= {"log", "model"}
    assert cli.main(call) == 0
    assert files(folder) - {"log"} == whole
    hub.load("model")
