"""How sampling-frequency-independent is a separator? LEE metrics, their split over layers, controls, SI-SDR, and scores."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfi_zoo.metrics.adaptation import MODES, Adapted
from sfi_zoo.metrics.controls import EquivariantOracle, controls
from sfi_zoo.metrics.layerwise import LayerLEE, layer_lee, lee_after_layers
from sfi_zoo.metrics.lee import (
    LEESums,
    Observation,
    mask_lee,
    masked_latent_lee,
    observe,
    predictor_lee,
    shared_features,
)
from sfi_zoo.metrics.local import (
    Motion,
    local_mask_lee,
    local_masked_latent_lee,
    local_predictor_lee,
    motion,
    predictor_motion,
)
from sfi_zoo.metrics.scores import score_model, synthetic_songs
from sfi_zoo.metrics.sdr import si_sdr

if TYPE_CHECKING:
    from sfi_zoo.metrics.accumulated import MaskedLatentLEE as MaskedLatentLEE
    from sfi_zoo.metrics.accumulated import MaskLEE as MaskLEE
    from sfi_zoo.metrics.accumulated import PredictorLEE as PredictorLEE

_ACCUMULATED = ("MaskLEE", "MaskedLatentLEE", "PredictorLEE")  # torchmetrics takes seconds to import

__all__ = [
    "MODES",
    "Adapted",
    "EquivariantOracle",
    "LEESums",
    "LayerLEE",
    "MaskLEE",
    "MaskedLatentLEE",
    "Motion",
    "Observation",
    "PredictorLEE",
    "controls",
    "layer_lee",
    "lee_after_layers",
    "local_mask_lee",
    "local_masked_latent_lee",
    "local_predictor_lee",
    "mask_lee",
    "masked_latent_lee",
    "motion",
    "observe",
    "predictor_lee",
    "predictor_motion",
    "score_model",
    "shared_features",
    "si_sdr",
    "synthetic_songs",
]


def __getattr__(name: str) -> Any:
    if name in _ACCUMULATED:
        return getattr(import_module("sfi_zoo.metrics.accumulated"), name)
    raise AttributeError(f"module 'sfi_zoo.metrics' has no attribute {name!r}")
