"""Modulated Gaussians summed over frequency: against numpy, against their own derivatives, and in float32 against float64."""

import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from sfi_zoo.design import frequency_domain
from sfi_zoo.filters import ModulatedGaussian, gaussian_sums
from sfi_zoo.filters.gaussian_sums import Gaussians, response_sums
from sfi_zoo.layers import SFIConv1d

FILTERS, POINTS, TAPS, DELAYS = 7, 40, 6, 2
F = torch.linspace(0, 5000, POINTS, dtype=torch.float64)


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch):
    """Three filters at a time: two pieces and a rest."""
    monkeypatch.setattr(gaussian_sums, "PIECE", 3)
    torch.manual_seed(0)


def parameters():
    """Centres from 0 Hz on, so that both bumps count."""
    columns = (
        torch.linspace(0, 4500, FILTERS),
        torch.linspace(60, 400, FILTERS),
        torch.rand(FILTERS) * 6,
        torch.randn(FILTERS) / 2,
    )
    return Gaussians(*(x.double()[:, None].requires_grad_() for x in columns))


def weights(dtype=torch.float64):
    return torch.randn(DELAYS, 2 * POINTS, TAPS, dtype=torch.float64).to(dtype)


def by_numpy(of, w, one_sided):
    """The complex response as it is written in the paper, then the sum."""
    f, (f_c, b, phi, log_gain) = F.numpy(), (x.detach().numpy() for x in of)
    h = np.exp(log_gain - (f - f_c) ** 2 / (2 * b**2) + 1j * phi)
    if not one_sided:
        h = h + np.exp(log_gain - (f + f_c) ** 2 / (2 * b**2) - 1j * phi)
    real, imaginary = np.split(w.double().numpy(), 2, axis=1)
    return np.einsum("cm,pmn->pcn", h.real, real) + np.einsum("cm,pmn->pcn", h.imag, imaginary)


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_sums_are_those_of_the_formula(one_sided, dtype, error):
    of, w = parameters(), weights(dtype)
    found = response_sums(F, w, of, one_sided)
    assert found.dtype == dtype
    expected = by_numpy(of, w, one_sided)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=error * np.abs(expected).max())


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_gradient_is_the_derivative_and_can_be_differentiated_again(one_sided):
    w = weights()

    def sums(*of):
        return response_sums(F, w, Gaussians(*of), one_sided)

    assert gradcheck(sums, tuple(parameters()), check_forward_ad=True)
    assert gradgradcheck(sums, tuple(parameters()))


def test_the_gradient_in_float32_is_that_of_float64():
    gradients = []
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(1)
        of = parameters()
        response_sums(F, weights(dtype), of, False).sum().backward()
        gradients.append([x.grad for x in of])
    for exact, found in zip(*gradients, strict=True):
        assert found.dtype == torch.float64
        assert (found - exact).abs().max() < 1e-5 * exact.abs().max()


def test_what_is_no_number_is_seen():
    of = Gaussians(*(x.detach() for x in parameters()))
    of.f_c[4] = math.nan
    found = response_sums(F, weights(), of, False)
    assert found[:, 4].isnan().all()
    assert found[:, :3].isfinite().all()


def test_weights_and_frequencies_have_gradients_too():
    of, f, w = parameters(), F.clone().requires_grad_(), weights().requires_grad_()
    assert gradcheck(lambda f, w: response_sums(f, w, of, False), (f, w), fast_mode=True)


def test_function_transforms_see_through():
    of, w = parameters(), weights()
    of = Gaussians(*(x.detach() for x in of))
    of_phase = lambda phi: response_sums(F, w, of._replace(phi=phi), False)  # noqa: E731
    _, along = torch.func.jvp(of_phase, (of.phi,), (torch.ones_like(of.phi),))
    step = 1e-6
    expected = (of_phase(of.phi + step) - of_phase(of.phi - step)) / (2 * step)
    torch.testing.assert_close(along, expected, rtol=0, atol=1e-7)


