"""Published checkpoints, imported, against numbers from the authors' code, and the published formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.layers import SFIConv1d

HERE = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "shared" / "golden"
NAMES = ["fd_mgf", "td_mgf", "td_mpgtf"]


def cases():
    for folder in (HERE, SHARED):
        for name in NAMES:
            file = folder / f"{name}.golden.safetensors"
            missing = pytest.mark.skipif(not file.exists(), reason=f"{file} is not there")
            yield pytest.param(file, id=f"{folder.parent.name}-{name}", marks=missing)


def relative(ours, golden):
    return ((ours - golden).abs().max() / golden.abs().max()).item()


@pytest.mark.parametrize("file", list(cases()))
def test_imported_checkpoint_gives_the_published_numbers(file, tmp_path):
    name = file.name.split(".")[0]
    model = load(import_checkpoint(file.parent / f"{name}.best_checkpoint", tmp_path / name))
    golden = load_file(file)
    for key, expected in golden.items():
        rate, what = int(key.split(".")[0]), key.split(".")[1]
        with torch.no_grad():
            if what.endswith("_weight"):
                ours = getattr(model, what.removesuffix("_weight")).weights(rate)[0][0][:, None]
            elif what == "latent":
                ours = model.encode(golden[f"{rate}.mixture"][None], rate).values[0]
            elif what == "estimate":
                whole = model(golden[f"{rate}.mixture"][None], rate)[0, :, 0]
                assert whole.shape[-1] == golden[f"{rate}.mixture"].shape[-1]
                ours, rest = whole.split([expected.shape[-1], whole.shape[-1] - expected.shape[-1]], dim=-1)
                assert not rest.any()
            else:
                continue
        assert ours.shape == expected.shape
        assert relative(ours, expected) < 5e-5, key


@pytest.mark.parametrize("hilbert_side", ["encoder", "decoder"])
def test_hilbert_pairs_on_one_side_only_are_imported(hilbert_side, tmp_path):
    """That side has half as many filters, then their discrete Hilbert transforms; the other one is as published."""
    checkpoint = read_checkpoint(HERE / "td_mgf.best_checkpoint")
    args, state = checkpoint["args"], checkpoint["state_dict"]
    args[f"{hilbert_side}_params"]["use_Hilbert_transforms"] = True
    for key, value in state.items():
        if f"{hilbert_side}.conv.continuous_filters" in key and value.ndim:
            state[key] = value[:16]
    torch.save({"args": args, "state_dict": state}, tmp_path / "file")
    model = load(import_checkpoint(tmp_path / "file", tmp_path / "out"))
    golden = load_file(HERE / "td_mgf.golden.safetensors")
    for rate in (8000, 22050):
        for side in ("encoder", "decoder"):
            expected = golden[f"{rate}.{side}_weight"][:, 0]
            if side == hilbert_side:
                expected = torch.from_numpy(hilbert(expected[:16].double().numpy())).float()
            assert relative(getattr(model, side).weights(rate)[0][0].detach(), expected) < 5e-5
    with torch.no_grad():
        mixture, published = golden["8000.mixture"][None], golden["8000.latent"]
        latent = model.encode(mixture, 8000).values[0]
        assert relative(latent[:16], published[:16]) < 5e-5
        assert (relative(latent, published) < 5e-5) == (hilbert_side == "decoder")
        assert model(mixture, 8000).isfinite().all()


def test_designs_that_differ_from_side_to_side_are_imported(tmp_path):
    """The encoder of one published checkpoint, the decoder of another."""
    parts = {name: read_checkpoint(HERE / f"{name}.best_checkpoint") for name in ("fd_mgf", "td_mgf")}
    mixed, other = parts["fd_mgf"], parts["td_mgf"]
    mixed["args"]["decoder_params"] = other["args"]["decoder_params"]
    mixed["state_dict"] |= {key: x for key, x in other["state_dict"].items() if ".decoder." in key}
    torch.save({key: mixed[key] for key in ("args", "state_dict")}, tmp_path / "file")
    model = load(import_checkpoint(tmp_path / "file", tmp_path / "out"))
    for side, name in (("encoder", "fd_mgf"), ("decoder", "td_mgf")):
        golden = load_file(HERE / f"{name}.golden.safetensors")
        for rate in (8000, 22050):
            ours = getattr(model, side).weights(rate)[0][0].detach()
            assert relative(ours, golden[f"{rate}.{side}_weight"][:, 0]) < 5e-5


def layer(design, length, **options):
    torch.manual_seed(0)
    made = SFIConv1d(
        1, 16, length, 80, "centered", sample_rate=32000, design=design, flavour="reference", **options
    )
    return made.eval()


def taps_of(made, rate):
    with torch.no_grad():
        return made.weights(rate)[0][0].double().numpy()


def gaussians(made):
    bank = made.filters
    center, width = (
        2 * np.pi * x.detach().double().numpy() for x in (bank.center_khz * 1000, bank.log_bandwidth_hz.exp())
    )
    return center[:, None], width[:, None], bank.phase.detach().double().numpy()[:, None]


def hilbert(taps):
    return np.concatenate([taps, np.fft.irfft(np.fft.rfft(taps) * -1j, n=taps.shape[-1])])


RATES = [8000, 11025, 22050, 32000, 37800, 48000]
LENGTHS = [160, 161, 99]  # even, odd, and with an odd overlap


@pytest.mark.parametrize("scale", ["erb", "linear"])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rate", RATES)
def test_time_domain_gaussians_follow_the_formula(rate, length, pairs, scale):
    made = layer("time", length, hilbert=pairs, filter_options={"scale": scale})
    mu, sigma, phi = gaussians(made)
    t = np.arange(int(length * rate / 32000)) / rate
    t = t - t.mean()
    h = 2 * np.sqrt(2 * np.pi * sigma**2) * np.exp(-(sigma**2) * t**2 / 2) * np.cos(mu * t + phi)
    if rate < 32000:
        h = h * (mu / (2 * np.pi) <= rate / 2)
    h = h[:, ::-1]
    expected = hilbert(h) if pairs else h
    assert np.abs(taps_of(made, rate) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rate", RATES)
def test_frequency_domain_gaussians_follow_the_formula(rate, length, pairs, one_sided):
    made = layer(
        "frequency", length, hilbert=pairs, filter_options={"one_sided": one_sided}, frequency_points=300
    )
    mu, sigma, phi = gaussians(made)
    w = np.linspace(0, np.pi * rate, 300)
    response = np.exp(-((w - mu) ** 2) / (2 * sigma**2)) * np.exp(1j * phi)
    if not one_sided:
        response = response + np.exp(-((w + mu) ** 2) / (2 * sigma**2)) * np.exp(-1j * phi)
    taps = int(length * rate / 32000)
    half = taps // 2
    n = np.arange(-half, half + 1) if taps % 2 else np.arange(-(half - 1), half + 1)
    matrix = np.concatenate([np.cos(np.outer(w, n) / rate), -np.sin(np.outer(w, n) / rate)])
    h = (np.linalg.pinv(matrix) @ np.concatenate([response.real, response.imag], axis=1).T).T[:, ::-1]
    expected = hilbert(h) if pairs else h
    assert np.abs(taps_of(made, rate) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rate", RATES)
def test_gammatones_follow_the_formula(rate, length, pairs):
    made = layer(
        "time", length, filters="multi_phase_gammatone", hilbert=pairs, filter_options={"num_centers": 3}
    )
    count = 8 if pairs else 16
    each, left = divmod(count // 2, 3)
    variations = [each + (i < left) for i in range(3)]
    f = np.tile(np.repeat(made.filters.center_khz.detach().double().numpy() * 1000, variations), 2)[:, None]
    phi = np.concatenate([np.linspace(0, np.pi, k) for k in variations])
    phi = np.concatenate([phi, phi + np.pi])[:, None]
    taps = int(length * rate / 32000)
    t = (np.arange(taps) + (taps % 2 == 0)) / rate
    b = (24.7 + f / 9.265) / (np.pi * 2 * 2.0**-2)
    h = t * np.exp(-2 * np.pi * b * t) * np.cos(2 * np.pi * f * t + phi)
    rms = np.sqrt((h**2).mean(axis=1, keepdims=True))
    h = h * rms.max() / rms
    if rate < 32000:
        h = h * (f <= rate / 2)
    h = h[:, ::-1]
    expected = hilbert(h) if pairs else h
    assert np.abs(taps_of(made, rate) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rate", RATES)
def test_the_reference_layer_is_a_plain_strided_convolution(rate, length):
    made = layer("time", length)
    x = torch.randn(1, 1, rate // 10)
    kernel, stride = int(length * rate / 32000), int(80 * rate / 32000)
    weights = torch.from_numpy(taps_of(made, rate)).float()[:, None]
    expected = torch.nn.functional.conv1d(x, weights, stride=stride, padding=(kernel - stride) // 2)
    with torch.no_grad():
        torch.testing.assert_close(
            made(x, rate), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
        )
