"""Multi-phase gammatone filters (MP-GTF)."""

import math

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import trained, widest
from sfi_zoo.filters.quadrature import QuadratureBank
from sfi_zoo.filters.scales import ERB_CORNER_HZ, spaced_bandwidths, spaced_frequencies

# ERB(f) = 24.7 + f / 9.265 in Hz; the factor makes b the width of an order-2 gammatone of that ERB.
_ERB_TO_B = 1 / (math.pi * math.factorial(2) * 2.0**-2 / math.factorial(1) ** 2)


class MultiPhaseGammatone(QuadratureBank):
    r"""Order-2 gammatones on a perceptual scale, each centre in several phases and their negatives.

        h(t) = a t exp(-2 pi b t) cos(2 pi f t + phi), t >= 0, b = 0.637 ERB(f), or trained

    With I_b = integral of t exp(-2 pi b t) exp(-j 2 pi (nu - f) t) dt = 1 / (2 pi b + j 2 pi (nu - f))^2, the response is
    H(nu) = a/2 (exp(j phi) / (2 pi b + j 2 pi (nu - f))^2 + exp(-j phi) / (2 pi b + j 2 pi (nu + f))^2). The native
    amplitude a = 2 (2 pi b)^2 gives unit gain at the centre (the published layer scales taps to equal RMS instead).
    The second half of the bank is the first with phi + pi: together with a ReLU both half waves survive. With `quadrature` it is the first
    with phi - pi / 2 instead.

    Source: Ditter and Gerkmann, ICASSP 2020; as an analog bank Saito et al., IEEE/ACM TASLP 30:2928, 2022.

    Args:
        num_filters: C, even.
        num_centers: number of distinct centre frequencies, at most C / 2; when omitted C / 2 with `quadrature`, else 24, or C / 2 where
            that is less.
        frequency_range: lowest and highest centre in Hz.
        scale: how centres are spread over it at the start ("erb", "mel", "linear", "log1p").
        corner_hz: the corner of the "log1p" scale.
        trainable: whether centres, phases and gains require gradients.
        quadrature: the second half of the filters are the quadrature pairs of the first half.
        gain: train a gain for each filter of the first half, which its pair has, too.
        bandwidth: train b for each centre, from this in Hz: one number, or (low, high): 0.6 times the spacing of the centres, clamped to
            that range. With a long hop bands of 0.637 ERB alias: they are wider than the rate of frames.

    Raises:
        InputError: C odd or num_centers not within 1 ... C / 2.
    """

    causal = True
    sampled = True  # h starts with a kink: its spectrum falls as 1 / f^2 and has not ended at F0 / 2

    def __init__(
        self,
        num_filters: int,
        num_centers: int | None = None,
        frequency_range: tuple[float, float] = (50.0, 16000.0),
        scale: str = "erb",
        corner_hz: float | None = None,
        trainable: bool = True,
        quadrature: bool = False,
        gain: bool = False,
        bandwidth: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if num_centers is None:
            num_centers = num_filters // 2 if quadrature else min(24, num_filters // 2)
        if num_filters % 2 or not 1 <= num_centers <= num_filters // 2:
            raise InputError(
                f"num_filters must be even and num_centers within 1 ... num_filters / 2; "
                f"got {num_filters} and {num_centers}"
            )
        self.num_filters, self.num_centers, self.quadrature = num_filters, num_centers, quadrature
        each, left_over = divmod(num_filters // 2, num_centers)
        self.phases_per_center = [each + (i < left_over) for i in range(num_centers)]
        low_high = (float(frequency_range[0]), float(frequency_range[1]))
        centers = spaced_frequencies(num_centers, low_high, scale, corner_hz)
        phases = torch.cat(
            [torch.linspace(0, math.pi, n, dtype=torch.float64) for n in self.phases_per_center]
        )
        self.center_khz = trained(centers / 1000, trainable)
        self.phase = trained(phases, trainable)
        self.log_gain = trained(torch.zeros_like(phases), trainable) if gain else None
        widths = None if bandwidth is None else spaced_bandwidths(centers, bandwidth)
        self.log_bandwidth_hz = None if widths is None else trained(widths.log(), trainable)

    def _each_phase(self, x: Tensor) -> Tensor:
        """Values of the centres -> of the first half of the filters."""
        repeats = torch.tensor(self.phases_per_center, device=x.device)
        return x.repeat_interleave(repeats, output_size=len(self.phase))

    def _parameters_as(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Centres f and widths b in Hz, phases: (C, 1) each, in `dtype`."""
        f = 1000 * self._each_phase(self.center_khz.to(dtype)).repeat(2)[:, None]
        if self.log_bandwidth_hz is None:
            b = _ERB_TO_B * 24.7 * (1 + f / ERB_CORNER_HZ)
        else:
            b = self._each_phase(self.log_bandwidth_hz.to(dtype).exp()).repeat(2)[:, None]
        phi = self.phase.to(dtype)
        return f, b, torch.cat([phi, phi + (-math.pi / 2 if self.quadrature else math.pi)])[:, None]

    def _amplitude(self, b: Tensor) -> Tensor:
        """a: (C, 1) per second^2; 2 (2 pi b)^2 for unit gain at the centre."""
        a = 2 * (2 * math.pi * b) ** 2
        return a if self.log_gain is None else a * self.log_gain.to(b.dtype).exp().repeat(2)[:, None]

    def _shape(self, t: Tensor) -> Tensor:
        """t exp(-2 pi b t) cos(2 pi f t + phi) for t >= 0, zero before: (T,) -> (C, T)."""
        f, b, phi = self._parameters_as(widest(t, self.phase))
        t = t.clamp(min=0)
        return t * torch.exp(-2 * math.pi * b * t) * torch.cos(2 * math.pi * f * t + phi)

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t), see the class: (T,) seconds -> (C, T) per second."""
        _, b, _ = self._parameters_as(widest(t, self.phase))
        return self._amplitude(b) * self._shape(t)

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        f, b, phi = self._parameters_as(widest(omega, self.phase))
        decay, rotation = 2 * math.pi * b, torch.polar(torch.ones_like(phi), phi)
        below = torch.complex(decay.expand(-1, len(omega)), omega - 2 * math.pi * f)
        above = torch.complex(decay.expand(-1, len(omega)), omega + 2 * math.pi * f)
        return self._amplitude(b) / 2 * (rotation / below**2 + rotation.conj() / above**2)

    def center_frequencies(self) -> Tensor:
        """f: (C,) Hz."""
        return self._parameters_as(torch.float64)[0][:, 0].detach().abs()

    def _spacings_and_bandwidths(self) -> tuple[Tensor, Tensor]:
        """|H|^2 = 1 / (1 + (f - f_c)^2 / b^2)^2 has the area pi b / 2."""
        _, b, _ = self._parameters_as(torch.float64)
        phases = torch.tensor(self.phases_per_center, device=self.phase.device)
        spacing = torch.gradient(self.center_khz.double() * 1000)[0] / phases
        return self._each_phase(spacing), math.pi / 2 * b[: len(self.phase), 0]

    def reference_taps(self, num_taps: int, sample_rate: float) -> Tensor:
        """Unscaled shape at t = n / F (n from 1 for an even number of taps), every filter at the largest RMS."""
        first = 1 if num_taps % 2 == 0 else 0
        t = torch.arange(first, first + num_taps, dtype=torch.float64, device=self.phase.device) / sample_rate
        taps = self._shape(t)
        rms = taps.square().mean(dim=1, keepdim=True).sqrt()
        return taps * (rms.max() / rms)

    def extra_repr(self) -> str:
        """The arguments that are not visible in the parameters."""
        return (
            f"num_filters={self.num_filters}, num_centers={self.num_centers}, quadrature={self.quadrature}, "
            f"gain={self.log_gain is not None}"
        )
