"""What a leaderboard shows: an entry for each model and task, from the records of scoring runs or from `scores.json`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfi_zoo.metrics.lee import decibels
from sfi_zoo.metrics.reporting.leaderboard import group_of, leaderboard
from sfi_zoo.metrics.reporting.ranking import Gains, gained_ranks, mean_gain
from sfi_zoo.metrics.scoring.points import FLOOR_DB
from sfi_zoo.metrics.scoring.rows import Record, as_json, rows_of
from sfi_zoo.metrics.scoring.unit import UNRANKED, place

Figure = Mapping[str, float | None]  # value, low, high in dB; None where there is none
UNKNOWN: Figure = {"value": None, "low": None, "high": None}
QUANTITIES = ("gained", "lost", "mask", "masked_latent")


@dataclass(frozen=True)
class InMode:
    """A model in one mode.

    Attributes:
        lost: the largest SI-SDR lost over all F other than F0; its "sample_rate" is the F in Hz.
        lee: the largest mask LEE over all F other than F0, no less than the floor.
        curve: {F in Hz: {quantity of `QUANTITIES`: dB}}.
    """

    lost: Mapping[str, float | None]
    lee: Mapping[str, float | None]
    curve: Mapping[float, Mapping[str, float]]


@dataclass(frozen=True)
class Entry:
    """A model on a task.

    Attributes:
        model: its name.
        sources: what it separates: the task.
        trained_rate: F0 in Hz.
        tracks: with a score at F0.
        gained: SI-SDR over that of the mixture at F0, the same in every mode.
        by_source: {source: the same of one}.
        by_group: {group of tracks: the same of these}.
        rank: see `gained_ranks`; None where the tracks are too few or not known.
        modes: {mode: its figures}, in the order of tables.
    """

    model: str
    sources: tuple[str, ...]
    trained_rate: float
    tracks: int
    gained: Figure
    by_source: Mapping[str, Figure]
    by_group: Mapping[str, Figure]
    rank: int | None
    modes: Mapping[str, InMode]


def entries_of_records(
    records: Sequence[Record], resamples: int = 1000, rows: Sequence[Record] | None = None
) -> list[Entry]:
    """Entries of scoring runs, the best first.

    Args:
        records: of scoring runs on the same data.
        resamples: of the bootstrap.
        rows: the `leaderboard` of the records, where it is there already.

    Raises:
        InputError: no record holds a score.
    """
    rows = leaderboard(records, resamples) if rows is None else rows
    points = as_json(rows_of(records))
    return _entries(list(rows), points, resamples)


def entries_of_scores(scores: Mapping[str, Mapping[str, Any]], resamples: int = 1000) -> list[Entry]:
    """Entries of models, the best first, from {name: content of its scores.json}. Old files have no "leaderboard": then no intervals.

    Args:
        scores: of models scored on the same data.
        resamples: of the bootstrap that ranks.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: a file that is no scores.json.
    """
    rows, points = [], []
    for model, content in scores.items():
        own = [row | {"model": model} for row in content["rows"]]
        points += own
        given = {row["mode"]: row for row in content.get("leaderboard", [])}
        gains = content["improvement_at_trained_rate_db"]
        for mode in dict.fromkeys(row["mode"] for row in own if row["mode"] not in UNRANKED):
            of = [row for row in own if row["mode"] == mode and row["si_sdr_improvement_db"] is not None]
            if of:
                rows.append(_from_means(model, mode, of, gains) | given.get(mode, {}))
    return _entries(rows, points, resamples)


def _from_means(model: str, mode: str, rows: Sequence[Record], gains: Mapping[str, float | None]) -> Record:
    """A row as `leaderboard` makes it, without intervals and tracks."""
    here = [row for row in rows if row["sample_rate"] == row["trained_rate"]]
    known = [x for x in gains.values() if x is not None]
    gained = math.fsum(known) / len(known) if known else here[0]["si_sdr_improvement_db"] if here else None
    return {
        "model": model,
        "mode": mode,
        "trained_rate": rows[0]["trained_rate"],
        "sources": list(gains),
        "tracks": max(row["tracks"] for row in here or rows),
        "si_sdr_improvement": _alone(gained),
        "by_source": {source: _alone(x) for source, x in gains.items()},
        "by_group": {},
        "gained_by_track": {},
    }


def _entries(rows: Sequence[Record], points: Sequence[Record], resamples: int) -> list[Entry]:
    by_task: dict[tuple[str, ...], list[str]] = {}
    by_model: dict[str, dict[str, Record]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["mode"]] = row
    for model, modes in by_model.items():
        by_task.setdefault(tuple(_first(modes)["sources"]), []).append(model)
    ranks: dict[str, int | None] = {}
    for members in by_task.values():
        gains: Gains = {model: _first(by_model[model]).get("gained_by_track", {}) for model in members}
        ranks |= gained_ranks(gains, resamples)
    found = [_entry(model, modes, points, ranks[model]) for model, modes in by_model.items()]
    return sorted(found, key=lambda e: (-_or_lowest(e.gained), e.model))


def _first(modes: Mapping[str, Record]) -> Record:
    """Any mode's row tells what is gained at F0; the native one where it was scored there."""
    return max(modes.values(), key=lambda row: (row["tracks"], row["mode"] == "native"))


