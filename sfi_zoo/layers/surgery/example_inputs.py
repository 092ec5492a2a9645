"""What a foreign model is called with, at any length: which of its inputs are waveforms, and along which axis they run."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sfi_zoo.errors import InputError

SHORTEST = 0.02  # seconds: what is shorter is no waveform
SHAPES = ((1, 1), (1, 2), (1,), (2,), ())  # before the axis of time, tried in this order
PART = 8  # of the longest waveform: what is shorter is none
COUNTED = 10  # of the longest waveform: whole numbers from such a part of it on may count samples
PARTS = 4  # other waveforms are so many parts of the longest: whole numbers of samples at every rate
Signal = Callable[[int, int], Tensor]  # (rows, samples) -> (rows, samples)


class ExampleInputs:
    """Arguments of a model, of which those that are waveforms can be replaced by others of any length.

    A waveform is a real floating-point tensor that is at least 20 ms long, and an eighth of the longest one; time is its longest axis.
    Each gets a signal of its own. Whole numbers from a tenth of the longest length to that length count samples, and stay the same parts of
    it, as do truth values and whole numbers that are given for each sample; a number that is the sampling frequency is not touched.

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
        self.rate = sample_rate
        self.shortest = round(SHORTEST * sample_rate)
        self.leaves, tree = pytree.tree_flatten((args, kwargs))
        self.axes = {
            i: axis
            for i, leaf in enumerate(self.leaves)
            if (axis := time_axis(leaf, self.shortest)) is not None
        }
        longest = max((self.leaves[i].shape[axis] for i, axis in self.axes.items()), default=0)
        self.axes = {i: axis for i, axis in self.axes.items() if self.leaves[i].shape[axis] * PART >= longest}
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

    def arguments(
        self, samples: int, signal: Signal, whole: bool = False, rates: Mapping[float, float] | None = None
    ) -> tuple[Any, Any]:
        """Positional and named arguments for a call.

        Args:
            samples: of the longest waveform.
            signal: what waveforms hold.
            whole: all waveforms have so many samples; else the shorter ones stay quarters of it.
            rates: numbers that are sampling frequencies, where they are arguments, and what takes their place; F0 itself if None.
        """
        parts = {n: PARTS if whole else max(1, round(PARTS * n / self.samples)) for n in self.lengths()}
        lengths = {n: samples * part // PARTS for n, part in parts.items()}
        leaves, before = [], 0
        for i, leaf in enumerate(self.leaves):
            if i in self.axes:
                length = lengths[leaf.shape[self.axes[i]]]
                leaves.append(self._waveform(leaf, self.axes[i], length, signal, before))
                before += leaf.numel() // leaf.shape[self.axes[i]]
            else:
                leaves.append(
                    self._counted(leaf, lengths, {self.rate: self.rate} if rates is None else rates)
                )
        args, kwargs = pytree.tree_unflatten(leaves, self.tree())
        return args, kwargs

    def lengths(self) -> set[int]:
        """Of the waveforms."""
        return {self.leaves[i].shape[axis] for i, axis in self.axes.items()}

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

    def _counted(self, leaf: Any, lengths: dict[int, int], rates: Mapping[float, float]) -> Any:
        """What is no waveform, for signals of other lengths."""
        if isinstance(leaf, (int, float)) and leaf in rates:
            return type(leaf)(rates[leaf])
        return with_lengths(leaf, lengths)

    @staticmethod
    def _waveform(leaf: Tensor, axis: int, samples: int, signal: Signal, before: int) -> Tensor:
        """`before`: rows that other waveforms have taken."""
        shape = leaf.movedim(axis, -1).shape[:-1]
        rows = signal(before + shape.numel(), samples)[before:]
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
    """What counts samples, for signals of other lengths; anything else as it is.

    Args:
        leaf: a whole number, or a tensor of whole numbers or truth values.
        lengths: the new length of a waveform by its old one.
    """
    longest = max(lengths)
    if isinstance(leaf, Tensor) and not leaf.is_floating_point() and not leaf.is_complex():
        for axis, size in enumerate(leaf.shape):
            if size in lengths:
                chosen = torch.arange(lengths[size], device=leaf.device) * size // lengths[size]
                leaf = leaf.index_select(axis, chosen)
        if leaf.dtype == torch.bool:
            return leaf
        counts = (leaf * COUNTED >= longest) & (leaf <= longest)
        scaled = (leaf.double() * lengths[longest] / longest).round().to(leaf.dtype)
        changed = torch.where(counts, scaled, leaf)
        for old, new in lengths.items():
            changed[leaf == old] = new
        return changed
    if isinstance(leaf, int) and not isinstance(leaf, bool):
        scaled_one = (
            round(leaf * lengths[longest] / longest)
            if longest <= leaf * COUNTED <= longest * COUNTED
            else leaf
        )
        return lengths.get(leaf, scaled_one)
    return leaf


def reference_tensor(model: nn.Module) -> Tensor:
    """A parameter or buffer that tells where the model computes, and in which dtype."""
    tensors = [*model.parameters(), *model.buffers()]
    return next((x for x in tensors if x.is_floating_point()), torch.zeros(()))
