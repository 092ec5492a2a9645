"""The inside of a foreign model while it runs: frames where they are made, outputs of modules, and others in their place."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.layers.surgery.converted import (
    ConvertedConv1d,
    ConvertedConvTranspose1d,
    ConvertedISTFT,
    ConvertedSTFT,
)
from sfi_zoo.layers.surgery.places import ANALYSIS, SYNTHESIS, Place
from sfi_zoo.layers.surgery.redirected import Key, Redirected, Taps
from sfi_zoo.layers.surgery.watch import not_watched
from sfi_zoo.layers.surgery.wrapped import ResampledModel

ROLES: dict[type, str] = {
    ConvertedConv1d: ANALYSIS,
    ConvertedSTFT: ANALYSIS,
    ConvertedConvTranspose1d: SYNTHESIS,
    ConvertedISTFT: SYNTHESIS,
}


class Reached(Exception):  # no error
    """Ends a run where what was wanted is there.

    Args:
        value: what was wanted.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


@contextmanager
def tapped(
    network: nn.Module, taps: Taps, outputs: Mapping[str, Callable[[Tensor], Tensor]]
) -> Iterator[None]:
    """A converted network with taps at its transforms and at the outputs of modules.

    Args:
        network: of `make_sfi`, without a fallback.
        taps: see there.
        outputs: by the name of a module in the foreign model, what comes out of it -> what comes out instead.
    """
    model = foreign_model(network)
    handles = []
    for module in model.modules():
        role = ROLES.get(type(module))
        if role:
            handles += _tap(module, role, taps)
    for name, change in outputs.items():
        handles.append(model.get_submodule(name).register_forward_hook(_changed(change)))
    if isinstance(network, Redirected):
        network.taps = taps
    try:
        with not_watched(network):
            yield
    finally:
        if isinstance(network, Redirected):
            network.taps = None
        for handle in handles:
            handle.remove()


def foreign_model(network: nn.Module) -> nn.Module:
    """The model in what `make_sfi` gives, with modules under their own names."""
    return network.model if isinstance(network, (Redirected, ResampledModel)) else network


def at_its_rate(wrapped: ResampledModel) -> Redirected:
    """The model that is between two resamplings, so that it can be tapped. It shares all parameters."""
    places: list[Place] = [] if wrapped.report is None else wrapped.report.places
    roles = {Key(p.name, p.site, p.convolution): p.role for p in places if p.role in (ANALYSIS, SYNTHESIS)}
    return Redirected(wrapped.model, wrapped.trained_rate, roles)


def _tap(module: nn.Module, role: str, taps: Taps) -> list[Any]:
    as_real = isinstance(module, ConvertedISTFT) and module.as_real

    def before(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x = torch.view_as_complex(given[0].contiguous()) if as_real else given[0]
        x = taps.goes_in(role, x)
        return (torch.view_as_real(x) if as_real else x, *given[1:])

    def behind(module: nn.Module, given: tuple[Any, ...], y: Tensor) -> Tensor:
        return taps.comes_out(role, module, y)

    return [module.register_forward_pre_hook(before), module.register_forward_hook(behind)]


def _changed(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def hook(module: nn.Module, given: tuple[Any, ...], y: Any) -> Any:
        return (change(y[0]), *y[1:]) if isinstance(y, tuple) else change(y)

    return hook
