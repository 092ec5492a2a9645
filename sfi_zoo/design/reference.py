"""The published designs, reproduced to 1e-5 because published checkpoints need them."""

import torch
from torch import Tensor

from sfi_zoo.design.frequency_domain import least_squares_weights
from sfi_zoo.design.frequency_grid import frequency_grid as create_grid
from sfi_zoo.design.frequency_grid import least_squares_taps_on
from sfi_zoo.filters.base import AnalogFilterBank


def hilbert_pair(taps: Tensor) -> Tensor:
    """Discrete Hilbert transform of (C, L) taps as published: rfft times -j, inverse."""
    return torch.fft.irfft(-1j * torch.fft.rfft(taps), n=taps.shape[-1])


def reference_taps(
    bank: AnalogFilterBank,
    design: str,
    num_taps: int,
    sample_rate: float,
    trained_rate: float,
    frequency_points: int = 640,
    hilbert: bool = False,
    frequency_grid: str = "fixed",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Taps as the published layers store them: time-reversed, for a correlation.

    Source: Saito et al. 2022 and Imamura et al. 2024, their code (MIT). Time domain: instants centred on half a sample, no gain
    correction, filters above F / 2 zeroed when F is below the trained rate (but none of a family that drops none). Frequency domain:
    `frequency_points` points on [0, pi F], taps from -(P - 1) to P for L = 2 P and from -P to P for L = 2 P + 1.

    Args:
        bank: the analog filters (half as many as are returned, with `hilbert`).
        design: "time" or "frequency".
        num_taps: L at this rate.
        sample_rate: F in Hz.
        trained_rate: F0 in Hz.
        frequency_points: grid size M of the frequency-domain design.
        hilbert: append the discrete Hilbert pairs of all filters.
        frequency_grid: the points of the frequency-domain design: "fixed", or in training "jittered" or "random".
        generator: where the draws of a jittered or random grid come from; the global one if None.
        dtype: of the sum over a fixed grid of frequencies; its factors are computed in float64.

    Returns:
        (C, L), in float64 or in `dtype`.

    Raises:
        InputError: an unknown kind of grid.
    """
    if design == "time":
        taps = bank.reference_taps(num_taps, sample_rate)
        if bank.drops_dead and trained_rate > sample_rate:
            # like the published layer, decide in float32 whether a centre lies above the Nyquist frequency
            taps = taps * (bank.center_frequencies().float() <= sample_rate / 2)[:, None]
    else:
        grid = create_grid(frequency_grid, frequency_points, generator, bank.device)
        first = -((num_taps - 1) // 2)
        if frequency_grid == "fixed":
            weights = least_squares_weights(frequency_points, first, num_taps, bank.device)
            taps = bank.response_sums(grid * sample_rate, published=True)(weights[None].to(dtype))[0]
        else:
            taps = least_squares_taps_on(grid, bank.reference_response(grid * sample_rate), first, num_taps)
    taps = taps.flip(-1)
    return torch.cat([taps, hilbert_pair(taps)]) if hilbert else taps
