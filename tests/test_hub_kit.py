"""`sfi-zoo publish --kit`: all that goes online, in a folder; pushed to a recorder, and what a reader of its cards pastes runs."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import (
    DatasetCard,
    DatasetCardData,
    ModelCard,
    ModelCardData,
    RepoCard,
    SpaceCardData,
    metadata_load,
)
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from packaging.requirements import Requirement

from sfi_zoo import cli, hub
from sfi_zoo.errors import InputError
from sfi_zoo.hub.kit import DATASET, SPACE, write_kit
from tests.hub_fixtures import environment
from tests.hub_recorder import TOKEN, Recorder
from tests.hub_server import Proxy
from tests.tiny_separators import tiny

ORG = "me"
SCORED = hub.DEFAULT_MODEL
OTHER = "openunmix.music4"
NAMES = (SCORED, OTHER, "mine")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three models, one of them of no known scores. No test changes it."""
    folder = tmp_path_factory.mktemp("kit")
    hub.save(tiny("convtasnet"), folder / "mine", license="mit")
    models = (SCORED, OTHER, str(folder / "mine"))
    assert cli.main(["publish", *models, "--kit", str(folder / "kit"), "--to", ORG]) == 0
    return folder / "kit"


def test_it_has_all_that_goes_online(kit: Path) -> None:
    there = sorted(str(file.relative_to(kit)) for file in kit.rglob("*") if file.is_file())
    assert {"README.md", "push.py", "collection.json", "dataset/README.md"} <= set(there)
    assert {"space/app.py", "space/requirements.txt", "space/README.md"} <= set(there)
    assert {f"models/{name}/model.safetensors" for name in NAMES} <= set(there)
    assert "{{" not in "".join((kit / file).read_text() for file in there if file.endswith((".md", ".json")))


def test_cards_name_their_repository_data_and_installation(kit: Path) -> None:
    card = ModelCard.load(kit / "models" / SCORED / "README.md")
    assert card.data.to_dict()["datasets"] == [f"{ORG}/{DATASET}"]
    assert f'sfi_zoo.load("{ORG}/{SCORED}")' in card.text and "pip install 'sfi-zoo[demo]'" in card.text
    results = card.data.eval_results or []
    assert results and {result.dataset_type for result in results} == {f"{ORG}/{DATASET}"}
    lees = [result for result in results if result.metric_type.endswith("_lee")]
    assert lees and all("dB" in str(result.metric_name) for result in results)
    by_rate = {row["sample_rate"]: row for row in _native_rows()}
    for result in lees:
        row = by_rate[float(str(result.dataset_config).removesuffix(" Hz"))]
        assert result.metric_value == pytest.approx(row[f"{result.metric_type}_db"], rel=1e-5)
    plain = ModelCard.load(kit / "models" / "mine" / "README.md")
    assert "datasets" not in plain.data.to_dict() and f'sfi_zoo.load("{ORG}/mine")' in plain.text


def _native_rows() -> list[dict[str, float]]:
    rows = json.loads((hub.BUNDLED / SCORED / "scores.json").read_text())["rows"]
    return [row for row in rows if row["mode"] == "native"]


def test_a_model_scored_on_other_data_keeps_what_its_card_says(tmp_path: Path) -> None:
    shutil.copytree(hub.BUNDLED / SCORED, tmp_path / "mine")
    scores = json.loads((tmp_path / "mine" / "scores.json").read_text())
    scores["data"]["path"] = "MUSDB18HQ"
    (tmp_path / "mine" / "scores.json").write_text(json.dumps(scores))
    write_kit(tmp_path / "kit", ORG, [tmp_path / "mine"])
    card = ModelCard.load(tmp_path / "kit" / "models" / "mine" / "README.md")
    assert "datasets" not in card.data.to_dict()
    assert all(DATASET not in r.dataset_type.split("/")[1:] for r in card.data.eval_results or [])


def test_heads_of_space_and_data_set_are_what_the_hub_asks_for(kit: Path, hub_recorder: Recorder) -> None:
    """The Hub's own check, which reads a head as YAML of a kind of repository, and the keys that a Space needs."""
    for file, kind in (("space", "space"), ("dataset", "dataset"), (f"models/{SCORED}", "model")):
        RepoCard.load(kit / file / "README.md", repo_type=kind).validate(repo_type=kind)
    assert hub_recorder.calls.count("POST /api/validate-yaml") == 3
    space = yaml.safe_load((kit / "space" / "README.md").read_text().split("---")[1])
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file"} <= set(space)
    assert len(space["short_description"]) <= 60 and (kit / "space" / space["app_file"]).is_file()
    assert DatasetCard.load(kit / "dataset" / "README.md").data.to_dict()["license"] == "cc-by-sa-4.0"


