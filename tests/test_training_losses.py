"""The losses of training against numpy."""

import numpy as np
import pytest
import torch

from sfi_zoo.models.base import decoded
from sfi_zoo.training.objective import Objective, example_losses, masked_latent
from sfi_zoo.training.recipe import LossConfig
from tests.tiny_separators import ARCHITECTURES, tiny

OFF = {"si_sdr": 0.0, "snr": 0.0, "l1": 0.0, "spectral": 0.0}


@pytest.fixture
def signals():
    rng = np.random.default_rng(1)
    targets = rng.standard_normal((3, 2, 2, 4000))
    targets[1, 0] = 0  # a silent source
    estimates = targets + 0.3 * rng.standard_normal(targets.shape)
    return estimates, targets, targets.sum(1)


def losses(signals, **weights):
    return example_losses(*(torch.from_numpy(x) for x in signals), LossConfig(**OFF | weights)).numpy()


def test_si_sdr_leaves_silent_sources_out(signals):
    estimates, targets, _ = signals
    expected = np.zeros(3)
    for item, source in np.ndindex(3, 2):
        e, s = estimates[item, source].ravel(), targets[item, source].ravel()
        if s.any():
            p = s * (e @ s) / (s @ s)
            expected[item] -= 10 * np.log10((p @ p) / ((e - p) @ (e - p) + 1e-3 * (p @ p))) / 2
    np.testing.assert_allclose(losses(signals, si_sdr=1.0), expected, rtol=1e-6)


def test_snr_counts_silent_sources(signals):
    estimates, targets, mixture = signals
    total = (mixture**2).sum((-1, -2))[:, None]
    energy, error = (targets**2).sum((-1, -2)), ((estimates - targets) ** 2).sum((-1, -2))
    expected = -10 * np.log10((energy + 1e-2 * total) / (error + 1e-4 * total)).mean(1)
    np.testing.assert_allclose(losses(signals, snr=1.0), expected, rtol=1e-6)


def test_leak_counts_silent_sources_alone(signals):
    estimates, targets, mixture = signals
    targets[2, 1] *= 1e-3 / 2  # -66 dB: silent, too
    mixture[2] = targets[2].sum(0)
    total = (mixture**2).sum((-1, -2))
    expected = np.zeros(3)
    for item, source in ((1, 0), (2, 1)):
        expected[item] = 10 * np.log10((estimates[item, source] ** 2).sum() / total[item] + 1e-6) / 2
    found = losses((estimates, targets, mixture), si_sdr=1e-12, silence=1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    estimates[1, 0] *= 0.1  # 20 dB less leaks
    less = losses((estimates, targets, mixture), si_sdr=1e-12, silence=1.0)
    assert found[1] - less[1] == pytest.approx(10, abs=0.1)


def test_l1(signals):
    estimates, targets, mixture = signals
    rms = np.sqrt((mixture**2).mean((-1, -2)))[:, None]
    expected = (np.abs(estimates - targets).mean((-1, -2)) / rms).mean(1)
    np.testing.assert_allclose(losses(signals, l1=2.0), 2 * expected, rtol=1e-6)


def test_spectral(signals):
    estimates, targets, mixture = signals

    def magnitude(x, length):
        hop, window = length // 4, 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(length // 2, length // 2)])
        frames = np.stack(
            [padded[..., k * hop : k * hop + length] for k in range(x.shape[-1] // hop + 1)], axis=-2
        )
        return np.sqrt(np.abs(np.fft.rfft(frames * window)) ** 2 + 1e-8)

    expected = np.zeros(3)
    for length in (512, 1024, 2048):
        distance = np.abs(magnitude(estimates, length) - magnitude(targets, length)).sum((2, 3, 4))
        expected += (distance / magnitude(mixture, length).sum((1, 2, 3))[:, None]).mean(1) / 3
    np.testing.assert_allclose(losses(signals, spectral=1.0), expected, rtol=1e-6)


def test_losses_do_not_depend_on_how_a_batch_is_split(signals):
    whole = losses(signals, si_sdr=1.0, snr=0.2, l1=1.0, spectral=1.0)
    parts = [
        losses([x[i : i + 1] for x in signals], si_sdr=1.0, snr=0.2, l1=1.0, spectral=1.0) for i in range(3)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)


def test_silence_has_finite_losses_and_gradients():
    estimates = torch.zeros(1, 2, 1, 3000, requires_grad=True)
    silent = torch.zeros(1, 2, 1, 3000)
    loss = example_losses(estimates, silent, silent.sum(1), LossConfig(1.0, 1.0, 1.0, 1.0, 1.0))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(estimates.grad).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_limited_examples_are_separated_without_their_upper_band(name):
    model = tiny(name)
    mixture = torch.randn(3, 1, 12000)
    plain = model(mixture)
    limited = torch.tensor([False, True, False])
    mixed = decoded(model, masked_latent(model, mixture, limited, 14000.0)[0], mixture)
    torch.testing.assert_close(mixed[[0, 2]], plain[[0, 2]], rtol=1e-4, atol=1e-5)
    spectrum = torch.fft.rfft(mixed[1]).abs()
    above = torch.fft.rfftfreq(12000, 1 / model.trained_rate) > 7600
    assert spectrum[..., above].square().sum() < 1e-3 * spectrum.square().sum()
    assert torch.fft.rfft(plain[1]).abs()[..., above].square().sum() > 1e-2 * spectrum.square().sum()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_the_network(name):
    objective = Objective(tiny(name).train(), LossConfig(1.0, 0.2, 1.0, 1.0))
    targets = torch.randn(2, 2, 1, 9000)
    objective(targets, torch.tensor([True, False]), 14000.0).mean().backward()
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    assert len(gradients) > len(list(objective.parameters())) / 2
    assert all(torch.isfinite(g).all() for g in gradients)
