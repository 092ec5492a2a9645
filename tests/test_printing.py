"""Standard output that is full, closed, or takes no such name: all work is done, and the last line says what could not be printed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sfi_zoo.commands
from sfi_zoo import cli, hub
from sfi_zoo.commands import printing
from tests.tiny_separators import tiny

NAMES = ("Ω one", "two", "пять")
RUN = [sys.executable, "-m", "sfi_zoo.cli"]


def songs(folder: Path) -> list[str]:
    hub.save(tiny("convtasnet"), folder / "model")
    for name in NAMES:
        soundfile.write(folder / f"{name}.wav", np.full((400, 1), 0.1), 8000)
    return ["separate", "-m", "model", *(f"{name}.wav" for name in NAMES)]


def stems(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder / "separated")) for path in folder.glob("separated/*/*.wav"))


ALL = sorted(f"{name}/{source}.wav" for name in NAMES for source in "ab")


def test_an_encoding_without_a_name_prints_it_with_escapes_and_says_so(folder: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run([*RUN, *songs(folder)], capture_output=True, env=environment, check=True)
    lines = done.stdout.decode("cp1252").splitlines()
    assert lines == [
        f"separated/{name.encode('cp1252', 'backslashreplace').decode()}/{s}.wav"
        for name in NAMES
        for s in "ab"
    ]
    assert (
        done.stderr.decode()
        .splitlines()[-1]
        .startswith("sfi-zoo: note: standard output takes cp1252 only; 4 lines")
    )
    assert stems(folder) == ALL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_standard_output_ends_no_batch(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*RUN, *songs(folder)], stdout=full, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert said[-1] == (
        "sfi-zoo: standard output: No space left on device; 6 lines were not printed, the first of them: separated/Ω one/a.wav"
    )
    assert len(said) == 1 and stems(folder) == ALL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "call",
    [["--help"], ["--version"], ["list"], ["list", "--json"], ["info", "convtasnet_mgf_gate.music4"]],
)
def test_a_full_standard_output_is_one_line_in_every_command(call: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*RUN, *call], stdout=full, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode()
    assert done.returncode in (1, 2) and said.count("\n") == 1 and "No space left on device" in said


def test_a_pipe_that_its_reader_has_closed_is_no_mistake() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*RUN, "list"], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_a_standard_output_all_work_is_done(folder: Path) -> None:
    command = " ".join(f"'{word}'" for word in (*RUN, *songs(folder)))
    done = subprocess.run(["sh", "-c", f"{command} >&-"], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and stems(folder) == ALL
    assert (
        done.stderr.decode()
        .splitlines()[-1]
        .startswith("sfi-zoo: standard output: closed; 6 lines were not printed")
    )


def test_a_full_standard_error_ends_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = [*songs(folder), "missing.wav"]
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert cli.main(call) == 1
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert stems(folder) == ALL


def test_commands_print_in_one_place() -> None:
    for path in Path(str(sfi_zoo.commands.__file__)).parent.glob("*.py"):
        if path == Path(printing.__file__):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert [
            node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"
        ] == [], path
