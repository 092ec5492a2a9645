"""The Kaiser-windowed sinc that turns taps back into a filter."""

import torch
from torch import Tensor

KAISER_BETA = 10.0  # stop band 1e-5; with Z = 32 the pass band ends at 0.9 of the Nyquist frequency (smaller b: leaks, larger: duller)
HALF_WIDTH = 32  # Z


def kaiser_sinc(u: Tensor) -> Tensor:
    r"""s(u) = sinc(u) (I0(b sqrt(1 - u^2 / Z^2)) - 1) / (I0(b) - 1) for |u| < Z, 0 beyond.

    1 at 0 and 0 at every other whole number. The transition from pass band to stop band is 6.4 / Z of the Nyquist frequency
    wide, half of it below the cutoff.

    Args:
        u: samples, any shape.
    """
    # clamped so that the slope is finite at u = Z and zero beyond
    inside = (1 - (u / HALF_WIDTH) ** 2).clamp(min=1e-20).sqrt()
    window = (torch.special.i0(KAISER_BETA * inside) - 1) / (torch.special.i0(u.new_tensor(KAISER_BETA)) - 1)
    return torch.sinc(u) * window
