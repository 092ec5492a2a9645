"""The leaderboard of the page, from the scores.json of models: entries of the table, and the points of the scatter plots."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfi_zoo.hub.results import SCORES
from sfi_zoo.metrics.lee import decibels
from sfi_zoo.metrics.reporting.board import Entry, entries_of_scores
from sfi_zoo.metrics.reporting.study import COSTS, correlation
from sfi_zoo.metrics.scoring.points import FLOOR_DB
from sfi_zoo.metrics.scoring.rows import LEES, Record
from sfi_zoo.metrics.scoring.unit import UNRANKED
from sfi_zoo.strict_json import read_json
from sfi_zoo.wording import first_line

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Board:
    """Scores on the same data, of any number of models.

    Attributes:
        scores: model -> content of its scores.json.
        rows: those of scores.json that hold a score, each with its model.
    """

    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[Record] = field(default_factory=list)

    def entries(self) -> list[Entry]:
        """The rows of the leaderboard, the best first."""
        return entries_of_scores(self.scores)


def read_boards(folder: Path) -> tuple[dict[str, Board], list[str]]:
    """The scores of all models in a folder: what they were measured on -> board; and a line for each file that cannot be read."""
    boards: dict[str, Board] = {}
    problems = []
    for path in sorted(folder.glob(f"*/{SCORES}")):
        model = path.parent.name
        try:
            scores = read_json(path)
            rows = [
                _figures(model, row) for row in scores["rows"] if row["si_sdr_improvement_db"] is not None
            ]
            entries_of_scores({model: scores})
            data = _measured_on(scores["data"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{model}/{SCORES}: cannot be read ({first_line(error)})")
            continue
        if rows:
            board = boards.setdefault(data, Board())
            board.rows.extend(rows)
            board.scores[model] = scores
    return boards, problems


def points(board: Board) -> "DataFrame":
    """A row for each (model, mode, F): these, kHz, F0, what is lost and every LEE in dB.

    There is no LEE at F0, where nothing can differ.
    """
    from pandas import DataFrame

    return DataFrame(board.rows).sort_values(["model", "mode", "kHz"], ignore_index=True)


def compared(frame: "DataFrame") -> "DataFrame":
    """The rows of `points` that the study is about: models only, no controls, and no rows at F0."""
    return frame[~frame["mode"].isin(UNRANKED) & (frame["kHz"] != frame["F0"])]


def correlation_of(points: "DataFrame", lee: str, cost: str) -> float:
    """Pearson's r over the rows that have both; NaN where there is none."""
    x, y = points[lee].to_numpy(), points[cost].to_numpy()
    there = np.isfinite(x) & np.isfinite(y)
    return float(correlation(x[there], y[there], np.ones(there.sum()))) if there.any() else math.nan


def _figures(model: str, row: Mapping[str, Any]) -> Record:
    """What the page shows of a row of scores.json: kHz and dB, a LEE no less than its floor."""
    rate, trained = row["sample_rate"], row["trained_rate"]
    places = {"model": model, "mode": row["mode"], "kHz": rate / 1000, "F0": trained / 1000}
    figures = {name: row[f"{name}_db"] for name in COSTS if row.get(f"{name}_db") is not None}
    lees = {lee: row[f"{lee}_lee"] for lee in LEES}
    there = {lee: max(FLOOR_DB, decibels(x)) for lee, x in lees.items() if x is not None and rate != trained}
    return places | figures | dict.fromkeys(LEES, math.nan) | there


def _measured_on(data: Mapping[str, Any]) -> str:
    """The name of the data, for people. Scores on different data are not compared."""
    what = data.get("what") or Path(data.get("path", data["kind"])).name
    return f"{what} ({data['tracks']} tracks)"
