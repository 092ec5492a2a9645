"""What the files of a results folder have to hold: people edit them, and disks damage them."""

import re
from collections.abc import Mapping
from typing import Any

from sfi_zoo.metrics.scoring.rows import LEES, QUALITIES
from sfi_zoo.metrics.scoring.unit import ROWS

MOST = 100  # sources, and metrics
LARGEST = 1e100  # of numbers: squares of what models compute in are less, and their own are finite
RATIOS = ("estimate", "mixture", "trained", "at_trained")
NAMELESS = re.compile("[\0\ud800-\udfff]")  # half of a surrogate pair cannot be printed
OLD_NAMES = {"oracle": "fixed_masks"}  # of modes, up to 0.1
SETTINGS = {"sfi_zoo": str, "torch": str, "models": dict, "data": dict, "measures": dict}


def check_record(record: Any) -> None:
    """Checks that a record is one that `unit.records_of` makes, as far as it is read.

    Raises:
        ValueError: what is wrong, by its name in the record.
    """
    for name in ("model", "track", "mode"):
        _require(isinstance(_at(record, name), str), f"{name} is no text")
    record["mode"] = OLD_NAMES.get(record["mode"], record["mode"])
    _require(record["mode"].partition(":")[0] in ROWS, f"mode is none of {', '.join(ROWS)}")
    for name in ("sample_rate", "trained_rate"):
        _require(_is_number(_at(record, name)) and record[name] > 0, f"{name} is no positive number")
    sources = _at(record, "sources")
    listed = (
        isinstance(sources, list) and 0 < len(sources) <= MOST and all(isinstance(x, str) for x in sources)
    )
    _require(listed, f"sources is no list of 1 to {MOST} names")
    for name in (record["model"], record["mode"], *sources):  # a track may have any name that a folder has
        _require(not NAMELESS.search(name), f"{name!r} is no name")
    if "failed" in record:
        _require(isinstance(record["failed"], str), "failed is no text")
        return
    metrics = _at(record, "lee")
    _require(isinstance(metrics, dict) and len(metrics) <= MOST, f"lee has no LEEs, or more than {MOST}")
    for metric in (*LEES, *metrics):
        for part in ("error", "reference"):
            _check_numbers(record, ("lee", metric, part))
    for quality in (name for name in QUALITIES if name in record or name in QUALITIES[:2]):
        for ratio in RATIOS:
            _check_numbers(record, (quality, ratio), or_none=True)
    if "layers" in record:
        parts = _at(record, "layers", "contribution")
        there = isinstance(parts, dict) and all(map(_is_number, parts.values()))
        _require(there and _is_number(_at(record, "layers", "reference")), "layers has no numbers")


def layout(record: Mapping[str, Any]) -> dict[str, Any]:
    """What all records of one model have in common; those without a score have only some of it."""
    common = {"trained_rate": record["trained_rate"], "sources": record["sources"]}
    if "failed" not in record:
        common |= {"lee": set(record["lee"]), "qualities": [name for name in QUALITIES if name in record]}
    return common


def check_manifest(settings: Any) -> None:
    """Checks that settings are as `run.score` writes them, as far as they are read.

    Raises:
        ValueError: what is wrong, by its name.
    """
    for name, kind in SETTINGS.items():
        _require(isinstance(_at(settings, name), kind), f"{name} is missing or of another type")
    for name, value in flat(settings).items():
        values = value if isinstance(value, list) else [value]
        _require(not any(isinstance(x, dict | list) for x in values), f"{name} is nested too deeply")


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"data": {"path": 1}} -> {"data.path": 1}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= (
            {f"{name}.{key}": x for key, x in value.items()} if isinstance(value, dict) else {name: value}
        )
    return found


def _check_numbers(record: Mapping[str, Any], path: tuple[str, ...], or_none: bool = False) -> None:
    """One for each source."""
    values, count = _at(record, *path), len(record["sources"])
    right = isinstance(values, list) and len(values) == count
    right = right and all(_is_number(x) or (or_none and x is None) for x in values)
    _require(right, f"{'.'.join(path)} is not {count} numbers, one for each source")


def _at(value: Any, *path: str) -> Any:
    """value[path[0]][path[1]] ...; None where it is not there."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= LARGEST


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
