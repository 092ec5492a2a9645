"""What a resampler is: `resampler(x, rate_in, rate_out)`, and what all of them check and share."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from sfi_zoo.audio.rates import carries_derivative
from sfi_zoo.audio.resample import check_rates, resampled_length
from sfi_zoo.errors import InputError


class Resampler(nn.Module):
    """Base class: a signal at one sampling frequency becomes the same signal at another.

    `resampler(x, rate_in, rate_out)` takes (..., time) and returns (..., round(time * rate_out / rate_in)), halves up. Sample 0 stays at
    0 seconds: there is no delay. Equal rates give the input itself. Its repr says how it is set, so it can name a row of a table.

    Attributes:
        differentiable_rates: whether a rate may be a 0-dim tensor with a gradient or a forward-mode tangent.
    """

    differentiable_rates: ClassVar[bool] = False

    @property
    def way_back(self) -> "Resampler":
        """What takes the output of a model back to the rate of its input: self, unless the resampler adds something for the model."""
        return self

    def forward(self, x: Tensor, rate_in: float | Tensor, rate_out: float | Tensor) -> Tensor:
        """Resample the last axis.

        Args:
            x: (..., time), floating point.
            rate_in: sampling frequency of `x` in Hz, any positive real number.
            rate_out: wanted sampling frequency in Hz; the number of samples goes by its value, not by its gradient.

        Returns:
            (..., round(time * rate_out / rate_in)), of the dtype and on the device of `x`.

        Raises:
            InputError: `x` is not a floating-point tensor with a time axis, a rate is not positive and finite, or a rate carries
                a derivative and this resampler has none.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 1:
            given = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"resample: x must be a floating-point tensor (..., time), got {given}")
        source, target = check_rates(rate_in, rate_out)
        rate_in, rate_out = _differentiated(rate_in, source), _differentiated(rate_out, target)
        if isinstance(rate_in, Tensor) or isinstance(rate_out, Tensor):
            if not self.differentiable_rates:
                raise InputError(
                    f"{self._get_name()} has no derivative in the rates: give numbers, or use WindowedSinc"
                )
        elif source == target:
            return x
        length = resampled_length(x.shape[-1], source, target)
        if not length or not x.numel():
            return x.new_zeros(*x.shape[:-1], length)
        with torch.autocast(x.device.type, enabled=False):  # a resampler in bfloat16 is noise at -50 dB
            return self._resample(x, rate_in, rate_out, length)

    def _resample(self, x: Tensor, rate_in: float | Tensor, rate_out: float | Tensor, length: int) -> Tensor:
        raise NotImplementedError


def value_of(rate: float | Tensor) -> float:
    """The value of a rate in Hz, or of a ratio, without its gradient or tangent."""
    return float(rate.detach() if isinstance(rate, Tensor) else rate)


def _differentiated(rate: float | Tensor, value: float) -> float | Tensor:
    """The rate itself where it carries a derivative, else its value."""
    return rate if isinstance(rate, Tensor) and carries_derivative(rate) else value
