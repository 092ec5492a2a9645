"""Interpolated filters: the plain convolution at F0, its band-limited continuation elsewhere."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sfi_zoo import InputError
from sfi_zoo.filters import InterpolatedKernels, create_filters
from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.testing import assert_sfi
from tests.signals import band_limited, relative_error

F0 = 16000
RATES = (8000, 11025, 22050, 44100, 48000)


def bank(num_filters=6, kernel_size=16, **options):
    torch.manual_seed(0)
    return InterpolatedKernels(num_filters, F0, kernel_size / F0, **options)


def spectrum(taps, instants, frequencies):
    """sum_n h[n] exp(-2 pi j f t_n), in numpy: (C, L), (L,), (M,) -> (C, M)."""
    return taps.detach().double().numpy() @ np.exp(-2j * math.pi * np.outer(instants, frequencies))


def kernel_spectrum(weight, frequencies):
    """Response of a plain `nn.Conv1d` kernel centred on t = 0."""
    length = weight.shape[-1]
    return spectrum(weight, ((length - 1) / 2 - np.arange(length)) / F0, frequencies)


@pytest.mark.parametrize("kernel_size", [1, 16, 33])
@pytest.mark.parametrize("dilation", [1, 3])
def test_is_conv1d_at_the_trained_rate(kernel_size, dilation):
    plain = nn.Conv1d(
        2, 6, kernel_size, stride=5, padding=2, dilation=dilation, groups=2, bias=False
    ).double()
    filters = InterpolatedKernels(6, F0, weight=plain.weight, dilation=dilation)
    layer = SFIConv1d(2, 6, kernel_size, 5, 2, dilation, 2, sample_rate=F0, filters=filters)
    x = torch.randn(3, 2, 400, dtype=torch.float64)
    assert relative_error(layer(x), plain(x)) < 1e-14


def test_is_conv_transpose1d_at_the_trained_rate():
    plain = nn.ConvTranspose1d(4, 6, 16, stride=5, padding=3, groups=2, bias=False).double()
    filters = InterpolatedKernels(12, F0, weight=plain.weight)
    layer = SFIConvTranspose1d(4, 6, 16, 5, 3, groups=2, sample_rate=F0, filters=filters)
    z = torch.randn(3, 4, 30, dtype=torch.float64)
    assert relative_error(layer(z), plain(z)) < 1e-14


def test_the_taper_leaves_the_kernel_alone():
    layer = SFIConv1d(1, 6, 16, 8, sample_rate=F0, filters="interpolated", taper=1.0)
    assert torch.allclose(layer.weights()[0][0], layer.filters.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rate", RATES)
def test_digital_filters_keep_the_spectrum_of_the_kernel(rate):
    """Up to 0.9 min(F, F0) / 2 they have the response of the plain kernel, from 1.1 F0 / 2 on none."""
    layer = SFIConv1d(1, 6, 16, 1, 7.5, sample_rate=F0, filters=bank()).double().eval()
    taps, first = layer.weights(rate)
    instants = (layer.frame_grid(rate).delays()[0] - first - np.arange(taps.shape[-1])) / rate
    edge = min(rate, F0) / 2
    inside = np.linspace(0, 0.9 * edge, 50)
    expected = kernel_spectrum(layer.filters.weight, inside)
    assert np.abs(spectrum(taps[0], instants, inside) - expected).max() < 3e-5 * np.abs(expected).max()
    if rate > 1.1 * F0:
        outside = np.linspace(1.1 * edge, rate / 2, 50)
        assert np.abs(spectrum(taps[0], instants, outside)).max() < 3e-5 * np.abs(expected).max()


def test_what_lies_above_the_nyquist_frequency_does_not_alias():
    """A kernel tuned to 6 kHz hears nothing of 2 kHz, which is 6 kHz folded at F = 8 kHz."""
    n = torch.arange(64) - 31.5
    kernel = torch.cos(2 * math.pi * 6000 / F0 * n) * torch.hann_window(64, periodic=False)
    layer = SFIConv1d(1, 1, 64, 8, sample_rate=F0, filters=InterpolatedKernels(1, F0, weight=kernel[None]))
    tone = torch.sin(2 * math.pi * 2000 / 8000 * torch.arange(4000.0))[None, None]
    level = layer(torch.sin(2 * math.pi * 6000 / F0 * torch.arange(8000.0))[None, None]).abs().max()
    with torch.no_grad():
        assert layer(tone, 8000)[..., 20:-20].abs().max() < 1e-4 * level


@pytest.mark.parametrize("rate", RATES)
def test_latent_does_not_depend_on_the_rate(rate):
    """White kernels, a signal up to 0.9 of the lower of the two Nyquist frequencies."""
    limit = 0.45 * min(rate, F0)
    layer = SFIConv1d(1, 24, 16, 8, 4, sample_rate=F0, filters=bank(24)).double().eval()
    with torch.no_grad():
        latents = [layer(band_limited(f, limit), f) for f in (rate, F0)]
    assert relative_error(*latents) < 2e-5


def test_it_passes_the_test_that_others_use():
    layer = SFIConv1d(1, 24, 16, 8, 4, sample_rate=F0, filters=bank(24)).double().eval()
    assert_sfi(layer, RATES, at_most_db=20 * math.log10(2e-5))


def test_a_kernel_whose_peak_is_above_the_nyquist_frequency_keeps_what_lies_below():
    difference = InterpolatedKernels(1, F0, weight=torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    layer = SFIConv1d(1, 1, 2, 1, 0.5, sample_rate=F0, filters=difference).eval()
    assert difference.center_frequencies().item() == F0 / 2
    with torch.no_grad():
        assert relative_error(layer(band_limited(8000), 8000), layer(band_limited(F0), F0)) < 1e-4
    assert layer.alive(8000).all()


@pytest.mark.parametrize("dilation", [1, 2])
def test_responses_are_a_fourier_pair(dilation):
    """The integral of h over time, by the midpoint rule at 8 F0, is H below 0.9 F0 / 2."""
    filters = bank(dilation=dilation).double()
    t = (np.arange(-2000, 2000) + 0.5) / (8 * F0)
    frequencies = np.linspace(0, 0.45 * F0, 40)
    with torch.no_grad():
        response = filters.frequency_response(torch.tensor(2 * math.pi * frequencies))
        expected = spectrum(filters.impulse_response(torch.tensor(t)) / (8 * F0), t, frequencies)
    assert np.abs(response.numpy() - expected).max() < 3e-5 * np.abs(expected).max()


def test_response_is_that_of_the_plain_kernel_and_ends_at_half_the_rate():
    filters = bank().double()
    frequencies = np.linspace(0, F0, 81)
    response = filters.frequency_response(torch.tensor(2 * math.pi * frequencies)).detach().numpy()
    expected = kernel_spectrum(filters.weight, frequencies) * (frequencies <= F0 / 2)
    assert np.allclose(response, expected, atol=1e-12)


def test_centres_are_the_peaks():
    n = torch.arange(64)
    tones = torch.tensor([500.0, 3000.0, 7000.0])
    kernels = torch.cos(2 * math.pi * tones[:, None] / F0 * n) * torch.hann_window(64)
    centers = InterpolatedKernels(3, F0, weight=kernels).center_frequencies()
    assert torch.allclose(centers.float(), tones, atol=F0 / 1024)


def test_a_parameter_stays_tied_and_a_tensor_is_copied():
    weight = nn.Parameter(torch.randn(3, 2, 8))
    assert InterpolatedKernels(6, F0, weight=weight).weight is weight
    assert InterpolatedKernels(6, F0, weight=weight.data).weight.data_ptr() != weight.data_ptr()


def test_initialisation_is_that_of_conv1d():
    torch.manual_seed(0)
    weight = create_filters("interpolated", 4000, sample_rate=F0, duration=16 / F0).weight
    plain = nn.Conv1d(1, 4000, 16).weight
    assert weight.abs().max() <= 1 / 4
    assert float((weight.std() / plain.std()).detach()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rate", [8000.0, 22050.0])
def test_gradcheck(rate):
    filters = bank(2, 5).double()
    instants = torch.linspace(-6, 6, 9, dtype=torch.float64).add(1e-3).requires_grad_()

    def response(instants, weight):
        tied = InterpolatedKernels(2, F0, weight=torch.zeros(2, 5, dtype=torch.float64))
        del tied.weight
        tied.weight = weight
        return tied.impulse_response(instants / F0) / F0

    assert torch.autograd.gradcheck(response, (instants, filters.weight), check_forward_ad=True)
    layer = SFIConv1d(1, 2, 5, 2, 1, sample_rate=F0, filters=filters).train()
    x = torch.randn(1, 1, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _: layer(x, rate), (x, filters.weight))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_filters": 0, "duration": 0.001}, "0 filters"),
        ({"num_filters": 3}, "give weight"),
        ({"num_filters": 3, "weight": torch.ones(4, 8)}, "4 kernels"),
        ({"num_filters": 3, "weight": torch.ones(3, 8, dtype=torch.complex64)}, "real"),
        ({"num_filters": 3, "weight": torch.ones(8)}, "kernel_size"),
        ({"num_filters": 3, "weight": torch.ones(3, 8), "dilation": 0}, "dilation"),
        ({"num_filters": 3, "weight": torch.ones(3, 8), "sample_rate": 0}, "sample_rate"),
    ],
)
def test_impossible_banks_are_named(options, named):
    with pytest.raises(InputError, match=named):
        InterpolatedKernels(**{"sample_rate": F0} | options)
