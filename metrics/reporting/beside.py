"""`scores.json` files beside results folders: a row of one's own among those of the zoo. Rows scored on other songs stay apart.

A scores.json holds means over tracks: intervals over tracks are those it brings along, and a study of it has intervals over families alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfi_zoo.errors import InputError
from sfi_zoo.hub.results import SCORES
from sfi_zoo.metrics.observation import ALIVE_MARGIN
from sfi_zoo.metrics.scoring.checks import LARGEST, NAMELESS
from sfi_zoo.metrics.scoring.points import Points
from sfi_zoo.metrics.scoring.rows import Record
from sfi_zoo.metrics.scoring.unit import ROWS
from sfi_zoo.strict_json import read_json

Scores = Mapping[str, Any]  # the content of a scores.json
LARGEST_FILE = 2**24  # bytes
PLACES = ("sample_rate", "trained_rate")


def read_scores(path: Path) -> tuple[str, dict[str, Any]]:
    """The name of a model, that of its folder, and its scores.

    Args:
        path: a scores.json, or the folder of a model that has one.

    Raises:
        InputError: there is none, or it is no file of `sfi-zoo report --scores-json`.
    """
    path = path / SCORES if path.is_dir() else path
    try:
        content = read_json(path, LARGEST_FILE)
        _check(content)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path}: no scores.json of `sfi-zoo report --scores-json` ({what}); write it again"
        ) from None
    name = path.resolve().parent.name
    if NAMELESS.search(name):
        raise InputError(f"{str(path)!r}: the folder of a model needs a name that can be printed")
    return name, content


def songs_of(scores: Scores) -> tuple[Any, ...]:
    """What tells apart songs and ways to score them: figures of two models compare where it is equal."""
    data = scores["data"]
    place = Path(str(data["path"])).name if "path" in data else None
    margin = scores["measures"].get("margin", ALIVE_MARGIN)
    return data.get("kind"), place, data.get("tracks"), data.get("seconds"), margin


def told(songs: tuple[Any, ...]) -> str:
    """`songs_of` for people."""
    kind, place, tracks, seconds, margin = songs
    length = "" if seconds is None else f", {seconds:g} s of each"
    own_margin = "" if margin == ALIVE_MARGIN else f", LEE up to {margin:g} of half the rate"
    return f"{place or kind} ({tracks or '?'} track{'s' * (tracks != 1)}{length}{own_margin})"


def by_songs(scores: Mapping[str, Scores]) -> dict[tuple[Any, ...], dict[str, Scores]]:
    """Models apart by what they were scored on, in the order given."""
    found: dict[tuple[Any, ...], dict[str, Scores]] = {}
    for name, content in scores.items():
        found.setdefault(songs_of(content), {})[name] = content
    return found


def versions_note(scores: Mapping[str, Scores]) -> str:
    """Which versions scored the models, if these are several; else nothing."""
    versions = sorted({str(content["sfi_zoo"]) for content in scores.values()})
    return (
        f"Scored by sfi_zoo {', '.join(versions)}: figures may differ by version."
        if len(versions) > 1
        else ""
    )


def points_of_scores(scores: Mapping[str, Scores]) -> Points:
    """What `points_of` makes of records, of means: one track, which stands for all."""
    rows: list[Record] = [
        {"model": name} | row
        for name, content in scores.items()
        for row in content["rows"]
        if row.get("si_sdr_improvement_db") is not None
    ]
    rows.sort(key=lambda row: (row["model"], row["mode"], row["sample_rate"]))
    keys = sorted({key for row in rows for key in row})

    def of(key: str) -> Any:
        return np.array([[np.nan if row.get(key) is None else float(row[key])] for row in rows])

    lees = [key.removesuffix("_lee") for key in keys if key.endswith("_lee")]
    means = [key.removesuffix("_db") for key in keys if "sdr" in key and key.endswith("_db")]
    medians = [name.removesuffix("_median") for name in means if name.endswith("_median")]
    total = {name: of(f"{name}_db") for name in means if not name.endswith("_median")}
    ones = np.ones((len(rows), 1))
    models, modes, rates, trained = (
        np.array([row[key] for row in rows]) for key in ("model", "mode", *PLACES)
    )
    return Points(
        models,
        modes,
        rates,
        trained,
        ("all",),
        {name: of(f"{name}_lee") for name in lees},
        dict.fromkeys(lees, ones),
        total,
        dict.fromkeys(total, ones),
        {name: of(f"{name}_median_db")[..., None] for name in medians},
    )


def _check(content: Any) -> None:
    """As far as it is read.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    if not isinstance(content, dict):
        raise ValueError("no object")
    for name, kind in (("data", dict), ("measures", dict), ("rows", list), ("sfi_zoo", str)):
        if not isinstance(content[name], kind):
            raise ValueError(f"{name} is of another type")
    gains = content["improvement_at_trained_rate_db"]
    _numbers(gains.values(), "improvement_at_trained_rate_db")
    for row in content["rows"]:
        if row["mode"].partition(":")[0] not in ROWS or NAMELESS.search(row["mode"]):
            raise ValueError(f"mode {row['mode']!r}")
        _numbers([x for key, x in row.items() if key != "mode"], "rows")
        if not all(row[key] is not None and row[key] > 0 for key in PLACES):
            raise ValueError("rates that are not positive")
        if not isinstance(row["tracks"], int):
            raise ValueError("tracks that are no number")


def _numbers(values: Any, where: str) -> None:
    for x in values:
        known = isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= LARGEST
        if not (x is None or known):
            raise ValueError(f"{where} has {str(x)[:40]!r}, which is no number")
