"""From records to the rows of a table: sums over tracks are taken before the division."""

import math
import statistics
from collections.abc import Iterable
from typing import Any

from sfi_zoo.metrics.lee import decibels

Record = dict[str, Any]
LEES = ("mask", "predictor", "masked_latent")  # those of every record
QUALITIES = ("si_sdr", "sdr", "bss_sdr")
DIFFERENCES: dict[str, tuple[str, str | None]] = {
    "": ("estimate", None),
    "_improvement": ("estimate", "mixture"),
    "_lost": ("trained", "estimate"),
    "_drop": ("at_trained", "estimate"),
}


def rows_of(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row per (model, mode, sample_rate), in the order of the records.

    Returns:
        Rows of model (where the records name it), mode, sample_rate, trained_rate, tracks (that have a score), failed (tracks), and

        - mask_lee, predictor_lee, masked_latent_lee (local_mask_lee ... too where they were measured), linear, with _db beside each (-inf
            where nothing differs);
        - of si_sdr, sdr and, where measured, bss_sdr, means over tracks and sources that are not silent: _db, _improvement_db (over the
            mixture), _lost_db (F0 estimate resampled to F, less the estimate at F, against references at F), _drop_db (F0 estimate against
            references at F0, less the estimate at F); and of what is lost also _lost_median_db (per source the median over tracks,
            then the mean over sources) and _lost_separated_db (the mean over the pairs of track and source whose SI-SDR at F0 is above
            0 dB). NaN where there is none.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record.get("model"), record["mode"], record["sample_rate"]), []).append(record)
    return [_row(group) for group in groups.values()]


def _row(group: list[Record]) -> dict[str, Any]:
    first = group[0]
    row: dict[str, Any] = {
        key: first[key] for key in ("model", "mode", "sample_rate", "trained_rate") if key in first
    }
    scored = [record for record in group if "failed" not in record]
    row |= {"tracks": len(scored), "failed": len(group) - len(scored)}
    for metric in scored[0]["lee"] if scored else LEES:
        sums = [record["lee"][metric] for record in scored]
        error, reference = (math.fsum(x for s in sums for x in s[part]) for part in ("error", "reference"))
        lee = error / reference if reference > 0 else math.nan
        row |= {f"{metric}_lee": lee, f"{metric}_lee_db": lee if math.isnan(lee) else decibels(lee)}
    for quality in QUALITIES:
        if quality in (scored[0] if scored else QUALITIES[:2]):
            row |= {
                f"{quality}{name}_db": mean(scored, quality, *terms) for name, terms in DIFFERENCES.items()
            }
            row |= {f"{quality}_lost_{name}_db": of(scored, quality) for name, of in OF_LOST.items()}
    return row


def mean(records: Iterable[Record], quality: str, plus: str, minus: str | None = None) -> float:
    """Mean over tracks and sources of a ratio, or of a difference of two, in dB; NaN of none."""
    values = [x for record in records for x in differences(record, quality, plus, minus) if x is not None]
    return math.fsum(values) / len(values) if values else math.nan


def median_lost(records: Iterable[Record], quality: str) -> float:
    """What is lost in dB: per source the median over tracks, then the mean over sources; NaN of none."""
    lost = [differences(record, quality, *DIFFERENCES["_lost"]) for record in records]
    each = ([x for x in values if x is not None] for values in zip(*lost, strict=True))
    medians = [statistics.median(values) for values in each if values]
    return math.fsum(medians) / len(medians) if medians else math.nan


def separated_lost(records: Iterable[Record], quality: str) -> float:
    """What is lost in dB, the mean over pairs of track and source that were separated at all; NaN of none."""
    values = [
        x
        for record in records
        for x, there in zip(
            differences(record, quality, *DIFFERENCES["_lost"]), separated(record), strict=True
        )
        if x is not None and there
    ]
    return math.fsum(values) / len(values) if values else math.nan


OF_LOST = {"median": median_lost, "separated": separated_lost}


def separated(record: Record) -> list[bool]:
    """Per source: whether its estimate at F0 has an SI-SDR above 0 dB."""
    return [x is not None and x > 0 for x in record["si_sdr"]["at_trained"]]


def differences(record: Record, quality: str, plus: str, minus: str | None = None) -> list[float | None]:
    """Per source; None where a reference is silent."""
    first = record[quality][plus]
    if minus is None:
        return first
    pairs = zip(first, record[quality][minus], strict=True)
    return [None if a is None or b is None else a - b for a, b in pairs]


def as_json(rows: Iterable[Record]) -> list[Record]:
    """Rows with null for what JSON has no number for: the LEE of identical masks in dB, an SI-SDR of nothing."""
    return [
        {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in row.items()}
        for row in rows
    ]
