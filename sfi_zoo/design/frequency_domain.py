"""Frequency-domain design: least squares of the frequency response, in closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.design.taper import tukey_taper
from sfi_zoo.filters.base import AnalogFilterBank

FADE = 0.1  # fraction of the band over which a native response fades to zero below the cutoff
PERIOD = 0.02  # seconds; whole numbers of samples at the usual rates
LONG = 500  # taps above which an FFT is quicker than a matrix product
WEIGHTS = 4 * 2**20  # of such products, held at once
LONG = 500  # taps above which an FFT is quicker than a matrix product
WEIGHTS = 4 * 2**20  # of such products, held at once


def least_squares_taps(response: Tensor, first: int, num_taps: int) -> Tensor:
    """Real taps whose response is closest to `response` on the uniform grid: see `least_squares_weights`.

    Args:
        response: complex (C, M), M >= 2.
        first: index of the first tap.
        num_taps: L.

    Returns:
        (C, L) real, in the precision of `response`.
    """
    weights = least_squares_weights(response.shape[-1], first, num_taps, response.device)
    return torch.view_as_real(response).mT.flatten(1) @ weights.to(response.real.dtype)


def least_squares_weights(points: int, first: int, num_taps: int, device: torch.device) -> Tensor:
    r"""The pseudo-inverse of the published layer, for responses on the uniform grid w_m = pi m / (M - 1), m = 0 ... M - 1.

    Real taps a_n, n = first ... first + L - 1, that minimise sum_m |H(w_m) - sum_n a_n exp(-j w_m n)|^2 are linear in H. The Gram
    matrix of that 2M x L problem has entries sum_m cos(w_m d), d = n - n', which are M for d = 0, 1 for even d, 0 for odd d. So with
    u, v the indicators of even and odd n it has a closed inverse,

        G = (M - 1) I + u u^T + v v^T,   G^-1 b = (b - u (u.b) / (M - 1 + |u|^2) - v (v.b) / (M - 1 + |v|^2)) / (M - 1)

    and the right-hand side is b_n = sum_m Re H(w_m) cos(w_m n) - Im H(w_m) sin(w_m n).
    Longer than 2 (M - 1), taps that far apart see the same grid; they share the solution (minimum norm, as a pseudo-inverse has it).

    Args:
        points: M, at least 2.
        first: index of the first tap.
        num_taps: L.
        device: of the result.

    Returns:
        (2 M, L) float64: the taps are [Re H, Im H] times that.
    """
    n = torch.arange(first, first + num_taps, device=device)
    grid = torch.arange(points, dtype=torch.float64, device=device) * (math.pi / (points - 1))
    angle = grid[:, None] * n
    b = torch.cat([angle.cos(), angle.sin().neg_()])
    if num_taps > 2 * (points - 1):
        return b @ torch.linalg.pinv(b.mT @ b, hermitian=True)
    # the indicators, and what they are divided by
    parities = torch.stack([n % 2 == 0, n % 2 == 1]).double()
    shares = parities / (points - 1 + parities.sum(1, keepdim=True))
    return torch.addmm(b, b @ parities.mT, shares, alpha=-1).div_(points - 1)


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

        first: index of the first tap, relative to the centre of the kernel.
        num_taps: L.
        delays: (P,) fractions of a sample, added to every index.

    Returns:
        (P, C, L) float64.
    """
    last = first + num_taps - 1
    design = frequency_domain_design(bank, -last, -first, sample_rate, duration, taper, cutoff_hz)
    return design(delays).flip(-1)


