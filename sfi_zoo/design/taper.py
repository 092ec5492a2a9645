"""The compact taper: why a latent stops depending on the sampling frequency."""

import math

import torch
from torch import Tensor


def tukey_taper(t: Tensor, duration: float, fraction: float, causal: bool = False) -> Tensor:
    r"""A window on [-T/2, T/2] that is flat in the middle and falls to zero as a raised cosine at its ends.

    With d the distance from t to the nearer end and r = a T / 2 the length of each ramp:

        w(t) = 1 for d >= r,  (1 - cos(pi d / r)) / 2 for 0 <= d < r,  0 outside.

    a = 0 is the hard cut of the published layers, a = 1 the Hann window. The cut is what makes published latents depend
    on the sampling frequency: a jump has a spectrum that falls as 1/f, and sampling folds its tail back.

    Args:
        t: seconds, any shape, relative to the centre of the kernel.
        duration: T in seconds.
        fraction: a in [0, 1].
        causal: taper the end only (the filter starts at -T/2 by itself).

    Returns:
        w(t), same shape and dtype as `t`.
    """
    to_end = duration / 2 - t
    distance = to_end if causal else torch.minimum(to_end, t + duration / 2)
    inside = (t.abs() <= duration / 2 * (1 + 1e-12)).to(t.dtype)
    if fraction <= 0:
        return inside
    ramp = fraction * duration / 2
    return inside * 0.5 * (1 - torch.cos(math.pi * (distance / ramp).clamp(0, 1)))
