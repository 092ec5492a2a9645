r"""Does a LEE tell what SDR is lost? Correlation of each metric with the SDR lost, over points (model, mode, F).

arXiv:2506.03550 reports a strong correlation. What is correlated here, with its 95 % interval:

- x: a LEE, its sums over all tracks taken before the division: as it is ("linear"), and in dB, no less than -60 dB, below which it is
  rounding. Where many points lose nothing at all, their LEEs in dB differ by tens of dB and their linear ones hardly. r then reflects
  the choice of scale;
- y: the SDR lost in dB, in each of `COSTS` (see `sfi_zoo.metrics.scoring.rows.rows_of`);
- Pearson's r, and Spearman's rho (r of the ranks, equal values share a rank);
- partial correlation given c = log2(min(F, F0) / F0), the bandwidth removed in octaves,

    r_xy.c = (r_xy - r_xc r_yc) / sqrt((1 - r_xc^2) (1 - r_yc^2)),

  without which "less bandwidth" alone could explain r. None where c is constant, or explains x or y wholly.

Points at F = F0, where nothing can differ, and controls that are no models are left out. Groups: all points; each mode; within models
(x, y and c less their mean over a model's points); each model.

Rows that share what was trained are one family: they break alike, and count as one. The intervals are those of a jackknife over families
and over tracks, on Fisher's z = artanh r, see `sfi_zoo.metrics.reporting.jackknife`; a bootstrap over models covers too little.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.reporting.jackknife import interval, left_out
from sfi_zoo.metrics.scoring.points import FLOOR_DB, Array, Points, points_of
from sfi_zoo.metrics.scoring.unit import UNRANKED

COSTS = (
    *("si_sdr_lost", "si_sdr_drop", "sdr_lost", "sdr_drop", "bss_sdr_lost", "bss_sdr_drop"),
    *("sdr_lost_median", "si_sdr_lost_median", "si_sdr_lost_separated", "sdr_lost_separated"),
)
SCALES = ("dB", "linear")
CONSTANT = 1e-12  # relative size of what is rounding


def study(
    records: Iterable[dict[str, Any]] | Points,
    families: Mapping[str, str] | None = None,
    floor_db: float = FLOOR_DB,
) -> list[dict[str, Any]]:
    """All correlations.

    Args:
        records: of scoring runs, or points of them.
        families: model -> name of its family; a model that is not there is one of its own.
        floor_db: LEE are no less than this, in dB.

    Returns:
        One row per (group, metric, scale, cost): numbers of points, models, families and tracks; pearson, spearman, partial_pearson,
        partial_spearman, each {"value", "low", "high"}.

    Raises:
        InputError: fewer than 3 points.
    """
    points = compared(records if isinstance(records, Points) else points_of(records))
    if len(points.models) < 3:
        raise InputError(
            f"{len(points.models)} points (model, mode, sample rate) other than F0 have a score: 3 or more are needed; "
            "score at more sample rates, or give more results"
        )
    names, owner = np.unique(points.models, return_inverse=True)
    family = np.array([(families or {}).get(str(model), str(model)) for model in points.models])
    tracks, weights = left_out(family, len(points.tracks))
    count = len(set(family))
    lee = {
        (metric, scale): scaled(points, metric, tracks, scale, floor_db)
        for metric in points.error
        for scale in SCALES
    }
    costs = {cost: points.cost_db(cost, tracks) for cost in COSTS if cost in points.costs}
    removed = np.log2(np.minimum(points.rates, points.trained) / points.trained)[None]
    rows = []
    for group, (chosen, within) in _groups(points, len(names)).items():
        alone = group.startswith("model ")  # then only tracks are left out
        taken = np.r_[0, 1 + count : len(tracks)] if alone else np.arange(len(tracks))
        own = np.ones_like(weights) if alone else weights
        sizes = {
            "points": int(chosen.sum()),
            "models": len(set(points.models[chosen])),
            "families": len(set(family[chosen])),
            "tracks": len(points.tracks),
        }
        part = owner[chosen] if within else np.zeros(int(chosen.sum()), int)
        for (metric, scale), x in lee.items():
            for cost, y in costs.items():
                a, b, w = (v[taken][:, chosen] for v in (x, y, own))
                values = _correlations(a, b, removed[:, chosen], w, part)
                found = {
                    name: interval(value, 0 if alone else count, len(points.tracks))
                    for name, value in values.items()
                }
                place = {"group": group, "metric": metric, "scale": scale, "cost": cost}
                rows.append(place | sizes | found)
    return rows


def scaled(points: Points, metric: str, weights: Array, scale: str, floor_db: float) -> Array:
    """A LEE of all points on one of the `SCALES`: weights (resamples, tracks) -> (resamples, points)."""
    return points.lee(metric, weights) if scale == "linear" else points.lee_db(metric, weights, floor_db)


def compared(points: Points) -> Points:
    """Those that a study is about: not those of controls that are no models, not at F0."""
    return points.where(~np.isin(points.modes, UNRANKED) & (points.rates != points.trained))


def _groups(points: Points, models: int) -> dict[str, tuple[Array, bool]]:
    """Name -> which points, and whether within models."""
    everything = np.ones(len(points.models), bool)
    groups = {"all": (everything, False)}
    groups |= {f"mode {mode}": (points.modes == mode, False) for mode in sorted(set(points.modes))}
    if models > 1:
        groups["within models"] = (everything, True)
        groups |= {f"model {name}": (points.models == name, False) for name in sorted(set(points.models))}
    return {name: group for name, group in groups.items() if group[0].sum() >= 3}


def _correlations(x: Array, y: Array, c: Array, weights: Array, part: Array) -> dict[str, Array]:
    """Of rows: (resamples, points) each, centred within each part."""
    there = np.isfinite(x) & np.isfinite(y)
    weights = weights * there
    x, y, c = np.where(there, x, 0.0), np.where(there, y, 0.0), np.broadcast_to(c, x.shape)
    found: dict[str, Array] = {}
    for name, rank in (("pearson", False), ("spearman", True)):
        values = [_centred(_ranks(v, weights, part) if rank else v, weights, part) for v in (x, y, c)]
        r_xy, r_xc, r_yc = (correlation(values[i], values[j], weights) for i, j in ((0, 1), (0, 2), (1, 2)))
        rest = (1 - r_xc**2) * (1 - r_yc**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            partial = np.where(rest > CONSTANT, (r_xy - r_xc * r_yc) / np.sqrt(rest), np.nan)
        found |= {name: r_xy, f"partial_{name}": partial}
    return found


def correlation(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's r of each row, (..., points) -> (...); a point of weight n counts as n points. NaN where x or y is constant."""
    total = np.maximum(weights.sum(-1), 1)
    mean_x, mean_y = ((weights * v).sum(-1) / total for v in (x, y))
    dx, dy = x - mean_x[..., None], y - mean_y[..., None]
    xx, yy, xy = ((weights * a * b).sum(-1) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    varies = (xx > CONSTANT * (weights * x * x).sum(-1)) & (yy > CONSTANT * (weights * y * y).sum(-1))
    return np.where(varies, xy / np.sqrt(np.where(varies, xx * yy, 1)), np.nan)


def ranks(x: Array, weights: Array) -> Array:
    """Ranks 1 ... in each row, (rows, points): equal values share the mean of theirs; a point of weight n is n equal values."""
    order = np.argsort(x, axis=1)
    x, weights = (np.take_along_axis(v, order, axis=1) for v in (x, weights))
    upto = np.pad(np.cumsum(weights, axis=1), ((0, 0), (1, 0)))  # the weight before each point, and in all
    place = np.arange(x.shape[1])
    begins = np.pad(x[:, 1:] != x[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    ends = np.roll(begins, -1, axis=1)
    ends[:, -1] = True
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)  # of the points that are equal
    last = np.minimum.accumulate(np.where(ends, place, len(place))[:, ::-1], axis=1)[:, ::-1]
    less, together = (np.take_along_axis(upto, at, axis=1) for at in (first, last + 1))
    found = np.empty_like(x)
    np.put_along_axis(found, order, (less + together + 1) / 2, axis=1)
    return found


def _ranks(x: Array, weights: Array, part: Array) -> Array:
    found = np.empty_like(x)
    for p in np.unique(part):
        found[:, part == p] = ranks(x[:, part == p], weights[:, part == p])
    return found


def _centred(x: Array, weights: Array, part: Array) -> Array:
    centred = np.empty_like(x)
    for p in np.unique(part):
        own, w = x[:, part == p], weights[:, part == p]
        rest = own - ((own * w).sum(1) / np.maximum(w.sum(1), 1))[:, None]
        rounding = CONSTANT * np.abs(own).max(1, keepdims=True)
        centred[:, part == p] = np.where(np.abs(rest) > rounding, rest, 0)
    return centred


def plot_study(
    records: Iterable[dict[str, Any]] | Points,
    cost: str = "si_sdr_lost",
    floor_db: float = FLOOR_DB,
    scale: str = "dB",
) -> Any:
    """A scatter plot for each metric: LEE against the SDR lost, a colour for each mode, a marker for each model.

    Args:
        records: of scoring runs.
        cost: one of `COSTS`.
        floor_db: as in `study`.
        scale: of the LEE, "dB" or "linear".

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        InputError: matplotlib is not installed, or a cost that was not measured.
    """
    from sfi_zoo.metrics.reporting.curves import MARKERS, figure_of, plain, styles

    points = compared(records if isinstance(records, Points) else points_of(records))
    if cost not in points.costs:
        raise InputError(
            f"{cost!r} was not measured; there are {', '.join(c for c in COSTS if c in points.costs)}"
        )
    once = np.ones((1, len(points.tracks)))
    figure, axes = figure_of(len(points.error))
    y, looks = points.cost_db(cost, once)[0], styles(points)
    for axis, metric in zip(axes, points.error, strict=True):
        x = scaled(points, metric, once, scale, floor_db)[0]
        for (model, mode), style in looks.items():
            own = (points.models == model) & (points.modes == mode)
            axis.plot(x[own], y[own], **style | {"linestyle": "none"})
        unit = "LEE in dB" if scale == "dB" else "LEE"
        axis.set(xlabel=plain(f"{metric.replace('_', ' ')} {unit}"), ylabel=f"{cost.replace('_', ' ')} in dB")
    colours = {mode: style | {"marker": "o", "linestyle": "none"} for (_, mode), style in looks.items()}
    markers = {model: style | {"color": "0.4", "linestyle": "none"} for (model, _), style in looks.items()}
    told = colours | (markers if len(markers) <= len(MARKERS) else {})  # beyond that a marker is of several
    handles = [axes[0].plot([], [], label=plain(name), **style)[0] for name, style in told.items()]
    figure.legend(handles=handles, loc="outside right upper", fontsize="x-small")
    return figure
