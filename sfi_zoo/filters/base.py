"""What an analog filter bank is: real filters h_c(t) that exist before any sampling frequency is chosen."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class AnalogFilterBank(nn.Module):
    """A bank of C real analog filters h_c(t), t in seconds.

    A family overrides `impulse_response`, `frequency_response`, or both, and `center_frequencies`. The two are
    a Fourier pair, H(omega) = integral h(t) exp(-j omega t) dt, so a response of 1 means unit gain at every
    sampling frequency once taps are h(n / F) / F. Responses are computed in the dtype of the argument where that
    is wider than the parameters' (designs ask in float64).

    Where a model is converted to half precision, the parameters stay in float32: rounded to eight binary digits a centre frequency
    is up to 0.2 % off, which is many radians at the end of a long kernel.

    Attributes:
        num_filters: C.
        exact: whether parameters stay in float32 at least; False for those that are kernels, with the precision of any other weight.
        causal: False: the kernel covers t in [-T/2, T/2]; True: it covers [0, T].
        compact: kernels that end by themselves: the taper of the layer is not applied to them.
        sampled: the taps at F0 are the filter, and other rates interpolate them. Below F0 that is done for every family, so that nothing
            aliases; above F0 only for families whose spectrum has not ended there.
        drops_dead: filters with their centre above min(F, F0) / 2 are dropped whole; False: they keep what lies below.
        layer_options: constructor arguments that a layer fills in where the user gives none: any of "duration" (kernel
            length T in seconds) and "sample_rate" (F0 in Hz).
    """

    num_filters: int
    exact: ClassVar[bool] = True
    causal: bool = False
    compact: ClassVar[bool] = False
    sampled: ClassVar[bool] = False
    drops_dead: ClassVar[bool] = True
    layer_options: ClassVar[tuple[str, ...]] = ()
    _half: torch.dtype | None = None

    def impulse_response(self, t: Tensor) -> Tensor:
        """h_c(t): (T,) seconds -> (C, T), per second. Differentiable in t and in the parameters."""
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form impulse response; use design='frequency'"
        )

    def frequency_response(self, omega: Tensor) -> Tensor:
        """H_c(omega): (M,) rad/s, omega >= 0 -> complex (C, M). H(-omega) is its conjugate: h is real."""
        raise NotImplementedError(
            f"{type(self).__name__} has no closed-form frequency response; use design='time'"
        )

    def reference_response(self, omega: Tensor) -> Tensor:
        """The frequency response of the layers as published, where it is not the native one."""
        return self.frequency_response(omega)

    def response_sums(self, omega: Tensor, published: bool = False) -> Callable[[Tensor], Tensor]:
        """Weighted sums over frequency of `frequency_response`, or of `reference_response`, in the dtype of the weights.

        Args:
            omega: (M,) rad/s, ascending.
            published: of the response of the layers as published.

        Returns:
            A function: weights, (P, 2 M, N) -> sum_m Re H_c(omega_m) weights[p, m, n] + Im H_c(omega_m) weights[p, M + m, n], (P, C, N).
        """
        response = self.reference_response(omega) if published else self.frequency_response(omega)
        parts = torch.view_as_real(response).mT.flatten(1)
        return lambda weights: parts.to(weights.dtype) @ weights

    @classmethod
    def gives(cls, response: str) -> bool:
        """Whether the family has an "impulse_response", or a "frequency_response"."""
        return getattr(cls, response) is not getattr(AnalogFilterBank, response)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((x.device for x in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The precision to which the bank was converted; its parameters are in float32 where that is less (see `exact`)."""
        first = next((x.dtype for x in self.parameters()), torch.get_default_dtype())
        return self._half or first

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """What `to`, `half`, `cuda` and the others do to each parameter and buffer."""
        if not self.exact:
            return super()._apply(fn, recurse)
        half = None if self._half is None else fn(torch.empty(0, dtype=self._half, device=self.device)).dtype

        def exactly(x: Tensor) -> Tensor:
            nonlocal half
            y = fn(x)
            if not is_half(y.dtype):
                return y
            half = y.dtype
            return x.to(y.device, at_least_float32(x.dtype))

        super()._apply(exactly, recurse)
        self._half = half if half is not None and is_half(half) else None
        return self

    def center_frequencies(self) -> Tensor:
        """(C,) Hz, detached: where |H_c| peaks. A filter is alive at a rate F when this is below F / 2."""
        raise NotImplementedError

    def reference_taps(self, num_taps: int, sample_rate: float) -> Tensor:
        """(C, num_taps): the time-domain taps of the layers as published, before time reversal.

        Only families that have been published with a time-domain design have this.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no published time-domain design; use flavour='native'"
        )


def widest(x: Tensor, parameter: Tensor) -> torch.dtype:
    """The dtype in which a response to `x` is computed."""
    return torch.promote_types(x.dtype, parameter.dtype)


def trained(x: Tensor, requires_grad: bool = True) -> nn.Parameter:
    """A parameter that starts at `x`, in the default dtype, float32 at least, and on the default device."""
    dtype = at_least_float32(torch.get_default_dtype())
    return nn.Parameter(x.to(torch.get_default_device(), dtype), requires_grad)


def is_half(dtype: torch.dtype) -> bool:
    """Whether it is a floating-point dtype narrower than float32."""
    return dtype.is_floating_point and torch.finfo(dtype).bits < 32


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The dtype, or float32 (complex64) where it is narrower."""
    return torch.promote_types(dtype, torch.float32)
