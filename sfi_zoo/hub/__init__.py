"""Save, load, publish and import: a published model is a folder of `config.json` and `model.safetensors`.

It may be bundled, local or on the Hub. Nothing is unpickled here and no class is looked up outside our
registry; a file that does not fit is refused, with its name.
"""

from sfi_zoo.hub.download import HubError
from sfi_zoo.hub.folder import save
from sfi_zoo.hub.importing import import_checkpoint
from sfi_zoo.hub.loading import BUNDLED, list_models, load
from sfi_zoo.hub.weights import WeightsError, check_state, load_state
from sfi_zoo.hub.wording import SHOWN

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
