"""Signal-to-distortion ratios: scale-invariant, plain, and BSSEval v4."""

import math
from importlib import import_module

import numpy as np
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
    estimate, reference = _pair(estimate, reference)
    scale = (estimate * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True)
    target = scale * reference
    wanted, rest = target.square().sum(-1), (target - estimate).square().sum(-1)
    return 10 * torch.log10(
        torch.where(wanted == 0, wanted, wanted / rest)
    )  # silence has nothing of the reference


def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""SDR in dB: 10 log10 ||s||^2 / ||s - e||^2, where a wrong level is an error.

    Source: Mitsufuji et al., "Music Demixing Challenge 2021", Frontiers in Signal Processing 1, 2022: the SDR of a whole song.

    Args:
        estimate: (..., time).
        reference: (..., time), the same shape.

    Returns:
        (...) dB in float64; -inf where the reference is silent and the estimate is not.

    Raises:
        InputError: the shapes differ.
    """
    estimate, reference = _pair(estimate, reference)
    return 10 * torch.log10(reference.square().sum(-1) / (reference - estimate).square().sum(-1))


def ratios_of(es: Tensor, ss: Tensor, ee: Tensor) -> dict[str, Tensor]:
    """SI-SDR and SDR from inner products, for when signals are long and one pass must do; to within rounding up to 100 dB.

        si_sdr = a^2 <s, s> / (<e, e> - a^2 <s, s>),    sdr = <s, s> / (<s, s> - 2 <e, s> + <e, e>)

    Args:
        es: <e, s> of estimate and reference, (...) float64.
        ss: <s, s>.
        ee: <e, e>.

    Returns:
        "si_sdr", "sdr": (...) dB, as `si_sdr` and `sdr` have them.
    """
    target = es.square() / ss
    powers = {"si_sdr": target / (ee - target).clamp(min=0), "sdr": ss / (ss - 2 * es + ee).clamp(min=0)}
    return {name: 10 * torch.log10(power) for name, power in powers.items()}


def bsseval(estimates: Tensor, references: Tensor, sample_rate: float) -> dict[str, list[float]]:
    """BSSEval v4 by museval, as in evaluations on MUSDB18: the median over frames of one second. Needs the extra `musdb`.

    Source: Stöter, Liutkus and Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018.

    Args:
        estimates: (sources, channels, time).
        references: (sources, channels, time), none of them silent as a whole.
        sample_rate: Hz, the length of a frame in samples.

    Returns:
        "sdr", "isr", "sir", "sar": dB for every source; NaN where no frame has a value.

    Raises:
        InputError: museval or ffmpeg is not installed, or the shapes differ.
    """
    estimates, references = _pair(estimates, references)
    try:
        evaluate = import_module("museval").evaluate
    except ImportError:
        raise InputError("BSSEval needs museval: pip install -e '.[musdb]'") from None
    except RuntimeError as error:  # of stempeg, which museval imports
        raise InputError(f"BSSEval needs museval, which needs ffmpeg and ffprobe: {error}") from None
    frame = round(sample_rate)
    arrays = (x.movedim(1, 2).cpu().numpy() for x in (references, estimates))
    values = evaluate(*arrays, win=frame, hop=frame, mode="v4")
    return {name: _medians(x) for name, x in zip(("sdr", "isr", "sir", "sar"), values, strict=True)}


def _medians(values: np.ndarray) -> list[float]:
    """Over the frames that have a value, as museval has it: of an even number of them, the mean of the middle two."""
    return [float(np.median(row[~np.isnan(row)])) if not np.isnan(row).all() else math.nan for row in values]


def _pair(estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if estimate.shape != reference.shape:
        raise InputError(
            f"estimate {tuple(estimate.shape)} and reference {tuple(reference.shape)} differ in shape"
        )
    return estimate.double(), reference.double()
