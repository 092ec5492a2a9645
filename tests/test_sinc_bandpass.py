"""Sinc band-passes: the formula of SincNet, edges that cannot cross, and nothing above the cutoff."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from sfi_zoo import InputError
from sfi_zoo.filters import SincBandpass
from sfi_zoo.layers import SFIConv1d
from tests.test_filters import SCALES


def bank_with(edges, **options):
    """A bank with the given edges (low, high) in Hz."""
    bank = SincBandpass(len(edges), **options).double().eval()
    low, high = torch.tensor(edges, dtype=torch.float64).T
    bank.low_khz.data, bank.log_bandwidth_hz.data = low / 1000, (high - low).log()
    return bank


def test_taps_are_the_band_passes_of_scipy():
    """`firwin` with a Hann window is the window method for the same ideal response."""
    edges, rate, taps = [(300.0, 900.0), (1000.0, 3500.0)], 16000, 161
    layer = SFIConv1d(
        1, 2, taps, 80, padding=80, sample_rate=rate, filters=bank_with(edges), taper=1.0
    ).eval()
    weight = layer.weights()[0][0].detach().numpy()
    # its Hann window is zero at the first and the last tap, ours half a sample further out
    window = np.cos(np.pi * (np.arange(taps) - 80) / taps) ** 2
    for ours, band in zip(weight, edges, strict=True):
        rectangular = scipy.signal.firwin(taps, band, fs=rate, pass_zero=False, window="boxcar", scale=False)
        np.testing.assert_allclose(ours, rectangular * window, atol=1e-12)


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_bands_start_side_by_side_on_the_scale(scale):
    low, high = SincBandpass(20, scale=scale, frequency_range=(50.0, 8000.0)).edges()
    assert torch.allclose(low[1:], high[:-1], rtol=1e-5)
    step = np.diff(SCALES[scale](torch.cat([low, high[-1:]]).detach().numpy()))
    np.testing.assert_allclose(step, step[0], rtol=1e-4)


@pytest.mark.parametrize(("low_khz", "log_bandwidth"), [(-0.5, 5.0), (0.0, -3.0), (2.0, -50.0)])
def test_edges_cannot_cross(low_khz, log_bandwidth):
    bank = SincBandpass(1)
    bank.low_khz.data.fill_(low_khz)
    bank.log_bandwidth_hz.data.fill_(log_bandwidth)
    low, high = (edge.detach() for edge in bank.edges())
    assert float(low) == pytest.approx(abs(low_khz) * 1000)
    assert float(high - low) == pytest.approx(max(1.0, math.exp(log_bandwidth)), rel=1e-5)


def test_an_edge_at_zero_can_leave_it():
    bank = SincBandpass(1, frequency_range=(0.0, 1000.0)).double()
    bank.impulse_response(torch.tensor([0.0], dtype=torch.float64)).sum().backward()
    # h(0) = 2 (f2 - f1) does not depend on f1 alone; h at another instant does
    assert bank.low_khz.grad.abs() < 1e-9
    bank.impulse_response(torch.tensor([1e-4], dtype=torch.float64)).sum().backward()
    assert bank.low_khz.grad.abs() > 1.0


def test_a_filter_across_the_nyquist_frequency_lives_while_its_middle_is_below():
    bank = bank_with([(500.0, 1500.0), (3000.0, 4800.0), (3500.0, 5000.0)])
    layer = SFIConv1d(1, 3, 80, 40, sample_rate=16000, filters=bank, taper=1.0)
    assert layer.alive(8000).tolist() == [True, True, False]


def test_gain_is_one_in_the_band_and_can_be_trained():
    bank = bank_with([(1000.0, 2000.0)], gain=True)
    bank.log_gain.data.fill_(math.log(3))
    omega = 2 * math.pi * torch.tensor([999.0, 1001.0, 1500.0, 1999.0, 2001.0], dtype=torch.float64)
    response = bank.frequency_response(omega)
    torch.testing.assert_close(response.real.detach()[0], torch.tensor([0, 3, 3, 3, 0]).double())
    response.real.sum().backward()
    assert float(bank.log_gain.grad) == pytest.approx(9)


def test_training_by_a_response_that_has_no_gradient_is_refused():
    layer = SFIConv1d(1, 8, 80, 40, sample_rate=16000, filters="sinc_bandpass", design="frequency")
    with pytest.raises(InputError, match="design='time'"):
        layer(torch.randn(1, 1, 1600))
    fixed = SFIConv1d(
        1,
        8,
        80,
        40,
        sample_rate=16000,
        filters="sinc_bandpass",
        design="frequency",
        filter_options={"trainable": False},
    )
    assert fixed(torch.randn(1, 1, 1600)).isfinite().all()
