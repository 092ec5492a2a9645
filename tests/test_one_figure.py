"""What is gained and lost is one figure of each model, wherever it is shown."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from sfi_zoo import cli, hub
from sfi_zoo.hub.catalogue import catalogue
from sfi_zoo.hub.figures import gained_by_source, gained_db, lost_db, most
from sfi_zoo.models.adaptation import MODES

ROOT = Path(__file__).resolve().parents[1]
STEMS = ("vocals", "drums", "bass", "other")
SCORES = {path.parent.name: json.loads(path.read_text("utf-8")) for path in hub.BUNDLED.glob("*/scores.json")}


def by_hand(scores):
    """Gained: the mean of the sources' means at F0. Lost: the most at any other F, natively."""
    gains = [x for x in scores["improvement_at_trained_rate_db"].values() if x is not None]
    rows = [r for r in scores["rows"] if r["mode"] == "native" and r["sample_rate"] != r["trained_rate"]]
    return sum(gains) / len(gains), max(r["si_sdr_lost_db"] for r in rows)


def cells(table):
    """{model: cells} of a Markdown table."""
    lines = re.findall(r"^\| \[([\w.]+)\]\([^)]*\) \| (.*) \|$", table, re.M)
    return {name: rest.split(" | ") for name, rest in lines}


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("results_hook", ROOT / "docs" / "results_hook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_says_the_same_everywhere(hook, capsys):
    assert SCORES
    readme = cells((ROOT / "README.md").read_text("utf-8"))
    page = cells(hook.leaderboard(hook.published()))
    listed = {row.name: row for row in catalogue() if row.gained_db is not None}
    zoo = json.loads((ROOT / "docs" / "zoo.json").read_text("utf-8"))
    zoo = {row["model"]: row for row in zoo if row["mode"] == "native"}
    alike = {name for name, scores in SCORES.items() if set(gained_by_source(scores)) == {*STEMS}}
    assert set(readme) <= alike < set(page) == set(listed) == set(SCORES)
    weights = {gained_db(SCORES[name]) for name in alike}  # the README has a row for each of them
    assert len(readme) == len(weights) and {gained_db(SCORES[name]) for name in readme} == weights
    for name in readme:  # the one that loses least
        same = [other for other in alike if gained_db(SCORES[other]) == gained_db(SCORES[name])]
        assert lost_db(SCORES[name]) == min(lost_db(SCORES[other]) for other in same)
    for name, scores in SCORES.items():
        gained, lost = by_hand(scores)
        assert (gained_db(scores), lost_db(scores)) == pytest.approx((gained, lost))
        for table in (readme, page) if name in readme else (page,):
            assert table[name][1:3] == [f"{gained:.2f}", f"{lost:.2f}"], name
        card = ModelCard.load(hub.BUNDLED / name / "README.md").data.eval_results
        assert [r.metric_value for r in card if r.metric_type == "si_sdr_improvement"] == [
            float(f"{gained:.6g}")
        ]
        assert (listed[name].gained_db, listed[name].lost_db) == pytest.approx((gained, lost))
        if name in zoo:  # of the runs whose records were there
            assert zoo[name]["si_sdr_improvement"]["value"] == pytest.approx(gained, abs=1e-6)
            apart = [zoo[name][key]["value"] for key in ("worst_lost", "lost_at_8k")]
            assert max(apart) == pytest.approx(lost, abs=1e-6)
    assert len(set(zoo) & set(SCORES)) > 10
    name = next(iter(SCORES))
    assert cli.main(["info", name]) == 0
    assert f"{by_hand(SCORES[name])[0]:.1f} dB SI-SDR gained" in capsys.readouterr().out


def test_figures_of_scores_without_f0_or_without_another_f():
    rows = [{"mode": "native", "sample_rate": 8000.0, "trained_rate": 32000, "si_sdr_lost_db": 1.5}]
    away = {"rows": rows, "improvement_at_trained_rate_db": {}}
    assert (gained_db(away), lost_db(away), most(away, "mask_lee_db")) == (None, 1.5, None)
    here = {
        "rows": [rows[0] | {"sample_rate": 32000}],
        "improvement_at_trained_rate_db": {"a": 1.0, "b": None, "c": 3.0},
    }
    assert (gained_db(here), lost_db(here)) == (2.0, None)
    assert gained_by_source(here) == {"a": 1.0, "c": 3.0}


def test_the_docs_say_how_often_none_is_not_the_worst_mode():
    cells, others = 0, []
    for name, scores in SCORES.items():
        lee = {}
        for row in scores["rows"]:
            if row["sample_rate"] != row["trained_rate"] and row["mode"] in MODES:
                lee.setdefault(row["sample_rate"], {})[row["mode"]] = row["mask_lee"]
        compared = [
            modes for modes in lee.values() if "none" in modes
        ]  # some rows were scored in one mode only
        cells += len(compared)
        others += [name for modes in compared if max(modes, key=modes.get) != "none"]
    models = ", ".join(f"`{name.removesuffix('.music4')}`" for name in dict.fromkeys(others))
    said = f"in {len(others)} of {cells} cells (model, F) of the zoo another mode has a higher mask LEE, all of {models}."
    assert said in " ".join((ROOT / "docs" / "metrics.md").read_text("utf-8").split())
