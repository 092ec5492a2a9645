"""YAML files as data: no tag makes an object or calls anything.

Training programs write two kinds of tags beside plain YAML: `!!python/tuple`, which is read as a tuple, and those of HyperPyYAML (`!new:`,
`!ref`, ...), which are kept as `Tagged` texts for the importer that knows what they stand for. Every other tag is refused by name.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sfi_zoo.errors import InputError
from sfi_zoo.importers.stand_ins import MAX_DEPTH
from sfi_zoo.wording import first_line

MOST_BYTES = 2**17
MOST_DIGITS = 400
MOST_MERGED = 16
MOST_VALUES = 100_000
TOO_DEEP = "its YAML is nested too deeply, or holds too many values"


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
    """Plain YAML and tuples; 1e-4 is a number, as YAML 1.2 has it, and a key is there once."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node. Its depth is bounded here: PyYAML recurses, and its time grows with the square of the depth."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InputError(TOO_DEEP)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Composes a mapping as written, before others are merged into it."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise InputError(
                "its YAML has a key that is no text"
            )  # hashing a tuple of tuples can take for ever
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"its YAML has {twice!r:.40} twice")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Puts in what `<<` names: that may name much in few bytes."""
        merged = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        if any(len(value.value) > MOST_MERGED for value in merged if isinstance(value, yaml.SequenceNode)):
            raise InputError(f"its YAML merges more than {MOST_MERGED} mappings into one")
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise InputError(TOO_DEEP)


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


def _number(
    make: Callable[[yaml.SafeLoader, yaml.ScalarNode], Any],
) -> Callable[[yaml.SafeLoader, yaml.ScalarNode], Any]:
    """Makes numbers of few digits: long ones take time that grows with the square of their length."""

    def made(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        if len(node.value) > MOST_DIGITS:
            raise InputError(f"its YAML has a number of {len(node.value)} characters")
        number = make(loader, node)
        if isinstance(number, float) and math.isnan(number):
            raise InputError("its YAML has NaN in the place of a number")
        return number

    return made


_Loader.add_constructor("tag:yaml.org,2002:int", _number(yaml.SafeLoader.construct_yaml_int))
_Loader.add_constructor("tag:yaml.org,2002:float", _number(yaml.SafeLoader.construct_yaml_float))


class _HyperLoader(_Loader):
    """Reads what `_Loader` reads, and tags of HyperPyYAML."""


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
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(str(path)) else f"{path}: {said}") from None
    except (yaml.YAMLError, ArithmeticError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML ({first_line(error)})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a dictionary of settings")
    return values


def _check(value: Any, depth: int, count: list[int]) -> None:
    """Refuses what repeats itself or is nested without end: aliases make a few bytes any size."""
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MOST_VALUES:
        raise InputError(TOO_DEEP)
    parts = value.value if isinstance(value, Tagged) else value
    if isinstance(parts, dict):
        parts = list(parts.values())
    if isinstance(parts, list | tuple):
        for part in parts:
            _check(part, depth + 1, count)
