"""Open-Unmix on the SFI STFT: sizes, masks, what happens at other rates.

Its networks are tested against openunmix in test_import_openunmix.py.
"""

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.models.open_unmix import OpenUnmixConfig, OpenUnmixTarget
from tests.signals import band_limited, relative_error

SMALL = {"sources": ("a", "b", "c"), "sample_rate": 16000, "n_fft": 512, "hop_length": 128}
SMALL |= {"hidden": 6, "layers": 2, "bandwidth": 5000.0}
RATES = (8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000)


def create(**settings):
    """A small model with statistics and masks that differ from bin to bin."""
    torch.manual_seed(0)
    model = sfi_zoo.create("openunmix", **SMALL | settings).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and ".lstm." not in name and ".fc" not in name:
                value.copy_(value + 0.3 * torch.rand_like(value))
    return model


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("hidden", [512, 1024])
def test_the_published_networks_have_the_size_their_layers_add_up_to(hidden):
    """umxhq and umxl: stereo, 2049 bins of which 1487 are seen, three bidirectional LSTM layers of half the width."""
    half, bins, seen = hidden // 2, 2049, 1487
    lstm = 3 * 2 * 4 * half * (hidden + half + 2)
    linear = 2 * seen * hidden + 2 * hidden * hidden + hidden * 2 * bins
    norms = 2 * (hidden + hidden + 2 * bins)
    model = sfi_zoo.create("openunmix", sources=("vocals",), channels=2, hidden=hidden)
    assert size(model) == lstm + linear + norms + 2 * seen + 2 * bins


def test_the_default_is_small():
    assert 2 * size(sfi_zoo.create("openunmix")) < 4e6  # bytes of float16


@pytest.mark.parametrize(("bandwidth", "seen"), [(16000.0, 1487), (0.1, 1), (22050.0, 2049), (1e9, 2049), (None, 2049)])  # fmt: skip
def test_the_bandwidth_is_counted_as_openunmix_counts_it(bandwidth, seen):
    hertz = np.linspace(0, 22050, 2049)
    assert OpenUnmixConfig(bandwidth=bandwidth).seen_bins == seen == (hertz <= (bandwidth or np.inf)).sum()


@pytest.mark.parametrize("settings", [{}, {"channels": 2}, {"causal": True, "layers": 1}])
@pytest.mark.parametrize(
    ("rate", "channels", "length"), [(16000, 2, 3200), (44100, 2, 10001), (4000, 1, 7), (192000, 1, 1)]
)
def test_output_is_as_long_as_the_input(settings, rate, channels, length):
    with torch.no_grad():
        y = create(**settings)(torch.randn(2, channels, length), rate)
    assert y.shape == (2, 3, channels, length)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("mask", ["relu", "ratio"])
def test_at_f0_the_model_is_an_ordinary_one_on_torch_stft(mask):
    """The stems have the mixture's phases; with "ratio" their magnitudes sum to the mixture's."""
    model = create(channels=2, mask=mask)
    x = torch.randn(2, 2, 5000)
    window = torch.hann_window(512)
    spectrum = torch.stft(x.flatten(0, 1), 512, 128, window=window, return_complex=True).unflatten(0, (2, 2))
    with torch.no_grad():
        masks = torch.stack([target(spectrum.abs()) for target in model.targets], dim=2)
        if mask == "ratio":
            masks = masks / masks.sum(2, keepdim=True).clamp(min=1e-20)
        stems = (masks * spectrum[:, :, None]).flatten(0, 2)
        theirs = torch.istft(stems, 512, 128, window=window, length=5000).unflatten(0, (2, 2, 3))
        assert torch.allclose(model(x), theirs.transpose(1, 2), atol=2e-5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("mask", ["relu", "ratio"])
def test_masks_of_absent_bins_are_zero(mask, rate):
    model = create(mask=mask)
    with torch.no_grad():
        latent = model.encode(torch.randn(1, 1, 4000), rate)
        masks = model.predict_masks(latent)
    dead = latent.grid.frequencies > rate / 2
    assert not masks[:, :, dead].any()
    assert masks[:, :, ~dead].sum(1).amin() > 0


@pytest.mark.parametrize("rate", RATES)
def test_latents_and_masks_of_a_band_limited_signal_do_not_depend_on_the_rate(rate):
    model = create().double()
    with torch.no_grad():
        ours, trained = (model.encode(band_limited(f, 2000), f) for f in (rate, 16000))
        masks = [model.predict_masks(latent)[:, :, ours.grid.alive] for latent in (ours, trained)]
    assert torch.allclose(ours.grid.times, trained.grid.times, atol=1e-12)
    assert relative_error(ours.values[:, ours.grid.alive], trained.values[:, ours.grid.alive]) < 1e-5
    assert relative_error(*masks) < 1e-5


def test_silence_stays_silent():
    with torch.no_grad():
        assert not create()(torch.zeros(1, 1, 4000), 44100).any()


@pytest.mark.parametrize("settings", [{}, {"channels": 2, "mask": "ratio", "bandwidth": None}])
def test_save_and_load_round_trip(settings, tmp_path):
    model = create(**settings)
    model.save_pretrained(tmp_path / "model")
    again = sfi_zoo.load(tmp_path / "model")
    assert again.config == model.config
    x = torch.randn(1, 2, 5000)
    with torch.no_grad():
        assert torch.equal(again(x, 22050), model(x, 22050))


@pytest.mark.parametrize("mask", ["relu", "ratio"])
def test_gradients_reach_every_parameter(mask):
    model = create(mask=mask, channels=2).train()
    model(torch.randn(2, 2, 3200)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_chunks_join_without_seams():
    """The LSTM remembers what a chunk does not hold, so chunks are not quite the whole."""
    model = create(channels=2)
    x = torch.randn(2, 32000)
    whole = model.separate(x, 16000)
    chunked = model.separate(x, 16000, chunk_seconds=1.0, overlap_seconds=0.25)
    assert chunked.shape == whole.shape == (3, 2, 32000)
    assert relative_error(chunked, whole) < 0.01


@pytest.mark.parametrize("causal", [False, True])
def test_only_a_causal_network_leaves_earlier_masks_as_they_are(causal):
    target = OpenUnmixTarget(OpenUnmixConfig(**SMALL, causal=causal)).eval()
    for parameter in target.parameters():
        nn.init.normal_(parameter)
    x = torch.rand(1, 1, 257, 20)
    with torch.no_grad():
        before = target(x)
        x[..., 10:] += 1
        assert torch.allclose(target(x)[..., :10], before[..., :10], atol=1e-6) == causal


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden": 0}, "hidden must be.*0"),
        ({"hidden": 7}, "hidden must be even unless causal, got 7"),
        ({"layers": 0}, "layers must be.*0"),
        ({"causal": 1}, "causal must be.*1"),
        ({"mask": "softmax"}, "mask must be one of relu, ratio; got 'softmax'"),
        ({"dropout": 1}, "dropout must be.*1"),
        ({"bandwidth": -1.0}, r"bandwidth must be.*-1\.0"),
        ({"bandwidth": "wide"}, "bandwidth must be.*'wide'"),
        ({"channels": 0}, "channels must be.*0"),
        ({"wings": 2}, "no setting wings"),
    ],
)
def test_settings_that_are_not_allowed_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        create(**settings)
