"""What every filter family promises, and the formulas of the papers. A family is tested by being registered."""

import math

import numpy as np
import pytest
import scipy.integrate
import torch

from sfi_zoo import InputError
from sfi_zoo.filters import (
    FILTER_FAMILIES,
    AnalogFilterBank,
    ModulatedGaussian,
    MultiPhaseGammatone,
    create_filters,
    filter_layer_options,
)
from sfi_zoo.filters.scales import spaced_frequencies
from sfi_zoo.layers import SFIConv1d
from tests.signals import band_limited, relative_error

F0, DURATION, BAND = 16000.0, 0.002, (300.0, 6000.0)
SMALL_NETWORK = {"channels": (6,), "num_features": 3, "feature_bandwidth": 3.0}

# what a family needs beyond a number of filters; nothing, if it is not listed
OPTIONS = {
    "modulated_gaussian": {"frequency_range": BAND},
    "multi_phase_gammatone": {"frequency_range": BAND, "num_centers": 4},
    "neural_analog_frequency": SMALL_NETWORK,
    "neural_analog_time": SMALL_NETWORK,
    "sinc_bandpass": {"frequency_range": BAND},
}
FALLS_AS_1_OVER_T = {"neural_analog_time", "sinc_bandpass"}  # no integral over time: over frequency instead
UNIT_GAIN = {"modulated_gaussian", "multi_phase_gammatone", "sinc_bandpass", "fourier"}


def create(family, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    given = {"duration": DURATION, "sample_rate": F0}
    options = {name: given[name] for name in filter_layer_options(family)} | OPTIONS.get(family, {})
    return create_filters(family, 8, **options).to(dtype).eval()


def has(family, response):
    return getattr(FILTER_FAMILIES[family], response) is not getattr(AnalogFilterBank, response)


def families_with(*responses):
    return [f for f in sorted(FILTER_FAMILIES) if all(has(f, response) for response in responses)]


EVERY = sorted(FILTER_FAMILIES)
RESPONSES = [
    (family, response)
    for response in ("impulse_response", "frequency_response")
    for family in families_with(response)
]
ARGUMENT_UNIT = {"impulse_response": 1e-3, "frequency_response": 2 * math.pi * 1e3}  # ms and kHz


def points(response):
    """Arguments in the unit above: within the kernel, within the band, at no special place."""
    if response == "impulse_response":
        return torch.linspace(-0.83, 0.92, 7, dtype=torch.float64)
    return torch.linspace(0.217, 7.03, 7, dtype=torch.float64)


def integral(values, x, waves):
    """Of each row of `values` times each row of `waves` over x, by scipy's Simpson rule."""
    return np.stack([scipy.integrate.simpson(values * wave, x=x) for wave in waves], axis=-1)


@pytest.mark.parametrize("family", families_with("impulse_response", "frequency_response"))
def test_responses_are_a_fourier_pair(family):
    """H(f) = integral h(t) exp(-2 pi j f t) dt; where that converges too slowly h(t) = 2 Re integral H(f) exp(2 pi j f t) df."""
    bank = create(family)
    with torch.no_grad():
        if family in FALLS_AS_1_OVER_T:
            t, f = np.linspace(-0.003, 0.003, 13), np.arange(0, 8000.01, 0.1)
            expected = bank.impulse_response(torch.from_numpy(t)).numpy()
            spectrum = bank.frequency_response(torch.from_numpy(2 * np.pi * f)).numpy()
            actual = 2 * integral(spectrum, f, np.exp(2j * np.pi * f * t[:, None])).real
            atol = 4 * 0.1  # what a rule of step df misses at the two jumps, there and mirrored
        else:
            t = np.arange(0 if bank.causal else -9600, 38401) / 480000
            f = np.linspace(100, 6900, 20)
            expected = bank.frequency_response(torch.from_numpy(2 * np.pi * f)).numpy()
            response = bank.impulse_response(torch.from_numpy(t)).numpy()
            actual = integral(response, t, np.exp(-2j * np.pi * f[:, None] * t))
            atol = 2e-5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, atol=atol)


