"""Taps from other taps: at other rates, or at other delays."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sfi_zoo.filters.kaiser import HALF_WIDTH, kaiser_sinc, kaiser_sinc_rows

INTERPOLATION_WIDTH = 16
# up to which fraction of the Nyquist frequency an error counts how much; few resamplers keep what lies above 0.9
IMPORTANCE = ((0.9, 1.0), (0.95, 1e-8), (1.0, 1e-11))
BLOCK = 64  # samples at F0 whose instants are interpolated at once: half of the matrix is zero then, and it fits into the cache


def interpolated_delays(taps: Tensor, delays: Tensor) -> Tensor:
    r"""Taps for other delays, by windowed-sinc interpolation of the taps themselves.

    Interpolating the output y of a stride-1 convolution at position i + d is sum_j s(d - j) y[i + j], and the two sums commute:

        w_d[m] = sum_j s(d - j) w[m - j],   s(u) = sinc(u) cos^2(pi u / 2 (Z + 1)),   |j| <= Z = 16

    so a strided convolution with w_d gives what the interpolation gives, without computing the samples in between.

    Source: Imamura, Nakamura, Takamichi et al., arXiv:2306.10718 (they interpolate the output; the window is our choice).

    Args:
        taps: (C, L).
        delays: (P,) samples in (-1, 1), relative to the delay `taps` are for.

    Returns:
        (P, C, L + 2 Z), from index -Z of `taps` on.
    """
    s, width = between_samples(delays), INTERPOLATION_WIDTH
    windows = torch.nn.functional.pad(taps, (2 * width, 2 * width)).unfold(-1, 2 * width + 1, 1)
    return torch.einsum("clj,pj->pcl", windows.to(s), s.flip(-1))


def between_samples(delays: Tensor) -> Tensor:
    """s(d - j), j = -Z ... Z, see `interpolated_delays`: (P,) samples -> (P, 2 Z + 1)."""
    width = INTERPOLATION_WIDTH
    u = delays[:, None] - torch.arange(-width, width + 1, dtype=delays.dtype, device=delays.device)
    return torch.sinc(u) * torch.cos(math.pi / 2 * (u / (width + 1)).clamp(-1, 1)) ** 2


def band_limited_taps(
    taps: Tensor,
    delays: Tensor,
    first: int,
    last: int,
    sample_rate: float | Tensor,
    band: float,
    trained_rate: float,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    r"""Taps at F from the taps at F0, without what they hold above band / 2.

    With w[m] the tap at F0 for the instant t_m = ((L0 - 1) / 2 - m) / F0 and B the band:

        h(t) / F = (B / F) sum_m w[m] s(B (t - t_m)),   s: `kaiser_sinc`

    at t = (delay - n) / F, n = first ... last. This is the convolution at F0 applied to the resampled signal, in one kernel: a layer that
    is trained at F0 computes the same at F, up to 0.9 of the lower Nyquist frequency.

    Of the matrix s(B (t - t_m)) only a band of 2 Z entries is not zero, and along it the argument moves in steps of 1, from one m to
    the next above F0 and from one n to the next below it: see `kaiser_sinc_rows`. It is taken in blocks of instants.

    Args:
        taps: (C, L0) at F0, as a correlation has them: m runs against the time of h.
        delays: (P,) samples, float64.
        first: index of the first tap.
        last: index of the last tap.
        sample_rate: F in Hz; a tensor is differentiated through (and all entries of the matrix are computed, as within `torch.compile`).
        band: B = min(F, F0) in Hz.
        trained_rate: F0 in Hz.
        dtype: of the sum over m; its factors are computed in float64.

    Returns:
        (P, C, L), in `dtype`.
    """
    kernel_size = taps.shape[-1]
    taps = (taps * (band / sample_rate)).to(dtype)
    m = torch.arange(kernel_size, dtype=delays.dtype, device=delays.device)
    n = torch.arange(first, last + 1, dtype=delays.dtype, device=delays.device)
    instants = ((kernel_size - 1) / 2 - m) / trained_rate
    # bounds of blocks are read from the delays, which a compiled graph cannot do: it computes all entries
    if isinstance(sample_rate, Tensor) or torch.compiler.is_compiling():
        offsets = delays[:, None, None] - n
        return taps @ kaiser_sinc(band * (offsets / sample_rate - instants[:, None])).to(dtype)
    block = BLOCK if sample_rate < trained_rate else max(1, round(BLOCK * sample_rate / trained_rate))
    reach, pieces = HALF_WIDTH / band, []
    earliest, latest = (float(x) for x in delays.detach().aminmax())
    for some in n.split(block):
        # the taps at F0 within reach of the instants of this block
        from_m, to_m = (
            (kernel_size - 1) / 2
            - (delay - float(at)) * trained_rate / sample_rate
            + side * reach * trained_rate
            for delay, at, side in ((latest, some[0], -1), (earliest, some[-1], 1))
        )
        begin, end = max(0, math.floor(from_m)), min(kernel_size, math.ceil(to_m) + 1)
        if begin >= end:
            pieces.append(taps.new_zeros(len(delays), len(taps), len(some)))
        elif sample_rate < trained_rate:
            positions = delays[:, None] - instants[begin:end] * sample_rate - some[0]
            rows = kaiser_sinc_rows(positions.flatten(), len(some)).unflatten(0, positions.shape)
            pieces.append(taps[:, begin:end] @ rows.to(dtype))
        else:
            positions = (kernel_size - 1) / 2 - (delays[:, None] - some) * (trained_rate / sample_rate)
            rows = kaiser_sinc_rows(positions.flatten() - begin, end - begin)
            products = taps[:, begin:end] @ rows.to(dtype).mT
            pieces.append(products.unflatten(1, positions.shape).transpose(0, 1))
    return torch.cat(pieces, dim=-1)


def closest_taps(
    taps: Tensor, first: int, last: int, sample_rate: float | Tensor, trained_rate: float
) -> Callable[[Tensor], Tensor]:
    r"""Taps at F < F0 whose response is closest to that of the taps at F0.

    With w[m] the tap at F0 for the instant t_m = ((L0 - 1) / 2 - m) / F0, d a delay and u = 2 f / F, the taps a[n] for the instants
    (d - n) / F that minimise

        int_0^1 v(u) |sum_n a[n] exp(-j pi u (d - n)) - sum_m w[m] exp(-j pi u F t_m)|^2 du,   v: `IMPORTANCE`

    solve the normal equations

        sum_k s(n - k) a[k] = sum_m s(d - n - F t_m) w[m],   s(x) = int_0^1 v(u) cos(pi u x) du.

    Below 0.9 of the Nyquist frequency the error is that of `band_limited_taps` or a tenth of it, with half as many taps beyond a
    kernel that is not short (`closest_width`): a windowed sinc serves every signal, this one that ends where the kernel does. The small
    weights above keep taps from growing where w cannot be had.

    Args:
        taps: (C, L0) at F0, as a correlation has them: m runs against the time of h.
        first: index n of the first tap.
        last: index of the last tap.
        sample_rate: F in Hz; a tensor is differentiated through.
        trained_rate: F0 in Hz.

    Returns:
        A function: delays, (P,) samples in float64 -> taps, (P, C, L) float64.
    """
    n = torch.arange(first, last + 1, dtype=torch.float64, device=taps.device)
    m = torch.arange(taps.shape[-1], dtype=torch.float64, device=taps.device)
    instants = ((taps.shape[-1] - 1) / 2 - m) * (sample_rate / trained_rate)
    # an explicit inverse would lose three digits
    factor = torch.linalg.cholesky(_correlation(n[:, None] - n))

    def at(delays: Tensor) -> Tensor:
        correlation = _correlation(delays[:, None, None] - n[:, None] - instants)
        return (torch.cholesky_solve(correlation, factor) @ taps.double().mT).mT

    return at


def closest_width(kernel_size: float) -> float:
    """Samples beyond both ends of a kernel of so many samples at F with which `closest_taps` are no worse than `band_limited_taps`.

    Measured on kernels of noise. A long kernel has more taps to choose from; the shortest take as many as a windowed sinc.
    """
    return max(17.0, HALF_WIDTH - 0.45 * kernel_size)


def _correlation(x: Tensor) -> Tensor:
    """s(x), see `closest_taps`."""
    s, beyond = torch.zeros_like(x), 0.0
    for edge, weight in reversed(IMPORTANCE):
        s = s + (weight - beyond) * edge * torch.sinc(edge * x)
        beyond = weight
    return s
