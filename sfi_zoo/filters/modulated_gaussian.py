"""Modulated Gaussian filters (MGF)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import trained, widest
from sfi_zoo.filters.gaussian_sums import Gaussians, response, response_sums
from sfi_zoo.filters.quadrature import QuadratureBank, own_filters
from sfi_zoo.filters.scales import spaced_bandwidths, spaced_frequencies

MIN_BANDWIDTH_HZ = 1.0


class ModulatedGaussian(QuadratureBank):
    r"""Gaussian bumps in frequency, modulated Gaussians in time.

    With centre f_c, width b (both Hz) and phase phi, for f = omega / 2 pi:

        H(f) = exp(-(f - f_c)^2 / 2 b^2) exp(j phi) + exp(-(f + f_c)^2 / 2 b^2) exp(-j phi)
        h(t) = 2 sqrt(2 pi) b exp(-(2 pi b t)^2 / 2) cos(2 pi f_c t + phi)

    times exp(log_gain) where gains are trained. Parameters are in kHz, ln Hz and radians, so that one learning rate
    suits them all.

    Source: Saito, Nakamura, Yatabe, Saruwatari, EUSIPCO 2021 (arXiv:2105.04079); IEEE/ACM TASLP 30:2928, 2022.

    Args:
        num_filters: C.
        scale: how centres are spread over `frequency_range` at the start ("erb", "mel", "linear", "log1p").
        frequency_range: lowest and highest centre in Hz.
        corner_hz: the corner of the "log1p" scale.
        bandwidth: initial b in Hz, one number, or (low, high): 0.6 times the spacing of the centres,
            clamped to that range.
        quadrature: the second half of the filters are the Hilbert pairs (phase - pi/2) of the first half.
        gain: train a gain for each filter.
        trainable: whether the parameters require gradients.
        one_sided: leave out the bump at -f_c (a published option; frequency-domain design only).

    Raises:
        InputError: num_filters not positive, odd with `quadrature`, or a bandwidth that is not positive.
    """

    def __init__(
        self,
        num_filters: int,
        scale: str = "erb",
        frequency_range: tuple[float, float] = (50.0, 16000.0),
        corner_hz: float | None = None,
        bandwidth: float | tuple[float, float] = 100.0,
        quadrature: bool = False,
        gain: bool = False,
        trainable: bool = True,
        one_sided: bool = False,
    ) -> None:
        super().__init__()
        count = own_filters(num_filters, quadrature)
        self.num_filters, self.quadrature, self.one_sided = num_filters, quadrature, one_sided
        low_high = (float(frequency_range[0]), float(frequency_range[1]))
        centers = spaced_frequencies(count, low_high, scale, corner_hz)
        widths = spaced_bandwidths(centers, bandwidth)

        self.center_khz = trained(centers / 1000, trainable)
        self.log_bandwidth_hz = trained(widths.log(), trainable)
        self.phase = trained(torch.rand(count, dtype=torch.float64) * math.pi, trainable)
        self.log_gain = trained(torch.zeros(count, dtype=torch.float64), trainable) if gain else None

    def _parameters_as(self, dtype: torch.dtype) -> Gaussians:
        """Centres and widths in Hz, phases, ln of the gains: (C, 1) each, in `dtype`."""
        centers = self.center_khz.to(dtype) * 1000
        widths = self.log_bandwidth_hz.to(dtype).clamp(min=math.log(MIN_BANDWIDTH_HZ)).exp()
        phases = self.phase.to(dtype)
        log_gains = torch.zeros_like(centers) if self.log_gain is None else self.log_gain.to(dtype)
        if self.quadrature:
            centers, widths, log_gains = (torch.cat([x, x]) for x in (centers, widths, log_gains))
            phases = torch.cat([phases, phases - math.pi / 2])
        return Gaussians(centers[:, None], widths[:, None], phases[:, None], log_gains[:, None])

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t), see the class: (T,) seconds -> (C, T) per second."""
        if self.one_sided:
            raise InputError("one_sided=True makes h(t) complex; use design='frequency'")
        f_c, b, phi, log_gain = self._parameters_as(widest(t, self.phase))
        envelope = (
            log_gain.exp() * (2 * math.sqrt(2 * math.pi)) * b * torch.exp(-0.5 * (2 * math.pi * b * t) ** 2)
        )
        return envelope * torch.cos(2 * math.pi * f_c * t + phi)

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        of = self._parameters_as(widest(omega, self.phase))
        return torch.complex(*response(omega / (2 * math.pi), of, self.one_sided).unbind(1))

    def response_sums(self, omega: Tensor, published: bool = False) -> Callable[[Tensor], Tensor]:
        """See the base class: in pieces, with a gradient of its own."""
        of = self._parameters_as(widest(omega, self.phase))
        return lambda weights: response_sums(omega / (2 * math.pi), weights, of, self.one_sided)

    def center_frequencies(self) -> Tensor:
        """f_c: (C,) Hz."""
        centers = self.center_khz.detach().double().abs() * 1000
        return torch.cat([centers, centers]) if self.quadrature else centers

    def _spacings_and_bandwidths(self) -> tuple[Tensor, Tensor]:
        """|H|^2 = exp(-(f - f_c)^2 / b^2) has the area sqrt(pi) b."""
        centers, widths = self.center_khz.double() * 1000, self.log_bandwidth_hz.double().exp()
        return torch.gradient(centers)[0], math.sqrt(math.pi) * widths

    def reference_taps(self, num_taps: int, sample_rate: float) -> Tensor:
        """2 pi h(t) at the half-sample centred instants."""
        t = torch.arange(num_taps, dtype=torch.float64, device=self.phase.device) / sample_rate
        return 2 * math.pi * self.impulse_response(t - t.mean())

    def extra_repr(self) -> str:
        """The arguments that are not visible in the parameters."""
        return (
            f"num_filters={self.num_filters}, quadrature={self.quadrature}, gain={self.log_gain is not None}"
        )
