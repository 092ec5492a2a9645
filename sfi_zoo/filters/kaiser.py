"""The Kaiser-windowed sinc that turns taps back into a filter."""

from functools import lru_cache

import torch
from torch import Tensor

KAISER_BETA = 10.0  # stop band 1e-5; with Z = 32 the pass band ends at 0.9 of the Nyquist frequency (smaller b: leaks, larger: duller)
HALF_WIDTH = 32  # Z
POLYNOMIALS = 17  # per entry of a row, see `kaiser_sinc_rows`


def kaiser_sinc(u: Tensor) -> Tensor:
    r"""s(u) = sinc(u) (I0(b sqrt(1 - u^2 / Z^2)) - 1) / (I0(b) - 1) for |u| < Z, 0 beyond.

    1 at 0 and 0 at every other whole number. The transition from pass band to stop band is 6.4 / Z of the Nyquist frequency
    wide, half of it below the cutoff.

    Args:
        u: samples, any shape.
    """
    # clamped so that the slope is finite at u = Z and zero beyond
    inside = (1 - (u / HALF_WIDTH) ** 2).clamp(min=1e-20).sqrt()
    window = (torch.special.i0(KAISER_BETA * inside) - 1) / (torch.special.i0(u.new_tensor(KAISER_BETA)) - 1)
    return torch.sinc(u) * window


def kaiser_sinc_rows(positions: Tensor, columns: int) -> Tensor:
    r"""s(p - j), j = 0 ... columns - 1, for each of many positions p, in a hundredth of the operations of `kaiser_sinc`.

    With p = floor(p) + f only 2 Z entries of a row are not zero, s(f + i), i = -Z ... Z - 1, and on 0 <= f < 1 each of them is an entire
    function of exponential type 3.5: a polynomial of degree 16 in f is exact to 1e-14 (its coefficients in Chebyshev polynomials of
    2 f - 1 are those of the interpolation at 17 Chebyshev nodes), and all rows are one matrix product.

    Args:
        positions: (M,) float64; differentiable.
        columns: N.

    Returns:
        (M, N) float64.
    """
    whole = positions.detach().floor()
    basis = _chebyshev(2 * (positions - whole) - 1, POLYNOMIALS)
    values = basis.mT @ _coefficients().to(positions.device)
    index = whole.long()[:, None] - torch.arange(-HALF_WIDTH, HALF_WIDTH, device=positions.device)
    # what lies outside goes into a column before the first and one after the last
    rows = values.new_zeros(len(positions), columns + 2)
    return rows.scatter(1, index.clamp(-1, columns) + 1, values)[:, 1:-1]


def _chebyshev(x: Tensor, count: int) -> Tensor:
    """T_0 ... T_{count - 1} at x: (M,) -> (count, M)."""
    polynomials = [torch.ones_like(x), x]
    while len(polynomials) < count:
        polynomials.append(2 * x * polynomials[-1] - polynomials[-2])
    return torch.stack(polynomials)


@lru_cache(maxsize=1)
def _coefficients() -> Tensor:
    """Of T_k in s(f + i), x = 2 f - 1: (17, 2 Z) float64, i = -Z ... Z - 1."""
    with torch.inference_mode(False), torch.no_grad():
        k = torch.arange(POLYNOMIALS, dtype=torch.float64, device="cpu")
        nodes = torch.cos(torch.pi * (k + 0.5) / POLYNOMIALS)
        i = torch.arange(-HALF_WIDTH, HALF_WIDTH, dtype=torch.float64, device="cpu")
        values = kaiser_sinc((nodes[:, None] + 1) / 2 + i)
        # discrete orthogonality at the nodes: sum_n T_j T_k = 0, 17 / 2, or 17 for j = k = 0
        scale = (1 + (k > 0).double()) / POLYNOMIALS
        return scale[:, None] * (_chebyshev(nodes, POLYNOMIALS) @ values)
