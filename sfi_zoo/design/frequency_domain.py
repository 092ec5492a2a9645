"""Frequency-domain design: least squares of the frequency response, in closed form."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sfi_zoo.design.taper import tukey_taper
from sfi_zoo.filters.base import AnalogFilterBank

FADE = 0.1  # fraction of the band over which a native response fades to zero below the cutoff
PERIOD = 0.02  # seconds; whole numbers of samples at the usual rates


def least_squares_taps(response: Tensor, first: int, num_taps: int) -> Tensor:
    r"""Real taps whose response is closest to `response` on the uniform grid w_m = pi m / (M - 1), m = 0 ... M - 1.

    Minimises sum_m |H(w_m) - sum_n a_n exp(-j w_m n)|^2 over real a_n, n = first ... first + L - 1. The published
    layer takes the pseudo-inverse of the 2M x L matrix; on the uniform grid it has a closed form. The Gram matrix has entries
    sum_m cos(w_m d), d = n - n', which are M for d = 0, 1 for even d, 0 for odd d. So with u, v the indicators of even and odd n

        G = (M - 1) I + u u^T + v v^T,   G^-1 b = (b - u (u.b) / (M - 1 + |u|^2) - v (v.b) / (M - 1 + |v|^2)) / (M - 1)

    and the right-hand side b_n = Re sum_m H(w_m) exp(j w_m n) is one inverse FFT of length 2 (M - 1).
    Longer than that, taps 2 (M - 1) apart see the same grid; they share the solution (minimum norm, as a pseudo-inverse has it).

    Args:
        response: complex (C, M), M >= 2.
        first: index of the first tap.
        num_taps: L.

    Returns:
        (C, L) real, in the precision of `response`.
    """
    points = response.shape[-1]
    period = 2 * (points - 1)
    n = torch.arange(first, first + num_taps, device=response.device)
    ends = (response[..., :1].real, response[..., -1:].real * torch.where(n % 2 == 0, 1, -1))
    wrapped = torch.fft.irfft(response, n=period)[..., n % period] * period
    b = (wrapped + ends[0] + ends[1]) / 2
    if num_taps > period:
        design = torch.exp(
            -1j * math.pi / (points - 1) * torch.arange(points, dtype=torch.float64)[:, None] * n.cpu()
        )
        gram = (design.conj().T @ design).real.to(b)
        return b @ torch.linalg.pinv(gram, hermitian=True)
    for parity in (0, 1):
        selected = (n % 2 == parity).to(b.dtype)
        b = b - selected * (b @ selected)[..., None] / (points - 1 + selected.sum())
    return b / (points - 1)


def frequency_domain_taps(
    bank: AnalogFilterBank,
    first: int,
    num_taps: int,
    delays: Tensor,
    sample_rate: float | Tensor,
    duration: float,
    taper: float,
    cutoff_hz: float,
) -> Tensor:
    """Unit-gain taps at instants (first ... first + L - 1) + delay samples, for each of P delays: see `frequency_domain_design`.

    Args: those of `frequency_domain_design`, and

        delays: (P,) fractions of a sample, added to every index.

    Returns:
        (P, C, L) float64.
    """
    return frequency_domain_design(bank, first, num_taps, sample_rate, duration, taper, cutoff_hz)(delays)


def frequency_domain_design(
    bank: AnalogFilterBank,
    first: int,
    num_taps: int,
    sample_rate: float | Tensor,
    duration: float,
    taper: float,
    cutoff_hz: float,
) -> Callable[[Tensor], Tensor]:
    """How to compute unit-gain taps at instants (first ... first + L - 1) + delay samples: band-limited, then tapered.

    The inverse FFT of the response, which is the least-squares fit with trapezoid weights: there the Gram matrix is a multiple of the
    identity. (The published grid counts both of its ends in full, an error of order 1 / M that differs from rate to rate.) The
    response fades to zero between 0.9 `cutoff_hz` and `cutoff_hz`, so a filter that straddles the Nyquist frequency keeps its lower
    part and does not alias; a time-domain design folds the upper part back. Responses are taken at multiples of 1 / P Hz, P the same number
    of seconds at every F, at least 4 T: what a long impulse response has beyond P / 2 folds back alike everywhere.

    Args:
        bank: C analog filters.
        first: index of the first tap, relative to the centre of the kernel.
        num_taps: L.
        sample_rate: F in Hz; a tensor is differentiated through.
        duration: kernel length in seconds.
        taper: fraction a of `tukey_taper`.
        cutoff_hz: where the response ends.

    Returns:
        A function: delays, (P,) fractions of a sample in float64 -> taps, (P, C, L) float64. The responses are computed once.
    """
    device = bank.device
    period = PERIOD * math.ceil(4 * duration / PERIOD - 1e-9)
    rate = float(sample_rate.detach() if isinstance(sample_rate, Tensor) else sample_rate)
    in_band = math.floor(cutoff_hz * period) + 1  # the rest is zero
    bins = torch.arange(in_band, dtype=torch.float64, device=device)
    digital = bins * (2 * math.pi / (period * rate))  # radians per sample
    omega = digital * sample_rate
    edge = ((1 - omega / (2 * math.pi * cutoff_hz)) / FADE).clamp(0, 1)
    fade = 0.5 - 0.5 * torch.cos(math.pi * edge)
    response = bank.frequency_response(omega)
    n = torch.arange(first, first + num_taps, device=device)
    synthesise = _fourier_series(n, period * rate, digital)

    def at(delay: Tensor) -> Tensor:
        angle = digital * delay + (omega * duration / 2 if bank.causal else 0.0)
        delayed = response * torch.complex(fade * angle.cos(), fade * angle.sin())
        window = tukey_taper((n + delay) / sample_rate, duration, taper, bank.causal)
        return synthesise(delayed) * window

    # one delay at a time: what it takes fits into the cache
    return lambda delays: torch.stack([at(delay) for delay in delays.unbind()])


def _fourier_series(n: Tensor, size: float, digital: Tensor) -> Callable[[Tensor], Tensor]:
    """Values at the samples n of the real series with the given spectrum, of a period of `size` samples, whole or not."""
    if abs(size - round(size)) < 1e-6:
        whole = round(size)
        return lambda spectrum: torch.fft.irfft(spectrum, n=whole)[..., n % whole]
    angle = digital[:, None] * n
    weight = torch.where(digital > 0, 2 / size, 1 / size)[:, None]
    basis = torch.cat([angle.cos() * weight, -angle.sin() * weight])
    return lambda spectrum: torch.cat([spectrum.real, spectrum.imag], dim=-1) @ basis
