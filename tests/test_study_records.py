"""What docs/study/study.json says, anew from the records beside it: numpy and scipy alone, from the words of docs/study_plan.md."""

import gzip
import itertools
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

stats = pytest.importorskip("scipy.stats")

FOLDER = Path(__file__).parents[1] / "docs" / "study"
STUDY = json.loads((FOLDER / "study.json").read_text("utf-8"))
MODES = {"mode native": ("native",), "mode resample": ("resample",), "all": ("native", "resample")}


@cache
def records(half):
    with gzip.open(FOLDER / f"records_{half}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def points(half, without=()):
    """(model, mode, F) -> LEE, and loss."""
    error, reference, lost = {}, {}, {}
    for r in records(half):
        if r["track"] in without:
            continue
        place, sums = (r["model"], r["mode"], r["sample_rate"]), r["lee"]["scale_invariant"]
        error[place] = error.get(place, 0) + sum(sums["error"])
        reference[place] = reference.get(place, 0) + sum(sums["reference"])
        of = r["si_sdr"]
        for trained, estimate, at_trained in zip(
            of["trained"], of["estimate"], of["at_trained"], strict=True
        ):
            if at_trained is not None and at_trained > 0 and trained is not None:
                lost.setdefault(place, []).append(trained - estimate)
    return {place: (error[place] / reference[place], np.mean(lost[place])) for place in error}


@pytest.mark.parametrize("half", ["chosen", "kept"])
@pytest.mark.parametrize("group", MODES)
def test_correlations_are_those_of_the_records(half, group):
    own = {place: xy for place, xy in points(half).items() if place[1] in MODES[group]}
    x, y = np.array(list(own.values())).T
    octaves = np.log2([place[2] / 32000 for place in own])
    design = np.stack([np.ones_like(x), octaves], 1)
    rest = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    found = next(
        r
        for r in STUDY[half]["correlations"]
        if (r["group"], r["metric"], r["cost"]) == (group, "scale_invariant", "si_sdr_lost_separated")
    )
    assert found["points"] == len(own) and found["tracks"] == len({r["track"] for r in records(half)})
    assert found["pearson"]["value"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert found["partial_pearson"]["value"] == pytest.approx(stats.pearsonr(*rest).statistic, abs=1e-9)


@pytest.mark.parametrize("half", ["chosen", "kept"])
def test_choices_are_those_of_the_records(half):
    tracks = sorted({r["track"] for r in records(half)})
    whole, without = points(half), [points(half, (track,)) for track in tracks]
    for found in STUDY[half]["choices"]:
        own = [place for place in whole if place[1:] == (found["mode"], found["sample_rate"])]
        signs = []
        for a, b in itertools.combinations(own, 2):
            left_out = np.array([other[a][1] - other[b][1] for other in without])
            error = np.sqrt((len(tracks) - 1) * np.var(left_out))
            difference = whole[a][1] - whole[b][1]
            if abs(difference) > error:
                signs.append(np.sign(difference * (whole[a][0] - whole[b][0])))
        assert found["pairs"] == len(signs)
        assert found["tau"] == (pytest.approx(np.mean(signs)) if len(signs) >= 10 else None)


def test_the_records_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.gz")) < 5 * 2**20


def test_rows_that_share_weights_are_one_family():
    import importlib.util
    import sys

    path = Path(__file__).parents[1] / "tools" / "study.py"
    spec = importlib.util.spec_from_file_location("tools_study", path)
    assert spec and spec.loader
    tool = sys.modules["tools_study"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    families = {}
    for row in tool.ROWS.values():
        model = tool.load(row)
        part = getattr(model, "masker", model)  # what was trained between encoder and decoder
        first = next(p for p in part.parameters() if p.ndim > 1).detach().double().sum().item()
        assert families.setdefault(first, row.family) == row.family
    assert len(set(families.values())) == STUDY["kept"]["families"]
