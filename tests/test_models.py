"""The separator contract, on small models and on the bundled one."""

import pytest
import torch

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.data.synthetic import song
from sfi_zoo.testing import assert_sfi
from tests.signals import band_limited, relative_error
from tests.tiny_separators import tiny

RATES = (8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000)
SMALL = {"features": 16, "bottleneck": 8, "hidden": 8}
SIZES = {"convtasnet": {"layers": 2, "repeats": 1}, "sudormrf": {"blocks": 2, "levels": 3}}
KINDS = {
    "complex": {},
    "linear": {"latent": "linear", "branches": 4},
    "relu, frequency design": {"latent": "relu", "design": "frequency"},
    "reference": {"latent": "relu", "flavour": "reference", "branches": 4},
    "gammatone": {"latent": "relu", "filters": "multi_phase_gammatone"}
    | {side: {"num_centers": 4} for side in ("encoder_filters", "decoder_filters")},
    "plain": {
        "latent": "linear",
        "filters": "interpolated",
        "kernel_size": 64,
        "stride": 32,
        "dense_norms": False,
    }
    | {"bias": True, "residual_bias": True, "last_residual": False, "skip": 4},
    "causal": {"latent": "relu", "filters": "interpolated", "kernel_size": 64, "stride": 32}
    | {"causal": True, "norm": "cumulative", "kernel": 2, "skip": 0, "branches": 4},
    "sudormrf": {},
    "sudormrf, original": {"variant": "original", "latent": "relu"},
}


@pytest.fixture(params=KINDS)
def small(request):
    torch.manual_seed(0)
    name = "sudormrf" if request.param.startswith("sudormrf") else "convtasnet"
    return sfi_zoo.create(name, **SMALL, **SIZES[name], **KINDS[request.param]).eval()


@pytest.fixture(scope="module")
def bundled():
    return sfi_zoo.load("convtasnet_mgf_native.music4")


@pytest.mark.parametrize(
    ("rate", "channels", "length"), [(32000, 1, 3200), (44100, 2, 10001), (4000, 3, 77), (192000, 1, 50000)]
)
def test_output_is_as_long_as_the_input(small, rate, channels, length):
    with torch.no_grad():
        y = small(torch.randn(2, channels, length), rate)
    assert y.shape == (2, 4, channels, length)
    assert torch.isfinite(y).all()


def test_forward_is_encode_mask_decode(small):
    x = torch.randn(1, 2, 6400)
    with torch.no_grad():
        latent = small.encode(x, 16000)
        masks = small.predict_masks(latent)
        y = small.decode(masks * latent.values[:, None], 16000, 6400)
        assert torch.equal(small(x, 16000)[0].transpose(0, 1), y)
    assert masks.shape == (2, 4, 16, latent.values.shape[-1])
    assert torch.allclose(masks.sum(1), torch.ones(()), atol=1e-5)
    assert latent.grid.times.shape == latent.values.shape[-1:]
    assert latent.grid.frequencies.shape == latent.grid.alive.shape == (16,)


def test_silence_stays_silent(small):
    with torch.no_grad():
        assert torch.equal(small(torch.zeros(1, 1, 8000), 44100), torch.zeros(1, 4, 1, 8000))


def test_gradients_reach_every_parameter(small):
    small.train()
    small(torch.randn(1, 1, 6400)).square().sum().backward()
    # the last block's residual output is unused, and norm_1 shifts all mixtures of a softmax
    missing = [name for name, p in small.named_parameters() if p.grad is None]
    assert all(".residual." in name for name in missing)


def test_save_and_load_round_trip(small, tmp_path):
    small.save_pretrained(tmp_path / "model")
    again = sfi_zoo.load(tmp_path / "model")
    x = torch.randn(1, 1, 5000)
    with torch.no_grad():
        assert torch.equal(again(x, 22050), small(x, 22050))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_compiles_into_one_graph(name):
    """At one rate; real latents, the compiler knows few complex operations."""
    torch.manual_seed(0)
    model = sfi_zoo.create(name, **SMALL, **SIZES[name], latent="relu").eval()
    x = torch.randn(1, 1, 3200)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(x, 22050)
        assert torch.allclose(compiled, model(x, 22050), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "rate", "named"),
    [
        ((1, 1, 100), 3999, "3999"),
        ((1, 1, 100), 1e9, "1000000000"),
        ((1, 1, 0), 8000, r"\(1, 1, 0\)"),
        ((100,), 8000, r"\(100,\)"),
    ],
)
def test_bad_input_is_named(shape, rate, named, bundled):
    with pytest.raises(InputError, match=named):
        bundled(torch.zeros(shape), rate)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"wings": 1}, "wings"),
        ({"latent": "x"}, "latent"),
        ({"branches": 3}, "branches"),
        ({"stride": 0}, "stride"),
    ],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        sfi_zoo.create("convtasnet", **settings)


@pytest.mark.parametrize("rate", RATES)
def test_bundled_latent_does_not_depend_on_the_rate(bundled, rate):
    """A signal below 3 kHz, float64: 5e-3 at 8 kHz, 3e-4 at 11.025 kHz, 5e-5 above."""
    model = sfi_zoo.load("convtasnet_mgf_native.music4").double()
    with torch.no_grad():
        latents = [model.encode(band_limited(f), f).values for f in (rate, 32000)]
    assert relative_error(*latents) < {8000: 5e-3, 11025: 3e-4}.get(rate, 5e-5)


@pytest.mark.parametrize("name", ["convtasnet", "dualpath", "openunmix", "spleeter"])
def test_separators_pass_the_test_that_others_use(name):
    """Random weights, at F0 and above, where every feature is alive."""
    torch.manual_seed(0)
    model = tiny(name).eval()
    channels = getattr(model.config, "channels", 1)
    rates = [model.trained_rate, 44100, 48000]
    assert_sfi(model, rates, at_most_db=-90, trained_rate=model.trained_rate, channels=channels, seconds=0.6)


@pytest.mark.parametrize("rate", RATES)
def test_bundled_output_level_does_not_depend_on_the_rate(bundled, rate):
    with torch.no_grad():
        level = {
            f: bundled(band_limited(f).float(), f).square().mean(-1).sqrt()[0, :, 0] for f in (rate, 32000)
        }
    assert torch.allclose(level[rate], level[32000], rtol=1e-3)


@pytest.mark.parametrize(("rate", "channels"), [(11025, 1), (22050, 2), (96000, 1)])
def test_bundled_stems_sum_to_the_mixture(bundled, rate, channels):
    """Masks sum to one and the decoder inverts the encoder: the residual lies 15 dB or more below the mixture."""
    mixture = torch.from_numpy(sum(song(2, 3.0, rate, channels).values())).float()
    stems = bundled.separate(mixture, rate)
    assert stems.shape == (4, *mixture.shape)
    assert relative_error(stems.sum(0), mixture) < 10 ** (-15 / 20)
