"""Audio source separation at any sampling frequency: SFI layers, separators, weights and metrics.

    >>> import sfi_zoo
    >>> model = sfi_zoo.load("convtasnet_mgf_gate.music4")      # bundled name, folder or Hub id
    >>> stems = model.separate(waveform, sample_rate)      # (sources, channels, time), at that sample rate

Everything is imported on first use, so `import sfi_zoo` costs next to nothing after torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfi_zoo.folders import PACKAGE, folder

__path__ += {str(home) for name in ("models", "metrics") if (home := folder(name).parent) != PACKAGE}
__version__ = "0.1.0"

_EXPORTS = {
    "InputError": "sfi_zoo.errors",
    "load": "sfi_zoo.hub",
    "save": "sfi_zoo.hub",
    "create": "sfi_zoo.models",
    "register": "sfi_zoo.models",
    "list_models": "sfi_zoo.hub",
    "list_architectures": "sfi_zoo.models",
    "separate_file": "sfi_zoo.hub.separating",
    "SFIConv1d": "sfi_zoo.layers",
    "SFIConvTranspose1d": "sfi_zoo.layers",
    "SFISTFT": "sfi_zoo.layers",
    "SFIISTFT": "sfi_zoo.layers",
    "set_sample_rate": "sfi_zoo.layers",
    "at_sample_rate": "sfi_zoo.layers",
    "make_sfi": "sfi_zoo.layers",
    "explain": "sfi_zoo.layers",
    "sfi_layers": "sfi_zoo.layers",
    "freeze": "sfi_zoo.layers",
}
__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from sfi_zoo.errors import InputError as InputError
    from sfi_zoo.hub import list_models as list_models
    from sfi_zoo.hub import load as load
    from sfi_zoo.hub import save as save
    from sfi_zoo.hub.separating import separate_file as separate_file
    from sfi_zoo.layers import (
        SFIISTFT as SFIISTFT,
    )
    from sfi_zoo.layers import (
        SFISTFT as SFISTFT,
    )
    from sfi_zoo.layers import (
        SFIConv1d as SFIConv1d,
    )
    from sfi_zoo.layers import (
        SFIConvTranspose1d as SFIConvTranspose1d,
    )
    from sfi_zoo.layers import (
        at_sample_rate as at_sample_rate,
    )
    from sfi_zoo.layers import (
        explain as explain,
    )
    from sfi_zoo.layers import (
        freeze as freeze,
    )
    from sfi_zoo.layers import (
        make_sfi as make_sfi,
    )
    from sfi_zoo.layers import (
        set_sample_rate as set_sample_rate,
    )
    from sfi_zoo.layers import (
        sfi_layers as sfi_layers,
    )
    from sfi_zoo.models import create as create
    from sfi_zoo.models import list_architectures as list_architectures
    from sfi_zoo.models import register as register


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in {"models", "metrics", "layers", "filters", "design", "audio", "data", "hub"}:
        return import_module(f"sfi_zoo.{name}")
    raise AttributeError(f"module 'sfi_zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
