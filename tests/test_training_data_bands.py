"""Sampling-frequency augmentation: what is left of a band-limited signal, and what is drawn when."""

import numpy as np
import pytest
import torch
from scipy import stats

from sfi_zoo import InputError
from sfi_zoo.training.bands import band_limit, band_rates

RATE = 32000


def response(frequency, nyquist, transition):
    """The definition, in plain Python."""
    u = min(1.0, max(0.0, (1 - frequency / nyquist) / transition))
    return 0.5 - 0.5 * np.cos(np.pi * u)


@pytest.mark.parametrize("nyquist", [3500.0, 8000.0, 11025.0])
@pytest.mark.parametrize("transition", [0.05, 0.3])
@pytest.mark.parametrize("length", [32000, 16001])
def test_a_sine_comes_out_with_the_gain_of_the_definition_and_its_own_phase(nyquist, transition, length):
    n = np.arange(length)
    for part in (0.2, 1 - 0.9 * transition, 1 - 0.5 * transition, 1 - 0.1 * transition, 1.0001, 1.4):
        bin_ = round(part * nyquist / RATE * length)  # a whole number of periods
        sine = np.cos(2 * np.pi * bin_ * n / length + 0.7)
        out = band_limit(torch.from_numpy(sine), RATE, nyquist, transition)
        expected = response(bin_ * RATE / length, nyquist, transition) * sine
        np.testing.assert_allclose(out, expected, atol=1e-9)


def test_nothing_is_left_from_the_nyquist_frequency_on_and_nothing_changed_below_the_transition():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 8000)))
    before, after = (np.fft.rfft(np.asarray(s)) for s in (x, band_limit(x, RATE, 6000.0)))
    frequencies = np.arange(before.shape[-1]) * RATE / 8000
    assert np.abs(after[..., frequencies >= 6000]).max() < 1e-10
    passed = frequencies <= 5700
    np.testing.assert_allclose(after[..., passed], before[..., passed], atol=1e-9)


def test_the_limited_mixture_is_the_sum_of_the_limited_sources():
    x = torch.randn(3, 4, 1, 5000)
    mixture = band_limit(x.sum(1), RATE, 5000.0)
    torch.testing.assert_close(mixture, band_limit(x, RATE, 5000.0).sum(1), atol=1e-5, rtol=0)


def test_each_example_has_its_own_limit_and_infinity_is_none():
    x = torch.randn(3, 2, 4000)
    limits = torch.tensor([4000.0, torch.inf, 9000.0])
    out = band_limit(x, RATE, limits[:, None].expand(3, 2))
    for i in (0, 2):
        torch.testing.assert_close(out[i], band_limit(x[i], RATE, float(limits[i])))
    torch.testing.assert_close(out[1], x[1])
    torch.testing.assert_close(band_limit(x, RATE, torch.inf), x)


def test_gradient_passes():
    x = torch.randn(64, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: band_limit(y, RATE, 9000.0), x)


@pytest.mark.parametrize(
    ("rate", "nyquist", "transition"), [(0, 1e3, 0.1), (RATE, 0.0, 0.1), (RATE, 1e3, 0.0)]
)
def test_limits_that_make_no_sense_are_refused(rate, nyquist, transition):
    with pytest.raises(InputError, match="above 0"):
        band_limit(torch.zeros(8), rate, nyquist, transition)


def test_the_rate_of_a_step_is_uniform_in_its_logarithm_and_a_function_of_seed_and_step():
    rates = [band_rates(3, step, 0.4, 7000.0, 32000.0).sample_rate for step in range(2000)]
    assert rates == [band_rates(3, step, 0.4, 7000.0, 32000.0).sample_rate for step in range(2000)]
    spread = np.log(np.array(rates) / 7000) / np.log(32000 / 7000)
    assert stats.kstest(spread, "uniform").pvalue > 1e-3
    assert band_rates(4, 0, 0.4, 7000.0, 32000.0).sample_rate != rates[0]
    assert band_rates(0, 5, 0.4, 9000.0, 9000.0).sample_rate == 9000.0


def test_the_share_goes_by_the_index_of_an_example_whatever_the_step_and_the_batch():
    drawn = band_rates(3, 0, 0.4, 7000.0, 32000.0)
    together = drawn.limited(range(4000))
    assert abs(together.double().mean() - 0.4) < 5 * (0.4 * 0.6 / 4000) ** 0.5
    other_step = band_rates(3, 77, 0.4, 7000.0, 32000.0)
    apart = torch.cat([other_step.limited(range(i, 4000, 2)) for i in range(2)])
    assert torch.equal(apart, torch.cat([together[0::2], together[1::2]]))
    assert not torch.equal(band_rates(4, 0, 0.4, 7000.0, 32000.0).limited(range(4000)), together)


def test_none_and_all():
    assert not band_rates(0, 0, 0.0, 7e3, 32e3).limited(range(100)).any()
    assert band_rates(0, 0, 1.0, 7e3, 32e3).limited(range(100)).all()


@pytest.mark.parametrize(
    ("share", "low", "high"), [(-0.1, 7e3, 8e3), (1.1, 7e3, 8e3), (0.5, 9e3, 8e3), (0.5, 0, 8e3)]
)
def test_draws_that_make_no_sense_are_refused(share, low, high):
    with pytest.raises(InputError, match="band rates"):
        band_rates(0, 0, share, low, high)
