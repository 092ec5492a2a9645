"""Interpolated filters: trained digital kernels turned into analog filters."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank, widest

KAISER_BETA = 10.0  # stop band 1e-5; with Z = 32 the pass band ends at 0.9 of the Nyquist frequency (smaller b: leaks, larger: duller)
RESPONSE_POINTS = 1024


class InterpolatedKernels(AnalogFilterBank):
    r"""Band-limited interpolation of any digital kernel: the plain convolution at F0, an analog filter elsewhere.

    With the kernel w[m], m = 0 ... L0 - 1, as `nn.Conv1d` holds it (a correlation: m runs against the time of h), taps at
    t_m = ((L0 - 1) / 2 - m) / F0, and a cutoff r F0 / 2, r = min(1, F / F0):

        h(t) = r F0 sum_m w[m] s(r F0 (t - t_m)),   s(u) = sinc(u) (I0(b sqrt(1 - u^2 / Z^2)) - 1) / (I0(b) - 1)
        H(omega) = sum_m w[m] exp(-j omega t_m) up to F0 / 2, zero above

    s is 1 at 0 and 0 at every other whole number, so at F0 the taps are w itself, to the last bit or two. The ends of the kernel are
    interpolated too: at other rates taps reach Z / r samples of F0 beyond it. Filters above the Nyquist frequency are not dropped
    whole (`drops_dead`), they lose what lies above.

    Source: ours; it is the sinc interpolation of textbooks applied to a kernel instead of a signal.

    Args:
        num_filters: C.
        sample_rate: F0 in Hz, the rate at which the kernels are plain.
        duration: L0 / F0 in seconds, the length of kernels that are initialised here, uniformly as `nn.Conv1d` with one input
            channel does; not used with `weight`.
        weight: kernels (..., L0), C of them; an `nn.Parameter` is taken as it is (and stays tied), a tensor is copied.
        dilation: samples of F0 from one tap to the next.
        half_width: Z, zero crossings of s on each side. The transition from pass band to stop band is 6.4 / Z of the Nyquist
            frequency wide, half of it below the cutoff.

    Raises:
        InputError: a size that is not positive, or kernels that are not real or not C in number.
    """

    compact: ClassVar[bool] = True
    drops_dead: ClassVar[bool] = False
    layer_options: ClassVar[tuple[str, ...]] = ("duration", "sample_rate")

    def __init__(
        self,
        num_filters: int,
        sample_rate: float,
        duration: float | None = None,
        weight: Tensor | None = None,
        dilation: int = 1,
        half_width: int = 32,
    ) -> None:
        super().__init__()
        if weight is None:
            kernel_size = 0 if duration is None else round(duration * sample_rate)
            if num_filters < 1 or kernel_size < 1:
                raise InputError(
                    f"num_filters and duration x sample_rate must be at least 1, or give weight; "
                    f"got {num_filters} filters, {duration} s at {sample_rate} Hz"
                )
            bound = 1 / math.sqrt(kernel_size)
            weight = torch.empty(num_filters, kernel_size).uniform_(-bound, bound)
        if weight.ndim < 2 or not weight.is_floating_point() or weight.numel() == 0:
            raise InputError(
                f"weight must be real (..., kernel_size), got {weight.dtype} {tuple(weight.shape)}"
            )
        if weight[..., 0].numel() != num_filters:
            raise InputError(
                f"weight of shape {tuple(weight.shape)} holds {weight[..., 0].numel()} kernels, not {num_filters}"
            )
        for name, value in (("dilation", dilation), ("half_width", half_width)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive whole number, got {value!r}")
        if not sample_rate > 0:
            raise InputError(f"sample_rate must be positive, in Hz; got {sample_rate}")
        self.num_filters, self.sample_rate = num_filters, sample_rate
        self.dilation, self.half_width = dilation, half_width
        self.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight.detach().clone())

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t) with all that lies below F0 / 2: (T,) seconds -> (C, T) per second."""
        return self.impulse_response_below(t, self.sample_rate / 2)

    def impulse_response_below(self, t: Tensor, cutoff_hz: float) -> Tensor:
        """h_c(t) without what lies above the cutoff, see the class: (T,) seconds -> (C, T) per second."""
        kernels = self._kernels(t)
        rate = self._rate_below(cutoff_hz)
        u = (t - self._instants(kernels)[:, None]) * rate
        # the window: clamped so that its slope is finite at u = Z and zero beyond
        inside = (1 - (u / self.half_width) ** 2).clamp(min=1e-20).sqrt()
        window = (torch.special.i0(KAISER_BETA * inside) - 1) / (
            torch.special.i0(u.new_tensor(KAISER_BETA)) - 1
        )
        return rate * kernels @ (torch.sinc(u) * window)

    def half_support(self, duration: float, cutoff_hz: float) -> float:
        """Half the kernel and Z zero crossings of the interpolation, in seconds."""
        return duration / 2 + self.half_width / self._rate_below(cutoff_hz)

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        kernels = self._kernels(omega)
        angle = -self._instants(kernels)[:, None] * omega
        below = omega.abs() <= math.pi * self.sample_rate * (1 + 1e-9)
        return torch.complex(kernels @ (angle.cos() * below), kernels @ (angle.sin() * below))

    def center_frequencies(self) -> Tensor:
        """Where |H_c| peaks: (C,) Hz."""
        kernels = self.weight.detach().double().flatten(0, -2)
        points = max(RESPONSE_POINTS, 8 * kernels.shape[-1])
        peaks = torch.fft.rfft(kernels, n=points).abs().argmax(-1)
        return peaks * (self.sample_rate / (self.dilation * points))

    def _kernels(self, x: Tensor) -> Tensor:
        """(C, L0), in the dtype in which a response to `x` is computed."""
        return self.weight.to(widest(x, self.weight)).flatten(0, -2)

    def _instants(self, kernels: Tensor) -> Tensor:
        """t_m: (L0,) seconds."""
        m = torch.arange(kernels.shape[-1], dtype=kernels.dtype, device=kernels.device)
        return ((kernels.shape[-1] - 1) / 2 - m) * (self.dilation / self.sample_rate)

    def _rate_below(self, cutoff_hz: float) -> float:
        """R F0: the rate whose Nyquist frequency is the cutoff, F0 at most."""
        return min(self.sample_rate, 2 * cutoff_hz)

    def extra_repr(self) -> str:
        """The arguments that make the bank."""
        return (
            f"num_filters={self.num_filters}, kernel_size={self.weight.shape[-1]}, sample_rate={self.sample_rate}, "
            f"dilation={self.dilation}, half_width={self.half_width}"
        )
