"""How large a model from a file may be: a file may come from anyone, so its sizes are checked before anything is allocated."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from sfi_zoo.audio.bounds import check_sample_rate
from sfi_zoo.errors import InputError

MOST_WEIGHTS = 10**9
MOST_PARTS = 20_000  # modules and tensors
MOST = 2**20  # for any whole number in a configuration
MOST_SAMPLES = 2**18  # for lengths in samples: windows, kernels, hops
MOST_TAPS = 2**28  # features x kernel
MOST_REACH = 2**20  # frames that a convolution looks at
_SAMPLES = {"n_fft", "hop_length", "kernel_size", "stride", "padding", "pad_multiple", "frequency_points"}


def check_sizes(settings: Mapping[str, Any]) -> None:
    """Refuse numbers in a configuration that no model has.

    Raises:
        InputError: one beyond the limits above, or a trained sample rate that no separator works at.
    """
    if "sample_rate" in settings:
        check_sample_rate(settings["sample_rate"], "sample_rate")
    for key, value in settings.items():
        limit = MOST_SAMPLES if key in _SAMPLES else MOST
        largest = max((abs(x) for x in _numbers(value)), default=0)
        if largest > limit:
            raise InputError(f"{key} is {_short(largest)}, more than any model has ({limit})")
    taps = settings.get("features", 0) * settings.get("kernel_size", 0)
    if taps > MOST_TAPS:
        raise InputError(f"features x kernel_size is {_short(taps)}, more than any model has ({MOST_TAPS})")


@contextmanager
def outlining() -> Iterator[None]:
    """Models that are made in the block have no memory for their weights, and are counted as they are made.

    Raises:
        InputError: more weights or parts than the limits above.
    """
    counter = _Counter()
    with ExitStack() as stack:
        stack.enter_context(torch.device("meta"))
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            stack.callback(register(counter).remove)
        yield


@contextmanager
def without_weights() -> Iterator[None]:
    """Models that are made in the block have their parameters on the device "meta", to be replaced; their buffers are there."""
    thread = threading.get_ident()

    def emptied(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or threading.get_ident() != thread:
            return parameter
        return nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)

    hook = hooks.register_module_parameter_registration_hook(emptied)
    try:
        yield
    finally:
        hook.remove()


def outline(cls: Any, config: Any) -> nn.Module:
    """A model without memory for its weights, on the device "meta": what it would be.

    Args:
        cls: of the model.
        config: checked by `check_sizes`.

    Raises:
        InputError: more weights or parts than the limits above, found as they are counted, not when all are there.
    """
    with outlining():
        model: nn.Module = cls(config)
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv1d) and part.dilation[0] * part.kernel_size[0] > MOST_REACH:
            reach = part.dilation[0] * part.kernel_size[0]
            raise InputError(f"{name} would look at {_short(reach)} frames, the limit is {MOST_REACH}")
    return model


class _Counter:
    """A hook of torch: counts what this thread registers."""

    def __init__(self) -> None:
        self.weights, self.parts, self.thread = 0, 0, threading.get_ident()

    def __call__(self, module: nn.Module, name: str, part: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        self.parts += 1
        self.weights += part.numel() if isinstance(part, Tensor) else 0
        if self.weights > MOST_WEIGHTS:
            raise InputError(f"the model would have more than {MOST_WEIGHTS} weights, the limit")
        if self.parts > MOST_PARTS:
            raise InputError(f"the model would have more than {MOST_PARTS} modules and tensors, the limit")


def _numbers(value: Any) -> Iterator[float]:
    """All whole numbers in a setting, and how many things its lists hold."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        yield len(value)
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int):
        yield value


def _short(number: float) -> str:
    return f"{number:.3e}" if number < 1e300 else "beyond 1e300"
