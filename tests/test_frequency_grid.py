"""Grids of frequencies for training, and least squares on them against scipy."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from sfi_zoo import InputError
from sfi_zoo.design import least_squares_taps, reference_taps
from sfi_zoo.design.frequency_grid import frequency_grid, least_squares_taps_on
from sfi_zoo.filters import ModulatedGaussian

KINDS = ["fixed", "jittered", "random"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_fixed_points_are_equally_spaced():
    np.testing.assert_allclose(frequency_grid("fixed", 33).numpy(), np.linspace(0, np.pi, 33), atol=1e-15)


def test_jittered_points_stay_in_their_cells_and_fill_them():
    """Cells of width pi / (M - 1) around the fixed points, the outer ones cut in half."""
    step = math.pi / 640
    moves = torch.stack([frequency_grid("jittered", 641, seeded(seed)) for seed in range(200)])
    moves = (moves - frequency_grid("fixed", 641)) / step
    assert moves.abs().max() <= 0.5 and (moves[:, 0] >= 0).all() and (moves[:, -1] <= 0).all()
    assert abs(moves[:, 1:-1].mean()) < 0.01 and moves.var() == pytest.approx(1 / 12, abs=0.001)
    assert moves[:, 0].mean() == pytest.approx(0.25, abs=0.05)
    assert moves[:, -1].mean() == pytest.approx(-0.25, abs=0.05)


def test_random_points_are_sorted_uniform_draws():
    grid = frequency_grid("random", 20000, seeded()).numpy()
    assert (np.diff(grid) >= 0).all() and grid[0] >= 0 and grid[-1] <= np.pi
    assert scipy.stats.kstest(grid / np.pi, "uniform").pvalue > 0.01


def test_draws_come_from_the_generator():
    grids = [frequency_grid("random", 9, seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(grids[0], grids[1]) and not torch.equal(grids[0], grids[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("points", "taps"), [(640, 160), (640, 221), (33, 40), (17, 40)])
def test_taps_are_those_of_scipys_least_squares(kind, points, taps):
    """The 2M x L matrix [cos; -sin] by SVD; the solution of least norm where taps outnumber the equations (17 points, 40 taps)."""
    rng = np.random.default_rng(0)
    response = rng.normal(size=(3, points)) + 1j * rng.normal(size=(3, points))
    grid, first = frequency_grid(kind, points, seeded()), -((taps - 1) // 2)
    n = np.arange(first, first + taps)
    matrix = np.concatenate([np.cos(np.outer(grid, n)), -np.sin(np.outer(grid, n))])
    target = np.concatenate([response.real, response.imag], axis=1)
    expected, _, _, singular = scipy.linalg.lstsq(matrix, target.T, cond=1e-6)
    actual = least_squares_taps_on(grid, torch.from_numpy(response), first, taps).numpy()
    condition = singular[0] / singular[singular > 1e-6 * singular[0]][-1]
    np.testing.assert_allclose(actual, expected.T, atol=1e-14 * condition**2 * np.abs(expected).max())


def test_on_the_fixed_grid_it_is_the_closed_form():
    response = torch.randn(3, 100, dtype=torch.complex128)
    actual = least_squares_taps_on(frequency_grid("fixed", 100), response, -20, 41)
    torch.testing.assert_close(actual, least_squares_taps(response, -20, 41), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_reference_taps_hardly_depend_on_the_grid(kind):
    """A response that the taps can follow is followed at any points."""
    bank = ModulatedGaussian(6, frequency_range=(500.0, 3000.0), bandwidth=400.0).double()
    with torch.no_grad():
        taps = reference_taps(bank, "frequency", 80, 16000, 16000, frequency_grid=kind, generator=seeded())
        expected = reference_taps(bank, "frequency", 80, 16000, 16000)
    assert (taps - expected).abs().max() < 1e-5 * expected.abs().max()


def test_gradients_pass_through_the_fit():
    grid = frequency_grid("random", 12, seeded())
    response = torch.randn(2, 12, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: least_squares_taps_on(grid, r, -2, 5), (response,))


def test_an_unknown_kind_of_grid_is_named():
    with pytest.raises(InputError, match="'shaken'"):
        frequency_grid("shaken", 10)
    with pytest.raises(InputError, match="got 1"):
        frequency_grid("fixed", 1)