@pytest.mark.parametrize(("family", "response"), RESPONSES)
def test_responses_are_differentiable(family, response):
    """In their argument and in all that is trained."""
    bank = create(family)
    trained = {name: p for name, p in bank.named_parameters() if p.requires_grad}
    bank.forward = lambda x: getattr(bank, response)(x * ARGUMENT_UNIT[response]) / scale

    scale = 1.0
    with torch.no_grad():
        scale = float(bank(points(response)).abs().max())

    def f(x, *values):
        return torch.func.functional_call(bank, dict(zip(trained, values, strict=True)), (x,))

    values = (points(response), *(p.detach().clone() for p in trained.values()))
    assert torch.autograd.gradcheck(f, tuple(v.requires_grad_() for v in values), fast_mode=len(trained) > 5)


@pytest.mark.parametrize("family", families_with("frequency_response"))
def test_the_response_peaks_at_the_centre(family):
    bank = create(family)
    with torch.no_grad():
        centers = bank.center_frequencies()
        at_center = bank.frequency_response(2 * math.pi * centers).diagonal().abs()
        omega = 2 * math.pi * torch.linspace(10, 7990, 4000, dtype=torch.float64)
        peak = bank.frequency_response(omega).abs().amax(1)
    assert centers.shape == (8,) and not centers.requires_grad
    # the parts at negative frequencies move the peak a little: 3 %
    assert (at_center >= 0.97 * peak).all()


@pytest.mark.parametrize("family", sorted(UNIT_GAIN & set(FILTER_FAMILIES)))
def test_gain_at_the_centre_is_one(family):
    bank = create(family)
    with torch.no_grad():
        gain = bank.frequency_response(2 * math.pi * bank.center_frequencies()).diagonal().abs()
    gain = gain[gain > 0]  # the sine at 0 Hz of the Fourier bank is nothing
    assert torch.allclose(gain, torch.ones_like(gain), atol=0.03)


@pytest.mark.parametrize("design", ["time", "frequency"])
@pytest.mark.parametrize("family", EVERY)
def test_latents_do_not_depend_on_the_rate(family, design):
    """Full Hann taper, a signal below 3 kHz, in the layer itself: 16 kHz, 44.1 kHz and 32 kHz."""
    if not has(family, "impulse_response" if design == "time" else "frequency_response"):
        pytest.skip("no closed form for this design")
    torch.manual_seed(0)
    layer = SFIConv1d(
        1,
        8,
        160,
        80,
        sample_rate=32000,
        filters=family,
        filter_options=OPTIONS.get(family, {}),
        design=design,
        taper=1.0,
    )
    layer = layer.double().eval()
    with torch.no_grad():
        latent = {rate: layer(band_limited(rate, seconds=0.3), rate) for rate in (16000, 32000, 44100)}
    for rate in (16000, 44100):
        error = relative_error(latent[rate], latent[32000])
        assert error < 1e-5, rate


@pytest.mark.parametrize("rate", [11025.0, F0, 22050.0])  # interpolated, direct, above F0
@pytest.mark.parametrize(
    ("family", "design"),
    [
        (f, d)
        for d, r in (("time", "impulse_response"), ("frequency", "frequency_response"))
        for f in families_with(r)
    ],
)
def test_gradcheck_of_a_layer(family, design, rate):
    if (family, design) == ("sinc_bandpass", "frequency"):
        pytest.skip("the edges of a box have no gradient; it says so")
    torch.manual_seed(0)
    layer = SFIConv1d(1, 8, 32, 16, sample_rate=F0, filters=create(family), design=design, taper=1.0).train()
    x = torch.randn(1, 1, round(0.005 * rate), dtype=torch.float64, requires_grad=True)
    moved = [p for p in layer.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, rate), (x, *moved), atol=1e-5, fast_mode=True)


