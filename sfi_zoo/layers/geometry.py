"""Where a layer's kernel and frames lie: counted in samples at F0, held in seconds at every other F."""

import math
from dataclasses import dataclass
from fractions import Fraction

from sfi_zoo.design import FrameGrid
from sfi_zoo.errors import InputError

STRIDE_MODES = ("exact", "interpolate", "round")


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride and padding in samples at F0, as exact durations at any F.

    Frame k is centred at tau_k = ((L0 - 1) / 2 - padding + k S0) / F0 seconds.

    Attributes:
        kernel_size: L0, the samples from the first to the last tap (a dilated kernel with its gaps).
        stride: S0.
        padding: samples added on the left and on the right.
        centered: the padding is (L - S) / 2; truncated kernels and strides are centered anew.
        trained_rate: F0 in Hz.
        truncated: int() of everything at F, half-sample centres: the published layers (flavour "reference").
        stride_mode: "exact", "interpolate", or "round": int() of the stride at F, which drifts.
    """

    kernel_size: int
    stride: int
    padding: tuple[Fraction, Fraction]
    centered: bool
    trained_rate: float
    truncated: bool
    stride_mode: str

    @property
    def duration(self) -> float:
        """T, length of the kernel in seconds."""
        return self.kernel_size / self.trained_rate

    def ratio(self, rate: float) -> Fraction:
        """F / F0, exactly."""
        return Fraction(rate) / Fraction(self.trained_rate)

    def sizes(self, rate: float) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """Kernel, stride, left and right padding in samples at `rate`.

        Raises:
            InputError: no sample is left of the kernel or of the stride.
        """
        ratio = self.ratio(rate)
        kernel, stride, left, right = (x * ratio for x in (self.kernel_size, self.stride, *self.padding))
        if self.stride_mode == "round":
            stride = Fraction(int(stride))
        if self.truncated:
            kernel, left, right = (Fraction(int(x)) for x in (kernel, left, right))
            if self.centered:
                left = right = Fraction((kernel - int(self.stride * ratio)) // 2)
        if (kernel < 1 and self.truncated) or stride <= 0:
            raise InputError(
                f"sample_rate {rate} Hz is too low: a kernel of {float(kernel):g} and a stride of {float(stride):g} samples"
            )
        return kernel, stride, left, right

    def grid(self, rate: float) -> FrameGrid:
        """Positions of the frames in samples at `rate`."""
        if self.truncated or self.stride_mode == "round":
            kernel, stride, left, _ = self.sizes(rate)
            first = (kernel - 1) / 2 - left if self.truncated else self._first() * self.ratio(rate)
            return FrameGrid(first, stride)
        ratio = self.ratio(rate)
        return FrameGrid(self._first() * ratio, self.stride * ratio)

    def _first(self) -> Fraction:
        return Fraction(self.kernel_size - 1, 2) - self.padding[0]

    def num_frames(self, length: int, rate: float) -> int:
        """floor((T + left + right - L) / S) + 1; not positive where the signal is shorter than the kernel."""
        kernel, stride, left, right = self.sizes(rate)
        return math.floor((length + left + right - kernel) / stride) + 1

    def output_length(self, frames: int, rate: float, output_padding: int = 0) -> int:
        """Samples of a transposed convolution: (K - 1) S - left - right + L + output padding, rounded to the nearest."""
        kernel, stride, left, right = self.sizes(rate)
        return round((frames - 1) * stride - left - right + kernel + output_padding * self.ratio(rate))


def dilated(kernel_size: int, dilation: int) -> int:
    """Samples from the first to the last tap of a dilated kernel."""
    return (kernel_size - 1) * dilation + 1


def both_paddings(padding: float | str, kernel_size: int, stride: int) -> tuple[Fraction, Fraction]:
    """Left and right padding in samples at F0.

    Args:
        padding: a number of samples, "valid" (none), "same" (stride 1: as many frames as samples), or "centered": frame k at
            (k + 1/2) S0, less half a sample.
        kernel_size: L0, dilation included.
        stride: S0.

    Raises:
        InputError: another word, a negative number, or "same" with a stride.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return Fraction(0), Fraction(0)
        if padding == "centered":
            return Fraction(kernel_size - stride, 2), Fraction(kernel_size - stride, 2)
        if padding == "same" and stride == 1:
            return Fraction((kernel_size - 1) // 2), Fraction(kernel_size // 2)
        raise InputError(
            f"padding must be a number of samples, 'valid', 'centered', or 'same' with stride 1; got {padding!r} (stride {stride})"
        )
    if isinstance(padding, bool) or not isinstance(padding, (int, float, Fraction)) or not padding >= 0:
        raise InputError(f"padding must be a number of samples >= 0, got {padding!r}")
    return Fraction(padding), Fraction(padding)
