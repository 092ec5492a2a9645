"""One track, one model: the records of all its modes and rates.

The reference at F0 is computed once for all modes and rates; each latent and mask once per mode and rate for all metrics; the predictor
LEE, which is the same in all modes, once per rate. At F = F0 all modes are the reference itself. Controls have the model's latent.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from sfi_zoo.audio.resampling import Resampler, create_resampler
from sfi_zoo.data.songs import Clip
from sfi_zoo.errors import InputError
from sfi_zoo.metrics.controls import FixedMasks, ratio_masks
from sfi_zoo.metrics.lee import LEESums
from sfi_zoo.metrics.observation import ALIVE_MARGIN, Observation, band_limited, finite, observe
from sfi_zoo.metrics.registry import BAND, MODE, ROUND_TRIP, Metric, registered
from sfi_zoo.metrics.scoring.signals import Ratios, SharedSignals, Signals
from sfi_zoo.models.adaptation import MODES, Adapted
from sfi_zoo.models.base import Latent, Separator

if TYPE_CHECKING:
    from sfi_zoo.metrics.local import Motion

FIXED_MASKS, RATIO_MASKS = (
    "fixed_masks",
    "ratio_masks",
)  # beside the modes: the floor of the arithmetic, and the ceiling of masks
UNRANKED = (FIXED_MASKS, RATIO_MASKS)  # no models
CONTROLS = (*UNRANKED, "none")
ROWS = (*MODES, *UNRANKED)


def place(mode: str) -> tuple[int, str]:
    """Where a mode stands in tables: native, resample, resample:NAME ..., none, then the controls."""
    return ROWS.index(mode.partition(":")[0]), mode


def parts_of(mode: str) -> tuple[str, Resampler]:
    """A mode as `Adapted` takes it: one of `MODES`, or "resample:NAME" with another resampler than soxr.

    Raises:
        InputError: unknown mode or resampler, or a resampler for a mode that does not resample.
    """
    base, named, resampler = mode.partition(":")
    if base not in MODES or (named and base != "resample"):
        raise InputError(f"unknown mode {mode}; known: {', '.join(MODES)}, resample:NAME")
    return base, create_resampler(resampler if named else "soxr")


@dataclass(frozen=True)
class Measures:
    """What is measured beside the finite LEEs of the registry, SI-SDR and SDR.

    Attributes:
        local: the three LEE in local form, on one second of the middle of each track, in float64.
        layers: the local mask LEE over the layers, in the modes native and none; implies `local`.
        bss: BSSEval v4; takes longer than everything else together.
        round_trip: metrics that see the signal resampled to F and back: one more pass for each F below F0.
        margin: features count up to this fraction of min(F, F0) / 2.
    """

    local: bool = False
    layers: bool = False
    bss: bool = False
    margin: float = ALIVE_MARGIN
    round_trip: bool = False


@torch.no_grad()
def records_of(
    model: Separator,
    clip: Clip,
    units: Iterable[tuple[str, float]],
    measures: Measures,
    shared: SharedSignals | None = None,
) -> Iterator[dict[str, Any]]:
    """The records of a track.

    Args:
        model: in the mode "native", and in evaluation mode.
        clip: the track.
        units: (mode as in `parts_of`, or one of `UNRANKED`, F in Hz), those of one rate in a row.
        measures: what to measure.
        shared: the signals of this track, which other models have too.

    Yields:
        One record for every unit, in their order: track, mode, sample_rate, trained_rate, sources, and

        - failed: what is wrong, and nothing else, where there is no score;
        - lee: {metric: {"error": [...], "reference": [...]}}, squared norms per source;
        - layers, where asked for: {"contribution": {part: ...}, "reference": ...}, see `sfi_zoo.metrics.layerwise`;
        - si_sdr, sdr (bss_sdr ... too where asked for): dB per source, None where the reference is silent, of the "estimate" at F, of the
            "mixture" at F, of "trained", the estimate at F0 resampled to F, and "at_trained", the estimate at F0 against references at F0.

    Raises:
        InputError: the track cannot be read.
    """
    at = partial((shared or SharedSignals(measures.bss)).at, clip, model)
    track = _Track(model, at(model.trained_rate), measures)
    at_rate: _AtRate | None = None
    for mode, rate in units:
        if at_rate is None or rate != at_rate.signals.rate:
            at_rate = _AtRate(track, at(rate))
        record: dict[str, Any] = {"track": clip.name, "mode": mode, "sample_rate": rate}
        record |= {"trained_rate": model.trained_rate, "sources": list(model.sources)}
        try:
            record |= at_rate.scores(mode)
        except InputError as error:
            record["failed"] = str(error)
        yield record


@dataclass(frozen=True)
class _Estimated:
    """What a model makes of a track: masks, and estimates (sources, channels, time)."""

    seen: Observation
    estimates: Tensor


def owner_of(mode: str) -> str:
    """Whose estimate at F0 counts: a control's own, or the model's, "native"."""
    return mode if mode in UNRANKED else "native"


class _Modes(dict[str, Adapted]):
    """A model in each mode that is asked for."""

    def __init__(self, model: Separator) -> None:
        self.model = model

    def __missing__(self, mode: str) -> Adapted:
        if mode == FIXED_MASKS:
            self[mode] = Adapted(FixedMasks(self.model))
        else:
            self[mode] = Adapted(self.model, *parts_of("native" if mode == RATIO_MASKS else mode))
        return self[mode]


class _Track:
    """What all rates and modes of a track share."""

    def __init__(self, model: Separator, signals: Signals, measures: Measures) -> None:
        self.model, self.signals, self.measures = model, signals, measures
        self.adapted = _Modes(model)
        self.at_trained: dict[str, Ratios] = {}  # by `owner_of`
        self._references: dict[str, _Estimated] = {}
        self._failed: InputError | None = None

    @cached_property
    def in_float64(self) -> _Modes:
        """The model for local forms: parts of layers cancel, to a millionth of them in Open-Unmix, and float32 would leave rounding."""
        return _Modes(deepcopy(self.model).double())

    def reference(self, mode: str) -> _Estimated:
        """The estimate at F0: one for all modes, one for each control."""
        owner = owner_of(mode)
        if self._failed:
            raise self._failed
        if owner not in self._references:
            try:
                self._references[owner] = self._at_trained(owner)
            except InputError as error:
                self._failed = InputError(f"at F0 = {self.model.trained_rate} Hz: {error}")
                raise self._failed from error
        return self._references[owner]

    def _at_trained(self, owner: str) -> _Estimated:
        if owner in UNRANKED:
            seen = self.control(owner, self.reference("native").seen, self.signals)
        else:
            seen = observe(self.model, self.signals.mixture[None], self.model.trained_rate)
        return self.estimate(owner, seen, self.signals.mixture.shape[-1])

    def control(self, mode: str, seen: Observation, signals: Signals) -> Observation:
        """A control's masks on the model's latent."""
        if mode == FIXED_MASKS:
            masks = self.adapted[mode].predict_masks(seen.latent)
        else:
            masks = ratio_masks(self.model, seen.latent, signals.references, seen.sample_rate)
        return replace(seen, masks=masks, residual=None)

    def there_and_back(self, rate: float, length: int) -> Latent:
        """The latent at F0 of T x = R(F -> F0) R(F0 -> F) x."""
        adapted, mixture = self.adapted["resample"], self.signals.mixture
        back = adapted.to_trained(adapted.from_trained(mixture, rate, length), rate)
        back = functional.pad(back, (0, mixture.shape[-1] - back.shape[-1]))  # a negative padding cuts
        return self.model.encode(back[None], self.model.trained_rate)

    def estimate(self, mode: str, seen: Observation, length: int) -> _Estimated:
        estimates = self.adapted[mode].output(seen.masked, seen.sample_rate, length, seen.residual)
        if not torch.isfinite(estimates.sum()) and not torch.isfinite(estimates).all():
            raise InputError("the model's estimates are not finite")
        return _Estimated(seen, rearrange(estimates, "c s t -> s c t"))


@dataclass
class _AtRate:
    """What all modes share at one rate; what failed is tried again for every mode, and fails alike."""

    track: _Track
    signals: Signals
    _native: Observation | None = None  # which the controls share
    _shared: dict[tuple[str, str], LEESums] = field(default_factory=dict)  # of metrics that no mode changes
    _seen_by_all: dict[tuple[str, str], Observation] = field(default_factory=dict)
    _trained: dict[str, Ratios] = field(default_factory=dict)

    def scores(self, mode: str) -> dict[str, Any]:
        """What a record says of a mode."""
        track, measures = self.track, self.track.measures
        reference = track.reference(mode)
        if self.signals.rate == track.model.trained_rate:
            estimated = reference
        else:
            estimated = track.estimate(mode, self._observe(mode), self.signals.mixture.shape[-1])
        lee = {
            name: self._lee(name, metric, mode, estimated, reference)
            for name, metric in registered().items()
            if metric.sees != ROUND_TRIP or measures.round_trip
        }
        found: dict[str, Any] = {}
        if (measures.local or measures.layers) and mode != RATIO_MASKS:  # references do not move with t
            local, moved = self._local(mode)
            lee |= local
            if measures.layers and mode in ("native", "none"):
                found["layers"] = self._layers(moved)
        found["lee"] = {name: _sums(name, x) for name, x in lee.items()}
        return found | self._quality(mode, estimated, reference)

    def _observe(self, mode: str) -> Observation:
        if mode in UNRANKED:
            return self.track.control(mode, self._observe("native"), self.signals)
        if mode == "native" and self._native:
            return self._native
        seen = observe(self.track.adapted[mode], self.signals.mixture[None], self.signals.rate)
        if mode == "native":
            self._native = seen
        return seen

    def _lee(
        self, name: str, metric: Metric, mode: str, estimated: _Estimated, reference: _Estimated
    ) -> LEESums:
        """A LEE; one that is the same in all modes is measured once."""
        margin = self.track.measures.margin
        if metric.sees == MODE:
            return _told(name, metric, estimated.seen, reference.seen, margin)
        place = name, owner_of(mode)
        if place not in self._shared:
            seen = self._seen(metric.sees, place[1], reference.seen)
            self._shared[place] = _told(name, metric, seen, reference.seen, margin)
        return self._shared[place]

    def _seen(self, sees: str, owner: str, trained: Observation) -> Observation:
        """What metrics see that is the same in all modes: A_F z_F0, or T x; a control of the references stays what it is."""
        rate, place = self.signals.rate, (sees, owner)
        if place not in self._seen_by_all:
            latent, masks = trained.latent, trained.masks
            if sees == BAND:
                latent = band_limited(latent, rate)
            elif rate < trained.sample_rate:
                latent = self.track.there_and_back(rate, self.signals.mixture.shape[-1])
            takes = bool((trained.latent.grid.frequencies >= rate / 2).any())  # else nothing is taken away
            if owner != RATIO_MASKS and rate < trained.sample_rate and (takes or sees != BAND):
                masks = finite(self.track.adapted[owner].predict_masks(latent))
            self._seen_by_all[place] = Observation(latent, masks, rate)
        return self._seen_by_all[place]

    def _layers(self, moved: "Motion") -> dict[str, Any]:
        """v_i . L m of each part, which add up to ||P L m||^2, and ||P m||^2."""
        from sfi_zoo.metrics.layerwise import layer_lee

        split = layer_lee(
            self.track.in_float64.model, moved, margin=self.track.measures.margin, call_sites=True
        )
        contribution = dict(zip(split.names, split.contribution.tolist(), strict=True))
        return {"contribution": contribution, "reference": float(split.reference)}

    def _local(self, mode: str) -> tuple[dict[str, LEESums], "Motion"]:
        from sfi_zoo.metrics.local import (
            local_mask_lee,
            local_masked_latent_lee,
            local_predictor_lee,
            motion,
        )

        models, margin, rate = self.track.in_float64, self.track.measures.margin, self.signals.rate
        model = models[mode]
        if model.mode == "resample" and not model.resampler.differentiable_rates:
            model = Adapted(models.model, "resample", "windowed_sinc")
        moved = motion(model, self.signals.middle().double(), rate, rate)
        native, trained_rate = models[owner_of(mode)], float(models.model.trained_rate)
        trained = observe(native, self.track.signals.middle().double(), trained_rate)
        lee = {
            "local_mask": local_mask_lee(moved, margin),
            "local_predictor": local_predictor_lee(native.predict_masks, trained, rate, margin),
            "local_masked_latent": local_masked_latent_lee(moved, margin),
        }
        return lee, moved

    def _quality(self, mode: str, estimated: _Estimated, reference: _Estimated) -> dict[str, Any]:
        """Ratios of what is estimated, and of what it is compared with; the latter once for all modes."""
        owner, signals, at_trained = owner_of(mode), self.signals, self.track.at_trained
        if owner not in at_trained:
            (at_trained[owner],) = self.track.signals.ratios(reference.estimates)
        if owner not in self._trained:
            length = signals.mixture.shape[-1]
            resampled = self.track.adapted["native"].from_trained(reference.estimates, signals.rate, length)
            estimate, self._trained[owner] = signals.ratios(estimated.estimates, resampled)
        else:
            (estimate,) = signals.ratios(estimated.estimates)
        ratios = {
            "estimate": estimate,
            "mixture": signals.of_mixture,
            "trained": self._trained[owner],
            "at_trained": at_trained[owner],
        }
        return {kind: {name: values[kind] for name, values in ratios.items()} for kind in estimate}


def _told(name: str, metric: Metric, seen: Observation, trained: Observation, margin: float) -> LEESums:
    """A LEE, or why there is none: a metric of one's own may raise anything, for one track.

    Raises:
        InputError: it does.
    """
    try:
        return metric.of(seen, trained, margin)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the {name} LEE raised {type(error).__name__}: {error}") from error


def _sums(name: str, lee: LEESums) -> dict[str, list[float]]:
    """Per source.

    Raises:
        InputError: they are not finite, as those of a metric of one's own may be.
    """
    if not torch.isfinite(lee.error.sum() + lee.reference.sum()):
        raise InputError(f"the sums of the {name} LEE are not finite")
    return {"error": lee.error.sum(1).tolist(), "reference": lee.reference.sum(1).tolist()}
