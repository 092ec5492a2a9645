"""Bands of fixed hertz, against explicit loops in numpy, and what all separators on them have in common."""

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.models.parts.bands import BandMasks, BandSplit, band_edges
from tests.signals import band_limited, relative_error

SMALL = {"sources": ("a", "b", "c"), "sample_rate": 16000, "n_fft": 320, "hop_length": 160}
SMALL |= {"bands": "half", "width": 8, "mask_hidden": 6, "layers": 2}
NETWORKS = {"bsrnn": {"hidden": 5}, "bsroformer": {"heads": 2}}
RATES = (8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000)
EDGES = (0, 2, 3, 7)


def create(name, **settings):
    torch.manual_seed(0)
    return sfi_zoo.create(name, **SMALL | NETWORKS[name] | settings).eval()


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


def widths(edges):
    return np.diff(edges).tolist()


# where bands lie ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bands", "rate", "n_fft", "expected"),
    [
        ("universal", 48000, 960, [5, *[4] * 19, *[10] * 6, *[40] * 7, 60]),
        ("universal", 8000, 160, [5, *[4] * 19]),
        ("universal", 44100, 882, [5, *[4] * 19, *[10] * 6, *[40] * 7, 21]),
        ("half", 48000, 960, [9, *[8] * 9, *[20] * 3, *[80] * 3, 100]),
        ("fine", 44100, 2048, [*[2] * 24, *[4] * 12, *[12] * 8, *[24] * 8, *[48] * 8, 128, 129]),
        ("2x1000 1x500", 8000, 80, [10, 10, 21]),
        ("1x250 1x1e5", 96000, 960, [3, 478]),
    ],
)
def test_published_splits_have_the_published_bins(bands, rate, n_fft, expected):
    assert widths(band_edges(bands, rate, n_fft)) == expected


def test_the_music_split_has_41_bands_at_44100_hz():
    edges = band_edges("music", 44100, 2048)
    assert len(edges) - 1 == 41
    uppers = np.cumsum([100] * 10 + [250] * 12 + [500] * 8 + [1000] * 8 + [2000] * 2)
    hertz = np.arange(1025) * 44100 / 2048
    assert list(edges) == [0, *[int((hertz < upper).sum()) for upper in uppers], 1025]


@pytest.mark.parametrize("rate", [*RATES, 16000])
def test_bands_end_at_the_nyquist_frequency(rate):
    """At 48 kHz, bins of 50 Hz: as many bands as have their lower edge at F / 2 or below."""
    model = sfi_zoo.create("bsrnn", **SMALL | {"sample_rate": 48000, "n_fft": 960, "hop_length": 480})
    lower = np.cumsum([0, 450] + [400] * 9 + [1000] * 3 + [4000] * 3)
    seen = []
    model.network.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[2]))
    with torch.no_grad():
        model(torch.randn(1, 1, 2000), rate)
    assert seen == [(lower <= rate / 2).sum()]


@pytest.mark.parametrize(
    "bands",
    [
        "",
        "octaves",
        "3",
        "1x0",
        "1x-5 2x10",
        "ax3",
        "1x2x3",
        5,
        None,
        "-1x300",
        "1xnan",
        "1xinf",
        "1x1/0",
        "999999999x1",
    ],
)
def test_a_split_that_is_none_is_named(bands):
    with pytest.raises(InputError, match=f"bands must be one of fine, half, music, universal, or.*{bands}"):
        band_edges(bands, 8000, 160)


def test_a_band_without_a_bin_is_named():
    with pytest.raises(InputError, match=r"no bin in the band from 301\.465 Hz on, bins are 50 Hz apart"):
        band_edges("fine", 8000, 160)


# what bands compute ---------------------------------------------------------------------------------------------------


