"""Sampling frequencies as people have them: numbers of Python and of numpy, fractions, 0-dim arrays and tensors."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch.autograd.forward_ad import unpack_dual

from sfi_zoo.errors import InputError


def hertz(sample_rate: Any, subject: str = "sample_rate") -> float:
    """A sampling frequency as a plain number of Hz, positive and finite: an `int` where an integer was given.

    Args:
        sample_rate: a number of Python or numpy, a fraction, or a 0-dim array or tensor; its derivative is left behind.
        subject: what the error names.

    Raises:
        InputError: anything else, a bool or a text for instance, or not positive and finite; the value is named.
    """
    number = plain_number(sample_rate, subject)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{subject} must be positive and finite, in Hz; got {number}")
    return number


def plain_number(sample_rate: Any, subject: str = "sample_rate") -> float:
    """`hertz` without a look at the sign: NaN and infinity pass."""
    value = sample_rate.detach() if isinstance(sample_rate, torch.Tensor) else sample_rate
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) and not value.shape:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(
            f"{subject} must be a number in Hz, or a 0-dim array or tensor of one; got {value!r:.80}"
        )
    try:
        number = float(value)  # an int beyond the largest float overflows
        return int(number) if isinstance(value, Integral) else number
    except OverflowError:
        raise InputError(f"{subject} must be a number in Hz, got one of {len(str(value))} digits") from None


def carries_derivative(tensor: torch.Tensor) -> bool:
    """Whether a gradient, a forward-mode tangent or a `torch.func` transform would be lost with the plain values."""
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    try:
        tensor.detach()[..., :0].cpu().numpy() if tensor.ndim else tensor.detach().cpu().numpy()
    except RuntimeError:  # a transform keeps the values to itself
        return True
    return unpack_dual(tensor).tangent is not None
