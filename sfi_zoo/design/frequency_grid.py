"""Frequency grids for training, and least squares on any of them."""

import math

import torch
from torch import Tensor

from sfi_zoo.errors import InputError

FREQUENCY_GRIDS = ("fixed", "jittered", "random")
SMALLEST_PIVOT = 1e-6  # squared: 1e-12, where the rounding of the Gram matrix begins to show


def frequency_grid(
    kind: str, points: int, generator: torch.Generator | None = None, device: torch.device | None = None
) -> Tensor:
    """Angular frequencies in radians per sample, from low to high, at which a response is fitted.

    - "fixed": w_m = pi m / (M - 1), both ends in;
    - "jittered": each moved uniformly within its cell, +- pi / (2 (M - 1)); the ends inwards only;
    - "random": M independent uniform draws from [0, pi], sorted.

    A network that gives the response (a neural analog filter) is trained between the points of the fixed grid as well.

    Source: Imamura et al., APSIPA Trans. Signal Inf. Process. 13(1) e28, 2024, and their code (MIT), where they are called fixed,
    randomized and completely randomized.

    Args:
        kind: "fixed", "jittered" or "random".
        points: M, at least 2.
        generator: where the draws come from; the global one if None.
        device: of the result.

    Returns:
        (M,) float64.

    Raises:
        InputError: an unknown kind, or fewer than 2 points.
    """
    if kind not in FREQUENCY_GRIDS:
        raise InputError(f"frequency_grid must be one of {FREQUENCY_GRIDS}, got {kind!r}")
    if points < 2:
        raise InputError(f"a frequency grid needs 2 points or more, got {points}")
    grid = torch.linspace(0, math.pi, points, dtype=torch.float64, device=device)
    if kind == "fixed":
        return grid
    source = device if generator is None else generator.device
    draws = torch.rand(points, generator=generator, dtype=torch.float64, device=source).to(grid.device)
    if kind == "random":
        return (draws * math.pi).sort().values
    moved = grid + (draws - 0.5) * (math.pi / (points - 1))
    return math.pi - (math.pi - moved.abs()).abs()  # what left [0, pi] at an end is reflected


def least_squares_taps_on(grid: Tensor, response: Tensor, first: int, num_taps: int) -> Tensor:
    r"""Real taps whose response is closest to `response` on any grid of frequencies.

    Minimises sum_m |H(w_m) - sum_n a_n exp(-j w_m n)|^2 over real a_n, n = first ... first + L - 1, by the normal equations in float64:

        sum_n' G_{n n'} a_n' = Re sum_m H(w_m) exp(j w_m n),   G_{n n'} = sum_m cos(w_m (n - n'))

    one Toeplitz system for all filters. Where the grid does not determine the taps (gaps wider than 1 / L of the band, more taps than
    equations) the solution of least norm is taken, as the published pseudo-inverse does. On the uniform grid
    `least_squares_taps` gives the same in closed form.

    Args:
        grid: (M,) radians per sample.
        response: complex (C, M).
        first: index of the first tap.
        num_taps: L.

    Returns:
        (C, L) float64.
    """
    grid = grid.double()
    angle = grid[:, None] * torch.arange(num_taps, dtype=torch.float64, device=grid.device)
    waves = torch.complex(angle.cos(), angle.sin())  # exp(j w n'), n' = 0 ... L - 1
    start = torch.complex((grid * first).cos(), (grid * first).sin())
    b = ((response.to(waves.dtype) * start) @ waves).real
    index = torch.arange(num_taps, device=grid.device)
    gram = waves.real.sum(0)[(index[:, None] - index).abs()]
    factor, info = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal()
    if info == 0 and pivots.min() > SMALLEST_PIVOT * pivots.max():
        return torch.cholesky_solve(b.mT, factor).mT
    return b @ torch.linalg.pinv(gram, rtol=SMALLEST_PIVOT**2, hermitian=True)
