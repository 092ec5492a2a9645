"""The score of a model: mask LEE and SI-SDR over sampling frequencies and adaptation modes."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.adaptation import MODES, Adapted
from sfi_zoo.metrics.lee import LEESums, Observation, decibels, mask_lee, observe
from sfi_zoo.metrics.sdr import si_sdr
from sfi_zoo.models.base import Separator

Song = Callable[[float], Tensor]  # sample rate -> stems (sources, time), in the model's order


def synthetic_songs(sources: Sequence[str], count: int = 3, duration: float = 8.0) -> list[Song]:
    """Songs from a formula, rendered exactly at each rate: no resampler in the loop. Mono.

    Raises:
        InputError: a source the songs do not have.
    """
    from sfi_zoo.data.synthetic import song

    def render(seed: int) -> Song:
        def at(rate: float) -> Tensor:
            stems = song(seed, duration, rate, channels=1)
            missing = sorted(set(sources) - set(stems))
            if missing:
                raise InputError(
                    f"the synthetic songs have no {', '.join(missing)}; they have {', '.join(stems)}"
                )
            return torch.stack([torch.from_numpy(stems[name][0]).float() for name in sources])

        return at

    return [render(seed) for seed in range(count)]


def score_model(
    model: Separator,
    sample_rates: Sequence[float],
    songs: Iterable[Song] | None = None,
    modes: Sequence[str] = MODES,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Mask LEE and SI-SDR of a model at each rate in each mode.

    Each latent and mask is computed once per (track, rate, mode) and shared by the metrics. Memory does not grow with the number of songs.
    The loss is the SI-SDR of the model's own F0 estimate resampled to F minus that of its estimate at F, both against references at F.

    Args:
        model: a separator.
        sample_rates: Hz, 4000 to 192000 each.
        songs: functions from a rate to stems (sources, time); the synthetic songs by default.
        modes: which of "native", "resample", "none".
        progress: called with (songs done, songs in all).

    Returns:
        One row per (mode, rate): mode, sample_rate, mask_lee (linear), mask_lee_db (-inf where the masks are identical), si_sdr_db and
        si_sdr_improvement_db (means over tracks and sources that are not silent), sdr_lost_db.

    Raises:
        InputError: an unknown mode, a rate out of range, or masks that are not finite.
    """
    unknown = set(modes) - set(MODES)
    if unknown:
        raise InputError(f"unknown mode {', '.join(sorted(unknown))}; known: {', '.join(MODES)}")
    rates = [model.check_rate(rate) for rate in sample_rates]
    tracks = list(songs if songs is not None else synthetic_songs(model.sources))
    tallies = {(mode, rate): _Tally() for mode in modes for rate in rates}
    with torch.no_grad():
        for index, track in enumerate(tracks):
            _score_track(model.eval(), track, tallies)
            if progress:
                progress(index + 1, len(tracks))
    return [{"mode": mode, "sample_rate": rate, **tally.row()} for (mode, rate), tally in tallies.items()]


def as_json(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with null for what JSON has no number for: the mask LEE of identical masks in dB, an SI-SDR of nothing."""
    finite = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x  # noqa: E731
    return [{key: finite(value) for key, value in row.items()} for row in rows]


class _Tally:
    """Sums of one (mode, rate)."""

    def __init__(self) -> None:
        self.lee: LEESums | None = None
        self.si_sdr: list[float] = []
        self.mixture: list[float] = []
        self.trained: list[float] = []

    def row(self) -> dict[str, float]:
        lee = self.lee.value() if self.lee else math.nan
        values, base, own = (
            torch.tensor(x, dtype=torch.float64) for x in (self.si_sdr, self.mixture, self.trained)
        )
        return {
            "mask_lee": lee,
            "mask_lee_db": decibels(lee),
            "si_sdr_db": float(values.mean()),
            "si_sdr_improvement_db": float((values - base).mean()),
            "sdr_lost_db": float((own - values).mean()),
        }


def _score_track(model: Separator, track: Song, tallies: dict[tuple[str, float], _Tally]) -> None:
    trained_rate = model.sample_rate
    native = Adapted(model, "native")
    place = next(model.parameters())  # whose device and dtype the signals take
    at_trained = track(trained_rate).sum(0)[None, None].to(place)
    trained = observe(native, at_trained, trained_rate)
    trained_estimate = native.output(_masked(trained), trained_rate, at_trained.shape[-1])[0]
    for rate in dict.fromkeys(rate for _, rate in tallies):
        references = track(rate).to(place)
        mixture, length = references.sum(0), references.shape[-1]
        heard = references.square().mean(-1) > 1e-8  # -80 dB: silent references have no SI-SDR
        base = si_sdr(mixture.expand_as(references), references)[heard].tolist()
        own = si_sdr(native.from_trained(trained_estimate, rate, length), references)[heard].tolist()
        for mode in (mode for mode, other in tallies if other == rate):
            tally, adapted = tallies[mode, rate], Adapted(model, mode)
            seen = observe(adapted, mixture[None, None], rate)
            lee = mask_lee(seen, trained)
            tally.lee = lee if tally.lee is None else tally.lee + lee
            estimate = adapted.output(_masked(seen), rate, length)[0]
            tally.si_sdr.extend(si_sdr(estimate, references)[heard].tolist())
            tally.mixture.extend(base)
            tally.trained.extend(own)


def _masked(seen: Observation) -> Tensor:
    """m_F z_F."""
    return seen.masks * seen.latent.values[:, None]
