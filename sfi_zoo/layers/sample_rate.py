"""How the sampling frequency reaches layers: an explicit argument wins over the stored one."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from sfi_zoo.errors import InputError

Number = TypeVar("Number", int, float)


def check_sample_rate(sample_rate: float) -> float:
    """Returns the rate if it is a positive finite number of Hz.

    A tensor of one number is let through as it is: layers differentiate through it.

    Raises:
        InputError: it is not.
    """
    if isinstance(sample_rate, torch.Tensor) and sample_rate.numel() == 1:
        check_sample_rate(primal(sample_rate))
        return sample_rate
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float)):
        raise InputError(f"sample_rate must be a number in Hz, got {sample_rate!r}")
    sample_rate = constant(sample_rate)  # a compiled graph is for one rate
    if not (math.isfinite(sample_rate) and sample_rate > 0):
        raise InputError(f"sample_rate must be positive and finite, in Hz; got {sample_rate}")
    return sample_rate


def constant(value: Number) -> Number:
    """`value`, as a constant where torch.compile is tracing: a member of a set has to be one."""
    (value,) = {value}
    return value


def derivative_of(rate: float | torch.Tensor) -> torch.Tensor | None:
    """F / F_primal - 1, zero with its derivative, where the sampling frequency is a tensor."""
    return rate.double() / primal(rate) - 1 if isinstance(rate, torch.Tensor) else None


def primal(sample_rate: float | torch.Tensor) -> float:
    """The plain number in a rate, without its derivative."""
    return float(sample_rate.detach()) if isinstance(sample_rate, torch.Tensor) else sample_rate


class SampleRateAware(nn.Module):
    """A module whose computation depends on the sampling frequency of its input.

    Attributes:
        trained_rate: F0 in Hz, at which `kernel_size` and friends are counted in samples.
        sample_rate: F in Hz that is used when `forward` is given none; F0 until `set_sample_rate` says otherwise.
    """

    trained_rate: float
    sample_rate: float


def set_sample_rate(module: nn.Module, sample_rate: float) -> None:
    """Sets the sampling frequency, in Hz, of every SFI layer inside `module`.

    Raises:
        InputError: the rate is not positive and finite, or there is no SFI layer inside.
    """
    check_sample_rate(sample_rate)
    layers = [layer for layer in module.modules() if isinstance(layer, SampleRateAware)]
    if not layers:
        raise InputError(f"{type(module).__name__} holds no SFI layer; swap one in first")
    for layer in layers:
        layer.sample_rate = sample_rate


@contextmanager
def at_sample_rate(module: nn.Module, sample_rate: float) -> Iterator[None]:
    """`set_sample_rate` for the length of a `with` block; every layer then gets back the rate it had."""
    before = [(layer, layer.sample_rate) for layer in module.modules() if isinstance(layer, SampleRateAware)]
    set_sample_rate(module, sample_rate)
    try:
        yield
    finally:
        for layer, rate in before:
            layer.sample_rate = rate
