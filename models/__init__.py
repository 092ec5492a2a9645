"""The separators. One architecture per file, one line per architecture here; imported only when asked for."""

import fnmatch
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, TypeVar

from sfi_zoo.errors import InputError

ARCHITECTURES = {
    "bsrnn": ("sfi_zoo.models.bsrnn", "BSRNN"),
    "bsroformer": ("sfi_zoo.models.bs_roformer", "BSRoFormer"),
    "convtasnet": ("sfi_zoo.models.conv_tasnet", "ConvTasNet"),
    "dualpath": ("sfi_zoo.models.dual_path_tasnet", "DualPathTasNet"),
    "openunmix": ("sfi_zoo.models.open_unmix", "OpenUnmix"),
    "spleeter": ("sfi_zoo.models.spleeter", "Spleeter"),
    "sudormrf": ("sfi_zoo.models.sudormrf", "SuDoRMRF"),
}
_REGISTERED: dict[str, type] = {}

C = TypeVar("C", bound=type)


def register(cls: C) -> C:
    """Makes a separator of yours known by its `architecture`, in this process; a class decorator.

    `sfi_zoo.load`, `create` and the metrics' commands then take it as they take those of the zoo. No code is saved or published with
    weights: who loads them registers the class first.

    Args:
        cls: a subclass of `Separator` with `architecture` and `config_class`. Run again, its new version counts.

    Raises:
        InputError: one of the two is not there, or the name is taken.
    """
    from sfi_zoo.models.base import Separator

    name, config_class = getattr(cls, "architecture", None), getattr(cls, "config_class", None)
    if not issubclass(cls, Separator) or not isinstance(name, str) or not is_dataclass(config_class):
        raise InputError(
            f"{cls.__name__}: must be a Separator with architecture, a text, and config_class, a dataclass"
        )
    missing = {"sources", "sample_rate"} - {field.name for field in fields(config_class)}
    if missing:
        raise InputError(f"{cls.__name__}: its config_class has no {', '.join(sorted(missing))}")
    before = _REGISTERED.get(name, cls)
    same = (before.__module__, before.__qualname__) == (cls.__module__, cls.__qualname__)
    if name in ARCHITECTURES or not same:
        raise InputError(f"{cls.__name__}: the architecture {name!r} is taken; choose another name")
    _REGISTERED[name] = cls
    return cls


def list_architectures(pattern: str = "*") -> list[str]:
    """Names of the architectures that match a shell pattern, sorted; nothing is imported for it."""
    return fnmatch.filter(sorted({*ARCHITECTURES, *_REGISTERED}), pattern)


def architecture_class(name: str) -> Any:
    """The class behind an architecture name.

    Raises:
        InputError: unknown name.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in ARCHITECTURES:
        known = ", ".join(list_architectures())
        raise InputError(
            f"unknown architecture {name!r}; known: {known}; one of somebody's own: import what registers it"
        )
    module, attribute = ARCHITECTURES[name]
    return getattr(import_module(module), attribute)


def create(name: str, **config: Any) -> Any:
    """A new, untrained separator.

    Args:
        name: architecture, see `list_architectures`.
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
