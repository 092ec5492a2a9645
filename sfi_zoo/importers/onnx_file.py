"""Weights and nodes of an ONNX file, as data: a reader of the few messages of protocol buffers that it takes (see onnx.proto of ONNX).

A message is fields one after the other: a number that holds the field and the form of its value, then the value: a number of seven bits per
byte, four or eight bytes, or a length and as many bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.models.parts.limits import MOST_WEIGHTS

DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 10: torch.float16, 11: torch.float64}
MOST_BYTES = 4 * MOST_WEIGHTS
Value = int | memoryview


@dataclass(frozen=True)
class Node:
    """An operation.

    Attributes:
        kind: of operation, such as "Conv".
        name: its place in the modules of the program that wrote it.
        inputs: names of tensors.
        outputs: names of tensors.
        ints: attributes that are whole numbers, each as a list.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    ints: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What a file holds: nodes in order, and weights by name."""

    nodes: list[Node]
    weights: dict[str, Tensor]


def read_onnx(path: Path) -> Graph:
    """The graph of an ONNX file.

    Raises:
        InputError: no such file, or damaged; weights that lie in other files.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError("it is larger than any model")
    try:
        graph = next((v for n, v in _fields(memoryview(path.read_bytes())) if n == 7), None)
        if not isinstance(graph, memoryview):
            raise InputError("it has no graph")
        parts = [(n, v) for n, v in _fields(graph) if isinstance(v, memoryview)]
        nodes = [_node(v) for n, v in parts if n == 1]
        weights = dict(_tensor(v) for n, v in parts if n == 5)
    except (IndexError, UnicodeDecodeError, OverflowError):
        raise InputError("it is no ONNX file, or a damaged one") from None
    return Graph(nodes, weights)


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise OverflowError


def _fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Field numbers and values of a message."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        match key & 7:
            case 0:
                value, at = _number(data, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _number(data, at)
            case 5:
                size = 4
            case _:
                raise OverflowError
        if size > len(data) - at:
            raise IndexError
        yield key >> 3, data[at : at + size]
        at += size


def _text(value: Value) -> str:
    return str(bytes(value), "utf-8") if isinstance(value, memoryview) else ""


def _numbers(value: Value) -> list[int]:
    """One number, or several packed; those above 2^63 are negative."""
    if isinstance(value, int):
        return [value - 2**64 if value >= 2**63 else value]
    found, at = [], 0
    while at < len(value):
        one, at = _number(value, at)
        found.append(one - 2**64 if one >= 2**63 else one)
    return found


def _node(data: memoryview) -> Node:
    fields = list(_fields(data))

    def texts(number: int) -> list[str]:
        return [_text(value) for n, value in fields if n == number]

    ints: dict[str, list[int]] = {}
    for n, value in fields:
        if n == 5 and isinstance(value, memoryview):
            attribute = list(_fields(value))
            name = next((_text(v) for k, v in attribute if k == 1), "")
            ints[name] = [x for k, v in attribute if k in (3, 8) for x in _numbers(v)]
    kinds, names = texts(4), texts(3)
    return Node(kinds[0] if kinds else "", names[0] if names else "", texts(1), texts(2), ints)


def _tensor(data: memoryview) -> tuple[str, Tensor]:
    """The name and the values of a tensor."""
    shape: list[int] = []
    kind, name, raw, given = 0, "", None, None
    for n, value in _fields(data):
        match n:
            case 1:
                shape += _numbers(value)
            case 2:
                kind = value if isinstance(value, int) else 0
            case 4 | 5 | 7:
                given = value
            case 8:
                name = _text(value)
            case 9:
                raw = value
            case 13 | 14:
                raise InputError(f"its weight {name!r} lies in another file; save the model in one")
    dtype = DTYPES.get(kind)
    if dtype is None or any(x < 0 for x in shape):
        raise InputError(f"its weight {name!r} is of a type that is not read ({kind})")
    content = raw if raw is not None else given if kind == 1 else None
    if not isinstance(content, memoryview):
        numbers = [] if given is None else _numbers(given)
        if len(numbers) != prod(shape):
            raise InputError(f"its weight {name!r} has {len(numbers)} values for the shape {tuple(shape)}")
        return name, torch.tensor(numbers, dtype=dtype).reshape(shape)
    if len(content) != prod(shape) * dtype.itemsize:
        raise InputError(f"its weight {name!r} of shape {tuple(shape)} holds {len(content)} bytes")
    if not len(content):
        return name, torch.empty(shape, dtype=dtype)
    return name, torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)
