"""Reads `torch.save` files without running anything they say.

A pickle is a program: it names functions and calls them. Here names are never imported. A short list is
mapped to inert objects of this package, every other name ends the reading with an error that says it.
Tensors stay records (storage, offset, sizes, strides) while the pickle runs; they are cut from the file's
bytes afterwards, where bounds can be checked.

Time and memory are bounded before they are spent, see `sfi_zoo.importers.pickle_bounds`: whatever a file is, it is refused after two
seconds at most, and no more memory than its own size and a constant is taken.
"""

import os
import pickle
import re
import struct
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers import numpy_arrays, unread_tensors
from sfi_zoo.importers.pickle_bounds import Budget, Source, check_archive, check_key
from sfi_zoo.importers.stand_ins import Inert, plain
from sfi_zoo.importers.wrappers import HOLDERS
from sfi_zoo.models.parts.limits import MOST_WEIGHTS

LEFT_OUT = b"".join(
    getattr(pickle, name)
    for name in (
        "DUP",
        "EXT1",
        "EXT2",
        "EXT4",
        "FROZENSET",
        "BYTEARRAY8",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
        "LONG4",
    )
)
MOST_DIMENSIONS = 16
ROOM = 2**26  # bytes that tensors may have beyond the file, for those that share some
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
    "UntypedStorage": torch.uint8,
    **unread_tensors.STORAGES,
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
# Settings that a training program keeps beside its weights in a class of its own: nothing of them is used.
SETTINGS = {("baseline_code.config", "Config")}  # of the URGENT 2026 baseline
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
    """A function of this package that a pickle may call, and cannot alter; what it goes through counts."""

    __slots__ = ("_budget", "_function")

    def __init__(self, function: Callable[..., Any], budget: Budget) -> None:
        self._function, self._budget = function, budget

    def __call__(self, *args: Any) -> Any:
        self._budget.spend_on(args)
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise InputError("it changes a function")


@dataclass(frozen=True, eq=False, repr=False)
class _Storage:
    dtype: torch.dtype
    key: str
    numel: int


@dataclass(frozen=True, eq=False, repr=False)
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
    for key in keys:
        check_key(key)


def _set(members: Any = ()) -> set[Any]:
    members = list(members)
    _check_keys(members)
    return set(members)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    if unread_tensors.is_view(rest[2] if len(rest) > 2 else None):
        return unread_tensors.Unread(unread_tensors.VIEW)
    if any(isinstance(x, tuple) and len(x) > MOST_DIMENSIONS for x in (size, stride)):
        raise InputError(f"it has a tensor of more than {MOST_DIMENSIONS} dimensions")
    return TensorRecord(storage, offset, size, stride)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(items: Any = ()) -> _Dict:
    pairs = [(key, value) for key, value in items]
    _check_keys(key for key, _ in pairs)
    return _Dict(pairs)


def _default_dict(_factory: Any = None, items: Any = ()) -> _Dict:
    return _ordered_dict(items.items() if isinstance(items, dict) else items)


FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = unread_tensors.FUNCTIONS | {
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

    No pickle of torch has the opcodes that are left out. What becomes a key or a member of a set is hashed: see `check_key`.

    Args:
        source: bytes of the pickle.
        budget: what it may spend.
    """

    dispatch = {  # noqa: RUF012
        opcode: load for opcode, load in _InPython.dispatch.items() if opcode not in LEFT_OUT
    }

    def __init__(self, source: Source, budget: Budget) -> None:
        super().__init__(source)
        self._source, self._budget = source, budget
        self._names: dict[tuple[str, str], Any] = {}

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        _check_keys(self.stack)
        super().load_additems()

    def load_build(self) -> None:
        if self.stack:
            self._budget.spend_on(self.stack[-1:])
        super().load_build()

    def load_frame(self) -> None:
        """A frame is a buffer for the reader: there is one."""
        self.read(8)

    def load_binunicode(self) -> None:
        self.append(self._source.text(*struct.unpack("<I", self.read(4))))

    def load_binunicode8(self) -> None:
        self.append(self._source.text(*struct.unpack("<Q", self.read(8))))

    def load_binbytes(self) -> None:
        self.append(self._source.data(*struct.unpack("<I", self.read(4))))

    def load_binbytes8(self) -> None:
        self.append(self._source.data(*struct.unpack("<Q", self.read(8))))

    def load_binstring(self) -> None:
        (length,) = struct.unpack("<i", self.read(4))
        if length < 0:
            raise InputError("it has a text of a negative length")
        self.append(self._source.text(length))

    dispatch |= {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.BUILD[0]: load_build,
        pickle.FRAME[0]: load_frame,
        pickle.BINUNICODE[0]: load_binunicode,
        pickle.BINUNICODE8[0]: load_binunicode8,
        pickle.BINBYTES[0]: load_binbytes,
        pickle.BINBYTES8[0]: load_binbytes8,
        pickle.BINSTRING[0]: load_binstring,
    }

    def find_class(self, module: str, name: str) -> Any:
        # what Python 2 called `__builtin__`, pickles of protocol 2 still do
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        key = (module, name)
        if key not in self._names:
            self._names[key] = self._found(module, name)
        return self._names[key]

    def _found(self, module: str, name: str) -> Any:
        key = (module, name)
        if key in FUNCTIONS:
            return _Call(FUNCTIONS[key], self._budget)
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if key == ("torch.torch_version", "TorchVersion"):
            return type(name, (_Text,), {})
        if key in OMEGACONF or key in SETTINGS or key in MENTIONED or key in unread_tensors.MENTIONED:
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
            size = os.fstat(file.fileno()).st_size
            reader = _zip_content if file.read(4) == b"PK\x03\x04" else _legacy_content
            file.seek(0)
            with reader(file, Budget()) as (content, storages):
                values, cut = plain(content), _Tensors(storages, size)
                if isinstance(values, dict):
                    values = {k: cut.of(v) if k in HOLDERS else v for k, v in values.items()}
                return cut.of(values)
    except InputError as error:
        raise InputError(f"{path}: refused, {error}") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: not a readable torch.save file ({reason})") from None


Stored = Callable[[_Storage], bytearray]


@contextmanager
def _zip_content(file: BinaryIO, budget: Budget) -> Iterator[tuple[Any, Stored]]:
    """The zip format: <name>/data.pkl, and every storage as <name>/data/<key>, none compressed."""
    size = os.fstat(file.fileno()).st_size
    check_archive(file, size)
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in entries.values()) > size:
            raise InputError("its entries are larger than the file")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise InputError("its entries are compressed, which torch.save does not do")
        roots = [
            name.removesuffix("data.pkl") for name in entries if re.fullmatch(r"([^/]+/)?data\.pkl", name)
        ]
        if len(roots) != 1:
            raise InputError("it is a zip file without a data.pkl")
        root = roots[0]
        order = entries.get(f"{root}byteorder")
        if order is not None and (order.file_size > 16 or archive.read(order) != b"little"):
            raise InputError("it was written on a big-endian machine")
        pickled = entries[f"{root}data.pkl"]
        with archive.open(pickled) as whole:  # once, for its check sum
            while whole.read(2**20):
                pass
        file.seek(_start(file, pickled))
        content = _Unpickler(Source(file, pickled.file_size, budget), budget).load()

        def stored(storage: _Storage) -> bytearray:
            entry = entries.get(f"{root}data/{storage.key}")
            if entry is None:
                raise InputError(f"its tensor storage {storage.key!r} is missing")
            _check_length(storage, entry.file_size)
            with archive.open(entry):  # which checks its header
                pass
            values = bytearray(entry.file_size)
            file.seek(_start(file, entry))
            if _fill(file, values) != len(values) or zlib.crc32(values) != entry.CRC:
                raise InputError(f"its tensor storage {storage.key!r} is damaged")
            return values

        yield content, stored


def _fill(file: Any, values: bytearray) -> int:
    """Reads into memory that is there; how many bytes it was."""
    return int(file.readinto(values))


def _start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin, behind a header of its own."""
    file.seek(entry.header_offset + 26)
    return entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))


