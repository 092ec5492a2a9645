"""Save, load, publish and import: a published model is a folder of `config.json` and `model.safetensors`.

It may be bundled, local or on the Hub. Nothing is unpickled here and no class is looked up outside our
registry; a file that does not fit is refused, with its name. What needs torch is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfi_zoo.hub.bundled import BUNDLED, DEFAULT_MODEL, list_models
from sfi_zoo.wording import SHOWN

if TYPE_CHECKING:
    from sfi_zoo.hub.download import HubError as HubError
    from sfi_zoo.hub.folder import save as save
    from sfi_zoo.hub.importing import import_checkpoint as import_checkpoint
    from sfi_zoo.hub.loading import load as load
    from sfi_zoo.models.weights import WeightsError as WeightsError
    from sfi_zoo.models.weights import check_state as check_state
    from sfi_zoo.models.weights import load_state as load_state

_HOME = {
    "HubError": "sfi_zoo.hub.download",
    "save": "sfi_zoo.hub.folder",
    "import_checkpoint": "sfi_zoo.hub.importing",
    "load": "sfi_zoo.hub.loading",
    "WeightsError": "sfi_zoo.models.weights",
    "check_state": "sfi_zoo.models.weights",
    "load_state": "sfi_zoo.models.weights",
}

__all__ = [
    "BUNDLED",
    "DEFAULT_MODEL",
    "SHOWN",
    "HubError",
    "WeightsError",
    "check_state",
    "import_checkpoint",
    "list_models",
    "load",
    "load_state",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'sfi_zoo.hub' has no attribute {name!r}")
