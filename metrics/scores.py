"""The score of a model in memory: LEE and SDR over sampling frequencies and adaptation modes. A zoo: `sfi_zoo.metrics.scoring.run`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

from sfi_zoo.data.songs import Clip, Songs, SyntheticSongs, channels_of
from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring.rows import as_json, rows_of
from sfi_zoo.metrics.scoring.unit import ROWS, Measures, records_of
from sfi_zoo.models.adaptation import MODES
from sfi_zoo.models.base import Separator

__all__ = ["Stems", "as_json", "score_model", "synthetic_songs"]

Stems = Callable[[float], Tensor]  # Hz -> (sources, time) or (sources, channels, time), in the model's order


def synthetic_songs(sources: Sequence[str], count: int = 3, duration: float = 8.0) -> list[Clip]:
    """Songs from a formula, rendered exactly at each rate: no resampler in the loop. Mono.

    Raises:
        InputError: a source the songs do not have.
    """
    songs = SyntheticSongs(count, duration)
    return [songs.clip(name, sources, channels=1) for name in songs.names]


def score_model(
    model: Separator,
    sample_rates: Sequence[float],
    songs: Songs | Iterable[Clip | Stems] | None = None,
    modes: Sequence[str] = MODES,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """LEE and SDR of a model at each rate in each mode.

    Each latent and mask is computed once per (track, rate, mode) and shared by the metrics. Memory does not grow with the length of songs
    times their number.

    Args:
        model: a separator.
        sample_rates: Hz, 4000 to 192000 each.
        songs: a data set, as `sfi_zoo.metrics.score` takes it; or clips of one; or functions from a rate in Hz to stems, (sources, time)
            or (sources, channels, time), which add up to the mixture. Three synthetic songs by default.
        modes: which of "native", "resample", "none" and the controls "fixed_masks" and "ratio_masks".
        progress: called with (songs done, songs in all).

    Returns:
        One row per (mode, rate), see `sfi_zoo.metrics.scoring.rows.rows_of`.

    Raises:
        InputError: an unknown mode, a rate out of range, masks that are not finite, or a rate that leaves no feature.
    """
    unknown = set(modes) - set(ROWS)
    if unknown:
        raise InputError(f"unknown mode {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    rates = [model.check_rate(rate) for rate in sample_rates]
    clips = _clips(model, SyntheticSongs() if songs is None else songs)
    units = [(mode, rate) for rate in dict.fromkeys(rates) for mode in modes]
    records: list[dict[str, Any]] = []
    for index, clip in enumerate(clips):
        for record in records_of(model.eval(), clip, units, Measures()):
            if "failed" in record:
                raise InputError(
                    f"{record['track']}, {record['mode']}, {record['sample_rate']:g} Hz: {record['failed']}"
                )
            records.append(record)
        if progress:
            progress(index + 1, len(clips))
    order = {(mode, rate): place for place, (mode, rate) in enumerate((m, r) for m in modes for r in rates)}
    return sorted(rows_of(records), key=lambda row: order[row["mode"], row["sample_rate"]])


def _clips(model: Separator, songs: Songs | Iterable[Clip | Stems]) -> list[Clip]:
    if not isinstance(songs, Iterable):
        return [songs.clip(name, model.sources, channels_of(model)) for name in songs.names]
    return [
        song if isinstance(song, Clip) else _clip(f"song {index}", song) for index, song in enumerate(songs)
    ]


def _clip(name: str, stems_at: Stems) -> Clip:
    def at(rate: float) -> tuple[Tensor, Tensor]:
        stems = stems_at(rate)
        references = stems[:, None] if stems.ndim == 2 else stems
        return references.sum(0), references

    return Clip(name, at)