def frequency_domain_design(
    bank: AnalogFilterBank,
    first: int,
    last: int,
    sample_rate: float | Tensor,
    duration: float,
    taper: float,
    cutoff_hz: float,
    dtype: torch.dtype = torch.float64,
) -> Callable[[Tensor], Tensor]:
    """How to compute unit-gain taps at instants delay - m samples, m = first ... last: band-limited, then tapered.

    The inverse Fourier transform of the response, which is the least-squares fit with trapezoid weights: there the Gram matrix is a
    multiple of the identity. (The published grid counts both of its ends in full, an error of order 1 / M that differs from rate to
    rate.) The response fades to zero between 0.9 `cutoff_hz` and `cutoff_hz`, so a filter that straddles the Nyquist frequency keeps its
    lower part and does not alias; a time-domain design folds the upper part back. Responses are taken at multiples of 1 / P Hz, P the
    same number of seconds at every F, at least 4 T: what a long impulse response has beyond P / 2 folds back alike everywhere.

    As a real product of responses and waves, window and fade in the waves; or, for long kernels, as an FFT.

    Args:
        bank: C analog filters.
        first: index of the first tap, relative to the centre of the kernel.
        last: index of the last tap.
        sample_rate: F in Hz; a tensor is differentiated through.
        duration: kernel length in seconds.
        taper: fraction a of `tukey_taper`.
        cutoff_hz: where the response ends.
        dtype: of the sum over frequencies; its factors are computed in float64.

    Returns:
        A function: delays, (P,) fractions of a sample in float64 -> taps, (P, C, L).
    """
    given = (first, last, sample_rate, duration, taper, cutoff_hz, bank.causal, dtype, bank.device)
    band = (
        _band(*given)
        if isinstance(sample_rate, Tensor) or not _can_be_kept(bank.device)
        else _kept_band(*given)
    )
    if band.waves is None:
        response = bank.frequency_response(band.omega)
        # one delay at a time: what it takes fits into the cache
        return lambda delays: torch.stack([band.transformed(response, delay) for delay in delays.unbind()])
    sums = bank.response_sums(band.omega)
    at_once = max(1, WEIGHTS // (2 * band.waves[0].numel()))

    def summed(delays: Tensor) -> Tensor:
        pieces = [
            sums(torch.stack([band.weights(delay) for delay in some])) for some in delays.split(at_once)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    return summed


@dataclass(frozen=True)
class _Band:
    """What a design takes that is not of the filters.

    Attributes:
        omega: (M,) rad/s, where responses are taken.
        digital: (M,) the same in radians per sample.
        fade: (M,) at the end of the band.
        size: samples in P.
        waves: (M, L) cos and sin of w m, faded, as terms of a Fourier series; None where an FFT is taken.
        start: (M,) radians by which the start of a causal kernel turns a response.
        window: at the instants of the taps, of a delay: (L,).
        m: (L,) indices of the taps.
    """

    omega: Tensor
    digital: Tensor
    fade: Tensor
    size: float
    waves: tuple[Tensor, Tensor] | None
    start: Tensor
    window: Callable[[Tensor], Tensor]
    m: Tensor

    def transformed(self, response: Tensor, delay: Tensor) -> Tensor:
        """The taps at one delay by an FFT: complex (C, M) -> (C, L)."""
        angle, size = self.digital * delay + self.start, round(self.size)
        delayed = response * torch.complex(self.fade * angle.cos(), self.fade * angle.sin())
        return torch.fft.irfft(delayed, n=size)[..., -self.m % size] * self.window(delay)

    def weights(self, delay: Tensor) -> Tensor:
        """Of the real and of the imaginary part: window times cos, and -sin, of w (delay - m); (2 M, L)."""
        assert self.waves is not None
        cosines, sines = self.waves
        angle = (self.digital * delay + self.start)[:, None]
        cos, sin = angle.cos().to(cosines.dtype), angle.sin().to(cosines.dtype)
        window = self.window(delay).to(cosines.dtype)
        return torch.cat([cosines * cos + sines * sin, sines * cos - cosines * sin]) * window


def _band(
    first: int,
    last: int,
    sample_rate: float | Tensor,
    duration: float,
    taper: float,
    cutoff_hz: float,
    causal: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> _Band:
    """The arguments are those of `frequency_domain_design`."""
    period = PERIOD * math.ceil(4 * duration / PERIOD - 1e-9)
    size = period * float(sample_rate.detach() if isinstance(sample_rate, Tensor) else sample_rate)
    in_band = math.floor(cutoff_hz * period) + 1  # the rest is zero
    bins = torch.arange(in_band, dtype=torch.float64, device=device)
    digital = bins * (2 * math.pi / size)
    omega = digital * sample_rate
    edge = ((1 - omega / (2 * math.pi * cutoff_hz)) / FADE).clamp(0, 1)
    fade = 0.5 - 0.5 * torch.cos(math.pi * edge)
    m, waves = torch.arange(first, last + 1, device=device), None
    if len(m) <= LONG or abs(size - round(size)) > 1e-6:
        level, angle = fade * torch.where(bins > 0, 2.0, 1.0) / size, digital[:, None] * m
        waves = ((level[:, None] * angle.cos()).to(dtype), (level[:, None] * angle.sin()).to(dtype))
    return _Band(
        omega=omega,
        digital=digital,
        fade=fade,
        size=size,
        waves=waves,
        start=omega * duration / 2 if causal else torch.zeros_like(omega),
        window=lambda delay: tukey_taper((delay - m) / sample_rate, duration, taper, causal),
        m=m,
    )


@lru_cache(maxsize=2)
def _kept_band(*given: Any) -> _Band:
    """Training asks for the same one at every step."""
    with torch.inference_mode(False), torch.no_grad():
        return _band(*given)


def _can_be_kept(device: torch.device) -> bool:
    """Not what a compiled graph, or a mode of PyTorch that has no data, makes."""
    return device.type == "cpu" and not torch.compiler.is_compiling() and type(torch.empty(0)) is Tensor
