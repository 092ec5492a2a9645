"""Taps from other taps: at other rates, or at other delays."""

import math

import torch
from torch import Tensor

from sfi_zoo.filters.kaiser import kaiser_sinc

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
    s, width = between_samples(delays), INTERPOLATION_WIDTH
    windows = torch.nn.functional.pad(taps, (2 * width, 2 * width)).unfold(-1, 2 * width + 1, 1)
    return torch.einsum("clj,pj->pcl", windows.to(s), s.flip(-1))


def between_samples(delays: Tensor) -> Tensor:
    """s(d - j), j = -Z ... Z, see `interpolated_delays`: (P,) samples -> (P, 2 Z + 1)."""
    width = INTERPOLATION_WIDTH
    u = delays[:, None] - torch.arange(-width, width + 1, dtype=delays.dtype, device=delays.device)
    return torch.sinc(u) * torch.cos(math.pi / 2 * (u / (width + 1)).clamp(-1, 1)) ** 2


def band_limited_taps(
    taps: Tensor, offsets: Tensor, sample_rate: float | Tensor, band: float, trained_rate: float
) -> Tensor:
    r"""Taps at F from the taps at F0, without what they hold above band / 2.

    With w[m] the tap at F0 for the instant t_m = ((L0 - 1) / 2 - m) / F0 and B the band:

        h(t) / F = (B / F) sum_m w[m] s(B (t - t_m)),   s: `kaiser_sinc`

    This is the convolution at F0 applied to the resampled signal, in one kernel: a layer that is trained at F0 computes the same at F, up
    to 0.9 of the lower Nyquist frequency.

    Args:
        taps: (C, L0) at F0, as a correlation has them: m runs against the time of h.
        offsets: (T,) instants t in samples at F.
        sample_rate: F in Hz; a tensor is differentiated through.
        band: B = min(F, F0) in Hz.
        trained_rate: F0 in Hz.

    Returns:
        (C, T), in the dtype of `offsets`.
    """
    kernel_size = taps.shape[-1]
    m = torch.arange(kernel_size, dtype=offsets.dtype, device=offsets.device)
    instants = ((kernel_size - 1) / 2 - m) / trained_rate
    return taps @ kaiser_sinc(band * (offsets / sample_rate - instants[:, None])) * (band / sample_rate)
