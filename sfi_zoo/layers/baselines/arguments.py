"""What the baseline layers share: they are plain convolutions, and say clearly what they cannot take."""

from typing import Any, Literal

from torch import Tensor

from sfi_zoo.errors import InputError

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def check_arguments(in_channels: int, out_channels: int, groups: int, **samples: Any) -> None:
    """Refuse arguments that a plain convolution does not allow.

    Args:
        in_channels: of the layer.
        out_channels: of the layer.
        groups: must divide both.
        **samples: positive whole numbers, or tuples of one, such as kernel_size and stride.

    Raises:
        InputError: an argument outside what is allowed (the message names it).
    """
    given = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups, **samples}
    for name, value in given.items():
        number = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(f"{name} must be a positive whole number, got {value!r}")
    if in_channels % groups or out_channels % groups:
        raise InputError(
            f"in_channels {in_channels} and out_channels {out_channels} must be divisible by groups {groups}"
        )


def check_channels(x: Tensor, channels: int, last_axis: str) -> None:
    """Refuse an input that is not (batch, channels, last axis) or (channels, last axis).

    Raises:
        InputError: it is not.
    """
    if x.ndim not in (2, 3) or x.shape[-2] != channels:
        raise InputError(f"input must be (batch, {channels}, {last_axis}), got {tuple(x.shape)}")


def check_length(length: int, sample_rate: float, padded: int, kernel: int) -> None:
    """Refuse a signal of `length` samples that is, with its padding, shorter than the kernel.

    Raises:
        InputError: it is.
    """
    if not length or padded < kernel:
        raise InputError(
            f"{length} samples at {sample_rate} Hz are shorter than the kernel: {padded} with padding, {kernel} needed"
        )
