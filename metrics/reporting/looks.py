"""How modes look and how numbers are written: the same in the page, the report, the documentation and the cards."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sfi_zoo.metrics.scoring.points import FLOOR_DB

NONE = "n/a"
AT_FLOOR = f"≤ {FLOOR_DB:g}"


class Look(NamedTuple):
    """A mode's line: told from the others by its colour, its dashes and its marker, each alone.

    Attributes:
        color: a contrast of 3 or more on white and on near black.
        dash: as SVG has it; () for a line without gaps.
        width: wide below narrow, so that two lines on each other both show.
        marker: as matplotlib names it: "o" circle, "s" square, "^" triangle, "D" diamond.
    """

    color: str
    dash: tuple[int, ...]
    width: float
    marker: str


LOOKS = {
    "native": Look("#2f7fd6", (), 4.0, "o"),
    "resample": Look("#d1651f", (7, 4), 2.0, "s"),
    "none": Look("#9a5fc9", (2, 3), 2.0, "^"),
    "fixed_masks": Look("#7d7d7d", (1, 4), 1.5, "D"),
    "ratio_masks": Look("#5c8a3a", (10, 3, 2, 3), 1.5, "D"),
}
OTHER_RESAMPLERS = (Look("#b08900", (7, 3, 2, 3), 2.0, "s"), Look("#c2548c", (4, 2, 1, 2, 1, 2), 2.0, "s"))


def look_of(mode: str, modes: list[str]) -> Look:
    """A mode's line; `resample:NAME` has one of its own, by its place among those of `modes`."""
    if mode in LOOKS:
        return LOOKS[mode]
    others = sorted(other for other in modes if other not in LOOKS)
    return OTHER_RESAMPLERS[others.index(mode) % len(OTHER_RESAMPLERS)]


def decibels_shown(x: float | None, form: str = ".2f") -> str:
    """A figure in dB: two places; "≤ -60" from the floor of a LEE down, where -inf is; "n/a" where there is none."""
    if x is None or math.isnan(x):
        return NONE
    text = AT_FLOOR if x <= FLOOR_DB else f"{x:{form}}"
    return text.removeprefix("-") if float(f"{x:{form}}") == 0 else text


def lee_shown(row: Mapping[str, Any], lee: str) -> str:
    """The LEE of a row of `rows_of`, also of one read from JSON, which has null for -inf."""
    linear = row.get(f"{lee}_lee")
    if linear is None or math.isnan(linear):
        return NONE
    return decibels_shown(row[f"{lee}_lee_db"] if linear > 0 else -math.inf)


def with_interval(x: Mapping[str, float | None] | None, form: str = ".2f") -> str:
    """1.23 [1.10, 1.40]; without the brackets where there is no interval."""
    if x is None or x["value"] is None:
        return NONE
    known = x["low"] is not None and x["high"] is not None
    value = decibels_shown(x["value"], form)
    return value + (
        f" [{decibels_shown(x['low'], form)}, {decibels_shown(x['high'], form)}]" if known else ""
    )
