"""Windows as functions of time: sums of cosines, so that they and their spectra are known at every instant and frequency."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfi_zoo.errors import InputError

# Amplitudes and cycles per window of the cosines, the window centred on zero and periodic (as torch.hann_window(L) is).
_COSINES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "blackman": ((0.42, 0.5, 0.08), (0.0, 1.0, 2.0)),
    "hamming": ((0.54, 0.46), (0.0, 1.0)),
    "hann": ((0.5, 0.5), (0.0, 1.0)),
    "rectangular": ((1.0,), (0.0,)),
    "sqrt_hann": ((1.0,), (0.5,)),
}
WINDOWS = tuple(sorted(_COSINES))
_NEGLIGIBLE = 1e-9  # of the largest amplitude: cosines of a sampled window that are left out


@dataclass(frozen=True)
class Window:
    """w(u) = sum_j a_j cos(2 pi nu_j u + phi_j) for u = t / T in [-1/2, 1/2); outside, w is zero (the caller's business).

    Attributes:
        amplitudes: a_j.
        cycles: nu_j, in cycles per window.
        phases: phi_j in radians.
    """

    amplitudes: tuple[float, ...]
    cycles: tuple[float, ...]
    phases: tuple[float, ...]

    def __call__(self, u: Tensor) -> Tensor:
        """w(u), any shape. Differentiable."""
        w = torch.zeros_like(u)
        for a, nu, phi in zip(self.amplitudes, self.cycles, self.phases, strict=True):
            w = w + a * torch.cos(2 * math.pi * nu * u + phi)
        return w

    @property
    def mean(self) -> float:
        """Integral of w(u) du: W(0)."""
        return sum(
            a * math.cos(phi) * (math.sin(math.pi * nu) / (math.pi * nu) if nu else 1.0)
            for a, nu, phi in zip(self.amplitudes, self.cycles, self.phases, strict=True)
        )

    def spectrum(self, x: Tensor) -> Tensor:
        """W(x) = integral of w(u) exp(-j 2 pi x u) du, x in cycles per window: any shape, complex."""
        w = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.complex64))
        for a, nu, phi in zip(self.amplitudes, self.cycles, self.phases, strict=True):
            below, above = torch.sinc(x - nu), torch.sinc(x + nu)
            w = w + a / 2 * torch.complex((below + above) * math.cos(phi), (below - above) * math.sin(phi))
        return w


def create_window(window: "str | Tensor | Window") -> Window:
    """A window by name, or the one that runs through given samples.

    Samples of a named window, periodic or symmetric, are recognised and become the closed form. Any others are interpolated by
    the cosines of their discrete Fourier transform: exact at the samples, and between them for a window that joins smoothly
    onto itself.

    Args:
        window: one of `WINDOWS` (periodic), or (L,) samples at u = k / L - 1/2.

    Raises:
        InputError: an unknown name, or samples that are not a real vector.
    """
    if isinstance(window, Window):
        return window
    if isinstance(window, Tensor):
        return _through_samples(window)
    if window not in _COSINES:
        raise InputError(f"window must be one of {', '.join(WINDOWS)}, or a tensor; got {window!r}")
    amplitudes, cycles = _COSINES[window]
    return Window(amplitudes, cycles, (0.0,) * len(cycles))


def _through_samples(samples: Tensor) -> Window:
    if samples.ndim != 1 or len(samples) < 2 or not samples.is_floating_point() or not samples.any():
        raise InputError(
            f"a sampled window must be a real vector that is not all zero; got {samples.dtype} of shape {tuple(samples.shape)}"
        )
    w = samples.detach().to("cpu", torch.float64)
    length = len(w)
    k = torch.arange(length, dtype=torch.float64, device="cpu")
    for name in WINDOWS:
        amplitudes, cycles = _COSINES[name]
        for period in (length, length - 1):  # periodic, symmetric
            if (create_window(name)(k / period - 0.5) - w).abs().max() < 1e-6:
                stretch = length / period
                phases = tuple(math.pi * nu * (stretch - 1) for nu in cycles)
                return Window(amplitudes, tuple(nu * stretch for nu in cycles), phases)
    terms = torch.fft.rfft(w) / length
    a, phi = 2 * terms.abs(), terms.angle() + math.pi * k[: len(terms)]
    a[0] /= 2
    if length % 2 == 0:
        a[-1] /= 2
    kept = a > _NEGLIGIBLE * a.max()
    return Window(*(tuple(values[kept].tolist()) for values in (a, k[: len(terms)], phi)))
