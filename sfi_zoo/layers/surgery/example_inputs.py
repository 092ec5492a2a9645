"""What a foreign model is called with, at any length: which of its inputs are waveforms, and along which axis they run."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sfi_zoo.errors import InputError

SHORTEST = 0.02  # seconds: what is shorter is no waveform
SHAPES = ((1, 1), (1, 2), (1,), (2,), ())  # before the axis of time, tried in this order
PARTS = 4  # other waveforms are so many parts of the longest: whole numbers of samples at every rate
Signal = Callable[[int, int], Tensor]  # (rows, samples) -> (rows, samples)


class ExampleInputs:
    """Arguments of a model, of which those that are waveforms can be replaced by others of any length.

    A waveform is a real floating-point tensor that is at least 20 ms long; time is its longest axis. Whole numbers that are the
    length of a waveform stay that.

    Args:
        arguments: one tensor, a tuple of positional arguments, or a dictionary of named ones; anything may be among them.
        sample_rate: F0 in Hz.

    Attributes:
        samples: length of the longest waveform.
        axes: the axis of time of every waveform, by its place among all arguments.
        shortest: samples that a waveform has at least.

    Raises:
        InputError: there is no waveform.
    """

    def __init__(self, arguments: Any, sample_rate: float) -> None:
        args, kwargs = as_arguments(arguments)
        self.shortest = round(SHORTEST * sample_rate)
        self.leaves, tree = pytree.tree_flatten((args, kwargs))
        self.axes = {
            i: axis
            for i, leaf in enumerate(self.leaves)
            if (axis := time_axis(leaf, self.shortest)) is not None
        }
        if not self.axes:
            shapes = [tuple(x.shape) for x in self.leaves if isinstance(x, Tensor)]
            raise InputError(
                f"example_inputs hold no waveform: real, floating point, at least {SHORTEST:g} s long; got tensors of shapes {shapes}"
            )
        for i in self.axes:  # their sizes matter, not what they hold
            self.leaves[i] = self.leaves[i].new_zeros(()).expand(self.leaves[i].shape)
        self.template = pytree.tree_unflatten(self.leaves, tree)
        self.samples = max(self.leaves[i].shape[axis] for i, axis in self.axes.items())

    @classmethod
    def of_shape(
        cls, shape: tuple[int, ...], samples: int, sample_rate: float, like: Tensor
    ) -> "ExampleInputs":
        """One waveform, (*shape, samples), of the device and dtype of a tensor."""
        return cls(torch.zeros(*shape, samples, device=like.device, dtype=like.dtype), sample_rate)

    def arguments(self, samples: int, signal: Signal) -> tuple[Any, Any]:
        """Positional and named arguments for a call."""
        lengths = {
            self.leaves[i].shape[axis]: samples
            * max(1, round(PARTS * self.leaves[i].shape[axis] / self.samples))
            // PARTS
            for i, axis in self.axes.items()
        }
        leaves = [
            self._waveform(leaf, self.axes[i], lengths[leaf.shape[self.axes[i]]], signal)
            if i in self.axes
            else with_lengths(leaf, lengths)
            for i, leaf in enumerate(self.leaves)
        ]
        args, kwargs = pytree.tree_unflatten(leaves, self.tree())
        return args, kwargs

    def in_full_precision(self) -> "ExampleInputs":
        """The same in float32, where it is in half precision."""
        other = copy.copy(self)
        other.leaves = [
            x.float() if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16) else x
            for x in self.leaves
        ]
        return other

    def tree(self) -> pytree.TreeSpec:
        """How the arguments are nested."""
        return pytree.tree_structure(self.template)

    @staticmethod
    def _waveform(leaf: Tensor, axis: int, samples: int, signal: Signal) -> Tensor:
        shape = leaf.movedim(axis, -1).shape[:-1]
        rows = signal(shape.numel(), samples)
        return rows.reshape(*shape, samples).movedim(-1, axis).to(leaf)

    def shape(self) -> str:
        """The shapes of the waveforms, for messages."""
        return " and ".join(
            "("
            + ", ".join("time" if i == axis else str(n) for i, n in enumerate(self.leaves[leaf].shape))
            + ")"
            for leaf, axis in self.axes.items()
        )


class Arguments(NamedTuple):
    """What a call is made with: positional and named arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def as_arguments(arguments: Any) -> Arguments:
    """Positional and named arguments of what may stand for `example_inputs`."""
    if isinstance(arguments, Arguments):
        return arguments
    if isinstance(arguments, dict):
        return Arguments((), arguments)
    if isinstance(arguments, (tuple, list)):
        return Arguments(tuple(arguments), {})
    return Arguments((arguments,), {})


def time_axis(leaf: Any, shortest: int) -> int | None:
    """The longest axis of a tensor that may be a waveform; None where it is none."""
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.ndim:
        return None
    axis = max(range(leaf.ndim), key=lambda i: leaf.shape[i])
    return axis if leaf.shape[axis] >= shortest else None


def with_lengths(leaf: Any, lengths: dict[int, int]) -> Any:
    """A whole number that counts samples, for signals of other lengths; anything else as it is."""
    if isinstance(leaf, Tensor) and not leaf.is_floating_point() and not leaf.is_complex():
        changed = leaf.clone()
        for old, new in lengths.items():
            changed[leaf == old] = new
        return changed
    if isinstance(leaf, int) and not isinstance(leaf, bool):
        return lengths.get(leaf, leaf)
    return leaf


def reference_tensor(model: nn.Module) -> Tensor:
    """A parameter or buffer that tells where the model computes, and in which dtype."""
    tensors = [*model.parameters(), *model.buffers()]
    return next((x for x in tensors if x.is_floating_point()), torch.zeros(()))
