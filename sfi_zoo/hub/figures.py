"""What is said of a model in one number: gained and lost, from its scores.json. Every list, table, card and page takes them from here.

- gained: SI-SDR over that of the mixture at F0 in dB, the mean over sources of each one's mean over the tracks where it is not silent;
- lost: SI-SDR of the estimate at F0, resampled to F, less that of the estimate at F, in dB, the mean over tracks and sources; of these the
  largest over all F other than F0 that were scored, in the mode "native".
"""

from collections.abc import Mapping
from typing import Any

Scores = Mapping[str, Any]  # the content of a scores.json


def gained_db(scores: Scores) -> float | None:
    """See the head of this file; None without a score at F0."""
    known = list(gained_by_source(scores).values())
    return sum(known) / len(known) if known else None


def gained_by_source(scores: Scores) -> dict[str, float]:
    """SI-SDR gained at F0 in dB, for each source that is heard in any track."""
    return {name: x for name, x in scores["improvement_at_trained_rate_db"].items() if x is not None}


def lost_db(scores: Scores, mode: str = "native") -> float | None:
    """See the head of this file; None where no other F was scored."""
    return most(scores, "si_sdr_lost_db", mode)


def most(scores: Scores, key: str, mode: str = "native") -> float | None:
    """The largest of a figure of the rows over all F other than F0 that were scored."""
    away = (r for r in scores["rows"] if r["mode"] == mode and r["sample_rate"] != r["trained_rate"])
    return max((r[key] for r in away if r.get(key) is not None), default=None)
