"""Versions of config.json: what an earlier one wrote is brought to the present one, step by step, before it is checked.

A setting that is only added needs no version: it is a `later` one (see `sfi_zoo.models.parts.config`). One that is renamed, or that means
another thing, needs a function here.
"""

from collections.abc import Callable
from typing import Any

from sfi_zoo.errors import InputError

KEY = "config_version"


def _from_0(config: dict[str, Any]) -> dict[str, Any]:
    """Files without a version, of sfi_zoo 0.1 before it was released: the same settings."""
    return config


MIGRATIONS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_0,)  # n: from version n to n + 1


def present() -> int:
    """The version that is written."""
    return len(MIGRATIONS)


def migrated(config: dict[str, Any]) -> dict[str, Any]:
    """The settings as the present version has them, without the version.

    Args:
        config: the content of a config.json.

    Raises:
        InputError: a version that is none, or a later one than this.
    """
    settings = dict(config)
    version = settings.pop(KEY, 0)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise InputError(f"{KEY} must be a whole number, got {version!r:.40}")
    if version > present():
        raise InputError(
            f"{KEY} is {version!r:.40}, this sfi_zoo knows versions up to {present()}; upgrade it: pip install -U sfi-zoo"
        )
    for migrate in MIGRATIONS[version:]:
        settings = migrate(settings)
    return settings
