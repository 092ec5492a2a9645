"""Records as arrays over points (model, mode, sampling frequency) and tracks, and what a resampled set of tracks makes of them."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sfi_zoo.metrics.scoring.rows import DIFFERENCES, QUALITIES, differences, separated

Array = npt.NDArray[Any]
FLOOR_DB = -60.0  # below this a LEE is rounding


@dataclass(frozen=True)
class Points:
    """Sums per point and track; zero where there is no score.

    Attributes:
        models: (points,) names.
        modes: (points,) adaptation modes, or controls.
        rates: (points,) F in Hz.
        trained: (points,) F0 in Hz.
        tracks: names of the tracks.
        error: {metric: (points, tracks)} numerators of the LEE.
        reference: {metric: (points, tracks)} denominators.
        total: {"si_sdr", "si_sdr_lost", ...: (points, tracks)} sums over sources in dB, see `rows.rows_of`.
        count: the numbers of sources in them.
        each: {"si_sdr_lost", "sdr_lost" ...: (points, tracks, sources)} in dB, NaN where there is none.
    """

    models: Array
    modes: Array
    rates: Array
    trained: Array
    tracks: tuple[str, ...]
    error: Mapping[str, Array]
    reference: Mapping[str, Array]
    total: Mapping[str, Array]
    count: Mapping[str, Array]
    each: Mapping[str, Array]

    def where(self, chosen: Array) -> "Points":
        """Some of the points: (points,) bool."""
        of = lambda tables: {name: x[chosen] for name, x in tables.items()}  # noqa: E731
        places = (self.models[chosen], self.modes[chosen], self.rates[chosen], self.trained[chosen])
        sums = (of(self.error), of(self.reference), of(self.total), of(self.count), of(self.each))
        return Points(*places, self.tracks, *sums)

    def lee(self, metric: str, weights: Array) -> Array:
        """LEE: weights (resamples, tracks) -> (resamples, points), NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return (weights @ self.error[metric].T) / (weights @ self.reference[metric].T)

    def lee_db(self, metric: str, weights: Array, floor_db: float = FLOOR_DB) -> Array:
        """LEE in dB, no less than a floor: weights (resamples, tracks) -> (resamples, points), NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.maximum(10 * np.log10(self.lee(metric, weights)), floor_db)

    def cost_db(self, quantity: str, weights: Array) -> Array:
        """A cost by its name, of `costs`: weights (resamples, tracks) -> (resamples, points), NaN where there is none.

        "..._median": per source the median over tracks, then the mean over sources. All others are means over tracks and sources;
        "..._separated" over those pairs alone whose SI-SDR at F0 is above 0 dB.
        """
        name, found, _ = quantity.rpartition("_median")
        if not found:
            return self.mean_db(quantity, weights)
        values = np.moveaxis(self.each[name], 1, 2)  # (points, sources, tracks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of sources that no track has
            return np.nanmean(weighted_median(values, weights), axis=-1)

    @property
    def costs(self) -> list[str]:
        """Names of all that is lost, as `cost_db` takes them."""
        return [x for x in self.total if "_lost" in x or "_drop" in x] + [f"{x}_median" for x in self.each]

    def mean_db(self, quantity: str, weights: Array) -> Array:
        """Means over tracks and sources: weights (resamples, tracks) -> (resamples, points), NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return (weights @ self.total[quantity].T) / (weights @ self.count[quantity].T)


def points_of(records: Iterable[dict[str, Any]]) -> Points:
    """The arrays of all records that hold a score."""
    scored = [record for record in records if "failed" not in record]
    keys = sorted(
        {(r["model"], r["mode"], float(r["sample_rate"]), float(r["trained_rate"])) for r in scored}
    )
    tracks = tuple(sorted({r["track"] for r in scored}))
    place = {key[:3]: number for number, key in enumerate(keys)}
    column = {track: number for number, track in enumerate(tracks)}
    tables: tuple[dict[str, Array], ...] = ({}, {}, {}, {})
    each: dict[str, Array] = {}
    sources = max((len(r["sources"]) for r in scored), default=0)

    def put(table: int, name: str, record: dict[str, Any], value: float) -> None:
        values = tables[table].setdefault(name, np.zeros((len(keys), len(tracks))))
        at = place[record["model"], record["mode"], float(record["sample_rate"])]
        values[at, column[record["track"]]] = value

    for record in scored:
        for metric, sums in record["lee"].items():
            put(0, metric, record, sum(sums["error"]))
            put(1, metric, record, sum(sums["reference"]))
        for quality in (q for q in QUALITIES if q in record):
            for suffix, terms in DIFFERENCES.items():
                values = [x for x in differences(record, quality, *terms) if x is not None]
                put(2, quality + suffix, record, sum(values))
                put(3, quality + suffix, record, len(values))
            lost = differences(record, quality, *DIFFERENCES["_lost"])
            kept = [x for x, there in zip(lost, separated(record), strict=True) if x is not None and there]
            put(2, f"{quality}_lost_separated", record, sum(kept))
            put(3, f"{quality}_lost_separated", record, len(kept))
            of = each.setdefault(f"{quality}_lost", np.full((len(keys), len(tracks), sources), np.nan))
            at = place[record["model"], record["mode"], float(record["sample_rate"])]
            of[at, column[record["track"]], : len(lost)] = [np.nan if x is None else x for x in lost]
    models, modes, rates, trained = (np.array([key[i] for key in keys]) for i in range(4))
    error, reference, total, count = tables
    return Points(models, modes, rates, trained, tracks, error, reference, total, count, each)


def weighted_median(values: Array, weights: Array) -> Array:
    """Medians over the last axis, NaN left out, a value of weight n as n values: (..., n) and (resamples, n) -> (resamples, ...)."""
    order = np.argsort(values, axis=-1)  # NaN last
    ordered = np.take_along_axis(values, order, -1)
    own = weights[:, order] * ~np.isnan(ordered)  # (resamples, ..., n)
    upto = own.cumsum(-1)
    half = upto[..., -1:] / 2
    low, high = ((upto < half).sum(-1), (upto <= half).sum(-1))  # the same but for an even count
    last = values.shape[-1] - 1
    of = np.broadcast_to(ordered, own.shape)
    middle = [np.take_along_axis(of, np.minimum(k, last)[..., None], -1)[..., 0] for k in (low, high)]
    return np.where(half[..., 0] > 0, (middle[0] + middle[1]) / 2, np.nan)


def resampled(count: int, resamples: int, rng: np.random.Generator) -> Array:
    """How often each of `count` is drawn: (1 + resamples, count); in the first row each once."""
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.concatenate([np.ones((1, count)), drawn.astype(float)])


def interval(values: Array) -> dict[str, float | None]:
    """Value (the first) and 95 % percentile interval of the rest; None for what there is not.

    Resamples without a value (all points alike, say) are left out; if they are more than half, there is no interval.
    """
    first, rest = float(values[0]), values[1:][np.isfinite(values[1:])]
    low, high = (
        np.percentile(rest, [2.5, 97.5]) if len(rest) > max(1, (len(values) - 1) / 2) else (None, None)
    )
    as_float = lambda x: None if x is None or not np.isfinite(x) else float(x)  # noqa: E731
    return {"value": as_float(first), "low": as_float(low), "high": as_float(high)}
