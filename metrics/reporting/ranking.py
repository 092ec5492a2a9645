"""Which model is best at F0 and away from it, and how sure that is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring.points import Array, interval, points_of, resampled
from sfi_zoo.metrics.scoring.unit import UNRANKED

Gains = Mapping[
    str, Mapping[str, Sequence[float | None]]
]  # model -> track -> dB of each source, None where it is silent
FEWEST_TRACKS = 6  # with fewer, even differences of one sign are chance in 2 x 0.5^5 = 6 % of cases
FIGURES = ("si_sdr_improvement", "si_sdr_lost", "mask_lee")


def ranking(records: Iterable[dict[str, Any]], resamples: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """Models and modes, without the controls that are no models, by their mean SI-SDR improvement over the rates other than F0.

    Means over rates of what `rows_of` says, over the rates that all have; 95 % intervals by a bootstrap over tracks.

    Args:
        records: of scoring runs.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Rows of model, mode, and {"value", "low", "high"} of rank (1 is the best), rank_in_mode (among those of the same mode),
        si_sdr_improvement, si_sdr_lost (dB), mask_lee (dB, no less than -60 per rate).

    Raises:
        InputError: no rate but F0 that all have.
    """
    points = points_of(records)
    points = points.where((points.rates != points.trained) & ~np.isin(points.modes, UNRANKED))
    pairs = sorted(set(zip(points.models.tolist(), points.modes.tolist(), strict=True)))
    per_pair = [set(points.rates[(points.models == m) & (points.modes == mode)]) for m, mode in pairs]
    rates = set.intersection(*per_pair) if per_pair else set()
    if not rates:
        raise InputError("no sample rate other than F0 at which all models have a score: nothing to rank")
    weights = resampled(len(points.tracks), resamples, np.random.default_rng(seed))
    tables = {name: points.mean_db(name, weights) for name in FIGURES[:2]}
    tables["mask_lee"] = points.lee_db("mask", weights)
    counted = np.isin(points.rates, sorted(rates))
    means = {
        name: np.stack(
            [x[:, counted & (points.models == m) & (points.modes == mode)].mean(1) for m, mode in pairs], 1
        )
        for name, x in tables.items()
    }
    gained = means["si_sdr_improvement"]
    better = gained[:, None, :] > gained[:, :, None]
    modes = np.array([mode for _, mode in pairs])
    ranks, in_mode = (1.0 + x.sum(2) for x in (better, better & (modes[:, None] == modes)))
    rows = [
        {"model": model, "mode": mode, "rank": interval(ranks[:, i]), "rank_in_mode": interval(in_mode[:, i])}
        | {name: interval(means[name][:, i]) for name in FIGURES}
        for i, (model, mode) in enumerate(pairs)
    ]
    return sorted(rows, key=lambda row: (row["rank"]["value"], row["model"], row["mode"]))


def gained_ranks(gains: Gains, resamples: int = 1000, seed: int = 0) -> dict[str, int | None]:
    """Ranks that only differences beyond the uncertainty tell apart: 1 + the number of models that are surely better. Many may share one.

    b is surely better than a where the 95 % interval of m_b - m_a lies above 0. The interval is that of a bootstrap over the tracks that
    both have, the same draws for both; m is the mean over sources of each one's mean over the tracks where it is not silent.

    Args:
        gains: of models on one task.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        {model: rank}, None where a model has fewer than `FEWEST_TRACKS` tracks, or there is no bootstrap (`resamples` is 0).
    """
    ranked = [model for model, tracks in gains.items() if len(tracks) >= FEWEST_TRACKS and resamples]
    ranks: dict[str, int | None] = dict.fromkeys(gains)
    ranks |= dict.fromkeys(ranked, 1)
    for one in ranked:
        for other in ranked:
            if one != other and surely_better(gains[other], gains[one], resamples, seed):
                ranks[one] = (ranks[one] or 1) + 1
    return ranks


def surely_better(
    first: Mapping[str, Sequence[float | None]],
    second: Mapping[str, Sequence[float | None]],
    resamples: int,
    seed: int,
) -> bool:
    """Whether the 95 % interval of the first's mean gain less the second's lies above 0."""
    shared = sorted(first.keys() & second.keys())
    if len(shared) < FEWEST_TRACKS:
        return False
    weights = resampled(len(shared), resamples, np.random.default_rng(seed))
    difference = _means([first[t] for t in shared], weights) - _means([second[t] for t in shared], weights)
    low = interval(difference)["low"]
    return low is not None and low > 0


def mean_gain(gains: Iterable[Sequence[float | None]]) -> float | None:
    """The mean over sources of each one's mean over the tracks where it is not silent."""
    tracks = list(gains)
    mean = float(_means(tracks, np.ones((1, len(tracks))))[0]) if tracks else math.nan
    return None if math.isnan(mean) else mean


def _means(gains: Sequence[Sequence[float | None]], weights: Array) -> Array:
    """(resamples, tracks) -> (resamples,)."""
    x = np.array([[np.nan if g is None else g for g in track] for track in gains])
    there = np.isfinite(x)
    heard = there.any(0)
    with np.errstate(invalid="ignore"):
        means = (weights @ np.where(there, x, 0.0)) / (weights @ there)
    return means[:, heard].mean(1) if heard.any() else np.full(len(weights), np.nan)
