"""Sampling-frequency augmentation, ours: some examples lose their upper band, as if they had come at a lower sampling frequency (SF)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfi_zoo.errors import InputError

_STEPS, _EXAMPLES = (
    1,
    2,
)  # streams of random numbers that have nothing to do with each other; the next uses have 3 and 4, ...
LIMITED, ROUND_TRIP = 0, 1  # uses


@dataclass(frozen=True)
class Bands:
    """What is augmented in one step.

    Attributes:
        sample_rate: the SF in Hz, one for the whole step.
        share: of the examples that are augmented.
        seed: of the run.
        use: what the draws are for; those of different uses are independent.
    """

    sample_rate: float
    share: float
    seed: int
    use: int = LIMITED

    def limited(self, indices: Sequence[int]) -> Tensor:
        """Which examples, by their index in the whole run, are augmented: (indices,) bool."""
        draws = [
            np.random.default_rng([self.seed, _EXAMPLES + 2 * self.use, int(i)]).random() for i in indices
        ]
        return torch.tensor(draws, dtype=torch.float64) < self.share


def band_rates(seed: int, step: int, share: float, low: float, high: float, use: int = LIMITED) -> Bands:
    """The SF of a step, uniform in log F between `low` and `high` (Hz): a pure function of (seed, step, use).

    Raises:
        InputError: `share` is not in 0 ... 1, or not 0 < low <= high.
    """
    if not (0 <= share <= 1 and 0 < low <= high < math.inf):
        raise InputError(
            f"band rates: share = {share}, {low} ... {high} Hz; give 0 ... 1 and rates that rise"
        )
    u = np.random.default_rng([seed, _STEPS + 2 * use, step]).random()
    return Bands(float(low * (high / low) ** u), share, seed, use)


def band_limit(x: Tensor, sample_rate: float, nyquist: float | Tensor, transition: float = 0.05) -> Tensor:
    """Zero-phase low-pass: nothing is left from `nyquist` on. The signal counts as periodic.

        H(f) = (1 - cos(pi u)) / 2,  u = (1 - f / nyquist) / transition, held to 0 ... 1

    Args:
        x: (..., time).
        sample_rate: in Hz.
        nyquist: where the pass band has ended, in Hz; infinite for no limit. A tensor is for the leading axes of `x`.
        transition: part of 0 ... nyquist over which it ends.

    Returns:
        (..., time).

    Raises:
        InputError: a rate or the transition is not above 0.
    """
    limit = torch.as_tensor(nyquist, dtype=x.dtype, device=x.device)
    if not (sample_rate > 0 and bool((limit > 0).all()) and 0 < transition <= 1):
        raise InputError(
            f"band_limit: sample_rate = {sample_rate}, nyquist = {nyquist}, transition = {transition}: all are above 0,"
            " the transition at most 1"
        )
    frequencies = torch.fft.rfftfreq(x.shape[-1], 1 / sample_rate, dtype=x.dtype, device=x.device)
    u = ((1 - frequencies / limit[..., None]) / transition).clamp(0, 1)
    gain = (1 - torch.cos(math.pi * u)) / 2
    return torch.fft.irfft(torch.fft.rfft(x) * gain, n=x.shape[-1])
