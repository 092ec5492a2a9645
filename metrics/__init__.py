"""How sampling-frequency-independent is a separator? LEE metrics, their split over layers, controls, SI-SDR, and scores.

What plots, or takes seconds to import, is imported on first use. The functions `study`, `ranking` and `leaderboard` are in files of their
names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfi_zoo.data.songs import SyntheticSongs
from sfi_zoo.metrics.controls import EquivariantOracle as EquivariantOracle
from sfi_zoo.metrics.controls import FixedMasks, controls, ratio_masks
from sfi_zoo.metrics.layerwise import LayerLEE, layer_lee, lee_after_layers
from sfi_zoo.metrics.lee import LEESums, mask_lee, masked_latent_lee, predictor_lee
from sfi_zoo.metrics.local import (
    Motion,
    local_mask_lee,
    local_masked_latent_lee,
    local_predictor_lee,
    motion,
    predictor_motion,
)
from sfi_zoo.metrics.observation import ALIVE_MARGIN, Observation, band_limited, observe, shared_features
from sfi_zoo.metrics.scores import score_model, synthetic_songs
from sfi_zoo.metrics.sdr import bsseval, si_sdr
from sfi_zoo.models.adaptation import MODES, Adapted

if TYPE_CHECKING:
    from sfi_zoo.metrics.accumulated import MaskedLatentLEE as MaskedLatentLEE
    from sfi_zoo.metrics.accumulated import MaskLEE as MaskLEE
    from sfi_zoo.metrics.accumulated import PredictorLEE as PredictorLEE
    from sfi_zoo.metrics.reporting.cards import update_card as update_card
    from sfi_zoo.metrics.reporting.curves import plot_curves as plot_curves
    from sfi_zoo.metrics.reporting.pictures import plot_bands as plot_bands
    from sfi_zoo.metrics.reporting.pictures import plot_layers as plot_layers
    from sfi_zoo.metrics.reporting.pictures import plot_sources as plot_sources
    from sfi_zoo.metrics.reporting.report import as_html as as_html
    from sfi_zoo.metrics.reporting.report import as_markdown as as_markdown
    from sfi_zoo.metrics.reporting.report import sections as sections
    from sfi_zoo.metrics.reporting.report import write_scores as write_scores
    from sfi_zoo.metrics.reporting.study import plot_study as plot_study
    from sfi_zoo.metrics.scoring.points import Points as Points
    from sfi_zoo.metrics.scoring.points import points_of as points_of
    from sfi_zoo.metrics.scoring.records import read_records as read_records
    from sfi_zoo.metrics.scoring.rows import rows_of as rows_of
    from sfi_zoo.metrics.scoring.run import Plan as Plan
    from sfi_zoo.metrics.scoring.run import score as score
    from sfi_zoo.metrics.scoring.unit import Measures as Measures

_LAZY = {
    "accumulated": (
        "MaskLEE",
        "MaskedLatentLEE",
        "PredictorLEE",
    ),
    "reporting.cards": ("update_card",),
    "reporting.curves": ("plot_curves",),
    "reporting.pictures": (
        "plot_bands",
        "plot_layers",
        "plot_sources",
    ),
    "reporting.report": (
        "as_html",
        "as_markdown",
        "sections",
        "write_scores",
    ),
    "scoring.points": (
        "Points",
        "points_of",
    ),
    "scoring.records": ("read_records",),
    "scoring.rows": ("rows_of",),
    "scoring.run": (
        "Plan",
        "score",
    ),
    "scoring.unit": ("Measures",),
    "reporting.study": ("plot_study",),
}
_HOME = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "ALIVE_MARGIN",
    "MODES",
    "Adapted",
    "FixedMasks",
    "LEESums",
    "LayerLEE",
    "MaskLEE",
    "MaskedLatentLEE",
    "Measures",
    "Motion",
    "Observation",
    "Plan",
    "Points",
    "PredictorLEE",
    "SyntheticSongs",
    "as_html",
    "as_markdown",
    "band_limited",
    "bsseval",
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
    "plot_bands",
    "plot_curves",
    "plot_layers",
    "plot_sources",
    "plot_study",
    "points_of",
    "predictor_lee",
    "predictor_motion",
    "ratio_masks",
    "read_records",
    "rows_of",
    "score",
    "score_model",
    "sections",
    "shared_features",
    "si_sdr",
    "synthetic_songs",
    "update_card",
    "write_scores",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"sfi_zoo.metrics.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sfi_zoo.metrics' has no attribute {name!r}")
