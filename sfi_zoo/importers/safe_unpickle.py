"""Reads `torch.save` files without running anything they say.

A pickle is a program: it names functions and calls them. Here names are never imported. A short list is
mapped to inert objects of this package, every other name ends the reading with an error that says it.
Tensors stay records (storage, offset, sizes, strides) while the pickle runs; they are cut from the file's
bytes afterwards, where bounds can be checked.
"""

import io
import os
import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers import numpy_arrays
from sfi_zoo.importers.stand_ins import Inert, plain
from sfi_zoo.importers.wrappers import HOLDERS
from sfi_zoo.models.parts.limits import MOST_WEIGHTS

LEFT_OUT = b"".join(
    getattr(pickle, name)
    for name in ("DUP", "EXT1", "EXT2", "EXT4", "FROZENSET", "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER")
)
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NODES = [
    "Any",
    "Untyped",
    "String",
    "Integer",
    "Float",
    "Boolean",
    "Bytes",
    "Path",
    "Enum",
    "Union",
    "Value",
]
OMEGACONF = {
    *(("omegaconf.dictconfig", "DictConfig"), ("omegaconf.listconfig", "ListConfig")),
    *(
        ("omegaconf.base", "ContainerMetadata"),
        ("omegaconf.base", "Metadata"),
        ("omegaconf.config", "Config"),
    ),
    *(
        ("omegaconf", "DictConfig"),
        ("omegaconf", "ListConfig"),
        ("omegaconf.nodes", "InterpolationResultNode"),
    ),
    *((module, f"{name}Node") for name in _NODES for module in ("omegaconf.nodes", "omegaconf.base")),
}
# Types that OmegaConf's metadata mention; nobody calls them here.
MENTIONED = {("typing", "Any")} | {
    ("builtins", name) for name in ("dict", "list", "tuple", "int", "float", "str", "bool", "bytes", "object")
}


class _Dict(dict[Any, Any]):
    """An OrderedDict or defaultdict that drops its attributes (torch keeps versions of modules there)."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Text(str):
    """A text of a class of its own (torch's version), without what the class adds."""

    __slots__ = ()

    def __new__(cls, text: Any) -> "_Text":
        if type(text) is not str:
            raise InputError("it makes a text of something else")
        return super().__new__(cls, text)

    def __setstate__(self, state: Any) -> None:
        pass


class _Call:
    """A function of this module that a pickle may call, and cannot alter."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise InputError("it changes a function")


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    numel: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor that has not been read yet."""

    storage: Any
    offset: Any
    size: Any
    stride: Any

    def __setstate__(self, state: Any) -> None:
        """Refuses to be altered."""
        raise InputError("it changes a tensor")


def _check_keys(keys: Iterable[Any]) -> None:
    """Refuses what could take for ever to hash."""
    for key in keys:
        if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
            raise InputError("it has nested tuples as keys")


def _set(members: Any = ()) -> set[Any]:
    members = list(members)
    _check_keys(members)
    return set(members)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    return TensorRecord(storage, offset, size, stride)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(items: Any = ()) -> _Dict:
    pairs = [(key, value) for key, value in items]
    _check_keys(key for key, _ in pairs)
    return _Dict(pairs)


def _default_dict(_factory: Any = None, items: Any = ()) -> _Dict:
    return _ordered_dict(items.items() if isinstance(items, dict) else items)


FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("collections", "OrderedDict"): _ordered_dict,
    ("collections", "defaultdict"): _default_dict,
    ("builtins", "set"): _set,
    ("_codecs", "encode"): numpy_arrays.encode,
    ("numpy", "dtype"): numpy_arrays.ArrayType,
    ("numpy", "ndarray"): numpy_arrays.new_array,
    ("numpy.core.multiarray", "_reconstruct"): numpy_arrays.new_array,
    ("numpy._core.multiarray", "_reconstruct"): numpy_arrays.new_array,
    ("numpy.core.multiarray", "scalar"): numpy_arrays.scalar,
    ("numpy._core.multiarray", "scalar"): numpy_arrays.scalar,
}


_InPython: Any = pickle._Unpickler


class _Unpickler(_InPython):  # type: ignore[misc]
    """Python's own one in Python: the one in C takes the memory that a few bytes of a pickle ask for, and hashes for ever.

    No pickle of torch has the opcodes that are left out. What becomes a key or a member of a set is hashed, and a tuple of tuples that
    hold the same one twice takes 2^depth steps for that.
    """

    dispatch = {  # noqa: RUF012
        opcode: load for opcode, load in _InPython.dispatch.items() if opcode not in LEFT_OUT
    }

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_additems(self) -> None:
        _check_keys(self.stack)
        super().load_additems()

    dispatch |= {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
    }

    def find_class(self, module: str, name: str) -> Any:
        # what Python 2 called `__builtin__`, pickles of protocol 2 still do
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        key = (module, name)
        if key in FUNCTIONS:
            return _Call(FUNCTIONS[key])
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if key == ("torch.torch_version", "TorchVersion"):
            return type(name, (_Text,), {})
        if key in OMEGACONF or key in MENTIONED:
            return type(name, (Inert,), {})
        raise InputError(f"it names {module}.{name}, which is neither a tensor nor a plain container")

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), str(), int(numel), *view) if view in (
                [],
                [None],
            ):
                return _Storage(dtype, key, numel)
        raise InputError("it holds a tensor storage of an unknown form")


