"""Frequency scales on which filter banks are laid out."""

import math

import torch
from torch import Tensor

from sfi_zoo.errors import InputError

ERB_CORNER_HZ = 24.7 * 9.265  # Glasberg and Moore (1990): ERB(f) = 24.7 + f / 9.265
MEL_CORNER_HZ = 700.0
SPACING_TO_BANDWIDTH = 0.6  # neighbouring Gaussians cross at |H|^2 = exp(-(0.5 / 0.6)^2) = 0.5


def spaced_frequencies(
    count: int, frequency_range: tuple[float, float], scale: str = "erb", corner_hz: float | None = None
) -> Tensor:
    """`count` frequencies from low to high, equally spaced on a perceptual scale.

    Every scale here is u(f) = ln(1 + f / c): linear below the corner c and logarithmic above it. "erb" has
    c = 228.8 Hz, "mel" has c = 700 Hz, "linear" is the limit of an infinite corner, "log1p" takes `corner_hz`.

    Args:
        count: number of frequencies.
        frequency_range: lowest and highest frequency in Hz.
        scale: "erb", "mel", "linear" or "log1p".
        corner_hz: the corner c in Hz, for "log1p" only.

    Returns:
        (count,) float64, Hz, with values on the CPU even where a model is being built on meta.

    Raises:
        InputError: unknown scale, or a range that is not 0 <= low < high.
    """
    low, high = frequency_range
    if not (0 <= low < high and math.isfinite(high)):
        raise InputError(f"frequency_range must be 0 <= low < high in Hz, got {frequency_range}")
    if scale == "linear":
        return torch.linspace(low, high, count, dtype=torch.float64, device="cpu")
    corners = {"erb": ERB_CORNER_HZ, "mel": MEL_CORNER_HZ, "log1p": corner_hz}
    corner = corners.get(scale)
    if corner is None or corner <= 0:
        raise InputError(
            f"scale must be 'erb', 'mel', 'linear', or 'log1p' with a positive corner_hz; "
            f"got scale={scale!r}, corner_hz={corner_hz}"
        )
    ends = math.log1p(low / corner), math.log1p(high / corner)
    u = torch.linspace(*ends, count, dtype=torch.float64, device="cpu")
    return corner * torch.expm1(u)


def spaced_bandwidths(centers: Tensor, bandwidth: float | tuple[float, float]) -> Tensor:
    """Bandwidths for a bank: one number for all, or (low, high): 0.6 times the spacing of the centres, clamped to that range.

    Args:
        centers: (count,) Hz.
        bandwidth: Hz.

    Returns:
        (count,) Hz.

    Raises:
        InputError: a bandwidth that is not positive.
    """
    limits = bandwidth if isinstance(bandwidth, (tuple, list)) else (bandwidth,)
    if not min(limits) > 0:
        raise InputError(f"bandwidth must be positive, in Hz; got {bandwidth}")
    if len(limits) == 1 or len(centers) < 2:
        return torch.full_like(centers, float(limits[0]))
    low, high = limits
    return (SPACING_TO_BANDWIDTH * torch.gradient(centers)[0]).clamp(float(low), float(high))
