"""Fourier filters: the short-time Fourier transform as an analog filter bank."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank, trained, widest
from sfi_zoo.filters.windows import create_window


class Fourier(AnalogFilterBank):
    r"""Windowed cosines and sines at multiples of one frequency.

        h_m(t) = g_m w(-t) cos(2 pi m df t),   h_{M + m}(t) = g_m w(-t) sin(2 pi m df t),   m = 0 ... M - 1

    With z the output of a convolution with these filters, z_m + j z_{M + m} = g_m integral x(t) w(t - tau) exp(-j 2 pi m df (t - tau)) dt:
    the Fourier transform of the frame around tau, phases counted from its centre. g_m = 2 / integral w (half of that at m = 0)
    makes the gain at the centre one. With W the spectrum of w(-t), the responses are g_m / 2 (W(f - m df) + W(f + m df)) and
    -j g_m / 2 (W(f - m df) - W(f + m df)).

    `SFISTFT` computes the same by fast transforms; the bank is for whatever takes filters, and for training them.

    Args:
        num_filters: 2 M, even.
        duration: T in seconds, the length of the window; a layer gives its kernel's.
        spacing: df in Hz; 1 / T if None.
        window: one of `sfi_zoo.filters.windows.WINDOWS`, or its samples.
        trainable: whether the centres, in multiples of df, require gradients.

    Raises:
        InputError: num_filters not even and positive, a duration or spacing not positive and finite, or an unknown window.
    """

    compact = True
    layer_options: ClassVar[tuple[str, ...]] = ("duration",)

    def __init__(
        self,
        num_filters: int,
        duration: float,
        spacing: float | None = None,
        window: str | Tensor = "hann",
        trainable: bool = False,
    ) -> None:
        super().__init__()
        if num_filters < 2 or num_filters % 2:
            raise InputError(f"num_filters must be even: cosines, then sines; got {num_filters}")
        if not (duration > 0 and math.isfinite(duration)):
            raise InputError(f"duration must be positive and finite, in seconds; got {duration}")
        if spacing is None:
            spacing = 1 / duration
        if not (spacing > 0 and math.isfinite(spacing)):
            raise InputError(f"spacing must be positive and finite, in Hz; got {spacing}")
        self.num_filters, self.duration, self.spacing = num_filters, float(duration), float(spacing)
        self.window = create_window(window)
        # multiples of df are exact in float32; hertz would not be, and a phase error grows with f T
        self.multiple = trained(torch.arange(num_filters // 2), trainable)

    def _parameters_as(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Centres m df in Hz and gains g_m per second: (M, 1) each, in `dtype`."""
        f = self.multiple.to(dtype)[:, None] * self.spacing
        return f, torch.where(f == 0, 1.0, 2.0).to(dtype) / (self.window.mean * self.duration)

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t), see the class: (T,) seconds -> (C, T) per second."""
        f, gain = self._parameters_as(widest(t, self.multiple))
        u = -t / self.duration
        # half open, as sampled windows are; an end that is a rounding error away counts as reached
        inside = (u >= -0.5 - 1e-9) & (u < 0.5 - 1e-9)
        envelope = gain * (self.window(u) * inside)
        return torch.cat(
            [envelope * torch.cos(2 * math.pi * f * t), envelope * torch.sin(2 * math.pi * f * t)]
        )

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        f, gain = self._parameters_as(widest(omega, self.multiple))
        nu = omega / (2 * math.pi)
        below, above = (self.window.spectrum((s * f - nu) * self.duration) for s in (1, -1))
        half = gain / 2 * self.duration
        return torch.cat([half * (below + above), -1j * half * (below - above)])

    def center_frequencies(self) -> Tensor:
        """m df, twice: (C,) Hz."""
        return self._parameters_as(torch.float64)[0][:, 0].detach().abs().repeat(2)

    def extra_repr(self) -> str:
        """The arguments that are not visible in the parameters."""
        return f"num_filters={self.num_filters}, duration={self.duration:g}, spacing={self.spacing:g}"
