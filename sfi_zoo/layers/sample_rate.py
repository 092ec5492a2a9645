"""How the sampling frequency reaches layers: an explicit argument wins over the stored one."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from sfi_zoo.audio.rates import carries_derivative, hertz
from sfi_zoo.errors import InputError

Number = TypeVar("Number", int, float)


def check_sample_rate(sample_rate: float) -> float:
    """The plain number of a sampling frequency, see `sfi_zoo.audio.rates.hertz`.

    A 0-dim tensor that carries a derivative is let through as it is: layers differentiate through it.

    Raises:
        InputError: it is not a positive finite number of Hz.
    """
    if isinstance(sample_rate, torch.Tensor):
        rate = hertz(sample_rate)
        return sample_rate if torch.compiler.is_compiling() or carries_derivative(sample_rate) else rate
    if torch.compiler.is_compiling() and isinstance(sample_rate, (int, float)):
        sample_rate = constant(sample_rate)  # a compiled graph is for one rate
        if isinstance(sample_rate, bool) or not 0 < sample_rate < math.inf:
            raise InputError(f"sample_rate must be positive and finite, in Hz; got {sample_rate}")
        return sample_rate
    return hertz(sample_rate)


def constant(value: Number) -> Number:
    """Makes `value` a compile-time constant; putting it in a set forces Dynamo to specialise."""
    (value,) = {value}
    return value


def derivative_of(rate: float | torch.Tensor) -> torch.Tensor | None:
    """F / F_primal - 1, zero with its derivative, where the sampling frequency is a tensor."""
    return rate.double() / primal(rate) - 1 if isinstance(rate, torch.Tensor) else None


def primal(sample_rate: float | torch.Tensor) -> float:
    """The plain number in a rate, without its derivative."""
    return float(sample_rate.detach()) if isinstance(sample_rate, torch.Tensor) else sample_rate


class AtSampleRate(nn.Module):
    """A module that works at a sampling frequency: the one its call names, or else the one it was set to.

    Attributes:
        trained_rate: F0 in Hz, at which sizes are counted in samples.
        current_rate: F in Hz that is used when a call names none; F0 until `set_sample_rate` says otherwise.
    """

    _current_rate: float | None = None

    if TYPE_CHECKING:

        @property
        def trained_rate(self) -> float:
            """F0 in Hz; an attribute or a property of each class."""

    @property
    def current_rate(self) -> float:
        """F in Hz that is used when a call names none."""
        return self.trained_rate if self._current_rate is None else self._current_rate

    @current_rate.setter
    def current_rate(self, sample_rate: float) -> None:
        self._current_rate = check_sample_rate(sample_rate)

    def _rate(self, sample_rate: float | None) -> float:
        """The rate to work at: an explicit argument wins over the stored one."""
        return constant(self.current_rate) if sample_rate is None else check_sample_rate(sample_rate)


class SampleRateAware(AtSampleRate):
    """A layer whose computation depends on the sampling frequency of its input, see `AtSampleRate`."""

    trained_rate: float

    @property
    def sample_rate(self) -> float:
        """The former name of `current_rate`."""
        renamed(f"{type(self).__name__}.sample_rate is now current_rate (F0: trained_rate)")
        return self.current_rate

    @sample_rate.setter
    def sample_rate(self, sample_rate: float) -> None:
        renamed(f"{type(self).__name__}.sample_rate is now current_rate (F0: trained_rate)", 4)
        self.current_rate = sample_rate


def renamed(message: str, stacklevel: int = 3) -> None:
    """Warns, at the line that uses it, of an old name that works for one more version."""
    warnings.warn(f"{message}; the old name will go", DeprecationWarning, stacklevel=stacklevel)


def set_sample_rate(module: nn.Module, sample_rate: float) -> None:
    """Sets the sampling frequency, in Hz, at which `module` works when its calls name none: a separator, or every SFI layer inside.

    Raises:
        InputError: the rate is not positive and finite, or there is neither a separator nor an SFI layer inside.
    """
    rate = check_sample_rate(sample_rate)
    inside = [part for part in module.modules() if isinstance(part, AtSampleRate)]
    if not inside:
        raise InputError(f"{type(module).__name__} holds no SFI layer; swap one in first")
    for part in inside:
        part.current_rate = rate


@contextmanager
def at_sample_rate(module: nn.Module, sample_rate: float) -> Iterator[None]:
    """`set_sample_rate` for the length of a `with` block; everything inside then gets back the rate it had."""
    before = [(part, part._current_rate) for part in module.modules() if isinstance(part, AtSampleRate)]
    set_sample_rate(module, sample_rate)
    try:
        yield
    finally:
        for part, rate in before:
            part._current_rate = rate
