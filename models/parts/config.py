"""What configurations of separators share: settings added later, and checks that name the value and the way out."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from sfi_zoo.errors import InputError

MOST_NAME_BYTES = 200


def later(default: Any) -> Any:
    """A setting that files published earlier do not have: without it they mean the default."""
    return field(default=default, metadata={"later": True})


def check_choice(config: Any, name: str, allowed: Sequence[Any]) -> None:
    """Raises InputError where a setting is none of the allowed values (True is not 1)."""
    value = getattr(config, name)
    if not any(value is choice or (value == choice and type(value) is type(choice)) for choice in allowed):
        shown = ", ".join(x if isinstance(x, str) else repr(x) for x in allowed)
        raise InputError(f"{name} must be one of {shown}; got {value!r}")


def check_dropout(config: Any) -> None:
    """Raises InputError where `dropout` is no share below 1."""
    if not (isinstance(config.dropout, (int, float)) and 0 <= config.dropout < 1):
        raise InputError(f"dropout must be from 0 to below 1, got {config.dropout!r}")


def check_sources(config: Any) -> None:
    """Raises InputError where `sources` is no tuple of distinct names that files can have: stems are named so, in one folder."""
    names = config.sources
    named = isinstance(names, tuple) and all(isinstance(x, str) and x for x in names)
    if not named or not names or len(set(names)) != len(names):
        raise InputError(f"sources must be distinct names, got {names!r}")
    for name in names:
        inside = name.isprintable() and not set(name) & set("/\\:") and name.strip(". ")
        if not inside or len(name.encode()) > MOST_NAME_BYTES:
            raise InputError(
                f"the source {name!r:.99} cannot name a file of stems: choose letters, digits, - and _"
            )


def check_size(config: Any, name: str, optional: bool = False) -> None:
    """Raises InputError where a setting is no positive whole number (`optional`: not None and no whole number from 0)."""
    value = getattr(config, name)
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < (0 if optional else 1):
        kind = "a whole number, 0 or more, or None;" if optional else "a positive whole number,"
        raise InputError(f"{name} must be {kind} got {value!r}")
