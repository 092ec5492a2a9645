"""Weights: read from safetensors, and refused where they do not fit a model exactly."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.models.parts.limits import check_sizes, outline, without_weights
from sfi_zoo.wording import first_line, shortened

S = TypeVar("S", bound=nn.Module)

AT_ONCE = 2**26  # bytes
DTYPES = frozenset(
    {
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    }
)
UNBUILDABLE = (ArithmeticError, AttributeError, TypeError, RuntimeError, ValueError, MemoryError)


class WeightsError(InputError):
    """Weights that do not fit a model.

    Attributes:
        problems: all names of tensors, by what is wrong with them; the message has the first of each.
    """

    def __init__(self, message: str, problems: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.problems = problems


def check_state(model: nn.Module, state: Mapping[str, Tensor], names: dict[str, str] | None = None) -> None:
    """Refuses weights that do not fit a model exactly.

    Args:
        model: what they are for; it may be on the device "meta".
        state: the weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        WeightsError: tensors that are missing, unknown, of another shape or kind, or not finite.
    """
    wanted = {(names or {}).get(key, key): value for key, value in model.state_dict().items()}
    problems: dict[str, list[str]] = {
        "misses": [key for key in wanted if key not in state],
        "has unknown": [key for key in state if key not in wanted],
        "has of another shape": [],
        "has of another kind": [],
        "has of a precision that is not read": [],
        "has not finite": [],
    }
    shared = [key for key in wanted if key in state]
    for key in shared:
        want, have = wanted[key], state[key]  # read once, where it comes from a file
        if want.shape != have.shape:
            problems["has of another shape"].append(f"{key} {tuple(have.shape)} (want {tuple(want.shape)})")
        if want.is_floating_point() != have.is_floating_point():
            problems["has of another kind"].append(key)
        if have.dtype not in DTYPES:  # eight bits or fewer; operations on them are not there
            problems["has of a precision that is not read"].append(
                f"{key} {str(have.dtype).removeprefix('torch.')}"
            )
        elif not torch.isfinite(have).all():
            problems["has not finite"].append(key)
    found = {what: keys for what, keys in problems.items() if keys}
    if found:
        foreign = "" if shared else "no name fits, they are of another architecture or have other names: "
        said = "; ".join(f"{what} {shortened(keys)}" for what, keys in found.items())
        raise WeightsError(f"the weights do not fit: {foreign}it {said}", found)


def load_state(model: nn.Module, state: dict[str, Tensor], names: dict[str, str] | None = None) -> None:
    """Fills a model with weights that fit it exactly; float16 becomes the model's dtype.

    Args:
        model: what to fill.
        state: its weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        WeightsError: see `check_state`.
    """
    check_state(model, state, names)
    model.load_state_dict({key: state[(names or {}).get(key, key)] for key in model.state_dict()})


def filled(
    cls: type[S], config: Any, state: dict[str, Tensor], names: Callable[[Any], dict[str, str]] | None = None
) -> S:
    """A model with weights that fit it exactly, in evaluation mode.

    No memory is taken for what settings claim before the weights are known to fit.

    Args:
        cls: of the model.
        config: its settings.
        state: its weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        InputError: settings that no model has.
        WeightsError: see `check_state`.
    """
    try:
        check_sizes(asdict(config))
        planned = outline(cls, config)
    except UNBUILDABLE as error:
        raise InputError(first_line(error)) from None
    called = names(planned) if names is not None else {}
    check_state(planned, state, called)
    with without_weights():
        model = cls(config)
    take(model, {key: state[called.get(key, key)] for key in model.state_dict()})
    return model.eval()


def take(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Makes weights that fit a model (see `check_state`) its own; in its dtype, and copied where they share memory.

    Args:
        model: its weights may be on the device "meta".
        state: its weights.
    """
    wanted = model.state_dict()
    users = Counter(value.untyped_storage().data_ptr() for value in state.values())

    def own(key: str, value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        shared = users[storage.data_ptr()] > 1 or storage.nbytes() > value.nbytes
        return value.to(wanted[key].dtype, copy=shared, memory_format=torch.contiguous_format)

    model.load_state_dict({key: own(key, value) for key, value in state.items()}, assign=True)


class WeightsFile(Mapping[str, Tensor]):
    """The tensors of a safetensors file, read one by one as they are asked for: the file is mapped, not loaded.

    Args:
        path: the file.

    Raises:
        InputError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened()
        self._keys: dict[str, None] = dict.fromkeys(self._file.keys())

    def _opened(self) -> None:
        with _named(self.path):
            self._file: Any = safe_open(str(self.path), framework="pt")
        self._read = 0

    def __getitem__(self, key: str) -> Tensor:
        """One tensor."""
        if key not in self._keys:
            raise KeyError(key)
        if self._read > AT_ONCE:  # what was read of a mapped file counts as memory until it is unmapped
            self._opened()
        with _named(self.path):
            tensor: Tensor = self._file.get_tensor(key)
        self._read += tensor.nbytes
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Names of the tensors."""
        return iter(self._keys)

    def __len__(self) -> int:
        """How many."""
        return len(self._keys)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: truncated or not a safetensors file ({first_line(error)})") from None


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Around the writing of a file, or a folder: what the libraries raise becomes one line that names it.

    Raises:
        InputError: it cannot be written, the disk is full for instance.
    """
    try:
        yield
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be written ({first_line(error)}); is the disk full?") from None
    except UnicodeError:
        raise InputError(f"{path}: this name is not valid text, choose another") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or first_line(error)})") from error


def fill(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads weights that fit a model (see `check_state`), some at a time: beside the model itself they take `AT_ONCE` bytes of memory.

    Args:
        model: what to fill.
        state: its weights.
    """
    some: dict[str, Tensor] = {}
    size = 0
    for key in state:
        some[key] = state[key]
        size += some[key].nbytes
        if size > AT_ONCE:
            model.load_state_dict(some, strict=False)
            some, size = {}, 0
    model.load_state_dict(some, strict=False)
