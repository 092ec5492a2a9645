"""Which model and mode is best away from F0, and how sure that is."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring.points import interval, points_of, resampled
from sfi_zoo.metrics.scoring.unit import UNRANKED

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
