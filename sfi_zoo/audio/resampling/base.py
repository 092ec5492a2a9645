"""What a resampler is: `resampler(x, rate_in, rate_out)`, and what all of them check and share."""

from typing import ClassVar

import torch
from torch import Tensor, nn

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
            InputError: `x` is not a floating-point tensor with a time axis, a rate is not positive and finite, or a rate is a
                tensor and this resampler is not differentiable in it.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 1:
            given = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"resample: x must be a floating-point tensor (..., time), got {given}")
        source, target = value_of(rate_in), value_of(rate_out)
        check_rates(source, target)
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
    """The value of a rate in Hz, without its gradient or tangent.

    Raises:
        InputError: it is not a number or a tensor that holds one.
    """
    if isinstance(rate, Tensor):
        if rate.ndim or not rate.is_floating_point():
            raise InputError(f"a rate must be a number or a 0-dim floating-point tensor, got {rate!r}")
        rate = rate.detach()
    try:
        return float(rate)
    except (TypeError, ValueError):
        raise InputError(f"a rate must be a number in Hz, got {rate!r}") from None
