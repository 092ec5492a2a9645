"""Filters in quadrature pairs: what a complex latent is made with, and synthesis gains that invert the analysis."""

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank


def own_filters(num_filters: int, quadrature: bool) -> int:
    """How many filters of a bank have parameters of their own: all, or one of each pair.

    Raises:
        InputError: no filters, or an odd number of them with `quadrature`.
    """
    if num_filters < 1 or (quadrature and num_filters % 2):
        raise InputError(f"num_filters must be positive, and even with quadrature=True; got {num_filters}")
    return num_filters // 2 if quadrature else num_filters


class QuadratureBank(AnalogFilterBank):
    """A family that takes `quadrature` and `gain`.

    Attributes:
        quadrature: the second half of the filters are the Hilbert pairs of the first half (their phase less pi / 2), so that a filter
            and its pair are the real and the imaginary part of one complex filter.
        log_gain: ln of a trained gain for each filter, the same for its pair; None for gains of 1.
    """

    quadrature: bool
    log_gain: nn.Parameter | None

    def _spacings_and_bandwidths(self) -> tuple[Tensor, Tensor]:
        """Hz of band for each filter or pair, and the integral of its |H(f)|^2 / gain^2 over f > 0 in Hz: as `log_gain` each."""
        raise NotImplementedError

    def set_dual_gains(self, hop: int) -> None:
        """Gains with which a synthesis bank inverts an analysis bank of the same filters (unit gains) at a hop of `hop` samples.

        Analysis followed by synthesis has the response R(f) = (1 / S0) sum_c gain_c |H_c(f)|^2 (terms aliased by the hop left out). With
        filters of bandwidth B_c, the integral of |H_c|^2, a distance D_c apart, R = 1 asks for gain_c = S0 D_c / B_c; two
        filters (a quadrature pair) share each centre.

        Raises:
            InputError: the bank has no gains.
        """
        if self.log_gain is None:
            raise InputError("set_dual_gains needs a bank with gain=True")
        with torch.no_grad():
            spacing, bandwidth = self._spacings_and_bandwidths()
            gains = hop * spacing / bandwidth / (2 if self.quadrature else 1)
            self.log_gain.copy_(gains.log())
