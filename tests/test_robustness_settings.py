"""Recipes of somebody else, numbers of threads, devices that compute nothing: one line, at once."""

import os
from pathlib import Path

import pytest

from sfi_zoo import cli
from sfi_zoo.errors import InputError
from sfi_zoo.training.log import LOG, append_record, cut_log
from sfi_zoo.training.recipe import read_recipe
from sfi_zoo.training.start import new_model
from tests.cpu_time import cpu_seconds

MODEL = '[model]\narchitecture = "convtasnet"\n'
RECIPES = {
    "a pipe": 'extends = "pipe"\n',
    "a device": 'extends = "/dev/zero"\n',
    "itself": 'extends = "recipe.toml"\n',
    "NUL": 'extends = "a\\u0000b"\n',
    "nested lists": "x = " + "[" * 20_000 + "]" * 20_000,
    "a number of 5,000 digits": "x = " + "9" * 5000,
    "2 MB": "#" * 2_000_000,
}
SIZES = (
    "features = 100000000",
    "layers = 1000000",
    'features = "x"',
    "kernel_size = -1",
    "bottleneck = 1e300",
)


@pytest.mark.parametrize("what", RECIPES)
def test_a_hostile_recipe_is_refused_at_once(what: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "recipe.toml").write_text(RECIPES[what])
    with cpu_seconds() as spent, pytest.raises(InputError, match=r"recipe\.toml: ") as caught:
        read_recipe(tmp_path / "recipe.toml")
    assert spent[0] < 2 and "\n" not in str(caught.value)


@pytest.mark.parametrize("line", SIZES)
def test_sizes_are_checked_before_anything_is_built(line: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(MODEL + line)
    with cpu_seconds() as spent, pytest.raises(InputError) as caught:
        new_model(read_recipe(tmp_path / "recipe.toml"))
    assert spent[0] < 5 and "\n" not in str(caught.value)


@pytest.mark.usefixtures("hub_of_half")
@pytest.mark.parametrize(
    "options", [["--threads", "100000"], ["--threads", "0"], ["--threads", "-1"], ["--device", "meta"]]
)
def test_threads_and_devices_that_no_machine_has(
    options: list[str], folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.set_num_threads", pytest.fail)  # it would start them, and stop the machine
    Path("x.wav").touch()
    for call in (["separate", "-m", "half", "x.wav"], ["score", "half"], ["train", "recipe.toml"]):
        assert cli.main([*call, *options]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"sfi-zoo: {options[0]} {options[1]}: ") and error.count("\n") == 1


@pytest.mark.parametrize("torn", [b'{"step": 3, "lo', b"\0" * 50, b"[1]", b'{"step": "x"}', b"\xff\xfe"])
def test_a_torn_line_of_a_log_is_dropped(torn: bytes, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        append_record(tmp_path, {"step": step})
    whole = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(whole + torn)
    cut_log(tmp_path, 2)
    assert (tmp_path / LOG).read_bytes() == b"".join(whole.splitlines(keepends=True)[:2])
    (tmp_path / LOG).write_bytes(whole + torn)
    append_record(tmp_path, {"step": 4})
    assert (tmp_path / LOG).read_bytes().endswith(torn + b'\n{"step": 4}\n')
