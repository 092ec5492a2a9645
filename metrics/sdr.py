"""Scale-invariant signal-to-distortion ratio."""

import torch
from torch import Tensor

from sfi_zoo.errors import InputError


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""SI-SDR in dB: 10 log10 ||a s||^2 / ||a s - e||^2 with a = <e, s> / <s, s>.

    Source: Le Roux et al., ICASSP 2019 (without the removal of the mean).

    Args:
        estimate: (..., time).
        reference: (..., time), the same shape.

    Returns:
        (...) dB in float64; NaN where the reference is silent, -inf where the estimate holds nothing of it.

    Raises:
        InputError: the shapes differ.
    """
    if estimate.shape != reference.shape:
        raise InputError(
            f"estimate {tuple(estimate.shape)} and reference {tuple(reference.shape)} differ in shape"
        )
    estimate, reference = estimate.double(), reference.double()
    scale = (estimate * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True)
    target = scale * reference
    return 10 * torch.log10(target.square().sum(-1) / (target - estimate).square().sum(-1))