def split_in_numpy(split, x, bands, alive):
    """(channels, bins, 2) of one frame -> (bands, width), with loops."""
    vectors = []
    for b in range(bands):
        norm, linear = split.norms[b], split.linears[b]
        values, kept = [], []
        for channel in x:
            for m in range(EDGES[b], EDGES[b + 1]):
                for part in channel[m]:
                    values.append(part)
                    kept.append(alive is None or m < alive)
        values, kept = np.array(values), np.array(kept)
        some = values[kept]
        if isinstance(norm, nn.LayerNorm):
            some = (some - some.mean()) / np.sqrt(some.var() + norm.eps)
        else:
            some = some / np.sqrt((some**2).mean() + norm.eps)
        scaled = np.zeros(len(values))
        scaled[kept] = some * norm.weight.detach().numpy()[kept]
        if isinstance(norm, nn.LayerNorm):
            scaled[kept] += norm.bias.detach().numpy()[kept]
        vectors.append(linear.weight.detach().numpy() @ scaled + linear.bias.detach().numpy())
    return np.stack(vectors)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("bands", "alive"), [(3, None), (2, None), (3, 4), (3, 6), (2, 3)])
def test_a_band_split_is_a_norm_and_a_linear_layer_per_band(norm, channels, bands, alive):
    torch.manual_seed(0)
    split = BandSplit(EDGES, channels, 4, lambda size: norm(size, eps=1e-8)).double()
    for parameter in split.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, channels, 7, 2, dtype=torch.float64)
    ours = split(x, bands, alive).detach().numpy()
    assert ours.shape == (2, 3, bands, 4)
    for item in range(2):
        for frame in range(3):
            expected = split_in_numpy(split, x[item, frame].numpy(), bands, alive)
            assert np.allclose(ours[item, frame], expected, rtol=0, atol=1e-12)


def masks_in_numpy(masks, h, alive, channels, sources, kind):
    """(bands, width) of one frame -> (sources, channels, bins), with loops; zero where nothing is."""
    parts = 2 if kind == "complex" else 1
    scores = np.zeros((sources, channels, 7, parts))
    exists = np.zeros(7, dtype=bool)
    for b, vector in enumerate(h):
        perceptron = masks.perceptrons[b]
        first, second = (perceptron[i] for i in (1, 3))
        hidden = np.tanh(first.weight.detach().numpy() @ vector + first.bias.detach().numpy())
        values = second.weight.detach().numpy() @ hidden + second.bias.detach().numpy()
        half = len(values) // 2
        gated = values[:half] / (1 + np.exp(-values[half:]))
        position = 0
        for s in range(sources):
            for c in range(channels):
                for m in range(EDGES[b], EDGES[b + 1]):
                    for part in range(parts):
                        scores[s, c, m, part] = gated[position]
                        position += 1
                    exists[m] = m < alive
    values = {
        "complex": lambda: scores[..., 0] + 1j * scores[..., -1],
        "linear": lambda: scores[..., 0],
        "sigmoid": lambda: 1 / (1 + np.exp(-scores[..., 0])),
        "relu": lambda: np.maximum(scores[..., 0], 0),
        "softmax": lambda: np.exp(scores[..., 0]) / np.exp(scores[..., 0]).sum(0),
    }[kind]()
    return values * exists


@pytest.mark.parametrize("kind", ["complex", "softmax", "sigmoid", "relu", "linear"])
@pytest.mark.parametrize(("bands", "alive"), [(3, 7), (3, 5), (2, 3)])
def test_masks_are_a_perceptron_per_band(kind, bands, alive):
    torch.manual_seed(0)
    masks = BandMasks(EDGES, 2, 3, 4, 5, nn.Identity, kind).double()
    h = torch.randn(2, 3, bands, 4, dtype=torch.float64)
    ours = masks(h, alive).detach().unflatten(2, (2, 7)).numpy()
    assert ours.shape == (2, 3, 2, 7, 3)
    for item in range(2):
        for frame in range(3):
            expected = masks_in_numpy(masks, h[item, frame].numpy(), alive, 2, 3, kind)
            assert np.allclose(ours[item, ..., frame], expected, rtol=0, atol=1e-12)


# what separators on bands have in common ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "channels", "length"), [(16000, 1, 3200), (44100, 2, 10001), (4000, 3, 7), (192000, 1, 1)]
)
def test_output_is_as_long_as_the_input(name, rate, channels, length):
    with torch.no_grad():
        y = create(name)(torch.randn(2, channels, length), rate)
    assert y.shape == (2, 3, channels, length)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("settings", [{}, {"mask": "softmax"}, {"channels": 2}])
