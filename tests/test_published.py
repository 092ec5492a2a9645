"""The zoo's models of others, without weights of ours; and the list of all."""

import json
from pathlib import Path

import pytest

from sfi_zoo import InputError, cli, hub
from sfi_zoo.hub import first_use
from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.hub.catalogue import SORTS, catalogue
from sfi_zoo.hub.published import list_published

SFI = list_published("sfi_convtasnet*")
ON_THE_HUB = [row for row in list_published() if row.repo is not None and not row.by_hand]
BY_HAND = [row for row in list_published() if row.by_hand]


def test_three_families_of_four_seeds():
    assert len(SFI) == len({row.name for row in SFI}) == 12
    assert [row.name for row in list_published("*td_mgf*42")] == ["sfi_convtasnet_td_mgf.musdb18hq_seed42"]


@pytest.mark.parametrize("row", SFI, ids=lambda row: row.name)
def test_files_of_the_families_have_their_seeds(row):
    model, seed = row.name.split(".")[0], row.name[-2:]
    expected = f"dataset=musdb18_32000,model={model},seed={seed},time_length=8.0/best_checkpoint"
    assert [file.path for file in row.files] == [expected]


@pytest.mark.parametrize("row", ON_THE_HUB, ids=lambda row: row.name)
@pytest.mark.parametrize("command", ["import", "load"])
def test_the_hub_is_asked_for_the_files(row, command, monkeypatch, tmp_path, capsys):
    asked = []

    def fetch(repo, file, revision):
        asked.append((repo, file, revision))
        raise InputError("no network here")

    monkeypatch.setattr(first_use, "fetch", fetch)
    monkeypatch.setattr(first_use, "_kept_at", lambda published: tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    if command == "import":
        assert cli.main(row.import_command.split()[1:]) == 2
        assert "no network here" in capsys.readouterr().err
    else:
        with pytest.raises(InputError, match="no network here"):
            hub.load(row.name)
    assert asked == [(row.repo, row.files[0].path, row.revision)]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("row", list_published(), ids=lambda row: row.name)
def test_a_source_says_what_a_user_must_know(row):
    assert row.by_hand or (row.package is None) != (row.repo is None)
    assert row.package is None or row.version
    assert row.package is None or all(file.bytes and file.sha256 for file in row.files)
    assert all((row.task, row.about, row.sources, row.license, row.paper, row.read_at))
    assert not (row.folder / "model.safetensors").exists()


def test_files_of_a_repository_become_a_model_on_first_use(monkeypatch, tmp_path):
    """Four files of a SepFormer, those of the golden one in their place; the second use asks nobody."""
    golden = Path(__file__).parent / "golden" / "sepformer_two"
    monkeypatch.setattr(first_use, "fetch", lambda repo, file, revision: golden / file)
    monkeypatch.setattr(first_use, "_kept_at", lambda published: tmp_path / "kept")
    model = hub.load("sepformer.wsj02mix")
    assert (model.architecture, model.sources) == ("dualpath", ("speaker_1", "speaker_2"))
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "arXiv:2010.13154" in card
    monkeypatch.setattr(first_use, "fetch", None)
    assert hub.load("sepformer.wsj02mix").config == model.config


@pytest.mark.parametrize("row", BY_HAND, ids=lambda row: row.name)
def test_without_a_licence_nothing_is_fetched(row, monkeypatch, tmp_path):
    monkeypatch.setattr(first_use, "fetch", None)
    monkeypatch.setattr(first_use, "_kept_at", lambda published: tmp_path / "none")
    with pytest.raises(
        InputError, match=r"not stated.*sfi-zoo import \S+\.ckpt (--config \S+\.yaml )?-o " + row.name
    ) as caught:
        hub.load(row.name)
    assert "\n" not in str(caught.value)


def test_options_beside_a_name_of_the_zoo_are_refused(tmp_path):
    with pytest.raises(InputError, match="says all by itself"):
        hub.import_checkpoint(SFI[0].name, tmp_path / "out", sample_rate=8000)


# the list ---------------------------------------------------------------------------------------------------------------


def test_the_list_has_ours_first_then_others_each_with_what_it_is_for(capsys):
    assert cli.main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    ours = [row["origin"] == "sfi_zoo" for row in rows]
    assert ours == sorted(ours, reverse=True)
    assert {row["name"] for row in rows} == {*hub.list_models(), *(row.name for row in list_published())}
    assert [row["name"] for row in rows if row["default"]] == [DEFAULT_MODEL]
    assert all(row["task"] and row["license"] and row["sample_rate"] for row in rows)


@pytest.mark.parametrize("sort", SORTS)
def test_rows_are_sorted_within_a_task(sort):
    rows = [row for row in catalogue(sort=sort) if row.ours and row.gained_db is not None]
    key = {"gained": lambda r: -r.gained_db, "lost": lambda r: r.lost_db, "size": lambda r: r.megabytes}
    key |= {"rate": lambda r: r.sample_rate, "name": lambda r: r.name, "speed": lambda r: -r.speed}
    assert [r.name for r in rows] == [
        r.name for r in sorted(rows, key=lambda r: (r.task, key[sort](r), r.name))
    ]


def test_gains_and_losses_are_those_of_the_scores():
    for row in (row for row in catalogue("convtasnet*") if row.ours):
        scores = json.loads((hub.BUNDLED / row.name / "scores.json").read_text())
        native = {r["sample_rate"]: r for r in scores["rows"] if r["mode"] == "native"}
        gains = scores["improvement_at_trained_rate_db"].values()
        assert row.gained_db == sum(gains) / len(gains)
        assert row.lost_db == max(r["si_sdr_lost_db"] for f, r in native.items() if f != row.sample_rate)


def test_sources_select_and_sort():
    rows = catalogue(sources=("drums",))
    assert not any(row.name.startswith("spleeter") for row in rows)
    gains = [row.by_source["drums"] for row in rows if row.by_source]
    assert gains == sorted(gains, reverse=True)
    assert catalogue(sources=("theremin",)) == []


def test_the_list_of_others_alone(capsys):
    assert cli.main(["list", "--published", "*mpgtf*40"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "name"
    assert line.split()[0] == list_published("*mpgtf*40")[0].name
    assert cli.main(["list", "--published", "--architectures"]) == 2
    assert cli.main(["list", "--sort", "beauty"]) == 2
    assert "gained, lost, size, rate, name" in capsys.readouterr().err


@pytest.mark.parametrize("row", list_published("[bms]*"), ids=lambda row: row.name)
def test_info_describes_a_model_of_others_without_fetching_it(row, capsys, monkeypatch):
    monkeypatch.setattr(first_use, "source_files", None)
    assert cli.main(["info", row.name, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["licence"], described["sources"]) == (row.license, list(row.sources))