@contextmanager
def _legacy_content(file: BinaryIO, budget: Budget) -> Iterator[tuple[Any, Stored]]:
    """The format before torch 1.6: five pickles in a row, then a length and bytes for every storage."""
    size = os.fstat(file.fileno()).st_size
    used: dict[str, _Storage] = {}

    class Recorder(_Unpickler):
        def persistent_load(self, pid: Any) -> _Storage:
            storage = super().persistent_load(pid)
            used[storage.key] = storage
            return storage

    def pickled() -> Any:
        return Recorder(Source(file, size - file.tell(), budget), budget).load()

    if pickled() != LEGACY_MAGIC:
        raise InputError("it is not a torch.save file")
    pickled()  # protocol
    system = pickled()
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise InputError("it was written on a big-endian machine")
    content, keys = pickled(), pickled()
    places: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in used:
            raise InputError(f"its storage {key!r:.60} belongs to no tensor")
        numel, length = int.from_bytes(file.read(8), "little"), used[key].numel * used[key].dtype.itemsize
        if numel != used[key].numel or file.tell() + length > size:
            raise InputError(f"its storage {key!r:.60} has a wrong length")
        places[key] = file.tell()
        file.seek(length, os.SEEK_CUR)

    def stored(storage: _Storage) -> bytearray:
        if storage.key not in places:
            raise InputError(f"its tensor storage {storage.key!r:.60} is missing")
        _check_length(storage, used[storage.key].numel * used[storage.key].dtype.itemsize)
        values = bytearray(storage.numel * storage.dtype.itemsize)
        file.seek(places[storage.key])
        if _fill(file, values) != len(values):
            raise InputError(f"its tensor storage {storage.key!r:.60} is cut")
        return values

    yield content, stored


def _check_length(storage: _Storage, held: int) -> None:
    if held != storage.numel * storage.dtype.itemsize:
        raise InputError(
            f"its tensor storage {storage.key!r:.60} holds {held} bytes, not {storage.numel:.6g} values"
        )


class _Tensors:
    """Cuts tensors from storages. They are views: tensors of one storage share its bytes, and so no file takes more than it has.

    Args:
        stored: the bytes of a storage.
        size: of the file in bytes.
    """

    def __init__(self, stored: Stored, size: int) -> None:
        self._stored, self._room = stored, size + ROOM
        self._flat: dict[str, Tensor] = {}
        self._cut: dict[int, Tensor] = {}
        self._numel = 0

    def of(self, values: Any) -> Any:
        """A dictionary with tensors in place of their records; anything else as it is."""
        if not isinstance(values, dict):
            return values
        found = dict(values)
        for key, value in values.items():
            if isinstance(value, unread_tensors.Unread):
                raise InputError(f"its tensor {key!r:.200} {value.reason}")
            if not isinstance(value, (numpy_arrays.ArrayRecord, TensorRecord)):
                continue
            if id(value) not in self._cut:
                if isinstance(value, TensorRecord):
                    self._cut[id(value)] = self._counted(self._tensor(value, key))
                else:
                    self._cut[id(value)] = self._counted(value.tensor(key))
            found[key] = self._cut[id(value)]
        return found

    def _counted(self, tensor: Tensor) -> Tensor:
        self._numel += tensor.numel()
        self._room -= tensor.numel() * tensor.element_size()
        if self._numel > MOST_WEIGHTS:
            raise InputError(f"it has more than {MOST_WEIGHTS} weights, the limit")
        if self._room < 0:
            raise InputError("its tensors hold far more values than the file: they repeat its storages")
        return tensor

    def _tensor(self, record: Any, name: Any) -> Tensor:
        """Cut from its storage, if it lies inside."""
        size, stride, offset, storage = record.size, record.stride, record.offset, record.storage
        whole = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
        if not whole or not isinstance(storage, _Storage):
            raise InputError(f"its tensor {name!r:.200} is malformed")
        if any(type(x) is not int or not 0 <= x < 2**48 for x in (*size, *stride, offset, storage.numel)):
            raise InputError(f"its tensor {name!r:.200} has sizes that are not whole numbers, or beyond 2^48")
        numel = 1
        for x in size:
            numel *= x
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if numel > storage.numel or (numel and last >= storage.numel):
            raise InputError(f"its tensor {name!r:.200} of shape {size} reaches beyond its storage")
        if not numel:
            return torch.empty(size, dtype=storage.dtype)
        if storage.key not in self._flat:
            self._flat[storage.key] = torch.frombuffer(self._stored(storage), dtype=storage.dtype)
        flat = self._flat[storage.key]
        if flat.dtype != storage.dtype or flat.numel() != storage.numel:
            raise InputError(f"its tensor storage {storage.key!r:.60} is used in two ways")
        return flat.as_strided(size, stride, offset)
