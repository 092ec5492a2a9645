"""A tiny random separator of every architecture, for tests of what all of them share."""

from typing import Any

import torch

import sfi_zoo
from sfi_zoo.models.base import Separator

_FILTERS = {"features": 16, "kernel_size": 640, "stride": 160, "bottleneck": 8, "hidden": 8}
_SIZES: dict[str, dict[str, Any]] = {
    "convtasnet": _FILTERS | {"layers": 2, "repeats": 1},
    "sudormrf": _FILTERS | {"blocks": 2, "levels": 3},
    "bsrnn": {"width": 8, "layers": 1, "hidden": 8, "mask_hidden": 8},
    "bsroformer": {"width": 16, "layers": 1, "mask_hidden": 8},
    "openunmix": {"hidden": 16, "layers": 1},
    "dualpath": _FILTERS
    | {"bottleneck": 8, "heads": 2, "hidden": 8, "segment": 10, "segment_hop": 5, "pairs": 1},
    "spleeter": {"widths": (2, 3), "seen": 200, "block": 16, "n_fft": 512, "hop_length": 128, "channels": 1},
}
ARCHITECTURES = sorted(_SIZES)


def tiny(name: str, **settings: Any) -> Separator:
    """Two sources, "a" and "b", in evaluation mode."""
    torch.manual_seed(0)
    model: Separator = sfi_zoo.create(name, **{"sources": ("a", "b")} | _SIZES[name] | settings)
    return model.eval()
