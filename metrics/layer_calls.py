"""The calls of the layers of a network, noted while it computes: what goes in, what comes out, each with a gradient of its own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import Separator


@dataclass
class Call:
    """One call of a layer.

    Attributes:
        name: of the layer.
        module: the layer.
        inputs: what went in, as tensors of the call's own: their gradients are those through this call alone.
        outputs: what came out.
        versions: of both, as they were then.
    """

    name: str
    module: nn.Module
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
def noted_calls(modules: dict[nn.Module, str]) -> Iterator[list[Call]]:
    """Notes the calls of modules; their inputs become tensors of their own."""
    calls: list[Call] = []

    def before(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        own = tuple(x.view_as(x) if _moves(x) else x for x in given)
        inputs = tensors_of(own)
        calls.append(Call(modules[module], module, inputs, [], [x._version for x in inputs]))
        return own

    def behind(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        call = next(c for c in reversed(calls) if c.module is module)
        call.outputs = tensors_of(output)
        call.versions += [x._version for x in call.outputs]

    handles = [m.register_forward_pre_hook(before) for m in modules]
    handles += [m.register_forward_hook(behind) for m in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _moves(x: Any) -> bool:
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def tensors_of(values: Any) -> list[Tensor]:
    """The floating-point tensors in what a module takes or gives."""
    if isinstance(values, (tuple, list)):
        return [x for value in values for x in tensors_of(value)]
    return [values] if _moves(values) else []


def check_nothing_in_place(calls: list[Call]) -> None:
    """Refuses activations that were overwritten: their gradients would be those of something else.

    Raises:
        InputError: one was.
    """
    for call in calls:
        if [x._version for x in call.inputs + call.outputs] != call.versions:
            raise InputError(
                f"an activation of layer {call.name} is changed in place; set inplace=False in it and in the next"
            )
