"""Mask LEE and SI-SDR against independent computations, and the score table."""

import numpy as np
import pytest
import torch

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.metrics import MaskLEE, score_model, shared_features, si_sdr
from sfi_zoo.metrics.lee import at_times
from sfi_zoo.metrics.scores import synthetic_songs
from sfi_zoo.models.base import LatentGrid


def grid(frames=6, features=4, period=0.01, top=8000.0):
    return LatentGrid(
        torch.arange(frames, dtype=torch.float64) * period,
        torch.linspace(500, top, features),
        torch.ones(features).bool(),
    )


def test_mask_lee_is_the_formula():
    """numpy, sums over two tracks before the division."""
    torch.manual_seed(0)
    where, keep = grid(), torch.tensor([True, True, False, True])
    lee, error, reference = MaskLEE(), 0.0, 0.0
    for _ in range(2):
        a, b = torch.rand(1, 2, 4, 6), torch.rand(1, 2, 4, 6)
        lee.update(a, where, b, where, keep)
        error += np.sum((a.double().numpy() - b.double().numpy())[:, :, keep] ** 2)
        reference += np.sum(b.double().numpy()[:, :, keep] ** 2)
    assert lee.compute() == pytest.approx(error / reference, rel=1e-12)


def test_the_same_masks_score_zero():
    m = torch.rand(1, 2, 4, 6)
    lee = MaskLEE()
    lee.update(m, grid(), m, grid(), torch.ones(4).bool())
    assert lee.compute() == 0


def test_frames_are_brought_to_the_same_seconds():
    """Masks linear in time, read on another grid: linear interpolation is exact."""
    times = torch.arange(10, dtype=torch.float64) * 0.004
    wanted = torch.arange(3, dtype=torch.float64) * 0.01
    assert torch.allclose(at_times(5 * times[None], times, wanted)[0], 5 * wanted)


def test_only_features_alive_at_both_rates_count():
    shared = shared_features(grid(top=8000.0), grid(top=8000.0), 8000, 32000)
    assert shared.tolist() == [True, True, False, False]  # 500, 3000 below 0.9 * 4000; 5500, 8000 not
    with pytest.raises(InputError, match="no feature"):
        shared_features(grid(), grid(), 1000, 32000)


def test_si_sdr_is_the_formula_and_ignores_scale():
    rng = np.random.default_rng(0)
    s, e = rng.normal(size=(2, 1000))
    a = e @ s / (s @ s)
    expected = 10 * np.log10(np.sum((a * s) ** 2) / np.sum((a * s - e) ** 2))
    estimate, reference = torch.from_numpy(e), torch.from_numpy(s)
    assert float(si_sdr(estimate, reference)) == pytest.approx(expected, rel=1e-12)
    assert float(si_sdr(7 * estimate, reference)) == pytest.approx(expected, rel=1e-12)


def test_scores_of_the_bundled_model():
    """Native is exactly itself at F0, loses little at 16 kHz; unadapted is worst."""
    model = sfi_zoo.load("convtasnet_mgf.music4")
    rows = score_model(model, [16000, 32000], synthetic_songs(model.sources, 1, 4.0))
    found = {(row["mode"], row["sample_rate"]): row for row in rows}
    assert found["native", 32000]["mask_lee_db"] == -np.inf
    assert found["native", 16000]["mask_lee_db"] < found["none", 16000]["mask_lee_db"] - 3
    assert found["native", 16000]["sdr_lost_db"] < 1 < found["none", 16000]["sdr_lost_db"]
    assert found["native", 32000]["si_sdr_improvement_db"] > 3


def test_unknown_mode_is_named():
    with pytest.raises(InputError, match="magic"):
        score_model(sfi_zoo.load("convtasnet_mgf.music4"), [8000], modes=["magic"])