def layer(dtype, **options):
    torch.manual_seed(0)
    filters = {"frequency_range": (50.0, 16000.0), "bandwidth": 20.0}
    conv = SFIConv1d(1, 50, 160, 80, sample_rate=32000, design="frequency", filter_options=filters, **options)
    return conv.to(dtype).eval()


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("flavour", ["native", "reference"])
def test_taps_in_float32_are_those_of_float64(flavour, precision):
    """Narrow filters far up: the distance to a centre would be off by 1e-4 of the width if it were computed in float32.

    "medium" lets processors round the factors of products to eight digits, so there such products are taken in float64.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        for rate in (32000, 44100, 48000):
            found, exact = (
                layer(dtype, flavour=flavour).weights(rate)[0] for dtype in (torch.float32, torch.float64)
            )
            assert found.dtype == torch.float32
            assert (found - exact).abs().max() < 4e-7 * exact.abs().max()
    finally:
        torch.set_float32_matmul_precision(before)


def test_sums_in_float32_are_taken_only_where_products_keep_their_digits(monkeypatch):
    taken = []
    sums = ModulatedGaussian.response_sums

    def spied(self, *given, **named):
        of = sums(self, *given, **named)
        return lambda w: taken.append(w.dtype) or of(w)

    monkeypatch.setattr(ModulatedGaussian, "response_sums", spied)
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "medium"):
            torch.set_float32_matmul_precision(precision)
            layer(torch.float32).weights(32000)
    finally:
        torch.set_float32_matmul_precision(before)
    assert taken == [torch.float32, torch.float64]


@pytest.mark.parametrize("family", ["modulated_gaussian", "multi_phase_gammatone", "neural_analog_frequency"])
def test_long_kernels_are_those_of_short_ones(family, monkeypatch):
    """An FFT, and a product of responses and waves, all delays at once and one at a time."""
    torch.manual_seed(0)
    conv = SFIConv1d(1, 6, 160, 80, sample_rate=32000, design="frequency", filters=family).double().eval()
    found = []
    for long, at_once in ((1, 2**22), (10_000, 2**22), (10_000, 1)):
        monkeypatch.setattr(frequency_domain, "LONG", long)
        monkeypatch.setattr(frequency_domain, "WEIGHTS", at_once)
        frequency_domain._kept_band.cache_clear()
        found.append(conv.train().eval().weights(44100)[0])
    for other in found[1:]:
        assert (other - found[0]).abs().max() < 1e-12 * found[0].abs().max()


def test_what_is_kept_serves_training_and_evaluation_alike():
    """Made within inference mode, then used by a step of training, and by a layer of other filters."""
    frequency_domain._kept_band.cache_clear()
    conv, x = layer(torch.float32), torch.randn(1, 1, 4000)
    with torch.inference_mode():
        before = conv(x, 32000)
    conv.train()(x, 32000).sum().backward()
    assert frequency_domain._kept_band.cache_info().hits
    assert all(p.grad is not None for p in conv.filters.parameters())
    with torch.no_grad():
        conv.filters.center_khz.mul_(0.9)
        assert not torch.allclose(conv(x, 32000), before)


def test_nothing_is_kept_of_tensors_without_data():
    frequency_domain._kept_band.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        frequency_domain.frequency_domain_design(ModulatedGaussian(4), -5, 5, 8000.0, 0.01, 0.25, 4000.0)
    layer(torch.float32).weights(32000)[0].numpy(force=True)
    assert frequency_domain._kept_band.cache_info().currsize == 1


def test_a_gradient_step_of_a_layer_follows_the_loss():
    """Downhill by what the gradient says, through pieces, phases and both bumps."""
    conv = layer(torch.float64).train()
    x = torch.randn(1, 1, 4000, dtype=torch.float64)
    loss = lambda: conv(x, 44100).square().sum()  # noqa: E731
    value = loss()
    value.backward()
    step = 1e-6 / math.sqrt(sum(p.grad.square().sum().item() for p in conv.parameters()))
    with torch.no_grad():
        slope = sum(p.grad.square().sum() for p in conv.parameters())
        for p in conv.parameters():
            p.sub_(step * p.grad)
        assert (loss() - value).item() == pytest.approx(-step * slope.item(), rel=1e-3)
