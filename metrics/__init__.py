"""How sampling-frequency-independent is a separator? Mask LEE, SI-SDR, and scores over rates and adaptation modes."""

from sfi_zoo.metrics.adaptation import MODES, Adapted
from sfi_zoo.metrics.lee import MaskLEE, shared_features
from sfi_zoo.metrics.scores import score_model, synthetic_songs
from sfi_zoo.metrics.sdr import si_sdr

__all__ = ["MODES", "Adapted", "MaskLEE", "score_model", "shared_features", "si_sdr", "synthetic_songs"]
