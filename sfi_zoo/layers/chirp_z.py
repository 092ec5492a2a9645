"""The discrete Fourier transform at any spacing of frequencies, by three fast ones."""

import math

import torch
from torch import Tensor

CPU_BLOCK = 64  # sequences at a time: they stay in the cache, which halves the time


def fast_length(length: int) -> int:
    """The smallest number >= `length` without a prime factor above 5; fast Fourier transforms are fastest at such lengths."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def chirp_z(v: Tensor, period: float | Tensor, count: int) -> Tensor:
    r"""X[m] = sum_n v[n] exp(-j 2 pi m n / N), m = 0 ... count - 1, for any real N.

    With m n = (m^2 + n^2 - (m - n)^2) / 2 it is a convolution with a chirp, c[d] = exp(j pi d^2 / N):

        X[m] = conj(c[m]) sum_n (v[n] conj(c[n])) c[m - n]

    Source: Bluestein, IEEE Trans. Audio Electroacoust. 18(4):451, 1970.

    Args:
        v: real or complex (..., n).
        period: N; differentiable where it is a tensor.
        count: number of frequencies.

    Returns:
        complex (..., count).
    """
    n, complex_dtype = v.shape[-1], torch.promote_types(v.dtype, torch.complex64)
    d = torch.arange(max(n, count), dtype=torch.float64, device=v.device)
    # whole turns go in float64, before anything is rounded: d^2 / N is thousands of them
    half_turns = torch.remainder(d * d / period, 2)
    chirp = torch.polar(torch.ones_like(half_turns), math.pi * half_turns).to(complex_dtype)
    length = fast_length(n + count - 1)
    kernel = torch.cat([chirp[:count], chirp.new_zeros(length - count - n + 1), chirp[1:n].flip(0)])
    spectrum, before, after = torch.fft.fft(kernel), chirp[:n].conj(), chirp[:count].conj()
    sequences = v.reshape(-1, n)
    transformed = [
        torch.fft.ifft(torch.fft.fft(block * before, n=length) * spectrum)[:, :count] * after
        for block in sequences.split(CPU_BLOCK if v.device.type == "cpu" else max(1, len(sequences)))
    ]
    return torch.cat(transformed).reshape(*v.shape[:-1], count)
