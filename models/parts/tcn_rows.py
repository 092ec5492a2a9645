r"""The blocks of a `MaskTCN` in evaluation on a CPU: the same values, in fewer passes over memory.

A block is matrix products and, for every frame, a dozen passes over its channels that cost as much. Here a norm is no pass of its own: its
sums are taken while what it normalises is in the cache, and then

    norm(h) = s h + t,   s = weight / sqrt(variance + eps),   t = bias - s mean    (of each channel)

goes into what comes next. Before the depthwise convolution the taps w_k become s w_k, and t sum_k w_k is added, less the taps that stand
on the zeros beyond the ends. Before the residual and the skip convolution, one product here, the matrix W becomes W diag(s), and W t is a
constant of each channel. Constants are kept beside the frames: the next product takes those of the residuals into its bias. Frames are
rows, so many at a time that they stay in the cache from one pass to the next.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as every_module

IN_CACHE = 1 << 17  # numbers that are worked on at a time, 512 kB


def runs_in_rows(blocks: Sequence[Any], x: Tensor) -> bool:
    """Whether `run_in_rows` can run blocks: gLN in one group, one branch, on a CPU, and nobody differentiates or looks between modules.

    Args:
        blocks: `TCNBlock`s.
        x: (items, bottleneck, frames).
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_grad_enabled():
        return False
    if forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack():
        return False
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    if x.dtype not in (torch.float32, torch.float64) or any(
        p.dtype != x.dtype for p in blocks[0].parameters()
    ):
        return False
    hooked = bool(every_module._global_forward_hooks or every_module._global_forward_pre_hooks)
    return not hooked and all(map(_is_plain, blocks))


def run_in_rows(blocks: Sequence[Any], x: Tensor) -> Tensor:
    """The sum of the skip outputs; where blocks have none, the last residual.

    Args:
        blocks: `TCNBlock`s.
        x: (items, bottleneck, frames).

    Returns:
        (items, skip or bottleneck, frames).
    """
    skip = 0 if blocks[0].skip is None else blocks[0].skip.out_channels
    items, narrow, frames = x.shape
    residuals, skips = slice(1, 1 + narrow), slice(1 + narrow, 1 + narrow + skip)
    sums = x.new_zeros(
        items, frames, skips.stop
    )  # a one, for biases; those of the residuals; those of the skip outputs
    sums[..., 0] = 1
    sums[..., residuals] = x.mT
    constants = x.new_zeros(items, skips.stop)
    expanded, convolved = (x.new_empty(frames, blocks[0].expand.out_channels) for _ in range(2))
    for number, block in enumerate(blocks, 1):
        unused = number == len(blocks) and skip
        outputs = [m for m in (None if unused else block.residual, block.skip) if m is not None]
        columns = skips if outputs == [block.skip] else slice(1, skips.stop)
        weight = torch.cat([m.weight[..., 0] for m in outputs])
        bias = 0 if outputs[0].bias is None else torch.cat([m.bias for m in outputs])
        for rows, constant in zip(sums, constants, strict=True):
            scale, offset = _expand(block, rows[:, : skips.start], constant[residuals], expanded)
            scale, offset = _convolve(block, expanded, scale, offset, convolved)
            rows[:, columns].addmm_(convolved, (weight * scale).T)
            constant[columns] += weight @ offset + bias
    columns = skips if skip else residuals
    return (sums[..., columns] + constants[:, None, columns]).mT


def _expand(block: Any, rows: Tensor, constant: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """The first convolution and PReLU into `out`, and the norm of that; the first column of `rows` is ones."""
    weight = block.expand.weight[..., 0]
    bias = (
        weight @ constant if block.expand.bias is None else torch.addmv(block.expand.bias, weight, constant)
    )
    matrix = torch.cat([bias[None], weight.T])
    sums = _Sums(out)
    for start, end in _pieces(out):
        torch.mm(rows[start:end], matrix, out=out[start:end])
        sums.add(_prelu(block.prelu_1, out[start:end]))
    return sums.norm(block.norm_1)


def _convolve(block: Any, x: Tensor, scale: Tensor, offset: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """The depthwise convolution of scale x + offset, and a PReLU, into `out`, and the norm of that."""
    layer, frames = block.depthwise, len(x)
    taps = layer.weight[:, 0].T
    offsets = taps * offset
    constant = offsets.sum(0) if layer.bias is None else offsets.sum(0) + layer.bias
    taps = taps * scale
    first = layer.padding[0] + block.past
    shifts = [tap * layer.dilation[0] - first for tap in range(len(taps))]  # to the row that a tap stands on
    sums = _Sums(out)
    for start, end in _pieces(out):
        for tap, shift in enumerate(shifts):
            low, high = (min(max(edge, start), end) for edge in (-shift, frames - shift))
            under = out[low:high] if tap else constant
            torch.addcmul(under, x[low + shift : high + shift], taps[tap], out=out[low:high])
            for outside in (out[start:low], out[high:end]):
                if len(outside):
                    outside.copy_((outside if tap else constant) - offsets[tap])
        sums.add(_prelu(block.prelu_2, out[start:end]))
    return sums.norm(block.norm_2)


def _prelu(layer: nn.PReLU, x: Tensor) -> Tensor:
    """In place."""
    return nn.functional.leaky_relu_(x, layer.weight.item())


class _Sums:
    """Of all numbers of a tensor, and of their squares, piece by piece."""

    def __init__(self, x: Tensor) -> None:
        self.count, self.sum, self.squares = x.numel(), 0.0, 0.0

    def add(self, piece: Tensor) -> None:
        flat = piece.view(-1)
        self.sum += float(flat.sum())
        self.squares += float(torch.dot(flat, flat))

    def norm(self, layer: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        """Scale and offset of the channels."""
        mean = self.sum / self.count
        variance = max(self.squares / self.count - mean**2, 0.0)  # rounding may leave it below zero
        scale = layer.weight * (variance + layer.eps) ** -0.5
        return scale, layer.bias - scale * mean


def _pieces(x: Tensor) -> Iterator[tuple[int, int]]:
    """First and last row, and one more, of pieces that stay in the cache."""
    step = max(1, IN_CACHE // x.shape[1])
    return pairwise([*range(0, len(x), step), len(x)])


def _is_plain(block: Any) -> bool:
    one_group = all(isinstance(n, nn.GroupNorm) and n.num_groups == 1 for n in (block.norm_1, block.norm_2))
    one_slope = block.prelu_1.weight.numel() == block.prelu_2.weight.numel() == 1
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in block.modules())
    return one_group and one_slope and block.expand.groups == 1 and not hooked
