r"""The transform of `sfi_zoo.layers.fractional_fft` for many frames at once on a CPU, where nothing is differentiated.

    X[m] = sum_k phi(m M / N - k) Y[k],   Y = FFT_M(v[n] / Phi(n))

with n counted from the middle of the sequence: what the middle adds is a phase of every bin, which frames have anyway. The sequence lies in
the middle of the FFT's, which is a sign of every other k: the matrix is real, where it is complex there. It is applied to rows of
frequencies, all frames side by side, in blocks of bins that lie a whole number of rows apart, or nearly: one batched product, 0.2 to 0.3
times the products.

Whole layers on 20 s of stereo (CPU time, minima of seven runs on a busy machine, 2048.45 samples): 99 ms where the blocks of
`fractional_fft` take 144, and back 142 where they take 193.

Three were measured. The same matrix on rows of frames, real and imaginary parts interleaved, doubles the products, and rows that lie far
apart make the product slow: three times this product. Samples spread to M points before the FFT (the adjoint) need no rows of
frequencies, but M = 2 N for the same error: bins close to F / 2 are divided by little. A chirp-z transform takes two complex FFTs of
1.5 N. Resampling the signal to a whole N is not the sum: windows reach beyond F / 2.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sfi_zoo.layers.fractional_fft import in_full_precision, kernel_of

# M / N at least, and J: errors of 3e-8 and below 1e-14
SINGLE, DOUBLE = (1.49, 10), (1.99, 16)
OUTPUTS = range(8, 41)  # of a block
ONE_MORE = 2500  # products that take as long as a group of blocks more


class Group(NamedTuple):
    """Blocks of outputs. Block b takes the rows begin + b step ... of the inputs.

    Attributes:
        begin: first row of block 0.
        step: rows from a block to the next.
        matrix: (blocks, outputs, inputs).
    """

    begin: int
    step: int
    matrix: Tensor


class Plan(NamedTuple):
    """What both directions take.

    Attributes:
        length: M.
        middle: sample that lies in the middle of the FFT's sequence.
        first: where sample 0 lies in it.
        correction: (taps,) 1 / Phi.
        analysis: groups of blocks, from the values of a real FFT, k = 0 ... M / 2, to the bins.
        before: values that are put before these, and `after`, after them.
        bins: number of bins.
        synthesis: from the bins to k = -edge ... M / 2 + edge, times M (for sums without 1 / M); the last may be left out, as zeros.
        below: zeros that are put before the bins, and `above`, after them.
        outputs: number of values.
        edge: values beyond both ends of the FFT's.
    """

    length: int
    middle: int
    first: int
    correction: Tensor
    analysis: tuple[Group, ...]
    before: int
    after: int
    bins: int
    synthesis: tuple[Group, ...]
    below: int
    above: int
    outputs: int
    edge: int


def analyse(sequences: Tensor, plan: Plan) -> Tensor:
    """sum_n v[n] exp(-j 2 pi m (n - middle) / N): real (frames, M) -> complex (bins, frames).

    Sample n, times `plan.correction`, lies at `plan.first` + n; zeros around.
    """
    spectra = torch.fft.rfft(sequences)
    before, after, values = plan.before, plan.after, plan.length // 2 + 1
    rows = spectra.new_empty(before + values + after, len(spectra))
    rows.narrow(0, before, values).copy_(spectra.mT)
    # the FFT of a real sequence holds half of its values; the others are conjugates
    rows.narrow(0, 0, before).copy_(rows.narrow(0, before + 1, before).flip(0).conj())
    last = rows.narrow(0, before + values - 1 - after, after)
    rows.narrow(0, before + values, after).copy_(last.flip(0).conj())
    return _as_complex(multiplied(torch.view_as_real(rows).flatten(1), plan.analysis, plan.bins))


def synthesise(x: Tensor, plan: Plan) -> Tensor:
    """Re sum_m x[m] exp(j 2 pi m (n - middle) / N): complex (bins, frames) -> real (frames, taps), still to be multiplied by
    `plan.correction`.
    """
    parts = torch.view_as_real(x.contiguous()).flatten(1)
    values, edge = plan.length // 2 + 1, plan.edge
    parts = multiplied(functional.pad(parts, (0, 0, plan.below, plan.above)), plan.synthesis, plan.outputs)
    wide = _as_complex(functional.pad(parts, (0, 0, 0, values + 2 * edge - len(parts))))
    rows = wide.narrow(0, edge, values)
    rows.narrow(0, 1, edge).add_(wide.narrow(0, 0, edge).flip(0).conj())
    rows.narrow(0, values - 1 - edge, edge).add_(wide.narrow(0, edge + values, edge).flip(0).conj())
    segments = torch.fft.irfft(rows.mT.contiguous(), n=plan.length)
    return segments[:, plan.first :][:, : len(plan.correction)]


def multiplied(rows: Tensor, groups: tuple[Group, ...], outputs: int) -> Tensor:
    """A narrow matrix times rows: (inputs, .) -> (outputs, .)."""
    with in_full_precision(rows.device):
        pieces = [torch.bmm(g.matrix, _under(rows, g)).flatten(0, 1) for g in groups]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces))[:outputs]


def _under(rows: Tensor, group: Group) -> Tensor:
    """What each block of a group takes: (blocks, inputs, .)."""
    blocks, _, inputs = group.matrix.shape
    there = rows[group.begin : group.begin + (blocks - 1) * group.step + inputs]
    return there.unfold(0, inputs, group.step).mT


def _as_complex(parts: Tensor) -> Tensor:
    return torch.view_as_complex(parts.unflatten(1, (-1, 2)))


def rows_plan(period: float, taps: int, count: int, dtype: torch.dtype, device: str = "cpu") -> Plan:
    """What a transform of `taps` samples at `count` frequencies m / period takes, in float32 or float64."""
    length, edge, correction, analysis, synthesis = _tables(period, taps, count, dtype is torch.float64)
    middle = taps // 2
    before, after, bins, groups = analysis
    below, above, outputs, back = synthesis
    return Plan(
        length=length,
        middle=middle,
        first=length // 2 - middle,
        correction=torch.from_numpy(correction).to(device),
        analysis=tuple(Group(begin, step, torch.from_numpy(x).to(device)) for begin, step, x in groups),
        before=before,
        after=after,
        bins=bins,
        synthesis=tuple(Group(begin, step, torch.from_numpy(x).to(device)) for begin, step, x in back),
        below=below,
        above=above,
        outputs=outputs,
        edge=edge,
    )


@lru_cache(maxsize=16)
def _tables(period: float, taps: int, count: int, double: bool):  # type: ignore[no-untyped-def]
    oversampling, width = DOUBLE if double else SINGLE
    dtype = np.float64 if double else np.float32
    length, beta, correction = kernel_of(taps, taps // 2, oversampling, width)

    # the last value of the kernel at its very end is zero
    at = np.arange(count) * (length / period)
    k = np.ceil(at - width / 2).astype(int)[:, None] + np.arange(width)
    away = np.clip(1 - (2 * (at[:, None] - k) / width) ** 2, 0, None)
    weights = np.i0(beta * np.sqrt(away)) / np.i0(beta) * (1 - 2 * (k % 2))
    edge, half = width // 2, length // 2
    m = np.broadcast_to(np.arange(count)[:, None], k.shape)
    mirrors = half - 1
    analysis = _band(m, k, weights, count, half + 1, mirrors, dtype)
    # of a real sequence k and -k count; the first and the last value have no twin
    scale = np.where((k == 0) | (k == half), 1.0, 0.5) * length
    synthesis = _band(k + edge, m, weights * scale, k.max() + edge + 1, count, count + length, dtype)
    return length, edge, correction.astype(dtype), analysis, synthesis


def _band(target, source, values, outputs: int, inputs: int, most: int, dtype):  # type: ignore[no-untyped-def]
    """The matrix with `values` at (target, source) in blocks, so that it takes the fewest products; `most` rows before and after."""
    first, last = np.full(outputs, inputs), np.full(outputs, -1)
    np.minimum.at(first, target.ravel(), source.ravel())
    np.maximum.at(last, target.ravel(), source.ravel())
    best = None
    for size in sorted({min(size, outputs) for size in OUTPUTS}):
        for number in (1, 2, 4, 8, 16):
            groups = _groups(first, last, outputs, size, number)
            before = max(0, -min(begin for begin, *_ in groups))
            after = max(0, max(b + (n - 1) * step + wide for b, step, n, wide in groups) - inputs)
            cost = sum(n * size * wide for _, _, n, wide in groups) + ONE_MORE * len(groups)
            if max(before, after) <= most and (best is None or cost < best[0]):
                best = cost, size, before, after, groups
    assert best is not None
    _, size, before, after, groups = best
    place, tables = 0, []
    for begin, step, blocks, wide in groups:
        matrix = np.zeros((blocks, size, wide))
        some = (target >= place) & (target < place + blocks * size)
        block, row = np.divmod(target[some] - place, size)
        np.add.at(matrix, (block, row, source[some] - begin - block * step), values[some])
        tables.append((begin + before, step, matrix.astype(dtype)))
        place += blocks * size
    return before, after, outputs, tables


def _groups(first, last, outputs: int, size: int, number: int):  # type: ignore[no-untyped-def]
    """(begin, step, blocks, inputs) of each group, where blocks of `size` outputs lie a whole number of rows apart."""
    edges = np.arange(0, outputs, size)
    lows, highs = np.minimum.reduceat(first, edges), np.maximum.reduceat(last, edges)
    groups = []
    for some in np.array_split(np.arange(len(edges)), min(number, len(edges))):
        low, high = lows[some], highs[some]
        step = max(round((low[-1] - low[0]) / max(len(some) - 1, 1)), 1)
        there = step * np.arange(len(some))
        begin = int((low - there).min())
        groups.append((begin, step, len(some), int((high - there).max()) - begin + 1))
    return groups
