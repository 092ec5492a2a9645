"""Designs against independent computations: scipy's least squares, numpy's FFT, exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import torch

from sfi_zoo.design import FrameGrid, frequency_domain_taps, least_squares_taps, time_domain_taps, tukey_taper
from sfi_zoo.design.frames import MAX_PHASES
from sfi_zoo.filters import ModulatedGaussian


@pytest.mark.parametrize(("points", "taps"), [(640, 160), (640, 221), (33, 40), (640, 1278), (17, 40)])
def test_closed_form_is_the_pseudo_inverse(points, taps):
    """scipy's SVD least squares of the 2M x L matrix [cos; -sin], minimum norm where taps outnumber the grid."""
    rng = np.random.default_rng(0)
    response = rng.normal(size=(3, points)) + 1j * rng.normal(size=(3, points))
    first = -((taps - 1) // 2)
    w, n = np.linspace(0, np.pi, points), np.arange(first, first + taps)
    matrix = np.concatenate([np.cos(np.outer(w, n)), -np.sin(np.outer(w, n))])
    target = np.concatenate([response.real, response.imag], axis=1)
    expected = scipy.linalg.lstsq(matrix, target.T, cond=1e-10)[0].T
    actual = least_squares_taps(torch.from_numpy(response), first, taps).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-10)


def test_taper_is_the_tukey_window_of_scipy():
    t = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    expected = scipy.signal.windows.tukey(101, 0.3)
    np.testing.assert_allclose(tukey_taper(t, 1.0, 0.3).numpy(), expected, atol=1e-12)


def test_both_designs_agree_where_nothing_aliases():
    """A narrow bank far below the Nyquist frequency: impulse invariance and inverse FFT are the same filter."""
    bank = ModulatedGaussian(5, frequency_range=(500.0, 3000.0)).double()
    n = torch.arange(-120, 121, dtype=torch.float64)
    with torch.no_grad():
        time = time_domain_taps(bank, n + 0.25, 24000.0, 0.01, 0.25)
        frequency = frequency_domain_taps(
            bank, -120, 241, torch.tensor([0.25], dtype=torch.float64), 24000.0, 0.01, 0.25, 12000.0
        )[0]
    assert torch.allclose(time, frequency, atol=1e-9)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 44099, 37123])
def test_frames_sit_at_the_same_seconds_at_every_rate(rate):
    ratio = Fraction(rate, 32000)
    grid = FrameGrid.of(Fraction(159, 2) * ratio, 80 * ratio)
    if not grid.interpolated:
        for k in (0, 1, 7, 1000):
            position = grid.start(k) + grid.delays()[k % grid.phases]
            assert position / rate == pytest.approx((79.5 + 80 * k) / 32000, abs=1e-12)


def test_delays_are_interpolated_only_when_phases_are_many():
    assert not FrameGrid.of(Fraction(0), Fraction(441, MAX_PHASES)).interpolated
    assert FrameGrid.of(Fraction(0), Fraction(441, 100)).interpolated


def test_delay_interpolation_meets_its_bound_at_the_nyquist_frequency():
    """exp(j pi delay) from its values at the nodes: error at most (pi/2)^8 / (2^7 8!)."""
    grid = FrameGrid.of(Fraction(1, 7), Fraction(1009, 997))
    frames = 500
    weights = grid.starts_and_weights(frames, torch.float64, torch.device("cpu"))[1]
    nodes = torch.tensor(grid.delays(), dtype=torch.float64)
    delays = torch.tensor(
        [float(((grid.first + k * grid.hop) / grid.per) % 1) for k in range(frames)], dtype=torch.float64
    )
    rotate = lambda d: torch.polar(torch.ones_like(d), math.pi * (d - 0.5))  # noqa: E731
    error = (weights.to(torch.complex128) @ rotate(nodes) - rotate(delays)).abs().max()
    assert error <= (math.pi / 2) ** 8 / (2**7 * math.factorial(8))
