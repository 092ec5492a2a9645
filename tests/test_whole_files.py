"""Files appear whole or not at all: drafts of processes that are gone are swept, what belongs together is finished."""

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sfi_zoo import cli, hub
from sfi_zoo.data.songs import SyntheticSongs
from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring import records, run
from sfi_zoo.whole_files import MOVES, Draft, made, publish, replacing, sweep
from tests.tiny_separators import tiny

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks")


def killed(program: str, folder: Path) -> None:
    """A process that ends at once where it says die()."""
    head = (
        "import os; from pathlib import Path; from sfi_zoo.whole_files import *; die = lambda: os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", head + program], cwd=folder, check=False).returncode == 9


def test_what_a_killed_process_has_left_is_swept_by_the_next(tmp_path: Path) -> None:
    killed("with replacing(Path('x')) as draft: draft.write_text('half'); die()", tmp_path)
    assert [path.name for path in tmp_path.rglob("x")] == ["x"]
    with replacing(tmp_path / "y") as draft:
        draft.write_text("whole")
    assert list(tmp_path.iterdir()) == [tmp_path / "y"]


def test_what_a_process_is_working_on_is_not_swept(tmp_path: Path) -> None:
    with replacing(tmp_path / "x") as draft:
        draft.write_text("whole")
        sweep(tmp_path)
        killed("sweep(Path()); die()", tmp_path)
    assert (tmp_path / "x").read_text() == "whole"


def test_temporary_files_are_for_this_user_alone_and_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    left = "folder = temporary().__enter__(); (folder / 'song').touch(); die()"
    killed(left, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700 and (kept / "song").exists()
    killed(left, tmp_path)  # the next one in this place
    (other,) = tmp_path.iterdir()
    assert other != kept


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users")
def test_drafts_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed("Draft(Path()).__enter__(); die()", tmp_path)
    own = os.geteuid()
    with monkeypatch.context() as another:
        another.setattr(os, "geteuid", lambda: own + 1)
        sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_files_that_belong_together_are_finished(moved: int, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in "abc":
        (tmp_path / "out" / name).write_text("old")
    program = f"""
draft = Draft(Path()).__enter__()
(draft / 'new').mkdir()
for name in 'abc': (draft / 'new' / name).write_text('new')
replace, count = Path.replace, 0
def counted(self, target):
    global count
    count += self.name in 'abc'
    return replace(self, target) if count <= {moved} else die()
Path.replace = counted
publish(draft, [(draft / 'new', Path('out'))])
"""
    killed(program, tmp_path)
    texts = [(tmp_path / "out" / name).read_text() for name in "abc"]
    assert texts == ["new"] * moved + ["old"] * (3 - moved)
    sweep(tmp_path)
    assert [(tmp_path / "out" / name).read_text() for name in "abc"] == ["new"] * 3
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_folder_that_is_not_there_appears_at_once(tmp_path: Path) -> None:
    with Draft(tmp_path) as draft:
        (draft / "new").mkdir()
        (draft / "new" / "a").write_text("a")
        publish(draft, [(draft / "new", tmp_path / "out")])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize(
    "moves",
    [
        '[["x", "../escaped"]]',
        '[["x", "/tmp/escaped"]]',
        '[["x", "link/escaped"]]',
        '[["../../victim", "escaped"]]',
        '[["../../victim/x", "escaped"]]',
        '[["folder", "link"]]',
        "[" * 100_000,
        '{"x": 1}',
        "[[1, 2]]",
    ],
)
def test_a_list_of_moves_of_somebody_else_leads_nowhere(moves: str, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x").write_text("mine")
    work = tmp_path / "work"
    draft = work / ".sfi-zoo-0123456789ab.partial"
    (draft / "folder").mkdir(parents=True)
    (work / "link").symlink_to("../victim")
    (draft / "x").write_text("hostile")
    (draft / "folder" / "x").write_text("hostile")
    (draft / MOVES).write_text(moves)
    sweep(work)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["victim", "work"]
    assert list(work.iterdir()) == [work / "link"]
    assert [(path.name, path.read_text()) for path in (tmp_path / "victim").iterdir()] == [("x", "mine")]


def test_a_link_that_is_named_like_a_draft_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    (tmp_path / ".sfi-zoo-0123456789ab.partial").symlink_to("mine")
    sweep(tmp_path)
    assert (tmp_path / "mine" / "x").exists()


def test_folders_that_were_made_for_nothing_go(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), made(tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), made(tmp_path / "a" / "b"):
        (tmp_path / "a" / "x").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "x"]


# a model's folder -----------------------------------------------------------------------------------------------------------


def test_the_config_of_one_model_beside_the_weights_of_another_is_no_model(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    one, two = hub.save(tiny("openunmix"), folder / "one"), hub.save(tiny("openunmix"), folder / "two")
    weights = {
        name: x + 1 if x.is_floating_point() else x
        for name, x in load_file(two / "model.safetensors").items()
    }
    save_file(weights, two / "model.safetensors")
    for mixed in (two / "model.safetensors", one / "config.json"):
        shutil.copy(mixed, folder / mixed.name)
    assert cli.main(["info", "."]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "model.safetensors: not the weights that config.json" in error
    config = json.loads((folder / "config.json").read_text())
    assert len(config.pop("weights_sha256")) == 64
    (folder / "config.json").write_text(
        json.dumps(config)
    )  # as of an earlier version, and the way out that is told
    assert cli.main(["info", "."]) == 0


def test_a_disk_that_is_full_is_told_in_one_line_and_leaves_the_old_model(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    hub.save(tiny("openunmix"), folder / "model")
    before = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        for place in ("model", "new/model"):
            with pytest.raises(InputError, match=r"model: cannot be written \(.*\)") as caught:
                hub.save(tiny("openunmix"), folder / place)
            assert "\n" not in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in (folder / "model").iterdir()} == before
    assert list(folder.iterdir()) == [folder / "model"]


def test_a_score_without_room_stops_at_once_and_goes_on_later(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.save(tiny("convtasnet", sources=("vocals", "drums"), sample_rate=8000), folder / "model")
    measured = []
    written = records.RecordWriter.append

    def append(self: records.RecordWriter, record: dict) -> None:
        measured.append(record)
        if len(measured) > 2:
            raise records.RecordsError("records-0.jsonl: No space left on device")
        written(self, record)

    call = ["score", "model", "--sample-rates", "6000", "--tracks", "2", "--seconds", "0.5", "-o", "results"]
    monkeypatch.setattr(records.RecordWriter, "append", append)
    assert cli.main(call) == 1
    assert len(measured) == 3
    assert capsys.readouterr().err == "sfi-zoo: records-0.jsonl: No space left on device\n"
    monkeypatch.setattr(records.RecordWriter, "append", written)
    assert cli.main(call) == 0
    model = hub.load("model")
    plan = run.Plan((6000,))
    assert (
        records.read_records(folder / "results")
        == run.score({"model": lambda: model}, SyntheticSongs(2, 0.5), plan).records
    )


def test_an_interruption_while_a_draft_is_made_leaves_none(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sfi_zoo.whole_files._locked", interrupted)
    with pytest.raises(KeyboardInterrupt), made(tmp_path / "out"), Draft(tmp_path / "out"):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []
