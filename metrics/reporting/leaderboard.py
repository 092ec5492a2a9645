"""A leaderboard: one row for each model and mode, with intervals, per source and per group of tracks. What `leaderboard.json` holds."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring.points import Array, Points, interval, points_of, resampled
from sfi_zoo.metrics.scoring.rows import Record, as_json, differences, rows_of
from sfi_zoo.metrics.scoring.unit import UNRANKED

LOWEST = 8000.0  # Hz: its loss is a column of its own
USUAL = 11025.0  # Hz: the worst loss is that of the rates from here on
CURVES = (
    "mask_lee_db",
    "predictor_lee_db",
    "masked_latent_lee_db",
    "si_sdr_improvement_db",
    "si_sdr_lost_db",
)


def group_of(track: str) -> str:
    """What a track belongs to: its name up to the first " - ", "EIF" of "EIF - Sodium 030s"; itself a group of none."""
    return track.split(" - ", maxsplit=1)[0] if " - " in track else ""


def leaderboard(
    records: Iterable[Record],
    resamples: int = 1000,
    seed: int = 0,
    group: Callable[[str], str] = group_of,
) -> list[dict[str, Any]]:
    """Models in their modes, by what they gain at F0; controls that are no models are left out.

    Intervals are the 95 % percentiles of a bootstrap over tracks, the same draws for all rows: {"value", "low", "high"}, null where
    there is none. dB throughout.

    Args:
        records: of scoring runs.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        group: track -> name of its group; "" for none.

    Returns:
        Rows of model, mode, trained_rate, sources, tracks (with a score at F0), and

        - si_sdr_improvement: at F0, the mean over sources of each one's mean over the tracks where it is not silent;
        - by_source: {source: the same of one}; by_group: {group: {"tracks", "si_sdr_improvement", "by_source"}};
        - worst_lost: the largest SI-SDR lost over the rates other than F0 that are 11.025 kHz or more (mean over tracks and sources), with
            its sample_rate; lost_at_8k: that at 8 kHz; null where it was not measured;
        - mask_lee, predictor_lee, masked_latent_lee: the mean over the rates other than F0, no less than -60 each; worst_mask_lee: the
            largest of these;
        - gained_by_track: {track: SI-SDR gained at F0 of each source, null where it is silent};
        - rates: [{"sample_rate", and of each the five curves of a report without intervals}].

    Raises:
        InputError: no record holds a score.
    """
    records = [record for record in records if record["mode"] not in UNRANKED]
    points = points_of(records)
    if not len(points.models):
        raise InputError("no record holds a score: there is no leaderboard")
    draws = np.random.default_rng(seed)
    weights = resampled(len(points.tracks), resamples, draws)
    lost, lee = points.mean_db("si_sdr_lost", weights), {m: points.lee_db(m, weights) for m in points.error}
    curves = as_json(rows_of(records))
    rows = []
    for model, mode in dict.fromkeys(zip(points.models.tolist(), points.modes.tolist(), strict=True)):
        own = (points.models == model) & (points.modes == mode)
        of = [r for r in records if (r["model"], r["mode"]) == (model, mode) and "failed" not in r]
        row = {"model": model, "mode": mode, "trained_rate": float(points.trained[own][0])}
        here = [r for r in of if r["sample_rate"] == r["trained_rate"]]
        row |= _gained(here, of[0]["sources"], points, weights, group)
        row |= _lost(points, own, lost)
        away = own & (points.rates != points.trained)
        row |= {f"{m}_lee": interval(x[:, away].mean(1)) if away.any() else None for m, x in lee.items()}
        row["worst_mask_lee"] = interval(lee["mask"][:, away].max(1)) if away.any() else None
        row["rates"] = [
            {key: r[key] for key in ("sample_rate", *CURVES)}
            for r in sorted(curves, key=lambda r: r["sample_rate"])
            if (r["model"], r["mode"]) == (model, mode)
        ]
        rows.append(row)
    return sorted(rows, key=place)


def place(row: dict[str, Any]) -> tuple[float, str, str]:
    """What rows of the leaderboard are sorted by: what is gained at F0, those without it last; then model and mode."""
    return -_or_lowest(row["si_sdr_improvement"]), row["model"], row["mode"]


def _gained(
    records: Sequence[Record],
    sources: Sequence[str],
    points: Points,
    weights: Array,
    group: Callable[[str], str],
) -> dict[str, Any]:
    """What is gained at F0: of all tracks, and of those of each group."""
    gains = np.full((len(points.tracks), len(sources)), np.nan)
    for record in records:
        found = differences(record, "si_sdr", "estimate", "mixture")
        gains[points.tracks.index(record["track"])] = [np.nan if x is None else x for x in found]
    groups: dict[str, list[int]] = {}
    for record in records:
        groups.setdefault(group(record["track"]), []).append(points.tracks.index(record["track"]))
    apart = {
        name: {"tracks": len(members)} | _means(gains[members], sources, weights[:, members])
        for name, members in sorted(groups.items())
        if name
    }
    whole = {"sources": list(sources), "tracks": len(records)} | _means(gains, sources, weights)
    if not records:  # not scored at F0: no source has a gain
        whole["by_source"] = {}
    by_track = {
        record["track"]: [
            None if np.isnan(x) else float(x) for x in gains[points.tracks.index(record["track"])]
        ]
        for record in records
    }
    return whole | {"by_group": apart, "gained_by_track": by_track}


def _means(gains: Array, sources: Sequence[str], weights: Array) -> dict[str, Any]:
    """(tracks, sources) dB, NaN where silent -> the mean of the sources' means, and each of these."""
    there = np.isfinite(gains)
    with np.errstate(invalid="ignore"):
        means = (weights @ np.where(there, gains, 0)) / (weights @ there)
    heard = there.any(0)  # a source that no track has is left out
    overall = means[:, heard].mean(1) if heard.any() else np.full(len(weights), np.nan)
    each = {source: interval(means[:, i]) for i, source in enumerate(sources)}
    return {"si_sdr_improvement": interval(overall), "by_source": each}


def _lost(points: Points, own: Array, lost: Array) -> dict[str, Any]:
    away = own & (points.rates != points.trained)
    usual, lowest = away & (points.rates >= USUAL), own & (points.rates == LOWEST)
    found: dict[str, Any] = {"worst_lost": None, "lost_at_8k": None}
    if usual.any():
        at = float(points.rates[usual][np.argmax(lost[0, usual])])
        found["worst_lost"] = interval(lost[:, usual].max(1)) | {"sample_rate": at}
    if lowest.any():
        found["lost_at_8k"] = interval(lost[:, lowest][:, 0])
    return found


def _or_lowest(x: dict[str, float | None]) -> float:
    return -np.inf if x["value"] is None else x["value"]
