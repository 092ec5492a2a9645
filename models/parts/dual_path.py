"""Dual-path networks: layers along the frames of each band, and along the bands of each frame, in turn."""

from collections.abc import Iterable

from einops import rearrange
from torch import Tensor, nn


class DualPath(nn.Module):
    """Pairs of layers, one along frames and one along bands.

    Source: Luo, Chen and Yoshioka, ICASSP 2020, arXiv:1910.06379 (dual-path RNN).

    Args:
        along_frames: one for each pair, (items, steps, width) -> the same shape.
        along_bands: as many.
        norm: what follows the last pair; None for nothing.
        dense: each pair sees the sum of its input and what all pairs before it gave, in which the last one counts twice.
    """

    def __init__(
        self,
        along_frames: Iterable[nn.Module],
        along_bands: Iterable[nn.Module],
        norm: nn.Module | None = None,
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.along_frames = nn.ModuleList(along_frames)
        self.along_bands = nn.ModuleList(along_bands)
        self.norm, self.dense = norm, dense

    def forward(self, x: Tensor) -> Tensor:
        """(items, frames, bands, width) -> the same shape."""
        items = len(x)
        given: list[Tensor] = []
        for frames, bands in zip(self.along_frames, self.along_bands, strict=True):
            for earlier in given if self.dense else ():
                x = x + earlier
            x = rearrange(frames(rearrange(x, "i k b n -> (i b) k n")), "(i b) k n -> (i k) b n", i=items)
            x = rearrange(bands(x), "(i k) b n -> i k b n", i=items)
            if self.dense:
                given.append(x)
        return x if self.norm is None else self.norm(x)
