"""Save, load, publish and import: a published model is a folder of `config.json` and `model.safetensors`.

It may be bundled, local or on the Hub. Nothing is unpickled here and no class is looked up outside our
registry; a file that does not fit is refused, with its name. What needs torch is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfi_zoo.hub.bundled import BUNDLED, list_models
from sfi_zoo.hub.wording import SHOWN

if TYPE_CHECKING:
    from sfi_zoo.hub.download import HubError as HubError
    from sfi_zoo.hub.folder import save as save
    from sfi_zoo.hub.importing import import_checkpoint as import_checkpoint
    from sfi_zoo.hub.loading import load as load
    from sfi_zoo.hub.weights import WeightsError as WeightsError
    from sfi_zoo.hub.weights import check_state as check_state
    from sfi_zoo.hub.weights import load_state as load_state

_HOME = {
    "HubError": "download",
    "save": "folder",
    "import_checkpoint": "importing",
    "load": "loading",
    "WeightsError": "weights",
    "check_state": "weights",
    "load_state": "weights",
}

__all__ = [
    "BUNDLED",
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
        return getattr(import_module(f"sfi_zoo.hub.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sfi_zoo.hub' has no attribute {name!r}")
