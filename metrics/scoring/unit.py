"""One track, one model: the records of all its modes and rates.

The reference at F0 is computed once for all modes and rates; each latent and mask once per mode and rate for all metrics; the predictor
LEE, which is the same in all modes, once per rate. At F = F0 all modes are the reference itself. The oracle has the model's latent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor

from sfi_zoo.audio.resampling import Resampler, create_resampler
from sfi_zoo.data.songs import Clip
from sfi_zoo.errors import InputError
from sfi_zoo.metrics.controls import EquivariantOracle
from sfi_zoo.metrics.lee import (
    ALIVE_MARGIN,
    LEESums,
    Observation,
    mask_lee,
    observe,
    predictor_lee,
)
from sfi_zoo.metrics.registry import METRICS
from sfi_zoo.metrics.scoring.signals import Ratios, SharedSignals, Signals
from sfi_zoo.models.adaptation import MODES, Adapted
from sfi_zoo.models.base import Separator

if TYPE_CHECKING:
    from sfi_zoo.metrics.local import Motion

ORACLE = "oracle"  # beside the modes: the control at the numerical floor
CONTROLS = (ORACLE, "none")
ROWS = (*MODES, ORACLE)


def place(mode: str) -> tuple[int, str]:
    """Where a mode stands in tables: native, resample, resample:NAME ..., none, oracle."""
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
    """What is measured beside the three finite LEE, SI-SDR and SDR.

    Attributes:
        local: the three LEE in local form, on one second of the middle of each track.
        layers: the local mask LEE over the layers, in the modes native and none; implies `local`.
        bss: BSSEval v4; takes longer than everything else together.
        margin: features count up to this fraction of min(F, F0) / 2.
    """

    local: bool = False
    layers: bool = False
    bss: bool = False
    margin: float = ALIVE_MARGIN


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
        units: (mode as in `parts_of`, or "oracle", F in Hz), those of one rate in a row.
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
    track = _Track(model, at(model.sample_rate), measures)
    at_rate: _AtRate | None = None
    for mode, rate in units:
        if at_rate is None or rate != at_rate.signals.rate:
            at_rate = _AtRate(track, at(rate))
        record: dict[str, Any] = {"track": clip.name, "mode": mode, "sample_rate": rate}
        record |= {"trained_rate": model.sample_rate, "sources": list(model.sources)}
        try:
            record |= at_rate.scores(mode)
        except InputError as error:
            record["failed"] = str(error)
        yield record


@dataclass(frozen=True)
class _Estimated:
    """What a model makes of a track: masks, masked latents m z in the place of masks, and estimates (sources, channels, time)."""

    seen: Observation
    masked: Observation
    estimates: Tensor


class _Modes(dict[str, Adapted]):
    """A model in each mode that is asked for."""

    def __init__(self, model: Separator) -> None:
        self.model = model

    def __missing__(self, mode: str) -> Adapted:
        oracle = mode == ORACLE
        self[mode] = (
            Adapted(EquivariantOracle(self.model)) if oracle else Adapted(self.model, *parts_of(mode))
        )
        return self[mode]


class _Track:
    """What all rates and modes of a track share."""

    def __init__(self, model: Separator, signals: Signals, measures: Measures) -> None:
        self.model, self.signals, self.measures = model, signals, measures
        self.adapted = _Modes(model)
        self.at_trained: dict[bool, Ratios] = {}  # of the model's estimate at F0, and of the oracle's
        self._references: dict[bool, _Estimated] = {}
        self._failed: InputError | None = None

    def reference(self, mode: str) -> _Estimated:
        """The estimate at F0: one for all modes, one for the oracle."""
        oracle = mode == ORACLE
        if self._failed:
            raise self._failed
        if oracle not in self._references:
            try:
                self._references[oracle] = self._at_trained(oracle)
            except InputError as error:
                self._failed = InputError(f"at F0 = {self.model.sample_rate} Hz: {error}")
                raise self._failed from error
        return self._references[oracle]

    def _at_trained(self, oracle: bool) -> _Estimated:
        if oracle:
            seen = self.oracle_of(self.reference("native").seen)
        else:
            seen = observe(self.model, self.signals.mixture[None], self.model.sample_rate)
        return self.estimate(ORACLE if oracle else "native", seen, self.signals.mixture.shape[-1])

    def oracle_of(self, seen: Observation) -> Observation:
        """The oracle's masks on the model's latent."""
        return Observation(seen.latent, self.adapted[ORACLE].predict_masks(seen.latent), seen.sample_rate)

    def estimate(self, mode: str, seen: Observation, length: int) -> _Estimated:
        masked = replace(seen, masks=seen.masks * seen.latent.values[:, None])
        estimates = self.adapted[mode].output(masked.masks, seen.sample_rate, length)
        if not torch.isfinite(estimates.sum()) and not torch.isfinite(estimates).all():
            raise InputError("the model's estimates are not finite")
        return _Estimated(seen, masked, rearrange(estimates, "c s t -> s c t"))


@dataclass
class _AtRate:
    """What all modes share at one rate; what failed is tried again for every mode, and fails alike."""

    track: _Track
    signals: Signals
    _native: Observation | None = None  # which the oracle shares
    _predictor: dict[bool, LEESums] = field(default_factory=dict)
    _trained: dict[bool, Ratios] = field(default_factory=dict)

    def scores(self, mode: str) -> dict[str, Any]:
        """What a record says of a mode."""
        track, measures = self.track, self.track.measures
        reference = track.reference(mode)
        if self.signals.rate == track.model.sample_rate:
            estimated = reference
        else:
            estimated = track.estimate(mode, self._observe(mode), self.signals.mixture.shape[-1])
        lee = {
            "mask": mask_lee(estimated.seen, reference.seen, measures.margin),
            "predictor": self._predictor_lee(mode, reference.seen),
            "masked_latent": mask_lee(estimated.masked, reference.masked, measures.margin),
        }
        lee |= {name: of(estimated.seen, reference.seen, measures.margin) for name, of in METRICS.items()}
        found: dict[str, Any] = {}
        if measures.local or measures.layers:
            local, moved = self._local(mode)
            lee |= local
            if measures.layers and mode in ("native", "none"):
                found["layers"] = self._layers(moved)
        found["lee"] = {name: _sums(name, x) for name, x in lee.items()}
        return found | self._quality(mode, estimated, reference)

    def _observe(self, mode: str) -> Observation:
        if mode == ORACLE:
            return self.track.oracle_of(self._observe("native"))
        if mode == "native" and self._native:
            return self._native
        seen = observe(self.track.adapted[mode], self.signals.mixture[None], self.signals.rate)
        if mode == "native":
            self._native = seen
        return seen

    def _predictor_lee(self, mode: str, trained: Observation) -> LEESums:
        oracle = mode == ORACLE
        if oracle not in self._predictor:
            predict = self.track.adapted[mode].predict_masks
            if bool(
                (trained.latent.grid.frequencies < self.signals.rate / 2).all()
            ):  # A_F takes nothing away
                predict = lambda latent: trained.masks  # noqa: E731
            margin = self.track.measures.margin
            self._predictor[oracle] = predictor_lee(predict, trained, self.signals.rate, margin)
        return self._predictor[oracle]

    def _layers(self, moved: "Motion") -> dict[str, Any]:
        """v_i . L m of each part, which add up to ||P L m||^2, and ||P m||^2."""
        from sfi_zoo.metrics.layerwise import layer_lee

        split = layer_lee(self.track.model, moved, margin=self.track.measures.margin)
        contribution = dict(zip(split.names, split.contribution.tolist(), strict=True))
        return {"contribution": contribution, "reference": float(split.reference)}

    def _local(self, mode: str) -> tuple[dict[str, LEESums], "Motion"]:
        from sfi_zoo.metrics.local import (
            local_mask_lee,
            local_masked_latent_lee,
            local_predictor_lee,
            motion,
        )

        model, margin = self.track.adapted[mode], self.track.measures.margin
        if model.mode == "resample" and not model.resampler.differentiable_rates:
            model = Adapted(self.track.model, "resample", "windowed_sinc")
        moved = motion(model, self.signals.middle(), self.signals.rate, self.signals.rate)
        trained_rate = float(self.track.model.sample_rate)
        native = self.track.adapted[ORACLE if mode == ORACLE else "native"]
        trained = observe(native, self.track.signals.middle(), trained_rate)
        lee = {
            "local_mask": local_mask_lee(moved, margin),
            "local_predictor": local_predictor_lee(native.predict_masks, trained, self.signals.rate, margin),
            "local_masked_latent": local_masked_latent_lee(moved, margin),
        }
        return lee, moved

    def _quality(self, mode: str, estimated: _Estimated, reference: _Estimated) -> dict[str, Any]:
        """Ratios of what is estimated, and of what it is compared with; the latter once for all modes."""
        owner, signals, at_trained = mode == ORACLE, self.signals, self.track.at_trained
        if owner not in self._trained:
            length = signals.mixture.shape[-1]
            resampled = self.track.adapted["native"].from_trained(reference.estimates, signals.rate, length)
            self._trained[owner] = signals.ratios(resampled)
        if owner not in at_trained:
            at_trained[owner] = self.track.signals.ratios(reference.estimates)
        ratios = {
            "estimate": signals.ratios(estimated.estimates),
            "mixture": signals.of_mixture,
            "trained": self._trained[owner],
            "at_trained": at_trained[owner],
        }
        kinds = ratios["estimate"].keys()
        return {kind: {name: values[kind] for name, values in ratios.items()} for kind in kinds}


def _sums(name: str, lee: LEESums) -> dict[str, list[float]]:
    """Per source.

    Raises:
        InputError: they are not finite, as those of a metric of one's own may be.
    """
    if not torch.isfinite(lee.error.sum() + lee.reference.sum()):
        raise InputError(f"the sums of the {name} LEE are not finite")
    return {"error": lee.error.sum(1).tolist(), "reference": lee.reference.sum(1).tolist()}
