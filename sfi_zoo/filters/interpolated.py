"""Interpolated filters: trained digital kernels turned into analog filters."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from sfi_zoo.audio.rates import hertz
from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank, widest
from sfi_zoo.filters.kaiser import kaiser_sinc

RESPONSE_POINTS = 1024


def interpolate_kernel(weight: Tensor, taps: int, spacing: float | Tensor, interpolation: str) -> Tensor:
    """Kernels at another spacing of the taps about the same centre.

    Args:
        weight: (..., L0) samples of kernels.
        taps: L, the samples wanted.
        spacing: their distance in samples of `weight`.
        interpolation: "linear" or "cubic".

    Returns:
        (..., L) in the dtype of `weight`; computed in float64. Differentiable, in a 0-dim `spacing` too.
    """
    length = weight.shape[-1]
    index = torch.arange(taps, dtype=torch.float64, device=weight.device)
    positions = (index - (taps - 1) / 2) * spacing + (length - 1) / 2
    distance = (positions[:, None] - torch.arange(length, dtype=torch.float64, device=weight.device)).abs()
    if interpolation == "linear":
        matrix = (1 - distance).clamp(min=0)
    else:
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        matrix = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    return (weight.double() @ matrix.T).to(weight.dtype)


class InterpolatedKernels(AnalogFilterBank):
    r"""Band-limited interpolation of any digital kernel: the plain convolution at F0, an analog filter elsewhere.

    With the kernel w[m], m = 0 ... L0 - 1, as `nn.Conv1d` holds it (a correlation: m runs against the time of h), and taps at
    t_m = ((L0 - 1) / 2 - m) / F0:

        h(t) = F0 sum_m w[m] s(F0 (t - t_m)),   s: `kaiser_sinc`
        H(omega) = sum_m w[m] exp(-j omega t_m) up to F0 / 2, zero above

    s is 1 at 0 and 0 at every other whole number, so at F0 the taps are w itself, to the last bit or two. At other rates the layer
    interpolates them, ends included: above F0 (`band_limited_taps`) they reach Z = 32 samples of F0 beyond the kernel, below F0
    (`closest_taps`) 17 to 32 samples of F. Filters above the Nyquist frequency are not dropped whole (`drops_dead`), they lose what
    lies above.

    Layers of flavour "reference" interpolate the kernel linearly instead (`reference_taps`): the baseline.

    Source: ours; it is the sinc interpolation of textbooks applied to a kernel instead of a signal.

    Args:
        num_filters: C.
        sample_rate: F0 in Hz, the rate at which the kernels are plain.
        duration: L0 / F0 in seconds, the length of kernels that are initialised here, uniformly as `nn.Conv1d` with one input
            channel does; not used with `weight`.
        weight: kernels (..., L0), C of them; an `nn.Parameter` is taken as it is (and stays tied), a tensor is copied.
        dilation: samples of F0 from one tap to the next.

    Raises:
        InputError: a size that is not positive, or kernels that are not real or not C in number.
    """

    exact: ClassVar[bool] = False
    compact: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    drops_dead: ClassVar[bool] = False
    layer_options: ClassVar[tuple[str, ...]] = ("duration", "sample_rate")

    def __init__(
        self,
        num_filters: int,
        sample_rate: float,
        duration: float | None = None,
        weight: Tensor | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        sample_rate = hertz(sample_rate)
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
        if not isinstance(dilation, int) or dilation < 1:
            raise InputError(f"dilation must be a positive whole number, got {dilation!r}")
        self.num_filters, self.sample_rate, self.dilation = num_filters, sample_rate, dilation
        self.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight.detach().clone())

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t), see the class: (T,) seconds -> (C, T) per second."""
        kernels = self._kernels(t)
        u = (t - self._instants(kernels)[:, None]) * self.sample_rate
        return self.sample_rate * kernels @ kaiser_sinc(u)

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega), see the class: (M,) rad/s -> complex (C, M)."""
        kernels = self._kernels(omega)
        angle = -self._instants(kernels)[:, None] * omega
        below = omega.abs() <= math.pi * self.sample_rate * (1 + 1e-9)
        return torch.complex(kernels @ (angle.cos() * below), kernels @ (angle.sin() * below))

    def reference_taps(self, num_taps: int, sample_rate: float) -> Tensor:
        """The kernel at F0 / F of its spacing, linear in between and zero beyond, times F0 / F: (C, num_taps) float64.

        Nothing keeps it from aliasing at low F, nor from images of its band at high F. Both layers have the factor, so what is analysed
        keeps its level, and what is synthesised then has F0 / F of it.
        """
        spacing = self.sample_rate / sample_rate
        kernels = self._kernels(torch.empty(0, dtype=torch.float64))
        return spacing * interpolate_kernel(kernels, num_taps, spacing / self.dilation, "linear").flip(-1)

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

    def extra_repr(self) -> str:
        """The arguments that make the bank."""
        return (
            f"num_filters={self.num_filters}, kernel_size={self.weight.shape[-1]}, sample_rate={self.sample_rate}, "
            f"dilation={self.dilation}"
        )