def test_at_f0_the_model_is_an_ordinary_one_on_torch_stft(name, settings):
    model = create(name, **settings)
    x = torch.randn(2, 2, 5000)
    window = torch.hann_window(320)
    spectrum = torch.stft(x.flatten(0, 1), 320, 160, window=window, return_complex=True)
    with torch.no_grad():
        latent = model.encode(x)
        masks = model.predict_masks(latent)
        ours = model(x)
    layout = (
        masks.unflatten(2, (-1, 161)).movedim(2, 1).flatten(0, 1)
    )  # (batch x channels, sources, bins, frames)
    masked = (layout * spectrum[:, None]).flatten(0, 1)
    theirs = torch.istft(masked, 320, 160, window=window, length=5000).unflatten(0, (2, 2, 3)).transpose(1, 2)
    assert torch.allclose(latent.values.reshape(spectrum.shape), spectrum, atol=1e-4)
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_masks_of_absent_bins_are_zero(name, rate):
    model = create(name)
    with torch.no_grad():
        latent = model.encode(torch.randn(1, 1, 4000), rate)
        masks = model.predict_masks(latent)
    dead = latent.grid.frequencies > rate / 2
    assert torch.equal(dead, ~latent.grid.alive)
    assert not masks[:, :, dead].any()
    assert masks[:, :, ~dead].abs().amin() > 0


@pytest.mark.parametrize("rate", RATES)
def test_latents_of_a_band_limited_signal_do_not_depend_on_the_rate(name, rate):
    """What is left, 4e-6 at 8 kHz and 5e-7 above, are the side lobes of 20 ms Hann windows."""
    model = create(name).double()
    with torch.no_grad():
        ours, trained = (model.encode(band_limited(f, 2000), f) for f in (rate, 16000))
    assert torch.allclose(ours.grid.times, trained.grid.times, atol=1e-12)
    assert relative_error(ours.values[:, ours.grid.alive], trained.values[:, ours.grid.alive]) < 1e-5


@pytest.mark.parametrize("rate", RATES)
def test_with_silent_bands_masks_do_not_depend_on_the_rate(name, rate):
    """The norms of bands without a signal would blow up those side lobes, so a floor for them is set here."""
    model = create(name, absent="silent").double()
    for norm in model.split.norms:
        norm.eps = 1e-2
    with torch.no_grad():
        ours, trained = (model.encode(band_limited(f, 2000), f) for f in (rate, 16000))
        masks = [model.predict_masks(latent)[:, :, ours.grid.alive] for latent in (ours, trained)]
    assert relative_error(*masks) < (1e-4 if rate < 16000 else 1e-5)


def test_dropped_bands_are_not_seen(name):
    """What stands in bands above F / 2 makes no difference, and masks differ from those with silent bands."""
    model = create(name)
    silent = create(name, absent="silent")
    with torch.no_grad():
        latent = model.encode(torch.randn(1, 1, 4000), 8000)
        masks = model.predict_masks(latent)
        latent.values[:, 100:] = 1.0
        assert torch.equal(model.predict_masks(latent), masks)
        assert relative_error(silent.predict_masks(latent), masks) > 1e-2


@pytest.mark.parametrize("absent", ["dropped", "silent"])
def test_an_alive_norm_takes_effect_where_a_band_is_cut(name, absent):
    model = create(name, absent=absent)
    treated = create(name, absent=absent, alive_norm=True)
    x = torch.randn(1, 1, 4000)
    with torch.no_grad():
        assert torch.equal(treated(x, 16000), model(x, 16000))
        assert relative_error(treated(x, 11025), model(x, 11025)) > 1e-4


def test_a_gain_of_the_input_is_a_gain_of_the_output(name):
    model = create(name)
    x = torch.randn(1, 1, 8000)
    with torch.no_grad():
        quiet, loud = model(x * 0.01, 11025), model(x, 11025)
    assert torch.allclose(100 * quiet, loud, rtol=0, atol=1e-4 * loud.abs().max().item())


def test_silence_stays_silent(name):
    with torch.no_grad():
        assert not create(name)(torch.zeros(1, 1, 4000), 44100).any()


