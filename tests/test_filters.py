"""Every filter family: its two responses are a Fourier pair, and its formulas are those of the papers."""

import math

import numpy as np
import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.filters import FILTER_FAMILIES, ModulatedGaussian, MultiPhaseGammatone, create_filters
from sfi_zoo.filters.scales import spaced_frequencies


@pytest.fixture(params=sorted(FILTER_FAMILIES))
def bank(request):
    torch.manual_seed(0)
    return create_filters(
        request.param,
        8,
        frequency_range=(300.0, 6000.0),
        **({"num_centers": 4} if request.param == "multi_phase_gammatone" else {}),
    ).double()


def test_responses_are_a_fourier_pair(bank):
    """H(w) = integral h(t) exp(-jwt) dt, the integral by a Riemann sum at 960 kHz."""
    rate = 960000.0
    t = torch.arange(0 if bank.causal else -50000, 100000, dtype=torch.float64) / rate
    omega = 2 * math.pi * torch.linspace(100, 8000, 40, dtype=torch.float64)
    with torch.no_grad():
        h, expected = bank.impulse_response(t).numpy(), bank.frequency_response(omega).numpy()
    kernel = np.exp(-1j * omega.numpy()[:, None] * t.numpy())
    np.testing.assert_allclose(h @ kernel.T / rate, expected, atol=3e-6)


def test_gain_at_the_centre_is_one(bank):
    with torch.no_grad():
        h = bank.frequency_response(2 * math.pi * bank.center_frequencies())
    peaks = h.diagonal().abs()
    assert torch.allclose(
        peaks, torch.ones_like(peaks), atol=0.03
    )  # the bump at -f_c adds a little at low centres


def test_responses_are_differentiable_in_their_parameters(bank):
    t = torch.linspace(-0.002, 0.004, 7, dtype=torch.float64)

    def f(*values):
        return torch.func.functional_call(bank, dict(zip(names, values, strict=True)), (t,))

    names = [name for name, _ in bank.named_parameters()]
    bank.forward = bank.impulse_response
    values = tuple(p.detach().clone().requires_grad_() for p in bank.parameters())
    assert torch.autograd.gradcheck(f, values, rtol=1e-3, atol=1e-2)


def test_modulated_gaussian_is_the_published_formula():
    bank = ModulatedGaussian(3, frequency_range=(100.0, 900.0), scale="linear", bandwidth=80.0).double()
    t = np.linspace(-0.004, 0.004, 33)
    mu, s = 2 * np.pi * np.array([100.0, 500.0, 900.0])[:, None], 2 * np.pi * 80
    phi = bank.phase.detach().numpy()[:, None]
    expected = 2 * s / np.sqrt(2 * np.pi) * np.exp(-(s**2) * t**2 / 2) * np.cos(mu * t + phi)
    np.testing.assert_allclose(
        bank.impulse_response(torch.from_numpy(t)).detach().numpy(), expected, atol=1e-6 * expected.max()
    )


def test_quadrature_pairs_are_hilbert_pairs():
    """The second half has the response of the first times -j."""
    bank = ModulatedGaussian(6, frequency_range=(1000.0, 5000.0), quadrature=True).double()
    with torch.no_grad():
        first, second = bank.frequency_response(torch.linspace(1e3, 4e4, 50, dtype=torch.float64)).chunk(2)
    assert torch.allclose(second, -1j * first, atol=1e-6)


def test_gammatone_phases_are_dealt_out_as_published():
    bank = MultiPhaseGammatone(22, num_centers=4)
    assert bank.phases_per_center == [3, 3, 3, 2]
    assert torch.allclose(bank.phase[:3], torch.tensor([0, math.pi / 2, math.pi]))


def test_erb_scale_by_its_own_formula():
    f = spaced_frequencies(50, (50.0, 16000.0), "erb").numpy()
    erb = 9.265 * np.log(1 + f / (24.7 * 9.265))
    np.testing.assert_allclose(np.diff(erb), np.diff(erb)[0], rtol=1e-9)
    np.testing.assert_allclose(f[[0, -1]], [50, 16000])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"family": "nope", "num_filters": 4}, "nope"),
        ({"family": "modulated_gaussian", "num_filters": 0}, "0"),
        ({"family": "modulated_gaussian", "num_filters": 3, "quadrature": True}, "3"),
        ({"family": "modulated_gaussian", "num_filters": 4, "bandwidth": -1.0}, "-1.0"),
        ({"family": "modulated_gaussian", "num_filters": 4, "frequency_range": (9.0, 3.0)}, "9.0"),
        ({"family": "modulated_gaussian", "num_filters": 4, "scale": "bark"}, "bark"),
        ({"family": "modulated_gaussian", "num_filters": 4, "wings": 2}, "wings"),
        ({"family": "multi_phase_gammatone", "num_filters": 7}, "7"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        create_filters(**arguments)
