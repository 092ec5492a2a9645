"""SFI convolutions: drop-ins at F0, the same latent and level at every F, cached and never stale."""

import copy
import math
import pickle

import pytest
import torch
from torch.nn import functional

from sfi_zoo import InputError, at_sample_rate, set_sample_rate
from sfi_zoo.filters import ModulatedGaussian
from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.testing import assert_sfi
from tests.signals import band_limited, relative_error

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 44100, 48000, 96000)
ODD_RATES = (44099, 37123, 8001.5)


def conv(**options):
    torch.manual_seed(0)
    given = {
        "in_channels": 1,
        "out_channels": 24,
        "kernel_size": 160,
        "stride": 80,
        "padding": 40,
        "sample_rate": 32000,
    }
    return SFIConv1d(**given | options).eval()


def transpose(layer, **options):
    given = {"kernel_size": 160, "stride": 80, "padding": 40, "sample_rate": 32000, "filters": layer.filters}
    return SFIConvTranspose1d(24, 1, **given | options).to(next(layer.parameters()).dtype).eval()


@pytest.mark.parametrize("groups", [1, 2])
def test_is_conv1d_at_the_trained_rate(groups):
    layer = conv(in_channels=4, out_channels=6, groups=groups, kernel_size=33, stride=7, padding=5, bias=True)
    layer.bias.data.uniform_()
    x = torch.randn(2, 4, 500)
    weight = layer.weights()[0].reshape(6, 4 // groups, 33)
    expected = functional.conv1d(x, weight, layer.bias, stride=7, padding=5, groups=groups)
    assert relative_error(layer(x), expected) < 1e-6


@pytest.mark.parametrize("groups", [1, 2])
def test_is_conv_transpose1d_at_the_trained_rate(groups):
    layer = SFIConvTranspose1d(4, 6, 33, 7, 5, groups=groups, bias=True, sample_rate=16000).eval()
    layer.bias.data.uniform_()
    z = torch.randn(2, 4, 50)
    weight = layer.weights()[0].reshape(4, 6 // groups, 33)
    expected = functional.conv_transpose1d(z, weight, layer.bias, stride=7, padding=5, groups=groups)
    assert layer(z).shape == expected.shape
    assert relative_error(layer(z), expected) < 1e-6


@pytest.mark.parametrize("design", ["time", "frequency"])
@pytest.mark.parametrize("rate", RATES + ODD_RATES)
def test_latent_does_not_depend_on_the_rate(rate, design):
    """A signal below 3 kHz, full Hann taper."""
    layer = conv(out_channels=440, taper=1.0, design=design).double()
    with torch.no_grad():
        error = relative_error(layer(band_limited(rate), rate), layer(band_limited(32000), 32000))
    assert error < 3e-6


@pytest.mark.parametrize("design", ["time", "frequency"])
def test_it_passes_the_test_that_others_use(design):
    """Tones instead of noise, every rate against F0; the same bound."""
    layer = conv(out_channels=440, taper=1.0, design=design).double()
    assert_sfi(layer, RATES + ODD_RATES, at_most_db=20 * math.log10(3e-6))


def test_the_taper_is_what_makes_it_independent():
    """Above F0, where filters are sampled directly, the same comparison is a hundred times worse without a taper."""
    with torch.no_grad():
        error = {
            a: relative_error(layer(band_limited(48000), 48000), layer(band_limited(32000), 32000))
            for a in (0.0, 0.25)
            for layer in [conv(out_channels=440, taper=a).double()]
        }
    assert error[0.25] < 1e-2 * error[0.0]


@pytest.mark.parametrize("flavour", ["native", "reference"])
@pytest.mark.parametrize("rate", (8000, 22050, 32000, 44100, 44099))
def test_transposed_layer_is_the_adjoint(rate, flavour):
    """<A x, z> = <x, A* z>; native synthesis carries F / F0 beside it."""
    layer = conv(flavour=flavour).double().requires_grad_(False)
    x = torch.randn(1, 1, rate // 3, dtype=torch.float64)
    y = layer(x, rate)
    z = torch.randn_like(y)
    back = transpose(layer, flavour=flavour)(z, rate, length=x.shape[-1])
    gain = rate / 32000 if flavour == "native" else 1.0
    # interpolated delays of the two directions agree to rounding: it is one and the same matrix
    assert (back * x).sum().item() == pytest.approx((y * z).sum().item() * gain, rel=1e-9)


@pytest.mark.parametrize("rate", RATES)
def test_output_level_does_not_depend_on_the_rate(rate):
    layer = conv(out_channels=24, filter_options={"frequency_range": (50.0, 3500.0)}, taper=1.0).double()
    synthesis = transpose(layer, taper=1.0)
    with torch.no_grad():
        level = {
            f: synthesis(layer(band_limited(f), f), f, length=f).square().mean().sqrt() for f in (rate, 32000)
        }
    assert float(level[rate] / level[32000]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rate", (8000, 44100))
def test_filters_end_at_the_nyquist_frequency(rate):
    """Taps have no response beyond min(F, F0) / 2: dead filters keep their lower part, filters dead at F0 are zero."""
    layer = conv(out_channels=40, filter_options={"frequency_range": (50.0, 17000.0)}, taper=1.0)
    weights = layer.weights(rate)[0][0].double()
    assert torch.equal(weights.abs().amax(-1) == 0, layer.filters.center_frequencies() > 16000)
    assert torch.equal(layer.alive(rate), layer.filters.center_frequencies() <= min(rate, 32000) / 2)
    response = torch.fft.rfft(weights, n=8192).abs()
    frequency = torch.linspace(0, rate / 2, response.shape[-1])
    nyquist = min(rate, 32000) / 2
    far = layer.filters.center_frequencies() > 1.3 * nyquist
    assert response[far].numel() == 0 or response[far].max() < 2e-3
    well_below = layer.filters.center_frequencies() < 0.8 * nyquist
    beyond = frequency > 1.1 * nyquist
    assert response[well_below][:, beyond].numel() == 0 or response[well_below][:, beyond].max() < 1e-3


def test_number_of_frames_depends_on_the_duration_only():
    layer = conv()
    assert {layer.num_frames(rate * 2, rate) for rate in (*RATES, 32000)} == {layer.num_frames(64000, 32000)}


def test_design_happens_once_per_rate(monkeypatch):
    calls = []
    original = ModulatedGaussian.impulse_response
    monkeypatch.setattr(
        ModulatedGaussian, "impulse_response", lambda self, t: calls.append(1) or original(self, t)
    )
    layer = conv()
    for rate in (8000, 48000, 8000, 48000, 8000):
        layer(torch.randn(1, 1, 9600), rate)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.filters.phase.data.add_(0.1),  # a write that no version counter sees
        lambda layer: layer.load_state_dict({k: v + 0.01 for k, v in layer.state_dict().items()}),
        lambda layer: setattr(layer.filters, "phase", torch.nn.Parameter(layer.filters.phase + 1)),
        lambda layer: layer.double(),
    ],
    ids=["data", "load_state_dict", "new parameter", "dtype"],
)
def test_cache_is_never_stale(change):
    layer = conv()
    x = torch.randn(1, 1, 3200)
    before = layer(x)
    change(layer)
    fresh = copy.deepcopy(layer)
    fresh._cache.clear()
    x = x.to(layer.filters.phase.dtype)
    assert torch.equal(layer(x), fresh(x))
    assert not torch.equal(layer(x).float(), before) or layer.filters.phase.dtype == torch.float64


def test_cached_weights_keep_their_gradient():
    layer = conv()
    x = torch.randn(1, 1, 3200)
    gradients = []
    for mode in (True, False, False):  # designed afresh, designed into the cache, from the cache
        layer.train(mode) if mode else layer.eval()
        layer.zero_grad()
        layer(x, 16000).square().sum().backward()
        gradients.append(layer.filters.phase.grad.clone())
    assert torch.allclose(gradients[0], gradients[1]) and torch.allclose(gradients[0], gradients[2])


def test_cache_stays_out_of_state_and_copies():
    layer = conv()
    names = set(layer.state_dict())
    layer(torch.randn(1, 1, 3200), 44100)
    assert set(layer.state_dict()) == names
    assert len(pickle.dumps(layer)) < 20_000


def test_rate_reaches_layers_inside_a_model_and_explicit_wins():
    model = torch.nn.Sequential(conv(), torch.nn.ReLU())
    x = torch.randn(1, 1, 4800)
    expected = model[0](x, 48000).relu()
    with at_sample_rate(model, 48000):
        assert torch.equal(model(x), expected)
        assert torch.equal(model[0](x, 32000), conv()(x))
    assert model[0].current_rate == 32000
    set_sample_rate(model, 8000)
    assert torch.equal(model(x), model[0](x, 8000).relu())


def test_gradcheck():
    layer = (
        SFIConv1d(1, 2, 8, 4, 2, sample_rate=8000, filter_options={"frequency_range": (500.0, 3000.0)})
        .double()
        .train()
    )
    x = torch.randn(1, 1, 24, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, 11025), (x, *layer.parameters()), atol=1e-5)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast", True])
def test_impossible_rates_are_named(rate):
    with pytest.raises(InputError, match="sample_rate"):
        conv()(torch.randn(1, 1, 3200), rate)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kernel_size": 0}, "kernel_size"),
        ({"stride": 1.5}, "stride"),
        ({"taper": 2.0}, "taper"),
        ({"design": "magic"}, "magic"),
        ({"flavour": "vanilla"}, "vanilla"),
        ({"groups": 5}, "groups"),
        ({"filters": ModulatedGaussian(3)}, "24 filters"),
    ],
)
def test_impossible_layers_are_named(options, named):
    with pytest.raises(InputError, match=named):
        conv(**options)


def test_input_of_the_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"\(1, 2, 3200\)"):
        conv()(torch.randn(1, 2, 3200))
    with pytest.raises(InputError, match="shorter than the kernel"):
        conv()(torch.randn(1, 1, 20))


def test_a_rate_that_leaves_no_filter_alive_is_named():
    layer = conv(filter_options={"frequency_range": (3000.0, 15000.0)})
    with pytest.raises(InputError, match="4000"):
        layer(torch.randn(1, 1, 4000), 4000)
