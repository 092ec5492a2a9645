"""The masked-latent error of a round trip through another sampling frequency, as a part of the loss."""

import numpy as np
import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.audio.resample import resample
from sfi_zoo.metrics.lee import masked_latent_lee
from sfi_zoo.metrics.observation import observe
from sfi_zoo.models.base import Latent, LatentGrid
from sfi_zoo.training.bands import ROUND_TRIP, band_limit, band_rates
from sfi_zoo.training.objective import Objective, example_losses
from sfi_zoo.training.recipe import LossConfig, recipe_from
from tests.tiny_separators import ARCHITECTURES, tiny

F = 14000.0


def pink(items: int, samples: int, seed: int = 0) -> torch.Tensor:
    """(items, 2, 1, time): two sources with equal power in every octave."""
    spectrum = torch.fft.rfft(torch.randn(items, 2, 1, samples, generator=torch.manual_seed(seed)))
    return torch.fft.irfft(spectrum / torch.arange(1, spectrum.shape[-1] + 1) ** 0.5, n=samples)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_loss_is_that_without_plus_the_weighted_error(name: str):
    """Against numpy, from the hooks of the model alone; the example that makes no trip keeps its loss to the bit."""
    model, weights = tiny(name).train(False), LossConfig(lee=1000.0)
    objective = Objective(model, weights)
    objective.train(False)
    targets = pink(2, 9000)
    with torch.no_grad():
        plain = objective(targets)
        found = objective(targets, None, None, torch.tensor([False, True]), F)
        mixture = targets.sum(1)[1:]
        latent = model.encode(mixture)
        reference = (model.predict_masks(latent) * latent.values[:, None]).numpy()
        short = model.encode(band_limit(mixture, model.trained_rate, F / 2))
        alive = short.grid.alive & (short.grid.frequencies < F / 2)
        there = Latent(
            short.values * alive[:, None], LatentGrid(short.grid.times, short.grid.frequencies, alive)
        )
        moved = (model.predict_masks(there) * there.values[:, None]).numpy()
    shared = alive.numpy() & (short.grid.frequencies.numpy() < 0.9 * F / 2)
    error, whole = (np.abs(x[:, :, shared].astype(complex)) ** 2 for x in (moved - reference, reference))
    assert error.sum() > 0
    assert found[0] == plain[0]
    assert float(found[1] - plain[1]) == pytest.approx(1000.0 * error.sum() / whole.sum(), rel=1e-3)


def test_it_is_the_metric_of_the_native_mode():
    """Against `masked_latent_lee`, which resamples by soxr and designs the layers anew at F: the same to a tenth."""
    model = tiny("convtasnet", layers=3)
    targets = pink(1, 32000, seed=3)
    x = targets.sum(1)
    with torch.no_grad():
        objective = Objective(model, LossConfig(lee=1.0))
        objective.train(False)
        found = objective(targets, None, None, torch.tensor([True]), F) - objective(targets)
    moved = resample(x[0], model.trained_rate, F)[None]
    metric = masked_latent_lee(observe(model, moved, F), observe(model, x, model.trained_rate)).value()
    assert float(found) == pytest.approx(metric, rel=0.1)


def test_nothing_is_lost_at_f0_and_more_the_lower_f_is():
    model = tiny("convtasnet")
    objective = Objective(model, LossConfig(lee=1.0))
    objective.train(False)
    targets = pink(1, 16000)
    with torch.no_grad():
        plain = float(objective(targets))
        errors = [
            float(objective(targets, None, None, torch.tensor([True]), rate)) - plain
            for rate in (model.trained_rate, 16000.0, 8000.0)
        ]
    assert 0 == errors[0] < errors[1] < errors[2]


def test_the_gradient_is_the_slope_of_the_loss():
    """In float64, along a random direction of all weights."""
    model = tiny("convtasnet").double()
    objective = Objective(model, LossConfig(snr=0.0, lee=10.0))
    targets, tripped = pink(2, 8000).double(), torch.tensor([True, False])

    def loss() -> torch.Tensor:
        plain = example_losses(model(targets.sum(1)), targets, targets.sum(1), objective.weights)
        return (objective(targets, None, None, tripped, F) - plain).sum()  # of the LEE alone

    parameters = [p for p in model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    step, values = 1e-6, []
    for sign in (1, -2):
        for p, d in zip(parameters, directions, strict=True):
            p.data += sign * step * d
        with torch.no_grad():
            values.append(float(loss()))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    assert abs(slope) > 1e-6


def test_a_few_steps_on_the_error_lower_it():
    model = tiny("convtasnet").train()
    objective = Objective(model, LossConfig(si_sdr=1e-9, snr=0.0, lee=1.0))
    targets, tripped = pink(1, 8000), torch.tensor([True])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    errors = []
    for _ in range(12):
        error = objective(targets, None, None, tripped, 9000.0).sum()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]


def test_silence_has_a_finite_error_and_gradients():
    objective = Objective(tiny("convtasnet").train(), LossConfig(lee=1.0))
    loss = objective(torch.zeros(1, 2, 1, 8000), None, None, torch.tensor([True]), F)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters() if p.grad is not None)


def test_trips_are_drawn_apart_from_the_examples_that_are_limited():
    """Independent streams: over 4000 examples a quarter makes the trip, among the limited and among the others."""
    limited = band_rates(0, 5, 0.5, 8000.0, 32000.0).limited(range(4000))
    drawn = band_rates(0, 5, 0.25, 8000.0, 32000.0, ROUND_TRIP)
    tripped = drawn.limited(range(4000))
    assert drawn.sample_rate != band_rates(0, 5, 0.5, 8000.0, 32000.0).sample_rate
    for group in (limited, ~limited):
        assert float(tripped[group].double().mean()) == pytest.approx(0.25, abs=4 * (0.1875 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ({"lee": 1.0, "si_sdr": 0.0, "snr": 0.0}, "must not all be 0"),
        ({"lee_rates": [9000.0, 8000.0]}, r"lee_rates must be two numbers that do not fall"),
        ({"lee_share": 2.0}, "lee_share must be in 0"),
        ({"lee": float("nan")}, "lee must be in 0"),
    ],
)
def test_a_table_that_says_nothing_is_refused(loss: dict[str, object], told: str):
    with pytest.raises(InputError, match=told):
        recipe_from({"model": {"architecture": "convtasnet"}, "loss": loss})
