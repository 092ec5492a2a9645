"""The separators. One architecture per file, one line per architecture here; imported only when asked for."""

import fnmatch
from importlib import import_module
from typing import Any

from sfi_zoo.errors import InputError

ARCHITECTURES = {
    "bsrnn": ("sfi_zoo.models.bsrnn", "BSRNN"),
    "bsroformer": ("sfi_zoo.models.bs_roformer", "BSRoFormer"),
    "convtasnet": ("sfi_zoo.models.conv_tasnet", "ConvTasNet"),
    "openunmix": ("sfi_zoo.models.open_unmix", "OpenUnmix"),
    "sudormrf": ("sfi_zoo.models.sudormrf", "SuDoRMRF"),
}


def list_architectures(pattern: str = "*") -> list[str]:
    """Names of the architectures that match a shell pattern, sorted; nothing is imported for it."""
    return fnmatch.filter(sorted(ARCHITECTURES), pattern)


def architecture_class(name: str) -> Any:
    """The class behind an architecture name.

    Raises:
        InputError: unknown name.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"unknown architecture {name!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    module, attribute = ARCHITECTURES[name]
    return getattr(import_module(module), attribute)


def create(name: str, **config: Any) -> Any:
    """A new, untrained separator.

    Args:
        name: architecture, a key of `ARCHITECTURES`.
        **config: fields of the architecture's config class; the rest keep their defaults.

    Raises:
        InputError: unknown architecture, unknown field, or a value that is not allowed.
    """
    cls = architecture_class(name)
    known = cls.config_class.__dataclass_fields__
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise InputError(f"{name} has no setting {', '.join(unknown)}; known: {', '.join(known)}")
    return cls(cls.config_class(**{key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}))
