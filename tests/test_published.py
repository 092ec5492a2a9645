"""Rows of the zoo without weights of ours."""

import json

import pytest

from sfi_zoo import InputError, cli
from sfi_zoo.hub import importing
from sfi_zoo.hub.published import list_published


def test_three_families_of_four_seeds():
    rows = list_published()
    assert len(rows) == len({row.name for row in rows}) == 12
    assert {row.seed for row in rows} == {40, 42, 44, 47}
    assert [row.name for row in list_published("*td_mgf*42")] == ["sfi_convtasnet_td_mgf.musdb18hq_seed42"]


@pytest.mark.parametrize("row", list_published(), ids=lambda row: row.name)
def test_the_command_asks_the_hub_for_the_checkpoint(row, monkeypatch, tmp_path, capsys):
    asked = []

    def fetch(repo, file, revision):
        asked.append((repo, file))
        raise InputError("no network here")

    monkeypatch.setattr(importing, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    assert cli.main(row.import_command.split()[1:]) == 2
    assert "no network here" in capsys.readouterr().err
    model = row.repo.split("/")[1].removesuffix("_musdb18hq")
    expected = f"dataset=musdb18_32000,model={model},seed={row.seed},time_length=8.0/best_checkpoint"
    assert asked == [(row.repo, expected)]


def test_the_list_has_the_commands(capsys):
    assert cli.main(["list", "--published", "*mpgtf*40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].strip() == list_published("*mpgtf*40")[0].import_command
    assert cli.main(["list", "--published", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["score"].startswith("sfi-zoo score sfi_convtasnet_fd_mgf")
    assert cli.main(["list", "--published", "--architectures"]) == 2
