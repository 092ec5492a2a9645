"""Frames cut into overlapping segments, and put together again."""

from torch import Tensor
from torch.nn import functional


def segmented(x: Tensor, segment: int, hop: int, padding: str) -> Tensor:
    """(items, channels, frames) -> (items, channels, segment, segments).

    Args:
        x: the frames.
        segment: frames of a segment (K).
        hop: from one to the next.
        padding: "half": K / 2 zeros at the start, and at the end as many and those that fill the last segment; "whole": K zeros at both
            ends, and frames that do not fill the last segment are left out.
    """
    left, right = ends(x.shape[-1], segment, hop, padding)
    return functional.pad(x, (left, right)).unfold(-1, segment, hop).transpose(-1, -2)


def joined(x: Tensor, frames: int, hop: int, padding: str) -> Tensor:
    """(items, channels, segment, segments) -> (items, channels, frames): segments are added where they overlap."""
    items, channels, segment, count = x.shape
    left, _ = ends(frames, segment, hop, padding)
    length = (count - 1) * hop + segment
    added = functional.fold(x.flatten(1, 2), (length, 1), (segment, 1), stride=(hop, 1))[..., 0]
    added = functional.pad(added, (0, max(0, left + frames - length)))
    return added.view(items, channels, -1)[..., left : left + frames]


def ends(frames: int, segment: int, hop: int, padding: str) -> tuple[int, int]:
    """Zeros before and after."""
    if padding == "whole":
        return segment, segment
    return hop, hop + segment - (hop + frames % segment) % segment
