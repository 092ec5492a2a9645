r"""Intervals of a correlation over models that are few, and tracks that are few: a jackknife over both, on Fisher's z.

    z = artanh r,    v_i = (n - 1) / n (z_-i - z)^2,    se^2 = sum of v_i over families and over tracks
    df = (sum v_i)^2 / sum v_i^2,    interval tanh(z -+ t_df se)

z_-i leaves out family or track i, n is their number, t_df the 97.5 % point of Student's t. Where one family decides r, df is near 1, and
the interval wide, as it must be (after Satterthwaite, Biometrics Bulletin 2:110, 1946). Efron and Stein, Ann. Stat. 9:586, 1981: the
variance of a jackknife is not too small on average. What it covers on data made like ours is in tests/test_study.py.
"""

import numpy as np

from sfi_zoo.metrics.scoring.points import Array

LARGEST = 1 - 1e-12  # |r| of which there is a z


def left_out(family: Array, tracks: int) -> tuple[Array, Array]:
    """Weights with nothing, each family, and each track left out: (1 + families + tracks, tracks) and (..., points). A single track stays.

    Args:
        family: (points,) names.
        tracks: how many.
    """
    names = np.unique(family)
    left = tracks if tracks > 1 else 0
    count = 1 + len(names) + left
    of_tracks, of_points = np.ones((count, tracks)), np.ones((count, len(family)))
    of_points[1 : 1 + len(names)] = family[None] != names[:, None]
    of_tracks[1 + len(names) :] = 1 - np.eye(tracks)[:left]
    return of_tracks, of_points


def interval(values: Array, families: int, tracks: int) -> dict[str, float | None]:
    """Value (the first) and 95 % interval of a correlation.

    Args:
        values: (1 + families + tracks left out,), as `left_out` has them; NaN where there is none.
        families: how many.
        tracks: how many.

    Returns:
        {"value", "low", "high"}; None for what there is not: an interval needs 2 families or tracks, and a value for each left out.
    """
    whole = float(values[0])
    if not np.isfinite(whole):
        return {"value": None, "low": None, "high": None}
    z = np.arctanh(np.clip(values, -LARGEST, LARGEST))
    parts, rest = [], values[1:]
    for some, n in ((z[1 : 1 + families], families), (z[1 + families :], tracks)):
        if n > 1:
            parts.append((n - 1) / n * (some - z[0]) ** 2)
    v = np.concatenate(parts) if parts else np.zeros(0)
    if not np.isfinite(rest).all() or not v.sum() > 0:
        return {"value": whole, "low": None, "high": None}
    reach = student(float(v.sum() ** 2 / (v**2).sum())) * np.sqrt(v.sum())
    return {"value": whole, "low": float(np.tanh(z[0] - reach)), "high": float(np.tanh(z[0] + reach))}


def student(df: float, probability: float = 0.95) -> float:
    """t with P(|T| < t) = probability, for any df >= 1.

    With t = sqrt(df) tan a the density is cos^(df - 1) a on (-pi / 2, pi / 2): summed up on a fine grid.
    """
    angle = np.linspace(0, np.pi / 2, 20001)
    middle = (angle[1:] + angle[:-1]) / 2
    upto = np.concatenate([[0.0], np.cumsum(np.cos(middle) ** (df - 1))])
    return float(np.sqrt(df) * np.tan(np.interp(probability * upto[-1], upto, angle)))
