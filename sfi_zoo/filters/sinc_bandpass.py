"""Sinc band-pass filters, the filters of SincNet."""

import math

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import trained, widest
from sfi_zoo.filters.quadrature import QuadratureBank, own_filters
from sfi_zoo.filters.scales import spaced_frequencies

MIN_BANDWIDTH_HZ = 1.0


class SincBandpass(QuadratureBank):
    r"""Ideal band-passes between two trained edges f1 < f2, windowed by the layer's taper.

        h(t) = g (2 f2 sinc(2 f2 t) - 2 f1 sinc(2 f1 t)),   H(f) = g for f1 < |f| < f2, 0 elsewhere
             = 2 g (f2 - f1) sinc((f2 - f1) t) cos(pi (f1 + f2) t)

    and with a sine in place of the cosine for the pair of a filter, H(f) = -j g sgn(f).
    Edges cannot cross: f1 = |1000 low_khz| and f2 = f1 + exp(log_bandwidth_hz), at least 1 Hz apart. Bands adjoin at the start.

    SincNet multiplies by a Hamming window; the taper of the layer stands for it. Take `taper=1` (Hann): h falls as 1 / t only, and a short
    taper leaves it ripples. In time-domain designs edges above the Nyquist frequency are moved onto it, so nothing aliases and
    the lower part of a filter that straddles it is kept; a filter whose middle lies above is dropped. A frequency-domain
    design fits a response that jumps: it has no gradient with respect to where, and places a jump to half a grid step.

    Source: Ravanelli and Bengio, SLT 2018 (arXiv:1808.00158).

    Args:
        num_filters: C.
        scale: how the edges are spread over `frequency_range` at the start ("mel", "erb", "linear", "log1p").
        frequency_range: lowest and highest edge in Hz.
        corner_hz: the corner of the "log1p" scale.
        gain: train a gain g for each filter.
        trainable: whether the parameters require gradients.
        quadrature: the second half of the filters are the Hilbert pairs of the first half.

    Raises:
        InputError: num_filters not positive, odd with `quadrature`, or neighbouring edges closer than 1 Hz.
    """

    def __init__(
        self,
        num_filters: int,
        scale: str = "mel",
        frequency_range: tuple[float, float] = (50.0, 16000.0),
        corner_hz: float | None = None,
        gain: bool = False,
        trainable: bool = True,
        quadrature: bool = False,
    ) -> None:
        super().__init__()
        count = own_filters(num_filters, quadrature)
        self.num_filters, self.quadrature = num_filters, quadrature
        low_high = (float(frequency_range[0]), float(frequency_range[1]))
        edges = spaced_frequencies(count + 1, low_high, scale, corner_hz)
        widths = edges.diff()
        if (widths < MIN_BANDWIDTH_HZ).any():
            raise InputError(
                f"{count} bands in {frequency_range} Hz are narrower than {MIN_BANDWIDTH_HZ} Hz; take fewer or a wider range"
            )

        self.low_khz = trained(edges[:-1] / 1000, trainable)
        self.log_bandwidth_hz = trained(widths.log(), trainable)
        self.log_gain = trained(torch.zeros(count, dtype=torch.float64), trainable) if gain else None

    def edges(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """f1 and f2 in Hz: (C,) each, or (C / 2,) where a pair has the same."""
        low = self.low_khz.to(dtype) * 1000
        low = torch.where(low < 0, -low, low)  # abs has no slope at 0: an edge there would stay
        return low, low + self.log_bandwidth_hz.to(dtype).exp().clamp(min=MIN_BANDWIDTH_HZ)

    def _gain(self, dtype: torch.dtype) -> Tensor:
        """g: as many as `edges`, (., 1)."""
        if self.log_gain is None:
            return torch.ones_like(self.low_khz, dtype=dtype)[:, None]
        return self.log_gain.to(dtype).exp()[:, None]

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t), see the class: (T,) seconds -> (C, T) per second."""
        dtype = widest(t, self.low_khz)
        if self.quadrature:
            low, high = (edge[:, None] for edge in self.edges(dtype))
            envelope = 2 * self._gain(dtype) * (high - low) * torch.sinc((high - low) * t)
            angle = math.pi * (high + low) * t
            return torch.cat([envelope * angle.cos(), envelope * angle.sin()])
        low, high = (2 * edge[:, None] for edge in self.edges(dtype))
        return self._gain(dtype) * (high * torch.sinc(high * t) - low * torch.sinc(low * t))

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M).

        Raises:
            InputError: it is asked for in training: the edges would not move.
        """
        dtype = widest(omega, self.low_khz)
        f = omega.to(dtype) / (2 * math.pi)
        if self.training and self.low_khz.requires_grad and torch.is_grad_enabled():
            raise InputError(
                "the frequency response of SincBandpass has no gradient for its edges; "
                "use design='time' to train them, or trainable=False"
            )
        low, high = self.edges(dtype)
        response = self._gain(dtype) * ((f > low[:, None]) & (f < high[:, None]))
        nothing = torch.zeros_like(response)
        if self.quadrature:
            return torch.complex(torch.cat([response, nothing]), torch.cat([nothing, -response]))
        return torch.complex(response, nothing)

    def center_frequencies(self) -> Tensor:
        """(f1 + f2) / 2: (C,) Hz."""
        low, high = self.edges()
        return ((low + high) / 2).detach().repeat(2 if self.quadrature else 1)

    def _spacings_and_bandwidths(self) -> tuple[Tensor, Tensor]:
        """Bands adjoin at the start: each has its own width."""
        low, high = self.edges()
        return high - low, high - low

    def extra_repr(self) -> str:
        """The arguments that are not visible in the parameters."""
        return (
            f"num_filters={self.num_filters}, quadrature={self.quadrature}, gain={self.log_gain is not None}"
        )
