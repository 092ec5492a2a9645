"""From scores to masks."""

from torch import Tensor

MASKS = ("softmax", "sigmoid", "relu", "linear")


def masks_from(scores: Tensor, kind: str) -> Tensor:
    """(items, sources, features, frames) scores -> masks, "softmax" over the sources or value by value."""
    match kind:
        case "softmax":
            return scores.softmax(dim=1)
        case "sigmoid":
            return scores.sigmoid()
        case "relu":
            return scores.relu()
    return scores