def _entry(model: str, modes: Mapping[str, Record], points: Sequence[Record], rank: int | None) -> Entry:
    row = _first(modes)
    own = [point for point in points if point["model"] == model]
    figures = {
        mode: _in_mode(modes[mode], [point for point in own if point["mode"] == mode])
        for mode in sorted(modes, key=place)
    }
    gained = row["si_sdr_improvement"]
    by_group = {name: group["si_sdr_improvement"] for name, group in row["by_group"].items()}
    if not by_group and row.get("gained_by_track"):
        by_group = _groups(row["gained_by_track"])
    return Entry(
        model,
        tuple(row["sources"]),
        float(row["trained_rate"]),
        row["tracks"],
        gained,
        row["by_source"],
        by_group,
        rank,
        figures,
    )


def _groups(gains: Mapping[str, Sequence[float | None]]) -> dict[str, Figure]:
    groups: dict[str, dict[str, Sequence[float | None]]] = {}
    for track, values in gains.items():
        groups.setdefault(group_of(track), {})[track] = values
    return {name: _alone(mean_gain(members.values())) for name, members in sorted(groups.items()) if name}


def _in_mode(row: Record, points: Sequence[Record]) -> InMode:
    curve = {
        float(point["sample_rate"]): _quantities(point)
        for point in sorted(points, key=lambda point: point["sample_rate"])
        if point["si_sdr_improvement_db"] is not None
    }
    away = {rate: values for rate, values in curve.items() if rate != row["trained_rate"]}
    lost = _worst({rate: values["lost"] for rate, values in away.items() if "lost" in values})
    lee = _worst({rate: values["mask"] for rate, values in away.items() if "mask" in values})
    for known in (
        row.get("lost_at_8k"),
        row.get("worst_lost"),
    ):  # one of them is the same figure, with its interval
        if known and _same(known["value"], lost["value"]):
            lost |= {"low": known["low"], "high": known["high"]}
    if worst := row.get("worst_mask_lee"):
        lee |= {"low": worst["low"], "high": worst["high"]}
    return InMode(lost, lee, curve)


def _same(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def _quantities(point: Record) -> dict[str, float]:
    found = {"gained": point["si_sdr_improvement_db"], "lost": point.get("si_sdr_lost_db")}
    for lee in QUANTITIES[2:]:
        linear = point.get(f"{lee}_lee")
        found[lee] = None if linear is None else max(FLOOR_DB, decibels(linear))
    return {name: float(x) for name, x in found.items() if x is not None and not math.isnan(x)}


def _worst(values: Mapping[float, float]) -> dict[str, float | None]:
    if not values:
        return dict(UNKNOWN) | {"sample_rate": None}
    rate = max(values, key=lambda rate: values[rate])
    return {"value": values[rate], "low": None, "high": None, "sample_rate": rate}


def _alone(x: float | None) -> Figure:
    return {"value": x, "low": None, "high": None}


def _or_lowest(x: Figure) -> float:
    return -math.inf if x["value"] is None else x["value"]


def modes_of(entries: Iterable[Entry]) -> list[str]:
    """All modes, in the order of tables."""
    return sorted({mode for entry in entries for mode in entry.modes}, key=place)
