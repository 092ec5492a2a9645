"""config.json: what is read is checked against the config class of a known architecture."""

import types
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub.config_version import migrated
from sfi_zoo.hub.digest import DIGEST
from sfi_zoo.models import architecture_class
from sfi_zoo.strict_json import read_json
from sfi_zoo.wording import first_line, shortened

MOST_CONFIG_BYTES = 2**20


def read_config(path: Path) -> dict[str, Any]:
    """Read and check a config.json, with lists turned into tuples where the setting is a tuple; also the digest of the weights, if any.

    Raises:
        InputError: not JSON, an architecture that is not known, or settings that do not fit it.
    """
    try:
        config = read_json(path, MOST_CONFIG_BYTES)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({first_line(error)})") from None
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise InputError(f'{path}: not a JSON object with "architecture", a text')
    try:
        config = migrated(config)
        config_class = architecture_class(config["architecture"]).config_class
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    digest = config.pop(DIGEST, None)
    if digest is not None and not isinstance(digest, str):
        raise InputError(f"{path}: {DIGEST} must be a text, got {digest!r:.40}")
    known = {field.name for field in fields(config_class)}
    later = {field.name for field in fields(config_class) if field.metadata.get("later")}
    unknown = sorted(set(config) - known - {"architecture"})
    missing = sorted(known - set(config) - later)
    if unknown or missing:
        parts = [f"unknown {shortened(unknown)}"] * bool(unknown) + [f"missing {shortened(missing)}"] * bool(
            missing
        )
        raise InputError(f"{path}: settings do not fit {config['architecture']}: {'; '.join(parts)}")
    hints = typing.get_type_hints(config_class)
    given = sorted(known & set(config))
    wrong = [f"{key}={config[key]!r:.40}" for key in given if not _is_of(config[key], hints[key])]
    if wrong:
        raise InputError(f"{path}: settings of a wrong type: {shortened(wrong)}")
    settings = {
        k: tuple(v) if typing.get_origin(hints[k]) is tuple else v for k, v in config.items() if k in known
    }
    return {"architecture": config["architecture"], **settings} | ({} if digest is None else {DIGEST: digest})


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a JSON value fits an annotation of a config class."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(value, argument) for argument in arguments)
    if origin is Any:
        return True
    if origin is tuple:
        kinds = (
            [arguments[0]] * len(value) if isinstance(value, list) and arguments[-1:] == (...,) else arguments
        )
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if isinstance(value, bool):
        return origin is bool
    return isinstance(value, (int, float) if origin is float else origin)
