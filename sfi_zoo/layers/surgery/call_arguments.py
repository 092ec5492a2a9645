"""Arguments of the functions that surgery redirects, whatever the way they were given."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CONVOLUTIONS = ("conv1d", "conv_transpose1d")
TRANSFORMS = ("stft", "istft")
REDIRECTED = (*CONVOLUTIONS, *TRANSFORMS)


class Convolution(NamedTuple):
    """A call of `conv1d` or `conv_transpose1d`: all that is no tensor of samples or frames.

    Attributes: as the functions name them; `weight` is the shape.
    """

    name: str
    weight: tuple[int, ...]
    stride: int
    padding: int | str
    output_padding: int
    groups: int
    dilation: int

    @property
    def kernel(self) -> int:
        """Samples from the first to the last tap."""
        return (self.weight[-1] - 1) * self.dilation + 1


class Operands(NamedTuple):
    """The tensors of a convolution or transform call."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None


_CONV1D = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_CONV_TRANSPOSE1D = (
    "input",
    "weight",
    "bias",
    "stride",
    "padding",
    "output_padding",
    "groups",
    "dilation",
)
_SIGNATURES = {
    "stft": inspect.signature(torch.stft),
    "istft": inspect.signature(torch.Tensor.istft),
}


def convolution(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Convolution, Operands] | None:
    """The call of a convolution; None where it is not one over a last axis (a tuple of other length, say)."""
    given = dict(zip(_CONV1D if name == "conv1d" else _CONV_TRANSPOSE1D, args, strict=False)) | kwargs
    weight = given["weight"]
    try:
        numbers = {
            key: _one(given.get(key, default))
            for key, default in {
                "stride": 1,
                "padding": 0,
                "output_padding": 0,
                "groups": 1,
                "dilation": 1,
            }.items()
        }
    except ValueError:
        return None
    call = Convolution(name, tuple(weight.shape), **numbers)
    return call, Operands(given["input"], weight, given.get("bias"))


def transform(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `torch.stft`, `torch.istft` or of the methods of a tensor, by name; `x` is the first."""
    given = [kwargs.pop(key) for key in ("input", "self") if key in (kwargs := dict(kwargs))]
    bound = _SIGNATURES[name].bind(*given, *args, **kwargs)
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    first = next(iter(arguments))
    arguments["x"] = arguments.pop(first)
    if arguments["win_length"] is None:
        arguments["win_length"] = arguments["n_fft"]
    if arguments["hop_length"] is None:
        arguments["hop_length"] = arguments["n_fft"] // 4
    return arguments


def redirected_name(func: Callable[..., Any]) -> str | None:
    """Which of `REDIRECTED` a torch function is."""
    return _NAMES.get(func)


_NAMES: dict[Callable[..., Any], str] = {
    torch.conv1d: "conv1d",
    functional.conv1d: "conv1d",
    torch.conv_transpose1d: "conv_transpose1d",
    functional.conv_transpose1d: "conv_transpose1d",
    torch.stft: "stft",
    torch.Tensor.stft: "stft",
    torch.istft: "istft",
    torch.Tensor.istft: "istft",
}


def _one(value: Any) -> Any:
    """A number, or the one in a tuple of one."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError
        return value[0]
    return value
