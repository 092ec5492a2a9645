"""Delays by interpolation: what a stride-1 convolution, interpolated between its samples, amounts to."""

import math

import torch
from torch import Tensor

INTERPOLATION_WIDTH = 16


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
    width = INTERPOLATION_WIDTH
    j = torch.arange(-width, width + 1, dtype=delays.dtype, device=delays.device)
    u = delays[:, None] - j
    s = torch.sinc(u) * torch.cos(math.pi / 2 * (u / (width + 1)).clamp(-1, 1)) ** 2
    windows = torch.nn.functional.pad(taps, (2 * width, 2 * width)).unfold(-1, 2 * width + 1, 1)
    return torch.einsum("clj,pj->pcl", windows.to(s), s.flip(-1))
