r"""PReLU and depthwise convolution whose gradients are cheap on a CPU, where PyTorch's own take most of a training step.

Values, weights and names of parameters are those of the PyTorch layers, whose own operators run wherever nothing is trained on a CPU: in
evaluation, on a GPU, in a graph that is traced, compiled or exported.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


def in_training_on_cpu(module: nn.Module, x: Tensor) -> bool:
    """Whether a gradient may be asked for, step by step, on a CPU."""
    graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.jit.is_scripting()
    return module.training and torch.is_grad_enabled() and x.device.type == "cpu" and not graph


class PReLU(nn.PReLU):
    """`nn.PReLU`; its gradient takes a fifth of the time on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0) + a min(x, 0), any shape with the channels in axis 1."""
        if x.ndim < 2 or not in_training_on_cpu(self, x):
            return super().forward(x)
        slope = self.weight.to(x.dtype).view(-1, *[1] * (x.ndim - 2))  # against axis 1
        return _PReLU.apply(x, slope)


class _PReLU(Function):
    """x, slope that broadcasts against it -> max(x, 0) + slope min(x, 0)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: Tensor) -> Tensor:
        return torch.prelu(x, slope.flatten())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, slope = ctx.saved_tensors
        of_x = of_slope = None
        if ctx.needs_input_grad[0]:
            of_x = _descent(gradient, x, slope)
        if ctx.needs_input_grad[1]:
            of_slope = x.clamp(max=0).mul_(gradient).sum_to_size(slope.shape)
        return of_x, of_slope

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_slope: Tensor | None) -> Tensor:
        x, slope = ctx.saved_tensors
        moved = torch.zeros_like(x) if of_x is None else _descent(of_x, x, slope)
        return moved if of_slope is None else moved + x.clamp(max=0) * of_slope


def _descent(gradient: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    """The gradient where x > 0, slope times it elsewhere; `where` would take ten times as long."""
    if slope.numel() == 1 and not torch.is_grad_enabled():  # nobody differentiates the gradient by the slope
        return torch.ops.aten.leaky_relu_backward(gradient, x, slope.item(), False)
    return torch.lerp(torch.ops.aten.threshold_backward(gradient, x, 0), gradient, slope)


class Depthwise(nn.Conv1d):
    """`nn.Conv1d` with a filter for each channel; with a stride of 1 a third of the time in training on a CPU.

    Args:
        channels: in and out, and groups.
        kernel_size: P.
        stride: as in `nn.Conv1d`.
        padding: zeros on both sides.
        dilation: as there.
        bias: whether there is one.
    """

    padding: tuple[int, ...]

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """(items, channels, frames) -> (items, channels, other frames)."""
        if x.ndim != 3 or self.stride[0] > 1 or not in_training_on_cpu(self, x):
            return super().forward(x)
        kernel = self.weight[:, 0].to(x.dtype)
        y: Tensor = _Correlation.apply(x, kernel, self.padding[0], self.dilation[0])
        return y if self.bias is None else y + self.bias.to(x.dtype)[:, None]


class _Correlation(Function):
    """See `_correlate`, of which the gradients are correlations, too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, kernel: Tensor, padding: int, dilation: int) -> Tensor:
        return _correlate(x, kernel, padding, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, kernel, ctx.padding, ctx.dilation = inputs
        ctx.save_for_backward(x, kernel)
        ctx.save_for_forward(x, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, kernel = ctx.saved_tensors
        size, padding, dilation = kernel.shape[-1], ctx.padding, ctx.dilation
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x = _correlate(gradient, kernel.flip(-1), dilation * (size - 1) - padding, dilation)
        if ctx.needs_input_grad[1]:
            spans = _spans(x.shape[-1], size, padding, dilation)
            taps = [torch.linalg.vecdot(x[..., seen], gradient[..., made]) for seen, made in spans]
            of_kernel = torch.stack(taps, dim=-1).sum(0)
        return of_x, of_kernel, None, None

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_kernel: Tensor | None, *_: None) -> Tensor:
        x, kernel = ctx.saved_tensors
        options = ctx.padding, ctx.dilation
        moved = [_correlate(of_x, kernel, *options)] if of_x is not None else []
        moved += [_correlate(x, of_kernel, *options)] if of_kernel is not None else []
        return sum(moved[1:], moved[0])


def _spans(frames: int, size: int, padding: int, dilation: int) -> Iterator[tuple[slice, slice]]:
    """For every tap j the frames of x it sees and the frames of y it adds to: k + j d - p and k."""
    made = frames + 2 * padding - dilation * (size - 1)
    for j in range(size):
        offset = j * dilation - padding
        first = min(max(0, -offset), made)
        last = max(first, min(made, frames - offset))
        yield slice(first + offset, last + offset), slice(first, last)


def _correlate(x: Tensor, kernel: Tensor, padding: int, dilation: int) -> Tensor:
    """y[k] = sum_j w_j x[k + j d - p], x zero outside: (items, C, frames), (C, P) -> (items, C, frames + 2 p - d (P - 1))."""
    size = kernel.shape[-1]
    taps = list(zip(_spans(x.shape[-1], size, padding, dilation), kernel[:, :, None].unbind(1), strict=True))
    made = x.shape[-1] + 2 * padding - dilation * (size - 1)
    taps.sort(key=lambda tap: tap[0][1].stop - tap[0][1].start, reverse=True)
    (seen, reached), tap = taps[0]
    y = x[..., seen] * tap
    if y.shape[-1] < made:
        y = nn.functional.pad(y, (reached.start, made - reached.stop))
    for (seen, reached), tap in taps[1:]:
        y[..., reached].addcmul_(x[..., seen], tap)
    return y