@pytest.mark.parametrize("settings", [{}, {"channels": 2, "mask": "sigmoid"}, {"alive_norm": True}])
def test_save_and_load_round_trip(name, settings, tmp_path):
    model = create(name, **settings)
    model.save_pretrained(tmp_path / "model")
    again = sfi_zoo.load(tmp_path / "model")
    assert again.config == model.config
    x = torch.randn(1, 2, 5000)
    with torch.no_grad():
        assert torch.equal(again(x, 22050), model(x, 22050))


@pytest.mark.parametrize("settings", [{}, {"channels": 2}, {"mask": "softmax"}])
def test_gradients_reach_every_parameter(name, settings):
    model = create(name, **settings).train()
    model(torch.randn(1, 2, 3200)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_chunks_join_without_seams(name):
    """Norms, recurrent layers and attention look at all they are given, so chunks are not quite the whole."""
    model = create(name)
    x = torch.randn(2, 32000)
    whole = model.separate(x, 16000)
    chunked = model.separate(x, 16000, chunk_seconds=1.0, overlap_seconds=0.25)
    assert chunked.shape == whole.shape == (3, 2, 32000)
    assert relative_error(chunked, whole) < 0.1


def test_a_model_of_two_channels_hears_them_together(name):
    model = create(name, channels=2)
    x = torch.randn(1, 2, 3200)
    with torch.no_grad():
        latent = model.encode(x)
        assert latent.values.shape == (1, 2 * 161, 21)
        assert torch.equal(latent.grid.frequencies[:161], latent.grid.frequencies[161:])
        y, other = model(x), model(torch.cat([x[:, :1], 0.1 * x[:, 1:]], dim=1))
        assert relative_error(other[:, :, 0], y[:, :, 0]) > 1e-3
        one = model(x[:, :1])
        assert torch.allclose(one, model(x[:, [0, 0]]).mean(2, keepdim=True), atol=1e-6)
        assert one.shape == (1, 3, 1, 3200)
        with pytest.raises(InputError, match="hears 2 channels together, got 3"):
            model(torch.randn(1, 3, 3200))


def test_a_model_of_one_channel_hears_channels_apart(name):
    model = create(name)
    x = torch.randn(1, 2, 3200)
    with torch.no_grad():
        assert torch.allclose(model(x)[:, :, 1:], model(x[:, 1:]), atol=1e-6)


def test_a_rate_below_the_lowest_band_is_named(name):
    model = create(name, bands="1x3000 5x1000")
    with pytest.raises(
        InputError, match="4000 Hz is below the lowest band, whose last bin is at 2950 Hz; take 5900"
    ):
        model(torch.randn(1, 1, 3200), 4000)


def test_bfloat16_masks_are_made_complex(name):
    model = create(name)
    x = torch.randn(1, 1, 3200)
    with torch.no_grad():
        y = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            low = model(x)
        assert relative_error(low, y) < 0.05
        assert relative_error(create(name).bfloat16().separate(x[0], 16000), y[0]) < 0.05


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"bands": "octaves"}, "bands must be one of fine, half, music, universal.*'octaves'"),
        ({"bands": "fine"}, "no bin in the band from 301"),
        ({"mask": "tanh"}, "mask must be one of complex.*'tanh'"),
        ({"absent": "gone"}, "absent must be one of dropped, silent; got 'gone'"),
        ({"alive_norm": 1}, "alive_norm must be.*1"),
        ({"window": "flat"}, "window must be.*'flat'"),
        ({"hop_length": 161}, r"hop_length must be at most n_fft / 2 \(160\), got 161"),
        ({"n_fft": 0}, "n_fft must be.*0"),
        ({"channels": 0}, "channels must be.*0"),
        ({"width": 0}, "width must be.*0"),
        ({"layers": 0}, "layers must be.*0"),
        ({"mask_hidden": 2.5}, r"mask_hidden must be.*2\.5"),
        ({"sources": ()}, "sources"),
        ({"sources": ("a", "a")}, "sources"),
        ({"sample_rate": 16000.5}, "sample_rate must be"),
        ({"wings": 2}, "no setting wings"),
    ],
)
def test_settings_that_are_not_allowed_are_named(name, settings, named):
    with pytest.raises(InputError, match=named):
        create(name, **settings)
