"""The command line but for `separate`: list, info, score, import, example, help."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sfi_zoo
from sfi_zoo import cli
from tests.half_separator import Half

pytestmark = pytest.mark.usefixtures("hub_of_half")


def test_info_as_json(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["info", "half", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"] == list(Half.sources)


@pytest.mark.parametrize("rates", ["", "8000,x", "8000,10"])
def test_score_refuses_bad_rates(rates: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["score", "half", "--sample-rates", rates]) == 2
    assert capsys.readouterr().err.startswith("sfi-zoo: --sample-rates")


@pytest.mark.parametrize(("rate", "channels"), [(11025, 1), (22050, 2), (96000, 2)])
def test_example_writes_a_song(rate: int, channels: int, folder: Path) -> None:
    options = ["--sample-rate", str(rate), "--channels", str(channels), "--duration", "0.5"]
    assert cli.main(["example", "song.wav", *options]) == 0
    song = soundfile.info("song.wav")
    assert (song.samplerate, song.channels, song.frames) == (rate, channels, round(rate / 2))


def test_example_with_stems_that_sum_to_the_song(folder: Path, capsys: pytest.CaptureFixture) -> None:
    cli.main(["example", "song.wav", "--stems", "--duration", "0.5", "--json"])
    song, *files = map(Path, json.loads(capsys.readouterr().out)["files"])
    assert song.name == "song.wav" and {path.resolve() for path in files} == set((folder / "song").iterdir())
    stems = [soundfile.read(path)[0] for path in files]
    assert len(stems) == 4
    np.testing.assert_allclose(sum(stems), soundfile.read("song.wav")[0], atol=5 / 2**15)


@pytest.mark.parametrize("name", ["song.txt", "taken/song.wav"])
def test_example_that_cannot_be_written_is_one_line(
    name: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("taken").touch()
    assert cli.main(["example", name, "--duration", "0.1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and list(folder.iterdir()) == [folder / "taken"]


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sfi-zoo {sfi_zoo.__version__}\n"


@pytest.mark.parametrize("command", ["list", "info", "separate", "score", "import", "example"])
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"Example: sfi-zoo {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["--help", "--version", "doctor --help", "list", "list --published"])
def test_help_and_lists_need_no_torch(command: str) -> None:
    code = (
        f"import sys; from sfi_zoo.cli import main; main({command.split()}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