@pytest.mark.parametrize(("family", "response"), RESPONSES)
def test_responses_are_computed_in_the_wider_dtype(family, response):
    """A float32 bank asked in float64 is the bank in float64; asked in float32 it answers in float32."""
    narrow, x = create(family, torch.float32), points(response) * ARGUMENT_UNIT[response]
    wide = create(family, torch.float32).double()
    with torch.no_grad():
        actual, expected = getattr(narrow, response)(x), getattr(wide, response)(x)
        single = getattr(narrow, response)(x.float())
    assert actual.dtype == expected.dtype
    assert relative_error(actual, expected) < 1e-12
    assert single.dtype == (torch.complex64 if single.is_complex() else torch.float32)
    assert relative_error(single.to(expected.dtype), expected) < 1e-4


@pytest.mark.parametrize(("family", "response"), RESPONSES)
def test_state_dict_is_all_there_is(family, response):
    """Loaded into another bank of the same arguments it gives the same filters."""
    bank, other = create(family, seed=0), create(family, seed=1)
    other.load_state_dict(bank.state_dict())
    x = points(response) * ARGUMENT_UNIT[response]
    with torch.no_grad():
        assert torch.equal(getattr(other, response)(x), getattr(bank, response)(x))
        assert torch.equal(other.center_frequencies(), bank.center_frequencies())


@pytest.mark.parametrize(("family", "response"), RESPONSES)
def test_shapes_are_known_without_data(family, response):
    """On the meta device, where models are built before their weights are loaded."""
    with torch.device("meta"):
        bank = create(family, torch.float32)
        assert getattr(bank, response)(torch.zeros(5)).shape == (8, 5)
        assert bank.center_frequencies().shape == (8,)


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


SCALES = {
    "erb": lambda f: 9.265 * np.log(1 + f / (24.7 * 9.265)),
    "mel": lambda f: 2595 * np.log10(1 + f / 700),
    "linear": lambda f: f,
}


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_scales_by_their_own_formulas(scale):
    f = spaced_frequencies(50, (50.0, 16000.0), scale).numpy()
    step = np.diff(SCALES[scale](f))
    np.testing.assert_allclose(step, step[0], rtol=1e-9)
    np.testing.assert_allclose(f[[0, -1]], [50, 16000])


@pytest.mark.parametrize("scale", sorted(SCALES))
@pytest.mark.parametrize("family", ["modulated_gaussian", "multi_phase_gammatone"])
def test_centres_start_equally_spaced_on_a_scale(family, scale):
    bank = create_filters(family, 8, scale=scale, **OPTIONS[family])
    centers = np.unique(bank.center_frequencies().numpy())  # several phases share a centre
    step = np.diff(SCALES[scale](centers))
    np.testing.assert_allclose(step, step[0], rtol=1e-4)
    np.testing.assert_allclose(centers[[0, -1]], BAND, rtol=1e-6)


NETWORK = {"sample_rate": F0}


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
        ({"family": "multi_phase_gammatone", "num_filters": 64, "scale": "bark"}, "bark"),
        ({"family": "sinc_bandpass", "num_filters": 0}, "0"),
        ({"family": "sinc_bandpass", "num_filters": 40, "frequency_range": (100.0, 120.0)}, "40 bands"),
        ({"family": "neural_analog_frequency", "num_filters": 0, **NETWORK}, "num_filters"),
        ({"family": "neural_analog_frequency", "num_filters": 4, "channels": (8, 0), **NETWORK}, "channels"),
        ({"family": "neural_analog_frequency", "num_filters": 4, "num_features": 1.5, **NETWORK}, "1.5"),
        ({"family": "neural_analog_frequency", "num_filters": 4, "feature_bandwidth": 0, **NETWORK}, "got 0"),
        ({"family": "neural_analog_frequency", "num_filters": 4, "sample_rate": -1.0}, "-1.0"),
        ({"family": "neural_analog_frequency", "num_filters": 4}, "sample_rate"),
        ({"family": "neural_analog_time", "num_filters": 4, "duration": 1e-5, **NETWORK}, "1e-05"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        create_filters(**arguments)
