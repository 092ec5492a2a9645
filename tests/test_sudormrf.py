"""SuDoRM-RF against asteroid's (golden numbers made by it, see golden/make_sudormrf.py), its sizes, and what is ours."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.models.sudormrf import FeatureConvolution, UConvBlock
from tests.signals import band_limited, relative_error

GOLDEN = Path(__file__).parent / "golden" / "sudormrf.golden.safetensors"
SMALL = {
    "features": 8,
    "kernel_size": 32,
    "stride": 8,
    "bottleneck": 4,
    "hidden": 6,
    "blocks": 2,
    "levels": 3,
}
PLAIN = {"filters": "interpolated", "kernel_size": 21, "stride": 10, "padding": 10, "pad_end": False}
PAPER = PLAIN | {
    "latent": "relu",
    "sources": ("a", "b"),
    "sample_rate": 8000,
    "features": 512,
    "bottleneck": 128,
    "hidden": 512,
}
PEER = {
    "original": {"variant": "original", "latent": "relu", "levels": 3, "mask": "softmax"},
    "improved": {"variant": "improved", "latent": "linear", "levels": 4, "mask": "relu"},
}
NORM = {"gamma": "weight", "beta": "bias"}
OURS = {  # asteroid's names -> ours
    "ln": "norm",
    "l1": "bottleneck",
    "bottleneck": "bottleneck",
    "reshape_before_masks": "widen",
    "m": "output",
    "mask_net.0": "widen",
    "mask_net.1": "output.0",
    "proj_1x1.conv": "expand",
    "proj_1x1.norm": "norm_1",
    "proj_1x1.act": "prelu_1",
    "final_norm.norm": "norm_2",
    "final_norm.act": "prelu_2",
    "conv_1x1_exp.conv": "reduce",
    "res_conv": "reduce",
    "conv_1x1_exp.norm": "norm_3",
    "module_act.norm": "norm_4",
    "module_act.act": "prelu_3",
    **{f"spp_dw.{k}.conv": f"scales.{k}.0" for k in range(4)},
    **{f"spp_dw.{k}.norm": f"scales.{k}.1" for k in range(4)},
}


def create(**settings):
    torch.manual_seed(0)
    return sfi_zoo.create("sudormrf", **settings).eval()


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def our_name(theirs):
    module, _, leaf = theirs.rpartition(".")
    block = ""
    if module.startswith("sm."):
        _, number, module = module.split(".", 2)
        block = f"blocks.{number}."
    return f"{block}{OURS[module]}.{NORM.get(leaf, leaf)}"


@pytest.fixture(params=PEER)
def peer(request):
    """Our model with asteroid's weights, and what asteroid made of them."""
    golden = {
        key.removeprefix(f"{request.param}."): value
        for key, value in load_file(GOLDEN).items()
        if key.startswith(request.param)
    }
    model = create(
        sources=("a", "b", "c"), sample_rate=8000, features=12, bottleneck=6, hidden=12, blocks=2,
        **PLAIN, **PEER[request.param],
    )  # fmt: skip
    masker = {
        our_name(key.removeprefix("state.masker.")): value
        for key, value in golden.items()
        if key.startswith("state.masker.")
    }
    wanted = model.masker.state_dict()
    if (
        request.param == "improved"
    ):  # asteroid has a slope for each channel here, in the golden file all equal
        masker = {
            key: value[:1] if key.endswith("prelu_2.weight") else value for key, value in masker.items()
        }
    model.masker.load_state_dict({key: value.reshape(wanted[key].shape) for key, value in masker.items()})
    with torch.no_grad():
        for side in ("encoder", "decoder"):
            getattr(model, side).filters.weight.copy_(golden[f"state.{side}.filterbank._filters"][:, 0])
    return model, golden


@pytest.mark.parametrize("frames", [64, 29])
def test_masks_are_asteroids(peer, frames):
    model, golden = peer
    with torch.no_grad():
        masks = model.masker(golden["latent"][..., :frames])
    expected = golden["masks" if frames == 64 else "masks_of_29_frames"]
    assert torch.allclose(masks, expected, rtol=1e-4, atol=1e-6)


def test_estimates_are_asteroids(peer):
    """Encoder, masks and decoder: the plain twin is the published network."""
    model, golden = peer
    with torch.no_grad():
        assert torch.allclose(model.encode(golden["mixture"]).values, golden["latent"], atol=1e-6)
        assert relative_error(model(golden["mixture"])[:, :, 0], golden["estimate"]) < 1e-5


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("variant", ["original", "improved"])
def test_the_size_is_asteroids(variant, levels):
    """But for the slopes of one PReLU in the improved block: asteroid has one for each channel, the authors (and we) one for all."""
    with safe_open(GOLDEN, "pt") as golden:
        count = int(golden.metadata()[f"{variant}.{levels}"])
    slopes = 16 * (512 - 1) if variant == "improved" else 0
    assert size(create(**PAPER, variant=variant, levels=levels)) == count - slopes


