"""The layer normalisations of temporal convolutional networks, by the statistics they take."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.errors import InputError

EPSILON = 1e-8
DEVIATION_FLOOR = 0.05  # of a channel that is nearly silent in the data
UNIT_FLOOR = 1e-12  # of a length
NORMS = ("global", "feature", "frame", "cumulative", "batch")


class UnitNorm(nn.Module):
    """weight * sqrt(size) x / sqrt(|x|^2 + 1e-24): a root-mean-square norm with a floor that only silence reaches.

    Args:
        size: of the last axis.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) -> the same shape."""
        size = x.shape[-1]
        # |x|^2 + floor^2 for max(|x|, floor)^2: the same but within a decade of the floor
        return functional.rms_norm(x, (size,), self.weight, UNIT_FLOOR**2 / size)


class ItemNorm(nn.Module):
    """weight * (x - mean) / sqrt(variance + eps) + bias, mean and variance over all values of an item.

    Args:
        size: of the last axis.
        eps: beside the variance.
    """

    def __init__(self, size: int, eps: float = EPSILON) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(items, ..., size) -> the same shape."""
        return functional.layer_norm(x, x.shape[1:], eps=self.eps) * self.weight + self.bias


class FrameNorm(nn.Module):
    """Normalisation over the channels of a group, frame by frame: it looks at no other frame, or at earlier ones only.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    Source: Luo and Mesgarani, TASLP 27:1256, 2019, there "cLN" (cumulative).

    Args:
        groups: groups of channels with statistics of their own.
        channels: channels in all.
        cumulative: statistics over this frame and all before it; else over this frame alone.
    """

    def __init__(self, groups: int, channels: int, cumulative: bool) -> None:
        super().__init__()
        self.groups, self.cumulative = groups, cumulative
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(items, channels, frames) -> the same shape."""
        grouped = x.unflatten(1, (self.groups, -1))
        if self.cumulative:
            seen = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
            mean = grouped.mean(2, keepdim=True).cumsum(-1) / seen
            power = grouped.square().mean(2, keepdim=True).cumsum(-1) / seen
            variance = (power - mean.square()).clamp(min=0)  # rounding may leave it below zero
        else:
            variance, mean = torch.var_mean(grouped, dim=2, correction=0, keepdim=True)
        y = (grouped - mean) * (variance + EPSILON).rsqrt()
        return y.flatten(1, 2) * self.weight[:, None] + self.bias[:, None]

    def extra_repr(self) -> str:
        """Groups, and over what the statistics are."""
        return f"{self.groups}, {len(self.weight)}, cumulative={self.cumulative}"


def create_norm(kind: str, groups: int, channels: int) -> nn.Module:
    """A normalisation of (items, channels, frames) with a weight and a bias for each channel.

    Args:
        kind: statistics over "global": the channels of a group and all frames (gLN); "feature": all frames of a channel; "frame":
            the channels of a group in one frame; "cumulative": in this frame and those before (the cLN of the paper);
            "batch": running means of a channel.
        groups: groups of channels.
        channels: channels in all.

    Raises:
        InputError: unknown kind.
    """
    match kind:
        case "global":
            return nn.GroupNorm(groups, channels, eps=EPSILON)
        case "feature":
            return nn.GroupNorm(channels, channels, eps=EPSILON)
        case "frame" | "cumulative":
            return FrameNorm(groups, channels, kind == "cumulative")
        case "batch":
            return nn.BatchNorm1d(channels)
    raise InputError(f"norm must be one of {', '.join(NORMS)}; got {kind!r}")


@torch.no_grad()
def fit_norm(norm: Any, inputs: Sequence[Tensor]) -> None:
    """Gives a norm the weight and bias with which its outputs, over all inputs, have zero mean and unit variance in each channel.

    Args:
        norm: with a weight and a bias for each channel.
        inputs: (items, channels, frames) each.
    """
    norm.weight.fill_(1.0)
    norm.bias.fill_(0.0)
    deviation, mean = torch.std_mean(torch.cat([norm(x) for x in inputs], dim=-1), dim=(0, -1))
    norm.weight.copy_(1 / deviation.clamp(min=DEVIATION_FLOOR))
    norm.bias.copy_(-mean * norm.weight)


def over_alive(norm: nn.Module, x: Tensor, alive: Tensor | None = None) -> Tensor:
    r"""A norm of `create_norm` whose statistics leave dead channels out, so that their zeros do not shift the scale of the living.

        y = (x - mean_A) / sqrt(variance_A + eps) * weight + bias

    mean_A and variance_A are over what the norm's kind says, less the dead channels; a group in which all are dead keeps the statistics of
    all. Every channel is normalised, the dead ones too. Where all are alive the values are those of the norm itself. For norms with
    statistics for each channel ("feature", "batch") there is nothing to leave out.

    It is right where, at F0, the dead channels are about as strong as the living: then the scale of the living is that of F0. Where they
    are much weaker, zeros are the better stand-in, and the plain norm the better one.

    Source: ours.

    Args:
        norm: what `create_norm` made.
        x: (items, channels, frames).
        alive: (channels,) bool; None for all.

    Returns:
        The shape of `x`.
    """
    if alive is None or not isinstance(norm, (nn.GroupNorm, FrameNorm)):
        return norm(x)
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else norm.groups
    if groups == len(alive):
        return norm(x)
    over_frames, cumulative = isinstance(norm, nn.GroupNorm), getattr(norm, "cumulative", False)
    counted = alive.unflatten(0, (groups, -1))
    counted = (counted | ~counted.any(1, keepdim=True)).to(x)
    share = (counted / counted.sum(1, keepdim=True))[..., None]  # (groups, channels, 1), one in all per group
    grouped = x.unflatten(1, (groups, -1))
    mean = (share * grouped).sum(2, keepdim=True)
    if cumulative:
        seen = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        mean = mean.cumsum(-1) / seen
        power = (share * grouped.square()).sum(2, keepdim=True).cumsum(-1) / seen
        variance = (power - mean.square()).clamp(min=0)
    else:
        mean = mean.mean(-1, keepdim=True) if over_frames else mean
        variance = (share * (grouped - mean).square()).sum(2, keepdim=True)
        variance = variance.mean(-1, keepdim=True) if over_frames else variance
    y = (grouped - mean) * (variance + EPSILON).rsqrt()
    return y.flatten(1, 2) * norm.weight[:, None] + norm.bias[:, None]
