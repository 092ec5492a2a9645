"""numpy arrays in a pickle, as data: names of numpy are never imported.

A pickle makes an array of an empty one, and then sets (version, shape, dtype, Fortran order, bytes) on it; in protocol 2 the bytes are a
text, encoded as latin1.
"""

import math
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.pickle_bounds import LongText
from sfi_zoo.importers.stand_ins import Inert

MOST_DIMENSIONS = 16
DTYPES = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
}


class ArrayType:
    """A dtype of numpy: its name, and its byte order once it is set."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str) or name.lstrip("<>|=") not in DTYPES:
            raise InputError(f"it has an array of type {name!r:.40}; known: {', '.join(DTYPES)}")
        self.name, self.order = name.lstrip("<>|="), name[0]

    def __setstate__(self, state: Any) -> None:
        """(version, byte order, ...)."""
        if isinstance(state, tuple) and len(state) > 1:
            self.order = state[1]


class ArrayRecord:
    """An array of numpy that has not been read yet."""

    __slots__ = ("state",)

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """(version, shape, dtype, Fortran order, bytes)."""
        self.state = state

    def tensor(self, name: Any) -> Tensor:
        """The array as a tensor.

        Raises:
            InputError: no array of numbers, or bytes that are not as many as its shape takes.
        """
        match self.state:
            case (
                int(),
                tuple() as shape,
                ArrayType() as kind,
                bool() | 0 | 1 as fortran,
                bytes() | bytearray() | Inert() as content,
            ):
                pass
            case _:
                raise InputError(f"its array {name!r} is malformed, or not of numbers")
        if kind.order == ">":
            raise InputError(f"its array {name!r} was written on a big-endian machine")
        if len(shape) > MOST_DIMENSIONS or any(type(x) is not int or not 0 <= x < 2**48 for x in shape):
            raise InputError(f"its array {name!r} has sizes that are not whole numbers, or too many")
        dtype = DTYPES[kind.name]
        content = b"" if isinstance(content, Inert) else content  # then it names the type alone
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise InputError(
                f"its array {name!r} of shape {shape} holds {len(content)} bytes, not {math.prod(shape) * dtype.itemsize}"
            )
        if not content:
            return torch.empty(shape, dtype=dtype)
        # long ones are bytearrays already: arrays that share their bytes take them once
        flat = torch.frombuffer(
            content if isinstance(content, bytearray) else bytearray(content), dtype=dtype
        )
        if fortran:
            return flat.reshape(shape[::-1]).permute(*reversed(range(len(shape))))
        return flat.reshape(shape)


def encode(text: Any, encoding: Any) -> bytes | bytearray:
    """What `_codecs.encode` does for the bytes in a pickle.

    Raises:
        InputError: it is asked for anything else.
    """
    if isinstance(text, LongText) and encoding == "latin1":
        return text.latin1
    if type(text) is not str or encoding != "latin1":
        raise InputError("it encodes something else than the bytes of an array")
    return text.encode("latin1")


def new_array(*_: Any) -> ArrayRecord:
    """What numpy's `_reconstruct` and `ndarray` make: an array whose state is still to come."""
    return ArrayRecord()


def scalar(kind: Any, content: Any = None, *_: Any) -> Any:
    """A number of numpy, as Python's."""
    record = ArrayRecord()
    record.state = (1, (), kind, False, content)
    return record.tensor("scalar").item()