def push(kit: Path, url: str, *more: str) -> str:
    told = os.environ | {"HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, str(kit / "push.py"), *more]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pushed_it_is_on_the_hub_and_loads_by_id(
    kit: Path, hub_recorder: Recorder, hub_proxy: Proxy, hub_root: Path, tmp_path: Path
) -> None:
    assert "nothing was sent" in push(kit, hub_recorder.url) and not hub_recorder.repositories
    for _ in range(2):  # it can be run again
        push(kit, hub_recorder.url, "--yes")
    ids = [f"{ORG}/{name}" for name in (*NAMES, SPACE, DATASET)]
    assert sorted(hub_recorder.repositories) == sorted(ids)
    assert hub_recorder.collection["title"].startswith("sfi_zoo")
    assert [item["id"] for item in hub_recorder.collection["items"]] == ids
    models = {f"{ORG}/{name}": hub_recorder.repositories[f"{ORG}/{name}"] for name in NAMES}
    hub_recorder.repositories = dict(models)
    hub_recorder.into_git(hub_root)
    pasted = ""
    for repository in models.values():
        (snippet,) = re.findall(r"```python\n(.*?)```", repository.files["README.md"].decode(), re.DOTALL)
        pasted += snippet + "\nprint(tuple(stems.shape), bool(stems.isfinite().all()))\n"
    done = subprocess.run(
        [sys.executable, "-c", pasted],
        env=environment(hub_proxy.url, tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    shapes = [f"({len(hub.load(str(kit / 'models' / name)).sources)}, 2, 220500) True" for name in NAMES]
    assert done.stdout.splitlines() == shapes, done.stderr


def test_results_of_cards_are_read_by_the_hubs_client_as_they_were_written(kit: Path) -> None:
    """Without a network: front matter as YAML, the classes of huggingface_hub, results there and back."""
    cards = {kit / "models" / name: ModelCardData for name in NAMES}
    cards |= {kit / "space": SpaceCardData, kit / "dataset": DatasetCardData}
    for folder, kind in cards.items():
        text = (folder / "README.md").read_text("utf-8")
        head = metadata_load(folder / "README.md")
        assert head == yaml.safe_load(text.split("---\n")[1])
        data = kind(**head, ignore_metadata_errors=False)
        assert {key: value for key, value in data.to_dict().items() if value is not None} == head, folder
        if index := head.get("model-index"):
            name, results = model_index_to_eval_results(index)
            assert name == folder.name and eval_results_to_model_index(name, results) == index
            assert len({(*result.unique_identifier, result.metric_type) for result in results}) == len(
                results
            )
        else:
            assert folder.name not in (SCORED, OTHER)


def test_the_space_starts_our_page_of_requirements_that_pip_reads(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    (line,) = (kit / "space" / "requirements.txt").read_text().splitlines()
    requirement = Requirement(line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert requirement.name == project["name"] and requirement.extras <= set(project["optional-dependencies"])
    (gradio,) = [Requirement(x) for x in project["optional-dependencies"]["demo"] if x.startswith("gradio")]
    head = metadata_load(kit / "space" / "README.md")
    assert gradio.specifier.contains(head["sdk_version"])
    started: list[dict[str, object]] = []
    monkeypatch.setattr("sfi_zoo.demo.app.serve", lambda **given: started.append(given))
    runpy.run_path(str(kit / "space" / "app.py"), run_name="__main__")
    assert started == [{}]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"out": "."}, "is there already"),
        ({"namespace": "a/b"}, "is no user or organisation"),
        ({"models": []}, "one model or more"),
        ({"models": ["nothing"]}, "nothing: no bundled model"),
        ({"models": [SCORED, SCORED]}, "is in the kit already"),
    ],
)
def test_what_no_kit_can_be_made_of_is_told(
    change: dict[str, object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, object] = {"out": "kit", "namespace": ORG, "models": [SCORED]} | change
    with pytest.raises(InputError, match=reason):
        write_kit(Path(str(arguments["out"])), arguments["namespace"], arguments["models"])  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_published_leaves_no_kit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.save(tiny("convtasnet"), tmp_path / "mine")  # without a licence
    assert cli.main(["publish", str(tmp_path / "mine"), "--kit", str(tmp_path / "kit"), "--to", ORG]) == 2
    assert "has no license" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    for more in (["--yes"], ["--private"]):
        assert cli.main(["publish", SCORED, "--kit", str(tmp_path / "kit"), "--to", ORG, *more]) == 2
        assert f"does not take {more[0]}" in capsys.readouterr().err
    assert cli.main(["publish", "--to", "me/x"]) == 2
    assert "got 0 names" in capsys.readouterr().err
