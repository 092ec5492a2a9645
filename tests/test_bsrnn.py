"""Band-split RNN: its layers against numpy, its size, causality. What it shares with others is in test_bands.py."""

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.models.bsrnn import JointRNN, ResidualRNN
from sfi_zoo.models.parts.bands import norm_of_part
from sfi_zoo.models.parts.dual_path import DualPath
from sfi_zoo.models.parts.norms import ItemNorm

SMALL = {"sources": ("a", "b"), "sample_rate": 16000, "n_fft": 320, "hop_length": 160, "bands": "half"}
SMALL |= {"width": 6, "hidden": 5, "mask_hidden": 4, "layers": 2}


def create(**settings):
    torch.manual_seed(0)
    return sfi_zoo.create("bsrnn", **SMALL | settings).eval()


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def music_bins():
    """Bins of the 41 bands of "V7": edges at 100, 200, ... Hz, bins of 44100 / 2048 Hz."""
    hertz = np.arange(1025) * 44100 / 2048
    edges = np.cumsum([100] * 10 + [250] * 12 + [500] * 8 + [1000] * 8 + [2000] * 2)
    return np.bincount(np.searchsorted(edges, hertz, side="right"))


def test_the_network_of_the_paper_has_the_size_its_layers_add_up_to():
    """N = 128, 12 pairs of bidirectional LSTMs of 256, perceptrons of 512, one source, one channel."""
    width, hidden, layers, perceptron, bins = 128, 256, 12, 512, music_bins()
    assert len(bins) == 41
    split = sum(2 * 2 * g + (2 * g + 1) * width for g in bins)
    lstm = 2 * 4 * hidden * (width + hidden + 2)
    rnn = 2 * width + lstm + (2 * hidden + 1) * width
    masks = sum(2 * width + (width + 1) * perceptron + (perceptron + 1) * 4 * g for g in bins)
    model = sfi_zoo.create(
        "bsrnn", sources=("vocals",), n_fft=2048, hop_length=512, bands="music", width=128, layers=12, hidden=256, mask_hidden=512
    )  # fmt: skip
    assert size(model) == split + 2 * layers * rnn + masks


def test_the_default_is_small():
    assert 2 * size(sfi_zoo.create("bsrnn")) < 4e6  # bytes of float16


def lstm_in_numpy(rnn, x, suffix=""):
    """(steps, width) -> (steps, hidden), gates in the order input, forget, cell, output."""
    w, r, b, c = (
        getattr(rnn, f"{name}_l0{suffix}").detach().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = cell = np.zeros(rnn.hidden_size)
    out = []
    for step in x:
        i, f, g, o = np.split(w @ step + b + r @ h + c, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell = f * cell + i * np.tanh(g)
        h = o * np.tanh(cell)
        out.append(h)
    return np.stack(out)


@pytest.mark.parametrize("causal", [False, True])
def test_a_residual_rnn_is_norm_lstm_linear(causal):
    torch.manual_seed(0)
    layer = ResidualRNN(4, 3, causal).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(7, 4, dtype=torch.float64).numpy()
    axis = 1 if causal else None
    y = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-8)
    y = y * layer.norm.weight.detach().numpy() + layer.norm.bias.detach().numpy()
    hidden = lstm_in_numpy(layer.rnn, y)
    if not causal:
        hidden = np.concatenate([hidden, lstm_in_numpy(layer.rnn, y[::-1], "_reverse")[::-1]], axis=1)
    expected = x + hidden @ layer.linear.weight.detach().numpy().T + layer.linear.bias.detach().numpy()
    ours = layer(torch.from_numpy(x)[None])[0].detach().numpy()
    assert np.allclose(ours, expected, rtol=0, atol=1e-12)


def test_dual_paths_run_along_the_frames_of_each_band_then_along_the_bands_of_each_frame():
    torch.manual_seed(0)
    network = DualPath(*([ResidualRNN(4, 3, False) for _ in range(2)] for _ in range(2))).double()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected = x.clone()
    for frames, bands in zip(network.along_frames, network.along_bands, strict=True):
        for item in range(2):
            for b in range(3):
                expected[item, :, b] = frames(expected[item, None, :, b])[0]
            for k in range(5):
                expected[item, k] = bands(expected[item, None, k])[0]
    assert torch.allclose(network(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bands", [False, True])
def test_a_joint_rnn_has_one_norm_over_all_frames_and_bands(bands):
    torch.manual_seed(0)
    layer = JointRNN(4, 3, False, bands).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected = x.clone()
    for item in range(2):
        y = x[item].numpy()
        y = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
        y = y * layer.norm.weight.detach().numpy() + layer.norm.bias.detach().numpy()
        for i in range(5 if bands else 3):
            sequence = y[i] if bands else y[:, i]
            h = [
                lstm_in_numpy(layer.rnn, sequence),
                lstm_in_numpy(layer.rnn, sequence[::-1], "_reverse")[::-1],
            ]
            made = layer.linear(torch.from_numpy(np.concatenate(h, axis=1))).detach()
            part = expected[item, i] if bands else expected[item, :, i]
            part += made
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


def test_a_norm_over_items_leaves_out_dead_bins_where_asked():
    """Bins above F / 2, here those of the last band after its third, change nothing that is alive."""
    torch.manual_seed(0)
    norm = ItemNorm(8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 8)
    counted = torch.arange(8) < 6
    alone = ItemNorm(6)
    alone.load_state_dict({key: value[:6] for key, value in norm.state_dict().items()})
    y = norm_of_part(norm, x, counted)
    assert torch.allclose(y[..., :6], alone(x[..., :6]), atol=1e-6)
    assert not y[..., 6:].any()


@pytest.mark.parametrize("causal", [False, True])
def test_only_a_causal_network_leaves_earlier_masks_as_they_are(causal):
    model = create(causal=causal)
    with torch.no_grad():
        latent = model.encode(torch.randn(1, 1, 3200), 11025)
        before = model.predict_masks(latent)
        latent.values[..., 10:] += 1
        after = model.predict_masks(latent)
    assert torch.allclose(after[..., :10], before[..., :10], atol=1e-6) == causal
    assert not torch.allclose(after[..., 10:], before[..., 10:], atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden": 0}, "hidden must be.*0"),
        ({"causal": 1}, "causal must be.*1"),
        ({"norms": "all"}, "norms must be.*all"),
        ({"residual": True}, "residual must be.*True"),
    ],
)
def test_settings_that_are_not_allowed_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        create(**settings)
