"""Where a layer's kernel and frames lie: counted in samples at F0, held in seconds at every other F."""

import math
from fractions import Fraction
from functools import lru_cache
from numbers import Integral
from typing import Any, NamedTuple

import torch

from sfi_zoo.design import FrameGrid
from sfi_zoo.errors import InputError

STRIDE_MODES = ("exact", "interpolate", "round")


class Layout(NamedTuple):
    """A kernel and its frames in samples at some F: whole numbers, all to be divided by `per`.

    Attributes:
        kernel: L, from the first to the last tap.
        hop: S.
        left: padding before the first sample.
        right: padding after the last.
        first: centre of frame 0.
        per: common denominator.
    """

    kernel: int
    hop: int
    left: int
    right: int
    first: int
    per: int

    @property
    def grid(self) -> FrameGrid:
        """Positions of the frames."""
        return FrameGrid(self.first, self.hop, self.per)

    def num_frames(self, length: int) -> int:
        """floor((T + left + right - L) / S) + 1; not positive where the signal is shorter than the kernel."""
        return (length * self.per + self.left + self.right - self.kernel) // self.hop + 1

    def output_length(self, frames: int, output_padding: float = 0) -> int:
        """Samples of a transposed convolution: (K - 1) S - left - right + L + output padding, rounded (halves up)."""
        samples = (frames - 1) * self.hop - self.left - self.right + self.kernel
        return (2 * samples + int(2 * output_padding * self.per) + self.per) // (2 * self.per)


def layout(
    kernel_size: int,
    stride: int,
    padding: float | str,
    trained_rate: float,
    rate: float,
    truncated: bool = False,
    stride_mode: str = "exact",
) -> Layout:
    """Kernel, frames and padding at `rate`. Frame k is centred at tau_k = ((L0 - 1) / 2 - padding + k S0) / F0 seconds.

    Args:
        kernel_size: L0, samples at F0 from the first to the last tap (a dilated kernel with its gaps).
        stride: S0.
        padding: see `both_paddings`.
        trained_rate: F0 in Hz.
        rate: F in Hz.
        truncated: int() of everything at F, half-sample centres: the published layers (flavour "reference").
        stride_mode: "exact", "interpolate", or "round": int() of the stride at F, which drifts.

    Raises:
        InputError: no sample is left of the kernel or of the stride.
    """
    return Layout(*_constants(kernel_size, stride, padding, trained_rate, rate, truncated, stride_mode))


@torch.compiler.assume_constant_result  # rational arithmetic is not for a compiled graph
def _constants(*arguments: Any) -> tuple[int, ...]:
    return _layout(*arguments)


@lru_cache(maxsize=1024)
def _layout(
    kernel_size: int,
    stride: int,
    padding: float | str,
    trained_rate: float,
    rate: float,
    truncated: bool,
    stride_mode: str,
) -> tuple[int, ...]:
    ratio = Fraction(rate) / Fraction(trained_rate)
    paddings = both_paddings(padding, kernel_size, stride)
    first = (Fraction(kernel_size - 1, 2) - paddings[0]) * ratio
    kernel, hop, left, right = (x * ratio for x in (kernel_size, stride, *paddings))
    if stride_mode == "round":
        hop = Fraction(int(hop))
    if truncated:
        kernel, left, right = (Fraction(int(x)) for x in (kernel, left, right))
        if padding == "centered":
            left = right = Fraction((kernel - int(stride * ratio)) // 2)
        first = (kernel - 1) / 2 - left
    if hop <= 0 or (truncated and kernel < 1):
        raise InputError(
            f"sample_rate {rate} Hz is too low: a kernel of {float(kernel):g} and a stride of {float(hop):g} samples"
        )
    numbers = (kernel, hop, left, right, first)
    per = math.lcm(*(x.denominator for x in numbers))
    return *(int(x * per) for x in numbers), per


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
    if isinstance(padding, bool) or not isinstance(padding, (int, float)) or not padding >= 0:
        raise InputError(f"padding must be a number of samples >= 0, got {padding!r}")
    return Fraction(padding), Fraction(padding)


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number, `least` or more, or the one in a tuple of one, as `nn.Conv1d` takes it.

    Raises:
        InputError: it is not.
    """
    number = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
    if not isinstance(number, Integral) or isinstance(number, bool) or number < least:
        raise InputError(f"{name} must be a whole number of samples at F0, {least} or more; got {value!r}")
    return int(number)
