r"""Does a LEE pick the model that loses least? Kendall's tau at each sampling frequency, over the pairs of models that differ.

    tau = (concordant - discordant) / pairs

A pair of models counts where what they lose differs by more than the standard error of the difference (or so many of them), by a jackknife
over tracks,

    se^2 = (n - 1) / n sum_i (d_-i - mean d_-i)^2

(d_-i is the difference without track i of n). The others do not differ as far as these tracks tell: they cannot be ranked. Pairs with equal
LEEs are neither concordant nor discordant.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np

from sfi_zoo.metrics.reporting.study import compared
from sfi_zoo.metrics.scoring.points import points_of

ENOUGH = 10  # pairs, below which there is nothing to rank


def choices(
    records: Iterable[dict[str, Any]], metric: str, cost: str, errors: float = 1
) -> list[dict[str, Any]]:
    """How well a LEE ranks models, in each mode and at each F other than F0.

    Args:
        records: of scoring runs.
        metric: name of a LEE.
        cost: as `Points.cost_db` takes it.
        errors: how many standard errors make a difference. Of pairs that do not differ, 1 lets through a third, 2 a twentieth.

    Returns:
        Rows of mode, sample_rate, models, pairs (of models that differ), of (all pairs), tau (None for fewer than `ENOUGH` pairs).
    """
    points = compared(points_of(records))
    tracks = len(points.tracks)
    weights = np.concatenate([np.ones((1, tracks)), 1 - np.eye(tracks)])
    lee, lost = points.lee(metric, weights[:1])[0], points.cost_db(cost, weights)
    rows = []
    for mode, rate in sorted(set(zip(points.modes.tolist(), points.rates.tolist(), strict=True))):
        own = np.flatnonzero((points.modes == mode) & (points.rates == rate))
        signs = []
        for a, b in combinations(own.tolist(), 2):
            d = lost[:, a] - lost[:, b]
            error = (
                np.sqrt((tracks - 1) / tracks * ((d[1:] - d[1:].mean()) ** 2).sum()) if tracks > 1 else np.inf
            )
            if abs(d[0]) > errors * error:
                signs.append(np.sign(d[0]) * np.sign(lee[a] - lee[b]))
        rows.append(
            {
                "mode": mode,
                "sample_rate": rate,
                "models": len(own),
                "pairs": len(signs),
                "of": len(own) * (len(own) - 1) // 2,
                "tau": float(np.mean(signs)) if len(signs) >= ENOUGH else None,
            }
        )
    return rows
