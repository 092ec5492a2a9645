"""The calls of the layers of a network, noted while it computes: what goes in, what comes out, each with a gradient of its own."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sfi_zoo.errors import InputError
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import Separator


@dataclass
class Call:
    """One call of a layer, or of a function between layers.

    Attributes:
        name: of the layer; of a function "file.py:line function", its place in the code of the model.
        module: the layer; None of a function.
        inputs: what went in, as tensors of the call's own: their gradients are those through this call alone.
        outputs: what came out.
        versions: of both, as they were then.
    """

    name: str
    module: nn.Module | None
    inputs: list[Tensor]
    outputs: list[Tensor]
    versions: list[int]


def modules_of(model: Separator, layers: Iterable[str] | None) -> dict[nn.Module, str]:
    """Layers and their names: those named, or all innermost modules.

    Raises:
        InputError: an unknown name, or a layer inside another.
    """
    named = dict((model.model if isinstance(model, Adapted) else model).named_modules())
    if layers is None:
        return {m: name for name, m in named.items() if not any(m.children())}
    chosen = list(layers)
    unknown = [name for name in chosen if name not in named]
    if unknown:
        raise InputError(f"{type(model).__name__} has no layers named {', '.join(unknown)}")
    for name in chosen:
        inner = [other for other in chosen if other.startswith(f"{name}.")]
        if inner:
            raise InputError(f"{inner[0]} lies inside {name}: take one of them")
    return {named[name]: name for name in chosen}


@contextmanager
def noted_calls(modules: dict[nn.Module, str], functions: bool = False) -> Iterator[list[Call]]:
    """Notes the calls of modules, and if asked of the functions between them; their inputs become tensors of their own."""
    calls: list[Call] = []
    between = _Between(calls)

    def before(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        between.inside += 1
        own = tuple(x.view_as(x) if _moves(x) else x for x in given)
        inputs = tensors_of(own)
        calls.append(Call(modules[module], module, inputs, [], [x._version for x in inputs]))
        return own

    def behind(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        between.inside -= 1
        call = next(c for c in reversed(calls) if c.module is module)
        call.outputs = tensors_of(output)
        call.versions += [x._version for x in call.outputs]

    handles = [m.register_forward_pre_hook(before) for m in modules]
    handles += [m.register_forward_hook(behind) for m in modules]
    try:
        with between if functions else nullcontext():
            yield calls
    finally:
        for handle in handles:
            handle.remove()


TORCH = str(Path(torch.__file__).parent)
EINOPS = str(Path(TORCH).with_name("einops"))


class _Between(TorchFunctionMode):
    """Notes the functions of torch that are called outside of layers, each under its place in the code."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__()
        self.calls, self.inside = calls, 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if self.inside or not any(x.requires_grad for x in tensors_of([*args, *(kwargs or {}).values()])):
            return function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name in ("__get__", "__setitem__") or (name.endswith("_") and not name.endswith("__")):
            return function(*args, **(kwargs or {}))  # an attribute, or written in place
        args, kwargs = _own(args), {key: _own(value) for key, value in (kwargs or {}).items()}
        output = function(*args, **kwargs)
        inputs, outputs = tensors_of([*args, *kwargs.values()]), tensors_of(output)
        if outputs:
            versions = [x._version for x in inputs + outputs]
            self.calls.append(Call(f"{_place()} {name.strip('_')}", None, inputs, outputs, versions))
        return output


def _place() -> str:
    """ "file.py:line" of the model's code that is running: the innermost frame that is not torch's, einops' or of this file."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((__file__, TORCH, EINOPS)):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _own(value: Any) -> Any:
    """The same values, with tensors of the call's own: their gradients are those through it alone."""
    if type(value) in (tuple, list):
        return type(value)(_own(x) for x in value)
    return value.view_as(value) if _moves(value) and value.requires_grad else value


def _moves(x: Any) -> bool:
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def tensors_of(values: Any) -> list[Tensor]:
    """The floating-point tensors in what a module takes or gives."""
    if isinstance(values, (tuple, list)):
        return [x for value in values for x in tensors_of(value)]
    return [values] if _moves(values) else []


def check_nothing_in_place(calls: list[Call]) -> None:
    """Refuses activations of layers that were overwritten: their gradients would be those of something else. Functions are left out then.

    Raises:
        InputError: one was.
    """
    kept: list[Call] = []
    for call in calls:
        if [x._version for x in call.inputs + call.outputs] == call.versions:
            kept.append(call)
        elif call.module is not None:
            raise InputError(
                f"an activation of layer {call.name} is changed in place; set inplace=False in it and in the next"
            )
    calls[:] = kept