def test_the_size_is_the_papers():
    """SuDoRM-RF 1.0x has 2.66 M parameters, 2,662,022 by the sizes of its layers.

    Those that ours lacks: a decoder for each of the two sources, biases of encoder and decoders, a norm that nobody uses. In per cent: 0.5.
    """
    n, c, h, blocks, q, kernel, sources = 512, 128, 512, 16, 5, 21, 2
    expand, reduce = (c * h + h) + 2 * h + h, 2 * h + h + (h * c + c) + 2 * c + 2 * c + c
    block = expand + q * (h * 5 + h + 2 * h) + reduce
    network = 2 * n + (n * c + c) + blocks * block + (c * n + n) + sources * (n + 1 + 1)
    ours = size(create(**PAPER, variant="original", levels=q))
    assert ours == network + 2 * n * kernel
    assert ours + (sources - 1) * n * kernel + n + sources + 2 * n == 2_662_022


def test_the_default_is_small(tmp_path):
    model = create()
    sfi_zoo.save(model, tmp_path / "model", half=True)
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 4e6
    assert (model.trained_rate, model.sources) == (32000, ("vocals", "drums", "bass", "other"))


@pytest.mark.parametrize("features", [1, 2, 7, 12])
def test_the_mask_layer_is_a_convolution_over_the_features(features):
    """Against the two-dimensional convolution of the paper; an odd number of features has one row more there."""
    torch.manual_seed(0)
    layer, x = FeatureConvolution(features, 3), torch.randn(2, features, 5)
    padding = (features - features // 2, 0)
    expected = functional.conv2d(x[:, None], layer.weight[:, None, :, None], layer.bias, padding=padding)
    assert torch.allclose(layer(x), expected[:, :, :features], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17])
def test_a_block_takes_any_number_of_frames(frames):
    torch.manual_seed(0)
    block = UConvBlock(4, 6, 5, original=False)
    assert block(torch.randn(2, 4, frames)).shape == (2, 4, frames)


@pytest.mark.parametrize("variant", ["original", "improved"])
@pytest.mark.parametrize("latent", ["complex", "relu"])
@pytest.mark.parametrize(("rate", "channels", "length"), [(32000, 1, 3200), (44100, 2, 4001), (4000, 3, 7)])
def test_output_is_as_long_as_the_input(variant, latent, rate, channels, length):
    model = create(**SMALL, variant=variant, latent=latent)
    with torch.no_grad():
        y = model(torch.randn(2, channels, length), rate)
    assert y.shape == (2, 4, channels, length)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
def test_masks_do_not_depend_on_the_rate(rate):
    """A signal below 3 kHz: the error of the latent, no more than 5 times as large."""
    model = create(**SMALL | {"features": 64, "kernel_size": 640, "stride": 160}).double()
    at_rate, trained = (model.encode(band_limited(f), f) for f in (rate, 32000))
    with torch.no_grad():
        error = relative_error(model.predict_masks(at_rate), model.predict_masks(trained))
        assert error < 5 * relative_error(model.seen(at_rate.values), model.seen(trained.values)) < 0.05


@pytest.mark.parametrize("variant", ["original", "improved"])
def test_gradients_reach_every_parameter(variant):
    model = create(**SMALL, variant=variant).train()
    model(torch.randn(1, 1, 640)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_save_and_load_round_trip(tmp_path):
    model = create(**SMALL, variant="original", sources=("a", "b"))
    model.save_pretrained(tmp_path / "model")
    again, x = sfi_zoo.load(tmp_path / "model"), torch.randn(1, 1, 500)
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again(x, 22050), model(x, 22050))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"variant": "groupcomm"}, "variant must be one of improved, original; got 'groupcomm'"),
        ({"mask": "tanh"}, "mask must be one of.*'tanh'"),
        ({"levels": 0}, "levels must be a positive whole number, got 0"),
        ({"hidden": 1.5}, r"hidden must be.*1\.5"),
        ({"blocks": True}, "blocks must be.*True"),
        ({"filters": "mgf"}, "unknown filter family 'mgf'"),
        ({"latent": "real"}, "latent must be one of.*'real'"),
        ({"sources": ("a", "a")}, "sources"),
        ({"repeats": 2}, "sudormrf has no setting repeats"),
    ],
)
def test_settings_that_are_not_allowed_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        create(**SMALL | settings)
