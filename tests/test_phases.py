"""Taps that come from other taps: by rows of polynomials, by Chebyshev delays, by phases that are not kept."""

import math

import numpy as np
import pytest
import torch

from sfi_zoo.design import band_limited_taps, closest_taps, interpolation_nodes
from sfi_zoo.design.interpolation import closest_width
from sfi_zoo.filters.kaiser import kaiser_sinc, kaiser_sinc_rows
from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.layers import designed as designed_module
from sfi_zoo.layers import sfi_conv as sfi_conv_module
from tests.signals import band_limited


def test_rows_of_polynomials_are_the_kaiser_sinc():
    positions = torch.tensor([-40.0, -31.9, 0.0, 0.25, 3.999999, 17.5, 70.1, 200.0], dtype=torch.float64)
    expected = kaiser_sinc(positions[:, None] - torch.arange(60))
    assert torch.allclose(kaiser_sinc_rows(positions, 60), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("rate", [4001.0, 16000.0, 31999.0, 32000.0, 44056.0, 130001.0])
def test_band_limited_taps_are_the_sum_that_they_are_said_to_be(rate):
    """Each tap in a sum over all taps at F0, written out; and the way that follows the rate, for derivatives."""
    generator = torch.Generator().manual_seed(0)
    taps, trained_rate = torch.randn(3, 150, generator=generator, dtype=torch.float64), 32000.0
    delays = torch.rand(2, generator=generator, dtype=torch.float64)
    band, reach = min(rate, trained_rate), round(rate * 0.0035)
    expected = torch.zeros(2, 3, 2 * reach + 1, dtype=torch.float64)
    n = torch.arange(-reach, reach + 1)
    for i, delay in enumerate(delays):
        for m in range(150):
            u = band * ((delay - n) / rate - (149 / 2 - m) / trained_rate)
            expected[i] += taps[:, m, None] * kaiser_sinc(u) * band / rate
    for given in (rate, torch.tensor(rate, dtype=torch.float64)):
        found = band_limited_taps(taps, delays, -reach, reach, given, band, trained_rate)
        assert torch.allclose(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def response(taps, instants, frequencies):
    """Of taps (..., L) at instants in seconds, at frequencies in Hz."""
    return taps.to(torch.complex128) @ torch.exp(-2j * math.pi * instants[:, None] * frequencies)


def noise_at_32k():
    """Three short kernels, (3, 150), and the instants of their taps in seconds."""
    generator = torch.Generator().manual_seed(0)
    window = torch.hann_window(152, periodic=False, dtype=torch.float64)[1:-1]
    noise = torch.randn(3, 150, generator=generator, dtype=torch.float64)
    return noise * window, (149 / 2 - torch.arange(150)) / 32000


@pytest.mark.parametrize("rate", [4001.0, 16000.0, 31999.0])
def test_closest_taps_are_a_weighted_least_squares_fit(rate):
    """By a singular value decomposition at Gauss-Legendre frequencies, which knows of no normal equations."""
    taps, instants = noise_at_32k()
    # so few taps beyond the kernel that the error is much more than rounding
    reach, delay = math.ceil(rate * 75 / 32000) + 4, 0.3
    at_rate = (delay - torch.arange(-reach, reach + 1)) / rate
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(200))
    left, right = [], []
    for low, high, importance in ((0.0, 0.9, 1.0), (0.9, 0.95, 1e-8), (0.95, 1.0, 1e-11)):
        frequencies = (low + (high - low) * (nodes + 1) / 2) * rate / 2
        root = (weights * (high - low) * importance).sqrt()
        left.append(response(torch.eye(len(at_rate), dtype=torch.float64), at_rate, frequencies) * root)
        right.append(response(taps, instants, frequencies) * root)
    left, right = (torch.view_as_real(torch.cat(x, dim=1)).flatten(1).mT for x in (left, right))
    least = (left @ torch.linalg.lstsq(left, right, driver="gelsd").solution - right).norm(dim=0)
    delays = torch.tensor([delay], dtype=torch.float64)
    found = closest_taps(taps, -reach, reach, rate, 32000.0)(delays)[0]
    # normal equations are solved to six digits
    assert ((left @ found.mT - right).norm(dim=0) < 1.001 * least + 3e-6 * right.norm(dim=0)).all()
    assert rate > 5000 or (least > 1e-4 * right.norm(dim=0)).all()


@pytest.mark.parametrize("rate", [4001.0, 16000.0, 31999.0])
def test_closest_taps_keep_the_response(rate):
    taps, instants = noise_at_32k()
    reach = math.ceil(rate * 75 / 32000 + closest_width(rate * 150 / 32000))
    delays = torch.tensor([0.3], dtype=torch.float64)
    frequencies = torch.linspace(0, 0.45 * rate, 50, dtype=torch.float64)
    found = closest_taps(taps, -reach, reach, rate, 32000.0)(delays)[0]
    found = response(found, (0.3 - torch.arange(-reach, reach + 1)) / rate, frequencies)
    expected = response(taps, instants, frequencies)
    assert (found - expected).norm() < 6e-6 * expected.norm()


def test_closest_taps_follow_the_rate():
    taps, delays = torch.hann_window(150, dtype=torch.float64)[None], torch.tensor([0.3], dtype=torch.float64)
    at = lambda rate: closest_taps(taps, -80, 80, rate, 32000.0)(delays)  # noqa: E731
    rate = torch.tensor(22050.0, dtype=torch.float64)
    along = torch.func.jvp(at, (rate,), (torch.ones_like(rate),))[1]
    expected = (at(22051.0) - at(22049.0)) / 2
    # towards the Nyquist frequency the solution is rounded to few digits
    heard = torch.exp(-1j * math.pi * 0.9 * torch.linspace(0, 1, 50) * torch.arange(161)[:, None]).to(
        torch.complex128
    )
    along, expected = along.to(heard) @ heard, expected.to(heard) @ heard
    assert (along - expected).norm() < 1e-6 * expected.norm()


@pytest.mark.parametrize("band", [1.0, 0.73, 1 / 6])
def test_so_many_nodes_are_needed(band):
    """The bound is met by a rotation at the edge of the band, and one node less would miss it by the formula."""
    n = interpolation_nodes(band, 1e-6)
    bound = lambda n: 2 * (math.pi * band / 4) ** n / math.factorial(n)  # noqa: E731
    assert bound(n) <= 1e-6 < bound(n - 1)


def layer(cls=SFIConv1d, **options):
    torch.manual_seed(0)
    inside, outside = (1, 4) if cls is SFIConv1d else (4, 1)
    return cls(inside, outside, 700, 320, padding="centered", sample_rate=32000, **options).double().eval()


@pytest.mark.parametrize("rate", [44056, 24004])
def test_phases_from_chebyshev_delays_are_those_designed_one_by_one(monkeypatch, rate):
    conv = layer()
    assert conv._fewer_delays(conv._geometry(rate)) is not None
    found = conv.weights(rate)[0]
    monkeypatch.setattr(conv, "_fewer_delays", lambda *_: None)
    conv.train().eval()
    expected = conv.weights(rate)[0]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-8 * expected.abs().sum(-1).max()


@pytest.mark.parametrize("cls", [SFIConv1d, SFIConvTranspose1d])
def test_what_is_not_kept_is_made_on_the_fly_and_gives_the_same(monkeypatch, cls):
    """All phases kept; kept at a few delays, phases made from them; the same, combined frame by frame."""
    rate, frames = 44056, 150
    results = []
    for kept, cost in ((2**30, 1), (0, 0), (0, 10**9)):
        monkeypatch.setattr(designed_module, "KEPT_BYTES", kept)
        monkeypatch.setattr(sfi_conv_module, "COST_OF_A_PHASE", cost)
        conv = layer(cls)
        assert conv.frame_grid(rate).interpolated is (kept == 0)
        given = (
            band_limited(rate)
            if cls is SFIConv1d
            else torch.sin(torch.arange(4.0 * frames)).reshape(1, 4, -1)
        )
        with torch.no_grad():
            results.append(conv(given.double().reshape(1, -1, given.shape[-1]), rate))
    for other in results[1:]:
        assert (other - results[0]).norm() <= 1e-7 * results[0].norm()
    assert (results[1] - results[2]).norm() <= 1e-12 * results[0].norm()


@pytest.mark.parametrize("cls", [SFIConv1d, SFIConvTranspose1d])
def test_phases_made_on_the_fly_have_derivatives_and_serve_a_batch(monkeypatch, cls):
    """Without gradients their memory is used again; a direction through the filters, and a batch, go through all the same."""
    monkeypatch.setattr(designed_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(sfi_conv_module, "COST_OF_A_PHASE", 0)
    rate, conv = 44056, layer(cls)
    x = torch.randn(2, 1 if cls is SFIConv1d else 4, 9000 if cls is SFIConv1d else 150, dtype=torch.float64)
    name = "filters.phase"
    phase = conv.filters.phase.detach()
    at = lambda phase: torch.func.functional_call(conv, {name: phase}, (x, rate))  # noqa: E731
    with torch.no_grad():
        y, along = torch.func.jvp(at, (phase,), (torch.ones_like(phase),))
        step = 1e-6
        expected = (at(phase + step) - at(phase - step)) / (2 * step)
        one_by_one = torch.cat([conv(some[None], rate) for some in x])
    assert (along - expected).norm() <= 1e-7 * expected.norm()
    torch.testing.assert_close(y, one_by_one, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cls", [SFIConv1d, SFIConvTranspose1d])
@pytest.mark.parametrize("rate", [32000, 44100, 44056])
@pytest.mark.parametrize("seconds", [0.03, 1.0])
def test_products_in_place_are_those_that_can_be_differentiated(monkeypatch, cls, rate, seconds):
    """More or fewer frames than phases, a batch, a bias; kept phases and phases that are made for the call."""
    monkeypatch.setattr(sfi_conv_module, "COST_OF_A_PHASE", 0)
    monkeypatch.setattr(
        sfi_conv_module, "PHASES_BYTES", 4 * 4 * 1100 * 3
    )  # some phases at a time, and not all of them
    conv = layer(cls)
    torch.nn.init.normal_(conv.bias)
    x = torch.randn(2, 1, round(seconds * rate), dtype=torch.float64)
    if cls is SFIConvTranspose1d:
        x = torch.randn(2, 4, round(seconds * 100), dtype=torch.float64)
    expected = conv(x, rate)
    assert expected.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(conv(x, rate), expected.detach(), rtol=1e-9, atol=1e-12)


def test_gradients_are_the_same_with_and_without_shortcuts(monkeypatch):
    gradients = []
    for kept in (2**30, 0):
        monkeypatch.setattr(designed_module, "KEPT_BYTES", kept)
        conv = layer().train()
        conv(band_limited(44056).double().reshape(1, 1, -1)[..., :9000], 44056).square().sum().backward()
        gradients.append(conv.filters.phase.grad)
    assert torch.allclose(*gradients, rtol=1e-5)


def test_a_design_never_takes_much_more_than_what_is_kept(monkeypatch):
    """All delays are designed in pieces of a few megabytes, in float64; none of them holds all."""
    sizes = []
    original = designed_module.native_design

    def spied(*given):
        taps_at = original(*given)
        return lambda delays: sizes.append(taps_at(delays).nbytes) or taps_at(delays)

    monkeypatch.setattr(designed_module, "native_design", spied)
    conv = SFIConv1d(1, 64, 960, 320, padding="centered", sample_rate=32000).eval()
    taps = conv.weights(191_999)[0]
    assert max(sizes) <= 16 * 2**20 or len(sizes) == len(taps)
    assert taps.nbytes <= 32 * 2**20
