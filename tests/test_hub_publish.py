"""What goes to the Hub: by `push_to_hub`, by `sfi-zoo publish`; what does not; and that it comes back from there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCardData, close_session, hf_hub_download

import sfi_zoo
from sfi_zoo import cli, hub
from sfi_zoo.errors import InputError
from sfi_zoo.hub.publishing import card_metadata, parcel
from sfi_zoo.models.base import Separator
from tests.hub_fixtures import environment, point
from tests.hub_recorder import TOKEN, Recorder
from tests.hub_server import Proxy
from tests.tiny_separators import ARCHITECTURES, tiny

BUNDLED = hub.list_models()
MODEL_FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def model() -> Separator:
    return tiny("convtasnet")


@pytest.fixture
def folder(model: Separator, tmp_path: Path) -> Path:
    return hub.save(model, tmp_path / "mine", license="mit")


def sent(recorder: Recorder) -> list[str]:
    """What of the calls changes something."""
    return [call for call in recorder.calls if "/create" in call or "/commit/" in call or "upload" in call]


def test_pushed_it_is_three_files_in_one_commit(model: Separator, hub_recorder: Recorder) -> None:
    url = model.push_to_hub("org/mine", model_card_kwargs={"license": "cc-by-4.0"})
    repository = hub_recorder.repositories["org/mine"]
    assert sorted(repository.files) == MODEL_FILES
    (commit,) = repository.commits
    assert sorted(commit["sent"]) == MODEL_FILES and commit["branch"] == "main"
    assert url.startswith(f"{hub_recorder.url}/org/mine/commit/")
    card = repository.files["README.md"].decode()
    assert "license: cc-by-4.0" in card and 'sfi_zoo.load("org/mine")' in card


def test_a_name_alone_is_ones_own(model: Separator, hub_recorder: Recorder) -> None:
    model.push_to_hub("mine")
    assert 'sfi_zoo.load("me/mine")' in hub_recorder.repositories["me/mine"].files["README.md"].decode()


def test_pushed_again_the_card_on_the_hub_stays(model: Separator, hub_recorder: Recorder) -> None:
    model.push_to_hub("org/mine")
    hub_recorder.repositories["org/mine"].files |= {"README.md": b"mine", "old.txt": b""}
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    model.push_to_hub("org/mine", commit_message="Better", branch="next", delete_patterns="*.txt")
    repository = hub_recorder.repositories["org/mine"]
    assert repository.files["README.md"] == b"mine"
    again = repository.commits[1]
    assert (again["summary"], again["branch"], again["deleted"]) == ("Better", "next", ["old.txt"])


def test_patterns_choose_files_as_the_hub_does(model: Separator, hub_recorder: Recorder) -> None:
    model.push_to_hub("org/one", allow_patterns="*.json")
    assert list(hub_recorder.repositories["org/one"].files) == ["config.json"]
    model.push_to_hub("org/two", ignore_patterns=["*.md"])
    assert sorted(hub_recorder.repositories["org/two"].files) == MODEL_FILES[1:]


def test_saved_and_pushed_at_once(model: Separator, tmp_path: Path, hub_recorder: Recorder) -> None:
    url = model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="org/mine", private=True)
    assert url is not None and hub_recorder.repositories["org/mine"].private
    assert model.save_pretrained(tmp_path / "mine") is None


def test_a_model_that_would_not_load_is_not_sent(model: Separator, hub_recorder: Recorder) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="has not finite"):
        model.push_to_hub("org/mine")
    assert not hub_recorder.repositories


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"config": {}}, "config"),
        ({"model_card_kwargs": {"colour": "red"}}, "colour; known: license"),
        ({"repo_id": "a/b/c"}, "a/b/c: is not a valid Hub id"),
        ({"repo_id": "org/a b"}, "is not a valid Hub id"),
    ],
)
def test_what_cannot_be_pushed_is_refused(
    arguments: dict[str, object], reason: str, model: Separator, hub_recorder: Recorder
) -> None:
    with pytest.raises(InputError, match=reason):
        model.push_to_hub(**{"repo_id": "org/mine"} | arguments)  # type: ignore[arg-type]
    assert not sent(hub_recorder)


def test_published_is_shown_first_and_nothing_is_sent(
    folder: Path, hub_recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["publish", str(folder), "--to", "org/mine"]) == 0
    assert not hub_recorder.calls
    said = capsys.readouterr()
    for file in folder.iterdir():
        assert file.name in said.out and f"{file.stat().st_size:,}" in said.out
    assert f"{hub_recorder.url}/org/mine" in said.out and "license: mit" in said.out
    assert "nothing was sent" in said.err


def test_published_for_programs(
    folder: Path, hub_recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["publish", str(folder), "--to", "org/mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [file["name"] for file in shown["files"]] == MODEL_FILES and shown["sent"] is None
    assert shown["card"]["license"] == "mit"
    assert cli.main(["publish", str(folder), "--to", "org/mine", "--json", "--yes", "--private"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"].startswith(hub_recorder.url)
    assert hub_recorder.repositories["org/mine"].private


def test_published_folders_are_sent_byte_for_byte(folder: Path, hub_recorder: Recorder) -> None:
    (folder / "scores.json").write_text("{}")
    assert cli.main(["publish", str(folder), "--to", "org/mine", "--yes"]) == 0
    want = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert hub_recorder.repositories["org/mine"].files == want


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_model_may_be_published_with_results_that_the_hub_reads(name: str) -> None:
    found = parcel(name, "org/mine")
    results = ModelCardData(**found.metadata).eval_results or []
    assert bool(results) is ("scores.json" in found.sizes)
    places = {(r.unique_identifier, r.metric_type) for r in results}
    assert len(places) == len(results), "the Hub would take figures at two SFs for one"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_card_of_a_saved_model_has_what_the_hub_reads(name: str, tmp_path: Path) -> None:
    folder = hub.save(tiny(name), tmp_path / "x", license="mit")
    metadata = card_metadata(folder / "README.md")
    assert metadata["library_name"] == "sfi-zoo" and metadata["pipeline_tag"] == "audio-to-audio"
    assert {name, "sampling-frequency-independent"} <= set(metadata["tags"])


def spoilt(folder: Path, file: str, content: str | bytes) -> None:
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def with_card(folder: Path, old: str, new: str) -> None:
    card = (folder / "README.md").read_text()
    assert old in card
    (folder / "README.md").write_text(card.replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: spoilt(f, ".env", "A=1"), r"\.env is no part of a model"),
        (lambda f: spoilt(f, "pytorch_model.bin", b""), "pytorch_model.bin is no part"),
        (lambda f: spoilt(f, "train.py", ""), r"train\.py is no part"),
        (lambda f: (f / "runs").mkdir(), "runs is no part"),
        (lambda f: (f / "scores.json").symlink_to("/etc/hostname"), r"scores\.json is no part"),
        (lambda f: spoilt(f, "scores.json", f'{{"token": "{TOKEN}"}}'), r"scores\.json.*Hugging Face"),
        (lambda f: spoilt(f, "recipe.toml", "key = 'AKIA" + "A" * 16 + "'"), r"recipe\.toml.*AWS"),
        (lambda f: spoilt(f, "LICENSE", "-----BEGIN OPENSSH PRIVATE KEY-----"), "a private key"),
        (lambda f: with_card(f, "# mine", "https://me:hunter2@host/x"), r"README\.md.*a password"),
        (lambda f: with_card(f, "license: mit\n", ""), "has no license.*license: mit"),
        (lambda f: with_card(f, "license: mit", "license:"), "has no license"),
        (lambda f: with_card(f, "sfi-zoo", "timm"), "says library_name: timm.*library_name: sfi-zoo"),
        (lambda f: with_card(f, "pipeline_tag: audio-to-audio\n", ""), "has no pipeline_tag"),
        (lambda f: with_card(f, "license: mit", "license: [mit"), "its head is not"),
        (lambda f: with_card(f, "license: mit", "license: mit\nmodel-index: 3"), "its head is not"),
        (lambda f: spoilt(f, "README.md", "no head"), "has no license"),
        (lambda f: spoilt(f, "README.md", b"\xff\xfe"), "its head is not"),
        (lambda f: (f / "README.md").unlink(), r"has no README\.md"),
        (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
        (lambda f: spoilt(f, "model.safetensors", b"12"), r"model\.safetensors: truncated"),
    ],
)
def test_a_folder_that_is_not_fit_is_refused(
    spoil: object, reason: str, folder: Path, hub_recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=reason) as caught:
        parcel(folder, "org/mine")
    assert TOKEN not in str(caught.value) and "hunter2" not in str(caught.value)
    assert cli.main(["publish", str(folder), "--to", "org/mine", "--yes"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not hub_recorder.calls


def test_the_token_in_use_is_found_whatever_it_looks_like(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "correct-horse")
    spoilt(folder, "training_log.jsonl", '{"resumed with": "correct-horse"}')
    with pytest.raises(InputError, match="the token in use"):
        parcel(folder, "org/mine")


def test_a_secret_in_the_header_of_weights_is_found(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"by": TOKEN})
    with pytest.raises(InputError, match=r"model\.safetensors.*Hugging Face"):
        parcel(folder, "org/mine")


@pytest.mark.parametrize("to", ["mine", "a/b/c", "org/a b", "org/..", "", "org/mine@v1"])
def test_where_to_must_be_a_hub_id(to: str, folder: Path, hub_recorder: Recorder) -> None:
    assert cli.main(["publish", str(folder), "--to", to, "--yes"]) == 2
    assert not hub_recorder.calls


@pytest.mark.parametrize("name", ["nothing", "org/name", "/no/such/folder"])
def test_what_is_published_must_be_here(name: str, hub_recorder: Recorder) -> None:
    assert cli.main(["publish", name, "--to", "org/mine", "--yes"]) == 2
    assert not hub_recorder.calls


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert cli.main(["publish", str(folder), "--to", "org/mine", "--yes", *more]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    last = said[said.index("sfi-zoo: ") :]  # before it: how much was sent, what was tried again
    assert last.startswith("sfi-zoo: org/mine: ") and last.count("\n") == 1
    return last


def test_a_public_repository_is_not_taken_for_a_private_one(
    folder: Path, hub_recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["publish", str(folder), "--to", "org/mine", "--yes"]) == 0
    capsys.readouterr()
    assert "is public already; nothing was sent" in refused(folder, capsys, "--private")
    assert len(hub_recorder.repositories["org/mine"].commits) == 1


@pytest.mark.parametrize(
    ("token", "reason"), [(None, "no token"), ("hf_" + "x" * 34, "does not accept the token")]
)
def test_without_a_good_token_it_is_one_line(
    token: str | None,
    reason: str,
    folder: Path,
    hub_recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    assert reason in refused(folder, capsys)
    assert not hub_recorder.repositories


@pytest.mark.parametrize(
    ("part", "status", "reason"),
    [
        ("/create", 403, "does not permit it"),
        ("/validate-yaml", 500, "out of order"),
        ("/preupload/main", 403, "does not permit it"),
        ("/batch", 403, "does not permit it"),
        ("/upload/", 403, "does not permit it"),
        ("/upload/", 503, "out of order"),
        ("/commit/main", 429, "too many requests"),
        ("/commit/main", 503, "out of order"),
        ("/commit/main", 413, "413"),
    ],
)
def test_an_upload_that_fails_is_one_line(
    part: str,
    status: int,
    reason: str,
    folder: Path,
    hub_recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub_recorder.fail[part] = status
    assert reason in refused(folder, capsys)
    assert not any(repository.files for repository in hub_recorder.repositories.values())


def test_a_head_that_the_hub_does_not_take_is_told(
    folder: Path, hub_recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_recorder.complaints.append('"license" must be one of ...')
    assert '"license" must be one of' in refused(folder, capsys)


def test_offline_nothing_is_sent_and_it_is_one_line(
    folder: Path,
    hub_recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    close_session()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(folder, capsys)
    assert not hub_recorder.calls
    close_session()


def test_round_trip_through_a_hub(
    hub_recorder: Recorder, hub_proxy: Proxy, hub_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published, put into git, served, loaded by id in a fresh process, and again offline: the same estimates, the same card."""
    name = BUNDLED[0]
    assert cli.main(["publish", name, "--to", "org/round", "--yes"]) == 0
    hub_recorder.into_git(hub_root)
    script = (
        "import sys, torch, sfi_zoo; torch.manual_seed(0)\n"
        "estimates = sfi_zoo.load('org/round').separate(torch.randn(1, 8000), 11025)\n"
        "torch.save(estimates, sys.argv[1])\n"
    )
    torch.manual_seed(0)
    want = sfi_zoo.load(name).separate(torch.randn(1, 8000), 11025)
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        hub_proxy.requests.clear()
        command = [sys.executable, "-c", script, str(tmp_path / "estimates")]
        done = subprocess.run(
            command,
            env=environment(hub_proxy.url, tmp_path / "home", **more),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert bool(hub_proxy.requests) is not bool(more)
        torch.testing.assert_close(torch.load(tmp_path / "estimates"), want, rtol=0, atol=1e-6)
    point(monkeypatch, hub_proxy.url, tmp_path / "cache")
    card = Path(hf_hub_download("org/round", "README.md"))
    assert card.read_bytes() == (hub.BUNDLED / name / "README.md").read_bytes()
