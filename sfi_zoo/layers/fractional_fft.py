r"""The discrete Fourier transform at a spacing of frequencies that no fast transform has, by a longer one and a narrow matrix.

    X[m] = sum_n v[n] exp(-j 2 pi m n / N),   m = 0 ... count - 1,   N real

The values of a transform of length M > N lie at other frequencies, k / M. Between them X is interpolated by a Kaiser-Bessel kernel phi
of J values, and what the interpolation does to the sequence is undone beforehand, a factor for each sample:

    X[m] = sum_k phi(m M / N - k) Y[k],   Y = FFT_M(v[n] / Phi(n)),   Phi(n) = integral phi(u) exp(j 2 pi u n / M) du

(with n counted from the middle of the sequence). The matrix is real, J values wide, and applied block by block: frequencies are dense
in the FFT's, so a block of bins takes a block of it. One real FFT of 1.5 N and about 150 products for a bin, against two complex FFTs of
1.5 N for a chirp-z transform (`sfi_zoo.layers.chirp_z`), which is kept where N is differentiated.

Measured (`python benchmarks/speed.py --only stft`, one core, whole layers over torch.stft of the nearest whole N): 1.1 for N = 2229.12,
1.3 for 1411.2, 2.5 for 4458.23, and 4.4 beside a power of two (2048.45). On a CPU without gradients `sfi_zoo.layers.fractional_rows` takes
a third less. Error: 5e-8 of the largest bin by the kernel in float32, 1e-14 in float64.

Source: A. Dutt and V. Rokhlin, SIAM J. Sci. Comput. 14(6):1368, 1993; kernel and shape: P. J. Beatty et al., IEEE Trans. Med. Imaging
24(6):799, 2005.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sfi_zoo.layers.chirp_z import fast_length

# M / N at least, and J: errors of 3e-8 and below 1e-14
SINGLE, DOUBLE = (1.5, 10), (2.0, 16)
OUTPUTS = 16  # of a block: the fewest products on a CPU


class Block(NamedTuple):
    """Outputs first ... last - 1 from inputs begin ... end - 1, as interleaved real and imaginary parts.

    Attributes:
        matrix: (2 (end - begin), 2 (last - first)).
    """

    begin: int
    end: int
    first: int
    last: int
    matrix: Tensor


class Plan(NamedTuple):
    """What both directions take.

    Attributes:
        length: M.
        correction: (taps,) 1 / Phi.
        analysis: blocks that take the M // 2 + 1 values of a real FFT to the bins.
        synthesis: blocks that take bins to the values of the inverse FFT (times M, for sums without 1 / M).
    """

    length: int
    correction: Tensor
    analysis: tuple[Block, ...]
    synthesis: tuple[Block, ...]


def analyse(v: Tensor, plan: Plan) -> Tensor:
    """X[m]: real (..., taps), already times `plan.correction`, -> complex (..., count)."""
    return _by_blocks(torch.fft.rfft(v, n=plan.length), plan.analysis)


def synthesise(x: Tensor, plan: Plan) -> Tensor:
    """Re sum_m X[m] exp(j 2 pi m n / N): complex (..., count) -> real (..., taps), still to be multiplied by `plan.correction`."""
    taps = len(plan.correction)
    return torch.fft.irfft(_by_blocks(x, plan.synthesis), n=plan.length)[..., :taps]


def in_full_precision(device: torch.device) -> torch.autocast:
    """No half precision: a transform with rounded factors would be none."""
    return torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False)


def multiplied(parts: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Interleaved real and imaginary parts by a matrix of blocks: (..., 2 inputs) -> (..., 2 outputs)."""
    with in_full_precision(parts.device):
        return torch.cat([parts[..., 2 * b.begin : 2 * b.end] @ b.matrix for b in blocks], dim=-1)


def _by_blocks(z: Tensor, blocks: tuple[Block, ...]) -> Tensor:
    out = multiplied(torch.view_as_real(z).flatten(-2), blocks)
    return torch.view_as_complex(out.unflatten(-1, (-1, 2)))