def read_checkpoint(path: Path | str) -> Any:
    """The content of a `torch.save` file as plain dicts, lists and scalars, with tensors on the CPU.

    Tensors, and arrays of numpy as tensors, are read where they are values of the outermost dictionary or of one in it that holds a
    state dict ("state_dict", see `HOLDERS`); elsewhere (the state of an optimizer) they stay `TensorRecord`s. OmegaConf objects of either
    generation become dicts and lists, with their `${...}` references resolved.

    Args:
        path: a file of the zip format or of the older one.

    Raises:
        InputError: not such a file, damaged, or a pickle that names anything else; the message says what.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                content, storages = _read_zip(file)
            else:
                file.seek(0)
                content, storages = _read_legacy(file)
        content = plain(content)
        if isinstance(content, dict):
            content = {k: _with_tensors(v, storages) if k in HOLDERS else v for k, v in content.items()}
            content = _with_tensors(content, storages)
        return content
    except InputError as error:
        raise InputError(f"{path}: refused, {error}") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: not a readable torch.save file ({reason})") from None


def _read_zip(file: BinaryIO) -> tuple[Any, Callable[[_Storage], bytes]]:
    """The zip format: <name>/data.pkl, and every storage as <name>/data/<key>, none compressed."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in entries.values()) > os.fstat(file.fileno()).st_size:
            raise InputError("its entries are larger than the file")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise InputError("its entries are compressed, which torch.save does not do")
        roots = [
            name.removesuffix("data.pkl") for name in entries if re.fullmatch(r"([^/]+/)?data\.pkl", name)
        ]
        if len(roots) != 1:
            raise InputError("it is a zip file without a data.pkl")
        root = roots[0]
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise InputError("it was written on a big-endian machine")
        content = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
        prefix = f"{root}data/"
        stored = {name[len(prefix) :]: archive.read(name) for name in entries if name.startswith(prefix)}
    return content, lambda storage: _bytes_of(stored, storage)


def _read_legacy(file: BinaryIO) -> tuple[Any, Callable[[_Storage], bytes]]:
    """The format before torch 1.6: five pickles in a row, then a length and bytes for every storage."""
    if _Unpickler(file).load() != LEGACY_MAGIC:
        raise InputError("it is not a torch.save file")
    _Unpickler(file).load()  # protocol
    system = _Unpickler(file).load()
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise InputError("it was written on a big-endian machine")
    used: dict[str, _Storage] = {}

    class Recorder(_Unpickler):
        def persistent_load(self, pid: Any) -> _Storage:
            storage = super().persistent_load(pid)
            used[storage.key] = storage
            return storage

    content = Recorder(file).load()
    stored = {}
    for key in _Unpickler(file).load():
        if key not in used:
            raise InputError(f"its storage {key!r} belongs to no tensor")
        numel = int.from_bytes(file.read(8), "little")
        if numel != used[key].numel:
            raise InputError(f"its storage {key!r} has a wrong length")
        stored[key] = file.read(numel * used[key].dtype.itemsize)
    return content, lambda storage: _bytes_of(stored, storage)


def _bytes_of(stored: dict[str, bytes], storage: _Storage) -> bytes:
    if storage.key not in stored:
        raise InputError(f"its tensor storage {storage.key!r} is missing")
    content = stored[storage.key]
    if storage.numel < 0 or len(content) != storage.numel * storage.dtype.itemsize:
        raise InputError(
            f"its tensor storage {storage.key!r} holds {len(content)} bytes, not {storage.numel} values"
        )
    return content


def _with_tensors(values: Any, storages: Callable[[_Storage], bytes]) -> Any:
    if not isinstance(values, dict):
        return values
    found, numel = dict(values), 0
    for key, value in values.items():
        if isinstance(value, numpy_arrays.ArrayRecord):
            found[key] = value.tensor(key)
        elif isinstance(value, TensorRecord):
            found[key] = _tensor(value, key, storages)
        if found[key] is not value:
            numel += found[key].numel()
            if numel > MOST_WEIGHTS:  # each may be of the same storage
                raise InputError(f"it has more than {MOST_WEIGHTS} weights, the limit")
    return found


def _tensor(record: Any, name: Any, storages: Callable[[_Storage], bytes]) -> Tensor:
    """Cut a tensor from its storage, if it lies inside."""
    size, stride, offset, storage = record.size, record.stride, record.offset, record.storage
    whole = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not whole or not isinstance(storage, _Storage):
        raise InputError(f"its tensor {name!r} is malformed")
    if any(type(x) is not int or x < 0 for x in (*size, *stride, offset)):
        raise InputError(f"its tensor {name!r} has sizes that are not whole numbers")
    content = storages(storage)
    numel = 1
    for x in size:
        numel *= x
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if numel > storage.numel or (numel and last >= storage.numel):
        raise InputError(f"its tensor {name!r} of shape {size} reaches beyond its storage")
    if not numel:
        return torch.empty(size, dtype=storage.dtype)
    flat = torch.frombuffer(bytearray(content), dtype=storage.dtype)
    return flat.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)
