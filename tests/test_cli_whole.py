"""What all commands of `sfi-zoo` share: help with examples, JSON, completion, exit codes; and `sfi-zoo doctor`."""

import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from huggingface_hub import constants

from sfi_zoo import cli

COMMANDS = [command.name for command in cli.app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_in_the_help_of_a_command_is_a_call_that_it_takes(
    command: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: sfi-zoo {command}" in shown
    registered = typer.main.get_command(cli.app).commands[command]  # type: ignore[attr-defined]
    line = next(line for line in registered.help.splitlines() if line.startswith("Example: "))
    _, name, *arguments = shlex.split(line.removeprefix("Example: "))
    assert name == command
    registered.make_context(command, arguments)  # raises for options and arguments that are not there


def test_help_is_quick_and_says_how_to_complete_names() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "sfi_zoo.cli", "--help"], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 1  # seconds of CPU; measured: 0.13
    assert "--install-completion" in done.stdout and "Exit codes" in done.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["sep"], ["separate"]),
        (["separate", "--two"], ["--two-stems"]),
        (["separate", "-m", "convtasnet_naf_f"], ["convtasnet_naf_fd.music4"]),
        (["info", "convtasnet_naf_f"], ["convtasnet_naf_fd.music4"]),
        (["separate", "--mode", "re"], ["resample"]),
        (["separate", "--dtype", "float"], ["float16", "float32", "float64"]),
    ],
)
def test_bash_completes_commands_options_models_and_choices(
    words: list[str], completed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("_SFI_ZOO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["sfi-zoo", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert cli.main([]) == 0
    found = capsys.readouterr().out.split()
    assert sorted(word for word in found if word.startswith(words[-1])) == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_a_shell_is_shown(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("_SFI_ZOO_COMPLETE", f"source_{shell}")
    assert cli.main([]) == 0
    assert "sfi-zoo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["info"], ["info", "--no-such-option"], ["example", "x.wav", "--seed", "x"]],
)
def test_a_call_that_is_none_is_2(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert cli.main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("hub_of_half")
def test_separate_tells_programs_what_became_of_each_file(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    soundfile.write("a.wav", np.full(4410, 0.1), 44100)
    assert cli.main(["separate", "-m", "half", "--stems", "drums,bass", "--json", "a.wav", "b.wav"]) == 1
    done, failed = json.loads(capsys.readouterr().out)
    stems = {name: f"separated/a/{name}.wav" for name in ("drums", "bass")}
    assert done == {"file": "a.wav", "sample_rate": 44100, "stems": stems, "notes": []}
    assert failed == {"file": "b.wav", "error": "b.wav: no such file"}
    assert all(Path(path).is_file() for path in stems.values())


# doctor -----------------------------------------------------------------------------------------------------------------


def test_doctor_tells_versions_and_what_the_cache_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "content").write_bytes(bytes(1000))
    (tmp_path / "link").symlink_to("blobs/content")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failures"] == {}
    assert torch.__version__.startswith(found["torch"]) and found["torchaudio"]
    assert found["cache"] == {"path": str(tmp_path), "bytes": 1000}
    assert "not asked" in found["hub"]


def test_a_hub_that_does_not_answer_is_a_failure_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert cli.main(["doctor", "--timeout", "1"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILS") == 1 and "http://127.0.0.1:9 does not answer" in out
