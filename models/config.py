"""What configurations of separators share: settings added later, and checks that name the value and the way out."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from sfi_zoo.errors import InputError


def later(default: Any) -> Any:
    """A setting that files published earlier do not have: without it they mean the default."""
    return field(default=default, metadata={"later": True})


def check_choice(config: Any, name: str, allowed: Sequence[Any]) -> None:
    """Raises InputError where a setting is none of the allowed values (True is not 1)."""
    value = getattr(config, name)
    if not any(value is choice or (value == choice and type(value) is type(choice)) for choice in allowed):
        shown = ", ".join(x if isinstance(x, str) else repr(x) for x in allowed)
        raise InputError(f"{name} must be one of {shown}; got {value!r}")


def check_size(config: Any, name: str, optional: bool = False) -> None:
    """Raises InputError where a setting is no positive whole number (`optional`: not None and no whole number from 0)."""
    value = getattr(config, name)
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < (0 if optional else 1):
        kind = "a whole number, 0 or more, or None;" if optional else "a positive whole number,"
        raise InputError(f"{name} must be {kind} got {value!r}")
