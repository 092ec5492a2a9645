"""Stems of two models are never mixed without a word, and a full disk is told before any work."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import cli
from sfi_zoo.audio.containers import EXTENSIONS
from sfi_zoo.commands import separate_run
from sfi_zoo.errors import InputError
from sfi_zoo.separation.files import separate_file
from sfi_zoo.separation.made_by import Maker, maker_of, name_of
from sfi_zoo.separation.naming import TEMPLATE
from tests.half_separator import Half

SIGNAL = np.random.default_rng(0).uniform(-0.2, 0.2, (4000, 2))
FLAT = "{track} - {stem}.{ext}"


class Quarter(Half):
    shares = (0.25, 0.25, 0.25, 0.25)


class Speech(nn.Module):
    sources = ("speech", "noise")
    trained_rate = 32000
    frame_period = None

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        return torch.stack([0.5 * waveform, 0.5 * waveform], 1)


MODELS = {"half": Half, "quarter": Quarter, "speech": Speech}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fake = SimpleNamespace(load=lambda name, device=None: MODELS[name]())
    monkeypatch.setattr(separate_run, "hub", fake)
    monkeypatch.setitem(sys.modules, "sfi_zoo.hub", fake)
    monkeypatch.setattr(sfi_zoo, "hub", fake, raising=False)
    for name in ("a", "b"):
        soundfile.write(f"{name}.wav", SIGNAL, 8000)
    return tmp_path


def separate(model: str, *arguments: str) -> int:
    return cli.main(["separate", "-m", model, "-o", "out", *(arguments or ("a.wav",))])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def alone_and_shared(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    if shared:  # one of two processes, the other of which never comes
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("template", [TEMPLATE, FLAT, "{stem}/{folder}/{track}.{ext}"])
@pytest.mark.parametrize("second", ["quarter", "speech"])
def test_another_model_neither_replaces_nor_joins(
    second: str,
    template: str,
    shared: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    assert separate("half", "a.wav", "--filename", template) == 0
    before = contents(folder / "out")
    capsys.readouterr()
    alone_and_shared(monkeypatch, shared)
    assert separate(second, "a.wav", "--filename", template) == 2
    told = capsys.readouterr().err
    assert "is of another model, half" in told and told.count("\n") == 1 and "--filename '{model}/" in told
    assert contents(folder / "out") == before


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_asked_for_is_done(
    shared: bool, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert separate("half") == 0
    before = contents(folder / "out")
    alone_and_shared(monkeypatch, shared)
    assert separate("speech", "a.wav", "--filename", "{model}/" + TEMPLATE) == 0  # both
    assert {**contents(folder / "out"), **before} == contents(folder / "out")
    capsys.readouterr()
    assert separate("speech", "a.wav", "--overwrite") == 0
    told = capsys.readouterr().err
    assert told.count("is of another model, half, and stays beside the new stems") == len(Half.sources)
    assert separate("quarter", "a.wav", "--overwrite") == 0
    assert maker_of(folder / "out/a/vocals.wav") == Maker("quarter", "a")


def test_files_that_are_left_out_are_of_this_model(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert separate("half") == 0
    before = contents(folder / "out")
    capsys.readouterr()
    assert separate("quarter", "a.wav", "b.wav", "--skip-existing", "--json") == 1
    first, second = json.loads(capsys.readouterr().out)
    assert "is of another model, half" in first["error"] and "stems" in second
    assert {**contents(folder / "out"), **before} == contents(folder / "out")
    assert separate("half", "a.wav", "--skip-existing") == 0


def test_a_part_of_the_stems_by_nobody_known_is_not_replaced(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("out/a").mkdir(parents=True)
    soundfile.write("out/a/vocals.wav", SIGNAL, 8000)
    before = contents(folder / "out")
    assert separate("half", "a.wav", "--skip-existing") == 2
    assert "out/a/vocals.wav: is there already, other stems of the file are not" in capsys.readouterr().err
    assert contents(folder / "out") == before


def test_a_part_of_its_own_stems_is_made_whole(folder: Path) -> None:
    assert separate("half", "a.wav", "--stems", "vocals") == 0
    assert separate("half", "a.wav", "--skip-existing") == 0
    assert len(contents(folder / "out")) == len(Half.sources)


def test_a_track_whose_name_begins_as_another_is_another(folder: Path) -> None:
    shutil.copy("a.wav", "a - live.wav")
    assert separate("half", "a - live.wav", "--filename", FLAT) == 0
    assert separate("quarter", "a.wav", "--filename", FLAT) == 0


def test_in_python_as_well(folder: Path) -> None:
    separate_file(Half(), "a.wav", "out", made_by="half")
    with pytest.raises(InputError, match="is of another model, half"):
        separate_file(Speech(), "a.wav", "out", made_by="speech")
    separate_file(Speech(), "a.wav", "out", made_by="speech", overwrite=True)


@pytest.mark.parametrize("format", sorted(EXTENSIONS))
def test_every_container_tells_its_model_or_nothing(format: str, folder: Path) -> None:
    soundfile.write("песня [1].wav", SIGNAL, 8000)
    done = separate_file(Half(), "песня [1].wav", "out", format=format, made_by="modèle 歌")
    told = maker_of(done.stems[0].path)
    assert told == (None if format in ("W64", "AU") else Maker("modèle 歌", "песня [1]"))
    samples, rate = soundfile.read(done.stems[0].path)
    assert rate == 8000 and len(samples) == pytest.approx(len(SIGNAL), abs=3000 * (format == "MP3"))


@pytest.mark.parametrize("comment", ["", "sfi_zoo ", "sfi_zoo {", "sfi_zoo []", 'sfi_zoo {"model": 1}', "x"])
def test_other_comments_are_of_nobody(comment: str, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "x.wav", "w", 8000, 1) as sound:
        if comment:
            sound.comment = comment
        sound.write(SIGNAL[:, 0])
    assert maker_of(tmp_path / "x.wav") is None
    (tmp_path / "y.wav").write_bytes(b"RIFF")
    assert maker_of(tmp_path / "y.wav") is None


def test_a_folder_of_weights_is_named_by_its_end(tmp_path: Path) -> None:
    for name in ("one/best", "two/best"):
        (tmp_path / name).mkdir(parents=True)
    one, two = (name_of([str(tmp_path / name)]) for name in ("one/best", "two/best"))
    assert one != two and one.startswith("best (") and str(tmp_path) not in one
    assert name_of(["a.music4", "b.music4"]) == "a.music4+b.music4"


@pytest.mark.parametrize(("free", "code"), [(10**4, 2), (10**9, 0)])
def test_a_disk_without_room_is_told_before_any_work(
    free: int, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**12, free=free))
    assert separate("half") == code
    told = capsys.readouterr().err
    assert ("a.wav: needs 0.02 GB on the disk of out" in told and told.count("\n") == 1) == bool(code)
    assert (folder / "out").exists() != bool(code)
