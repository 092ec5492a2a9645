"""Conv-TasNet and the variants of it that others have published: sizes, plain twin, norms, causality, settings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.filters import FILTER_FAMILIES
from sfi_zoo.models.parts.norms import create_norm

ASTEROID = Path(__file__).parent / "golden" / "asteroid.golden.safetensors"
SMALL = {
    "features": 8,
    "kernel_size": 32,
    "stride": 8,
    "bottleneck": 4,
    "hidden": 6,
    "layers": 2,
    "repeats": 2,
}
PAPER = {
    "sample_rate": 8000,
    "features": 512,
    "kernel_size": 16,
    "stride": 8,
    "latent": "linear",
    "filters": "interpolated",
    "padding": 0,
    "bottleneck": 128,
    "hidden": 512,
    "repeats": 3,
    "bias": True,
    "residual_bias": True,
    "dense_norms": False,
    "mask": "sigmoid",
}
SFI = {
    "sources": ("drums", "bass", "other", "vocals"),
    "features": 440,
    "kernel_size": 160,
    "stride": 80,
    "latent": "relu",
    "flavour": "reference",
    "branches": 4,
    "bottleneck": 160,
    "hidden": 160,
    "layers": 6,
    "norm_groups": 8,
}
GAMMATONE = {"filters": "multi_phase_gammatone"} | {
    f"{side}_filters": {"num_centers": 96} for side in ("encoder", "decoder")
}


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def create(**settings):
    torch.manual_seed(0)
    return sfi_zoo.create("convtasnet", **settings).eval()


@pytest.mark.parametrize(("settings", "count"), [({}, 4_315_628), (GAMMATONE, 4_313_620)])
def test_the_published_sfi_networks_have_the_published_size(settings, count):
    assert size(create(**SFI, **settings)) == count


def test_torchaudios_network_has_torchaudios_size():
    torchaudio = pytest.importorskip("torchaudio")
    ours = create(**PAPER | {"sources": ("a", "b"), "padding": 8, "last_residual": False})
    assert size(ours) == size(torchaudio.models.ConvTasNet())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("default", {}),
        ("three", {"sources": ("a", "b", "c")}),
        ("no_skip", {"skip": 0}),
        ("uneven", {"sources": ("a", "b", "c", "d"), "kernel_size": 32, "stride": 16, "features": 128}
         | {"bottleneck": 64, "hidden": 96, "skip": 48, "layers": 4, "repeats": 2}),
    ],
)  # fmt: skip
def test_asteroids_networks_have_asteroids_size(name, settings):
    with safe_open(ASTEROID, "pt") as golden:
        count = int(golden.metadata()[name])
    assert size(create(**PAPER | {"sources": ("a", "b")} | settings)) == count


@pytest.mark.parametrize("length", [203, 208])
@pytest.mark.parametrize("padding", [0, 8, 24])
def test_the_plain_twin_is_an_ordinary_network(padding, length):
    """Interpolated filters at F0: the encoder is conv1d, the decoder conv_transpose1d, with the learned kernels."""
    model = create(**SMALL, latent="relu", filters="interpolated", padding=padding, pad_end=False)
    x = torch.randn(2, 1, length)
    encoder, decoder = (part.filters.weight.detach()[:, None] for part in (model.encoder, model.decoder))
    latent = functional.conv1d(x, encoder, stride=8, padding=padding).relu()
    with torch.no_grad():
        masks = model.masker(latent)
        masked = (masks * latent[:, None]).flatten(0, 1)
        y = functional.conv_transpose1d(masked, decoder, stride=8, padding=padding).unflatten(0, (2, 4))[
            :, :, 0
        ]
        ours = model(x)[:, :, 0]
        assert torch.allclose(model.encode(x).values, latent, atol=1e-6)
    covered = min(length, y.shape[-1])
    assert torch.allclose(ours[..., :covered], y[..., :covered], atol=1e-6)
    if padding == 0:  # else the decoder's frames reach beyond what conv_transpose1d keeps
        assert not ours[..., covered:].any()


@pytest.mark.parametrize("padding", [None, 0, 8, 16])
@pytest.mark.parametrize(
    ("rate", "length"), [(32000, 1), (32000, 200), (32000, 201), (44100, 333), (8000, 77)]
)
def test_the_frames_reach_the_end_of_the_signal(padding, rate, length):
    """As few frames as reach it: with one frame less, the decoder ends before the last sample."""
    model = create(**SMALL, latent="linear", filters="interpolated", padding=padding)
    frames = model.encode(torch.randn(1, 1, length), rate).values.shape[-1]
    reach = [
        ((k - 1) * 8 + 32 - 2 * (12 if padding is None else padding)) * rate / 32000
        for k in (frames, frames - 1)
    ]
    assert reach[0] >= length
    assert reach[1] < length or frames == 1


@pytest.mark.parametrize("family", sorted(FILTER_FAMILIES))
def test_every_filter_family_is_a_front_end(family):
    options = {"encoder_filters": {"num_centers": 4}, "decoder_filters": {"num_centers": 4}}
    design = "frequency" if family.endswith("frequency") else "time"
    model = create(
        **SMALL, latent="relu", filters=family, design=design, **options if "gammatone" in family else {}
    )
    with torch.no_grad():
        y = model(torch.randn(1, 2, 500), 44100)
    assert y.shape == (1, 4, 2, 500)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("grouped", [False, True])
def test_one_to_six_sources_of_any_name(count, grouped, tmp_path):
    names = ("Größe", "lead vox", "鼓", "a+b", "5", "rest")[:count]
    model = create(**SMALL, sources=names, branches=count if grouped else 1)
    model.save_pretrained(tmp_path / "model")
    again = sfi_zoo.load(tmp_path / "model")
    assert again.sources == names
    with torch.no_grad():
        assert again(torch.randn(1, 1, 300)).shape == (1, count, 1, 300)


def statistics(x, kind, frame, channel, group):
    """What a norm looks at for one value of x (channels, frames), as the definitions have it."""
    match kind:
        case "global":
            return x[group]
        case "feature":
            return x[channel]
        case "frame":
            return x[group, frame]
        case "cumulative":
            return x[group, : frame + 1]


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("kind", ["global", "feature", "frame", "cumulative"])
def test_norms_follow_their_definition(kind, groups):
    torch.manual_seed(0)
    norm = create_norm(kind, groups, 6).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6))
        norm.bias.copy_(torch.randn(6))
        x = torch.randn(2, 6, 7, dtype=torch.float64) + 3
        y = norm(x).numpy()
    each = 6 // groups
    for item, channel, frame in np.ndindex(*y.shape):
        first = channel // each * each
        seen = statistics(x[item].numpy(), kind, frame, channel, slice(first, first + each))
        z = (x[item, channel, frame] - seen.mean()) / np.sqrt(seen.var() + 1e-8)
        expected = z * norm.weight[channel] + norm.bias[channel]
        assert abs(y[item, channel, frame] - expected.item()) < 1e-10


def test_a_cumulative_norm_of_a_constant_is_finite():
    x = torch.full((1, 4, 5000), 1e4, requires_grad=True)
    y = create_norm("cumulative", 1, 4)(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("norm", ["frame", "cumulative", "batch"])
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_causal_network_does_not_see_the_future(norm, kernel):
    model = create(**SMALL | {"latent": "relu", "kernel": kernel}, norm=norm, causal=True).double()
    z = torch.rand(1, 8, 60, dtype=torch.float64)
    changed = z.clone()
    changed[..., 40:] += 1
    with torch.no_grad():
        a, b = model.masker(z), model.masker(changed)
    assert torch.equal(a[..., :40], b[..., :40])
    assert (a[..., 40] != b[..., 40]).any()


def test_masks_are_what_their_name_says():
    z = torch.randn(1, 8, 30)
    with torch.no_grad():
        masks = {
            name: create(**SMALL, mask=name).masker(z) for name in ("softmax", "sigmoid", "relu", "linear")
        }
    scores = masks["linear"]
    assert torch.allclose(masks["softmax"], scores.exp() / scores.exp().sum(1, keepdim=True), atol=1e-6)
    assert torch.allclose(masks["sigmoid"], 1 / (1 + (-scores).exp()), atol=1e-6)
    assert torch.equal(masks["relu"], scores.clamp(min=0))


@pytest.mark.parametrize("settings", [{}, {"dense_norms": False, "bias": True, "residual_bias": True}])
def test_masks_do_not_depend_on_the_level_of_the_input(settings):
    """The first norm takes it away (above its epsilon), so a signal need not be brought to unit variance first."""
    model = create(**SMALL, latent="relu", **settings).double()
    x = torch.randn(1, 1, 4000, dtype=torch.float64)
    with torch.no_grad():
        quiet, loud = model(x), model(1000 * x)
    assert torch.allclose(1000 * quiet, loud, rtol=0, atol=1e-4 * loud.abs().max().item())


def test_a_config_file_from_before_the_variants_means_the_same(tmp_path):
    model = create(**SMALL)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in (
        "padding",
        "pad_end",
        "norm",
        "dense_norms",
        "bias",
        "skip",
        "last_residual",
        "causal",
        "mask",
    ):
        del config[key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert sfi_zoo.load(tmp_path).config == model.config


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"norm": "gLN"}, "norm must be one of global, feature, frame, cumulative, batch; got 'gLN'"),
        ({"mask": "tanh"}, "mask must be one of.*'tanh'"),
        ({"latent": "real"}, "latent must be one of.*'real'"),
        ({"padding": -1}, "padding must be.*-1"),
        ({"skip": 2.5}, r"skip must be.*2\.5"),
        ({"norm_groups": 0}, "norm_groups must be.*0"),
        ({"norm_groups": 3}, r"features must be a multiple of norm_groups \(3\), got 8"),
        ({"causal": True}, "causal needs the norm.*'global'"),
        ({"kernel": 4}, "kernel must be odd unless causal, got 4"),
        ({"sources": ()}, "sources"),
        ({"sources": ("a", "a")}, "sources"),
        ({"sources": "vocals"}, "sources.*'vocals'"),
        ({"sources": ("a", 1)}, "sources"),
        ({"branches": 2}, "branches must be 1 or the number of sources"),
        ({"features": True}, "features must be.*True"),
        ({"wings": 2, "tail": 1}, "no setting tail, wings"),
    ],
)
def test_settings_that_are_not_allowed_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        create(**SMALL | settings)
