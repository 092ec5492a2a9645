"""The layer normalisations of temporal convolutional networks, by the statistics they take."""

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError

EPSILON = 1e-8
NORMS = ("global", "feature", "frame", "cumulative", "batch")


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
