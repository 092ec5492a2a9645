"""Kernels that fill the band which up-sampling leaves empty: with noise, or with what training finds useful.

Both are our reading of Imamura et al., "Dissecting Performance Degradation in Audio Source Separation under Sampling Frequency
Mismatch", ICASSP 2026 (arXiv 2601.14684), of which we know the abstract and the formula of the kernel, not the settings: a network
misses the high frequencies that an up-sampled signal lacks, and that there is something matters more than what it is.

    y[m] = sum_n x[n] (k(m F / F' - n) + p(m F / F' - n)),    F < F'

k is the windowed sinc of `WindowedSinc`; p is a table over the lag with `RESOLUTION` entries per input sample, linearly interpolated. It
does not depend on F', so that the resampler stays a linear time-invariant filter followed by sampling: at half of F' it gives every
second sample. Down-sampling leaves no band empty: there the kernel is k alone.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.audio.resampling.base import Resampler, value_of
from sfi_zoo.audio.resampling.windowed_sinc import WindowedSinc
from sfi_zoo.errors import InputError

# Divisible by the ratios of common rates (2, 3, 4, 6, 8, 12): their lags fall on entries of the table.
RESOLUTION = 24


class PerturbedKernel(WindowedSinc):
    """A windowed sinc plus a table p over the lag. The way back is the windowed sinc alone: what was added was for the model."""

    @property
    def way_back(self) -> Resampler:
        """The same windowed sinc without the table."""
        return WindowedSinc(self.zero_crossings, self.rolloff, self.window, self.beta)

    @property
    def lags(self) -> Tensor:
        """(entries,) lags of the table in input samples: -W ... W in steps of 1 / `RESOLUTION`; the kernel is zero at W itself."""
        reach = self._reach(1.0) * RESOLUTION
        return torch.arange(-reach, reach + 1, dtype=torch.float64) / RESOLUTION

    def _table(self) -> Tensor:
        """(entries,) p at `lags`."""
        raise NotImplementedError

    def _interpolation(self, weights: Tensor) -> Tensor:
        """Weights (M, `RESOLUTION` + 1) of neighbouring entries, two of which are not zero."""
        return weights

    def _expansion(self, ratio: float | Tensor, reach: int, device: torch.device) -> Tensor:
        expansion = super()._expansion(ratio, reach, device)
        rows = expansion.new_zeros(RESOLUTION + 1, 2 * reach)
        if value_of(ratio) < 1:
            # tap l at delay i / RESOLUTION has lag i / RESOLUTION - l - 1 + W
            rows = self._table().to(device, torch.float64).unfold(0, RESOLUTION + 1, RESOLUTION).flip(0).T
        return torch.cat([expansion, rows])

    def _basis(self, delay: Tensor) -> Tensor:
        entries = torch.arange(RESOLUTION + 1, dtype=delay.dtype, device=delay.device)
        hats = (1 - (delay[..., None] * RESOLUTION - entries).abs()).clamp(min=0)
        return torch.cat([super()._basis(delay), self._interpolation(hats)], -1)


class NoisyKernel(PerturbedKernel):
    """Windowed sinc plus Gaussian noise on the kernel: an up-sampled signal holds something above its old Nyquist frequency.

    The noise is drawn once, from the seed, and is a fixed function of the lag: two calls give the same output, and the output of
    silence is silence. Its level: a white signal of power P gives 2 W sigma^2 P, spread over 0 ... F' / 2 (W = zero_crossings / rolloff
    samples); with the defaults 39 dB below the signal. The level is ours, not that of the paper.

    Args:
        sigma: standard deviation of the noise; the kernel itself is `rolloff` at lag 0.
        seed: of the noise.
        **options: those of `WindowedSinc`.

    Raises:
        InputError: a setting outside what is allowed.
    """

    noise: Tensor

    def __init__(self, sigma: float = 1e-3, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= sigma < float("inf"):
            raise InputError(f"sigma must be a finite number that is not negative, got {sigma}")
        self.sigma, self.seed = sigma, seed
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(self.lags), generator=generator, dtype=torch.float64)
        self.register_buffer("noise", noise, persistent=False)

    def _table(self) -> Tensor:
        return self.sigma * self.noise

    def _interpolation(self, weights: Tensor) -> Tensor:
        return weights / weights.norm(dim=-1, keepdim=True)  # the same variance between entries as on them

    def extra_repr(self) -> str:
        """The settings."""
        return f"sigma={self.sigma}, seed={self.seed}, {super().extra_repr()}"


class TrainableKernel(PerturbedKernel):
    """Windowed sinc plus a trained deviation: the kernel of up-sampling is learned with the model behind it.

    `deviation` starts at zero, so that training starts at the windowed sinc, and weight decay pulls back to it. The paper trains a small
    network that computes the kernel; a table over the lag can take any shape that its resolution allows.

    Args:
        **options: those of `WindowedSinc`.

    Attributes:
        deviation: (entries,) parameter, p at `lags`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.deviation = nn.Parameter(torch.zeros(len(self.lags)))

    def _table(self) -> Tensor:
        return self.deviation
