"""YAML files as data: no tag makes an object or calls anything.

Training programs write two kinds of tags beside plain YAML: `!!python/tuple`, which is read as a tuple, and those of HyperPyYAML (`!new:`,
`!ref`, ...), which are kept as `Tagged` texts for the importer that knows what they stand for. Every other tag is refused by name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sfi_zoo.errors import InputError
from sfi_zoo.importers.stand_ins import MAX_DEPTH
from sfi_zoo.wording import first_line

MOST_BYTES = 2**20
MOST_VALUES = 100_000


@dataclass(frozen=True)
class Tagged:
    """A value with a tag of HyperPyYAML, not acted upon.

    Attributes:
        tag: without the exclamation mark, for example "new:speechbrain.nnet.linear.Linear" or "ref".
        value: what stands there: a dictionary, a list or a text.
    """

    tag: str
    value: Any


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain YAML and tuples; 1e-4 is a number, as YAML 1.2 has it."""


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise InputError("its YAML has a python/tuple that is no list")
    return tuple(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class _HyperLoader(_Loader):
    """As that, and tags of HyperPyYAML."""


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Tagged:
    if isinstance(node, yaml.MappingNode):
        return Tagged(suffix, loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return Tagged(suffix, loader.construct_sequence(node, deep=True))
    return Tagged(suffix, str(node.value))


_HyperLoader.add_multi_constructor("!", _tagged)


def read_yaml(path: Path, hyper: bool = False) -> dict[str, Any]:
    """The settings in a YAML file.

    Args:
        path: the file.
        hyper: tags of HyperPyYAML are admitted, as `Tagged`; else they are refused.

    Raises:
        InputError: not YAML, no dictionary, larger than any configuration, or a tag that makes an object; named.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES} bytes, it is no configuration")
        text = path.read_text(encoding="utf-8")
        values = yaml.load(text, _HyperLoader if hyper else _Loader)
        _check(values, 0, [0])
    except yaml.constructor.ConstructorError as error:
        tag = re.search(r"tag '(?:tag:yaml.org,2002:)?([^']*)'", str(error))
        what = f"names {tag[1]}" if tag else f"is malformed ({first_line(error)})"
        raise InputError(
            f"{path}: its YAML {what}, and nothing but plain values and python/tuple is read"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not YAML ({first_line(error)})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a dictionary of settings")
    return values


def _check(value: Any, depth: int, count: list[int]) -> None:
    """Refuses what repeats itself or is nested without end: aliases make a few bytes any size."""
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MOST_VALUES:
        raise InputError("its YAML is nested too deeply, or holds too many values")
    parts = value.value if isinstance(value, Tagged) else value
    if isinstance(parts, dict):
        parts = list(parts.values())
    if isinstance(parts, list | tuple):
        for part in parts:
            _check(part, depth + 1, count)
