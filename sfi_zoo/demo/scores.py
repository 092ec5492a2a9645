"""The leaderboard of the page, from the scores.json of models: a table, and the points of curves and scatter plots.

A scores.json holds means over tracks. Its rows are read as the records of one track, so that the arithmetic is that of `sfi_zoo.metrics`;
intervals, which need the tracks, are in the report of a scoring run.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfi_zoo.hub.results import SCORES
from sfi_zoo.metrics.reporting.leaderboard import leaderboard
from sfi_zoo.metrics.reporting.study import COSTS, correlation
from sfi_zoo.metrics.scoring.points import points_of
from sfi_zoo.metrics.scoring.rows import LEES, QUALITIES, Record
from sfi_zoo.metrics.scoring.unit import ORACLE
from sfi_zoo.wording import first_line

if TYPE_CHECKING:
    from pandas import DataFrame

GAINED = "si_sdr_improvement"
ALL = "all"  # stands for the tracks, and for the sources


@dataclass(frozen=True)
class Board:
    """Scores on the same data, of any number of models.

    Attributes:
        records: rows of scores.json, each as the record of one track with one source.
        by_source: model -> source -> what is gained at F0 in dB.
    """

    records: list[Record] = field(default_factory=list)
    by_source: dict[str, dict[str, float]] = field(default_factory=dict)


def read_boards(folder: Path) -> tuple[dict[str, Board], list[str]]:
    """The scores of all models in a folder: what they were measured on -> board; and a line for each file that cannot be read."""
    boards: dict[str, Board] = {}
    problems = []
    for path in sorted(folder.glob(f"*/{SCORES}")):
        model = path.parent.name
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))
            records = [_record(model, row) for row in scores["rows"] if row[f"{GAINED}_db"] is not None]
            gains = scores["improvement_at_trained_rate_db"].items()
            by_source = {source: float(x) for source, x in gains if x is not None}
            data = _measured_on(scores["data"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{model}/{SCORES}: cannot be read ({first_line(error)})")
            continue
        if records:
            board = boards.setdefault(data, Board())
            board.records.extend(records)
            board.by_source[model] = by_source
    return boards, problems


def table(board: Board) -> "DataFrame":
    """Models in their modes, by what they gain at F0: the figures of `sfi_zoo.metrics.reporting.leaderboard`, in dB and kHz."""
    from pandas import DataFrame

    sources = dict.fromkeys(source for gains in board.by_source.values() for source in gains)
    rows = []
    for row in leaderboard(board.records, resamples=0):
        gains = {} if row["mode"] == ORACLE else board.by_source[row["model"]]
        rows.append(
            {
                "model": row["model"],
                "mode": row["mode"],
                "F0": row["trained_rate"] / 1000,
                "gained": float(np.mean(list(gains.values()))) if gains else _value(row[GAINED]),
                **{source: gains.get(source) for source in sources},
                "lost at 8 kHz": _value(row["lost_at_8k"]),
                "worst lost": _value(row["worst_lost"]),
                **{f"{lee.replace('_', '-')} LEE": _value(row.get(f"{lee}_lee")) for lee in LEES},
            }
        )
    return DataFrame(rows).sort_values("gained", ascending=False, kind="stable", ignore_index=True)


def curves(board: Board) -> "DataFrame":
    """A row for each (model, mode, F): these, kHz, F0, "line" (model and mode), what is gained, every cost and every LEE in dB.

    There is no LEE at F0, where nothing can differ.
    """
    from pandas import DataFrame

    points = points_of(board.records)
    once = np.ones((1, len(points.tracks)))
    away = points.rates != points.trained
    means = {name: points.mean_db(name, once)[0] for name in (GAINED, *COSTS) if name in points.total}
    lees = {lee: np.where(away, points.lee_db(lee, once)[0], np.nan) for lee in LEES}
    line = [f"{model}, {mode}" for model, mode in zip(points.models, points.modes, strict=True)]
    places = {"model": points.models, "mode": points.modes, "line": line}
    return DataFrame(places | {"kHz": points.rates / 1000, "F0": points.trained / 1000} | means | lees)


def compared(frame: "DataFrame") -> "DataFrame":
    """The rows of `curves` that the study is about: not the oracle's, not at F0."""
    return frame[(frame["mode"] != ORACLE) & (frame["kHz"] != frame["F0"])]


def correlation_of(points: "DataFrame", lee: str, cost: str) -> float:
    """Pearson's r over the rows that have both; NaN where there is none."""
    x, y = points[lee].to_numpy(), points[cost].to_numpy()
    there = np.isfinite(x) & np.isfinite(y)
    return float(correlation(x[there], y[there], np.ones(there.sum()))) if there.any() else math.nan


def _record(model: str, row: Mapping[str, Any]) -> Record:
    """A row as a record; its ratios are over the mixture, since differences are all that is read of them."""
    record: Record = {"model": model, "track": ALL, "sources": [ALL]}
    record |= {key: row[key] for key in ("mode", "sample_rate", "trained_rate")}
    lees = {lee: row[f"{lee}_lee"] for lee in LEES}
    record["lee"] = {
        lee: {"error": [math.nan if x is None else x], "reference": [1.0]} for lee, x in lees.items()
    }
    for quality in QUALITIES:
        gained, lost, drop = (row.get(f"{quality}_{what}_db") for what in ("improvement", "lost", "drop"))
        if gained is not None:
            of = {"estimate": gained, "mixture": 0.0}
            of |= {"trained": _plus(gained, lost), "at_trained": _plus(gained, drop)}
            record[quality] = {signal: [ratio] for signal, ratio in of.items()}
    return record


def _plus(x: float, more: float | None) -> float | None:
    return None if more is None else x + more


def _measured_on(data: Mapping[str, Any]) -> str:
    """The data, for people; scores on different data are not compared."""
    what = data.get("what") or Path(data.get("path", data["kind"])).name
    return f"{what} ({data['tracks']} tracks)"


def _value(interval: dict[str, float | None] | None) -> float | None:
    return None if interval is None else interval["value"]
