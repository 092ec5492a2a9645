r"""Does a LEE tell what one song loses? Intervals calibrated on one half of the study's songs, their coverage on the other.

A point is (song, row, mode, F). y is the SI-SDR lost in dB, the mean over the sources that are separated at F0; x the LEE of this song.

    y = b_0 + b_1 log2(F / F0) + b_2 [native] (+ b_3 x + b_4 sqrt x) + s e

by least squares. The spread s is the same regression of |residual|, 0.1 dB at least. The interval lies between quantiles of e over the
calibrating half, where each song is told by the others, and all songs weigh the same. `python tools/study.py make` writes the figures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sfi_zoo.metrics.scoring.rows import DIFFERENCES, differences, separated

Array = npt.NDArray[Any]
LEVELS = (0.9, 0.95)
LEAST_SPREAD = 0.1  # dB


def per_song(
    calibrating: Sequence[dict[str, Any]], telling: Sequence[dict[str, Any]], metric: str
) -> list[dict[str, Any]]:
    """Coverage and width of intervals with and without the LEE.

    Args:
        calibrating: records of the half that the intervals are made of.
        telling: records of the half that they are tried on.
        metric: the LEE.

    Returns:
        Rows of level, with_lee, songs, points, coverage, lowest (coverage of a song), width (median, in dB), mean_width, and widened:
        the median width if it is stretched until it covers `level` of the other half.
    """
    old, new = (_points(records, metric) for records in (calibrating, telling))
    rows = []
    for with_lee in (False, True):
        a, b = (_design(points, with_lee) for points in (old, new))
        y, songs = old["lost"], old["song"]
        rest = np.empty_like(y)
        for song in set(songs):
            own = songs == song
            rest[own] = y[own] - a[own] @ _fit(a[~own], y[~own])
        spread = _fit(a, np.abs(rest))
        scale_old, scale_new = (np.maximum(x @ spread, LEAST_SPREAD) for x in (a, b))
        e = (new["lost"] - b @ _fit(a, y)) / scale_new
        weights = np.array([1 / np.sum(songs == song) for song in songs])
        for level in LEVELS:
            low, high = (_quantile(rest / scale_old, weights, (1 + sign * level) / 2) for sign in (-1, 1))
            inside = (e >= low) & (e <= high)
            stretch = np.quantile(np.maximum(e / high, e / low), level)
            rows.append(
                {
                    "level": level,
                    "with_lee": with_lee,
                    "songs": len(set(new["song"])),
                    "points": len(e),
                    "coverage": float(inside.mean()),
                    "lowest": float(min(inside[new["song"] == song].mean() for song in set(new["song"]))),
                    "width": float(np.median((high - low) * scale_new)),
                    "mean_width": float(np.mean((high - low) * scale_new)),
                    "widened": float(np.median((high - low) * scale_new) * stretch),
                }
            )
    return rows


def _points(records: Sequence[dict[str, Any]], metric: str) -> dict[str, Array]:
    found: dict[str, list[Any]] = {name: [] for name in ("song", "lost", "lee", "octaves", "native")}
    for record in records:
        lost = differences(record, "si_sdr", *DIFFERENCES["_lost"])
        values = [x for x, there in zip(lost, separated(record), strict=True) if there and x is not None]
        sums = record["lee"][metric]
        if values and sum(sums["reference"]) > 0:
            found["song"].append(record["track"])
            found["lost"].append(sum(values) / len(values))
            found["lee"].append(sum(sums["error"]) / sum(sums["reference"]))
            found["octaves"].append(np.log2(record["sample_rate"] / record["trained_rate"]))
            found["native"].append(float(record["mode"] == "native"))
    return {name: np.array(values) for name, values in found.items()}


def _design(points: dict[str, Array], with_lee: bool) -> Array:
    columns = [np.ones_like(points["lost"]), points["octaves"], points["native"]]
    return np.stack([*columns, *((points["lee"], np.sqrt(points["lee"])) if with_lee else ())], 1)


def _fit(a: Array, y: Array) -> Array:
    return np.linalg.lstsq(a, y, rcond=None)[0]


def _quantile(values: Array, weights: Array, level: float) -> float:
    order = np.argsort(values)
    upto = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(len(values) - 1, int(np.searchsorted(upto, level)))])