@torch.compiler.assume_constant_result
def fractional_plan(period: float, taps: int, count: int, dtype: torch.dtype, device: str = "cpu") -> Plan:
    """What a transform of `taps` samples at `count` frequencies m / period takes, in float32 or float64."""
    length, correction, *tables = _tables(period, taps, count, dtype is torch.float64)
    analysis, synthesis = (
        tuple(
            Block(begin, end, first, last, torch.from_numpy(matrix).to(device))
            for begin, end, first, last, matrix in table
        )
        for table in tables
    )
    return Plan(length, torch.from_numpy(correction).to(device), analysis, synthesis)


def kernel_of(taps: int, middle: float, oversampling: float, width: int) -> tuple[int, float, np.ndarray]:
    """M and the shape of a kernel of J = `width` values for `taps` samples that are counted from `middle`, and 1 / Phi: (taps,).

    M is `oversampling` times `taps` at least.
    """
    # real FFTs of odd lengths take three times as long as those of lengths with many twos
    twos = 64 if taps > 256 else 8
    length = twos * fast_length(math.ceil(max(oversampling * taps, 2 * width) / twos))
    # the shape that leaves least of the kernel's transform outside
    beta = 0.99 * math.pi * width * (1 - taps / length / 2)
    root = np.sqrt(beta**2 - (math.pi * width * (np.arange(taps) - middle) / length) ** 2)
    return length, beta, root * np.i0(beta) / (width * np.sinh(root))


# arrays and no tensors: these would be fake ones under a tracer, and stay so
@lru_cache(maxsize=16)
def _tables(period: float, taps: int, count: int, double: bool):  # type: ignore[no-untyped-def]
    oversampling, width = DOUBLE if double else SINGLE
    dtype = np.float64 if double else np.float32
    middle = (taps - 1) / 2
    length, beta, correction = kernel_of(taps, middle, oversampling, width)

    at = np.arange(count) * (length / period)
    k = np.ceil(at - width / 2).astype(int)[:, None] + np.arange(width)
    away = at[:, None] - k
    kernel = np.i0(beta * np.sqrt(np.clip(1 - (2 * away / width) ** 2, 0, None))) / np.i0(beta)
    weights = kernel * np.exp(-2j * math.pi * middle / length * away)
    # the FFT of a real sequence holds half of its values; the others are conjugates
    k = k % length
    mirrored = k > length // 2
    k = np.where(mirrored, length - k, k)
    m = np.broadcast_to(np.arange(count)[:, None], k.shape)
    sign = np.where(mirrored, -1.0, 1.0)
    # (from, to) parts: (a + j b)(x + j sign y)
    cells = np.stack([weights.real, weights.imag, -weights.imag * sign, weights.real * sign], axis=-1)
    cells = cells.reshape(*k.shape, 2, 2)
    analysis = _blocks(k, m, cells, count, dtype)
    half = np.where((k == 0) | (2 * k == length), 1.0, 0.5) * length
    synthesis = _blocks(m, k, cells.swapaxes(-1, -2) * half[..., None, None], length // 2 + 1, dtype)
    return length, correction.astype(dtype), analysis, synthesis


def _blocks(source, target, cells, outputs: int, dtype):  # type: ignore[no-untyped-def]
    """Dense blocks of the matrix whose 2 x 2 cells at (source, target) add up."""
    order = np.argsort(target, axis=None, kind="stable")
    source, target = source.ravel()[order], target.ravel()[order]
    cells = cells.reshape(-1, 2, 2)[order]
    blocks = []
    for first in range(0, outputs, OUTPUTS):
        last = min(first + OUTPUTS, outputs)
        inside = slice(*np.searchsorted(target, (first, last)))
        rows = source[inside]
        begin, end = (int(rows.min()), int(rows.max()) + 1) if rows.size else (0, 1)
        matrix = np.zeros((end - begin, last - first, 2, 2))
        np.add.at(matrix, (rows - begin, target[inside] - first), cells[inside])
        matrix = matrix.swapaxes(1, 2).reshape(2 * (end - begin), -1)
        blocks.append((begin, end, first, last, np.ascontiguousarray(matrix, dtype=dtype)))
    return blocks
