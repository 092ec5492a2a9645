"""Freezing: plain layers for one sampling frequency, for PyTorch and for ONNX."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import (
    SFIISTFT,
    SFISTFT,
    InputError,
    SFIConv1d,
    SFIConvTranspose1d,
    at_sample_rate,
    freeze,
    make_sfi,
)
from sfi_zoo.hub import import_checkpoint
from sfi_zoo.layers import KernelInterpolatedConv1d, SampleRateAware
from tests.foreign_models import conv_tasnet, hdemucs, open_unmix
from tests.signals import relative_error

RATES = (8000, 22050, 44100)
GEOMETRIES = [(160, 80, 40), (16, 8, 8), (20, 10, 0), (7, 3, 0)]
BANKS = [
    {},
    {"filters": "interpolated"},
    {"flavour": "reference"},
    {"stride_mode": "interpolate"},
    {"stride_mode": "round"},
]


def is_plain(model):
    return not any(isinstance(m, SampleRateAware) for m in model.modules())


# layers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", BANKS, ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("rate", RATES)
def test_frozen_convolutions_are_those_at_the_rate(geometry, rate, options):
    """And one plain layer each, where the hop is a whole number of samples."""
    given = {"groups": 2, "bias": True, "sample_rate": 16000} | options
    analysis = SFIConv1d(2, 6, *geometry, **given).double().eval()
    synthesis = SFIConvTranspose1d(6, 2, *geometry, **given).double().eval()
    nn.init.normal_(analysis.bias)
    nn.init.normal_(synthesis.bias)
    plain, back = freeze(analysis, rate), freeze(synthesis, rate)
    if (geometry[1] * rate) % 16000 == 0 or "reference" in options.values() or "round" in options.values():
        assert type(plain) is nn.Conv1d and type(back) is nn.ConvTranspose1d
    for samples in (rate // 50, rate // 50 + 3):
        x = torch.randn(2, 2, samples, dtype=torch.float64)
        with torch.no_grad():
            latent = analysis(x, rate)
            # delays that are interpolated come out of rounded positions in the layer, exact ones here
            assert relative_error(plain(x), latent) < 3e-6
            assert relative_error(back(latent), synthesis(latent, rate)) < 3e-6


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_kept_at_whole_hops(padding_mode):
    layer = SFIConv1d(1, 3, 16, 8, 8, padding_mode=padding_mode, sample_rate=16000).eval()
    x = torch.randn(1, 1, 800)
    with torch.no_grad():
        assert relative_error(freeze(layer, 32000)(x), layer(x, 32000)) < 1e-6


@pytest.mark.parametrize("lengths", [(256, 64), (300, 100, 200), (201, 100)], ids=str)
@pytest.mark.parametrize("rate", (16000, *RATES))
@pytest.mark.parametrize("options", [{}, {"center": False, "normalized": True}], ids=str)
def test_frozen_transforms_are_those_at_the_rate(lengths, rate, options):
    given = {"window": "hamming", "sample_rate": 16000} | options
    transform, inverse = SFISTFT(*lengths, **given).double(), SFIISTFT(*lengths, **given).double()
    torch.set_default_dtype(torch.float64)
    try:
        plain, back = freeze(transform, rate), freeze(inverse, rate)
    finally:
        torch.set_default_dtype(torch.float32)
    x = torch.randn(2, rate // 10 + 3, dtype=torch.float64)
    z = transform(x, rate)
    assert relative_error(plain(x), z) < 1e-12
    for length in (None, x.shape[-1]):
        assert relative_error(back(z, length), inverse(z, rate, length)) < 1e-12


# models -------------------------------------------------------------------------------------------------------------


def test_there_and_back_again():
    """Frozen at F0, a converted model has the parameters it had, by name."""
    model = conv_tasnet()
    frozen = freeze(make_sfi(model, 16000), 16000)
    assert list(frozen.state_dict()) == list(model.state_dict())
    assert all(
        torch.allclose(v, frozen.state_dict()[k], rtol=1e-6, atol=0) for k, v in model.state_dict().items()
    )
    assert [type(m) for m in frozen.modules()] == [type(m) for m in model.modules()]


@pytest.mark.parametrize("rate", [8000, 32000, 44100])
def test_frozen_conv_tasnet(rate):
    """On a signal of whole hops: 320 of 22.05 samples at 44.1 kHz."""
    model = make_sfi(conv_tasnet(), 16000)
    frozen = freeze(model, rate)
    x = torch.randn(2, 1, 7056)
    with torch.no_grad(), at_sample_rate(model, rate):
        assert is_plain(frozen) and relative_error(frozen(x), model(x)) < 1e-5


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_frozen_open_unmix(rate):
    model = make_sfi(open_unmix(16000), 16000)
    frozen = freeze(model, rate)
    x = torch.randn(1, 2, rate // 4)
    with torch.no_grad(), at_sample_rate(model, rate):
        assert is_plain(frozen) and relative_error(frozen(x), model(x)) < 1e-5


@pytest.mark.parametrize("rate", [8000, 32000, 44100])
def test_frozen_separator_of_the_zoo(rate):
    model = sfi_zoo.load("convtasnet_mgf_native.music4")
    frozen = freeze(model, rate)
    x = torch.randn(1, 2, rate // 10 + 7)
    with torch.no_grad():
        assert is_plain(frozen) and relative_error(frozen(x), model(x, rate)) < 1e-5


def test_the_model_itself_is_not_touched():
    model = make_sfi(conv_tasnet(), 16000)
    with at_sample_rate(model, 22050):
        freeze(model.train(), 44100)
        assert model.encoder.current_rate == 22050 and model.training and isinstance(model.encoder, SFIConv1d)


# ONNX ---------------------------------------------------------------------------------------------------------------


class OneMagnitudeEach(nn.Module):
    """openunmix without its loops over excerpts, which torch.export cannot follow: targets times the phase of the mixture."""

    def __init__(self, separator):
        super().__init__()
        self.separator = separator

    def forward(self, x):
        separator = self.separator
        mixture = separator.stft(x)
        magnitude = separator.complexnorm(mixture)
        gains = [
            target(magnitude) / magnitude.clamp(min=1e-10) for target in separator.target_models.values()
        ]
        return separator.istft(mixture[:, None] * torch.stack(gains, 1)[..., None], length=x.shape[-1])


def in_onnxruntime(model, x, path):
    """What a model gives after export, in onnxruntime."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(path), dynamo=True, optimize=False, verbose=False)
    session = runtime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def assert_same(exported, expected):
    assert exported.shape == expected.shape
    assert np.linalg.norm(exported - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_conv_tasnet_in_onnxruntime(rate, tmp_path):
    model = make_sfi(conv_tasnet(), 16000)
    x = torch.randn(1, 1, 7056)
    with torch.no_grad(), at_sample_rate(model, rate):
        expected = model(x).numpy()
    assert_same(in_onnxruntime(freeze(model, rate), x, tmp_path / "m.onnx"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [16000, 44100])
def test_open_unmix_in_onnxruntime(rate, tmp_path):
    model = make_sfi(open_unmix(16000), 16000)
    x = torch.randn(1, 2, rate // 10)
    with torch.no_grad(), at_sample_rate(model, rate):
        expected = model(x).numpy()
    assert_same(in_onnxruntime(OneMagnitudeEach(freeze(model, rate)), x, tmp_path / "m.onnx"), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_front_end_of_hdemucs_in_onnxruntime(tmp_path):
    model = make_sfi(hdemucs(), 44100, layers=["time_encoder.0.conv"])
    x = torch.randn(1, 2, 4000)
    with torch.no_grad(), at_sample_rate(model, 22050):
        expected = model.time_encoder[0](x).numpy()
    assert_same(in_onnxruntime(freeze(model, 22050).time_encoder[0], x, tmp_path / "m.onnx"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 44100])
def test_separator_of_the_zoo_in_onnxruntime(rate, tmp_path):
    model = sfi_zoo.load("convtasnet_mgf_native.music4")
    x = torch.randn(1, 1, rate // 5)
    with torch.no_grad():
        expected = model(x, rate).numpy()
    assert_same(in_onnxruntime(freeze(model, rate), x, tmp_path / "m.onnx"), expected)


# bad input ----------------------------------------------------------------------------------------------------------


def test_a_model_without_sfi_layers_is_named():
    with pytest.raises(InputError, match="Conv1d holds no SFI layer"):
        freeze(nn.Conv1d(1, 1, 1), 16000)


def test_layers_without_a_plain_form_are_named():
    model = nn.Sequential(KernelInterpolatedConv1d(1, 4, 16, 8, sample_rate=16000))
    with pytest.raises(InputError, match="'0' \\(KernelInterpolatedConv1d\\)"):
        freeze(model, 8000)


def test_odd_rates_are_named():
    with pytest.raises(InputError, match="2000 phases"):
        freeze(make_sfi(conv_tasnet(), 16000), 44099)


def test_padding_modes_at_fractional_hops_are_named():
    with pytest.raises(InputError, match="'reflect'"):
        freeze(SFIConv1d(1, 3, 16, 8, 8, padding_mode="reflect", sample_rate=16000), 44100)


@pytest.mark.parametrize("rate", [0, float("inf"), "fast"])
def test_impossible_rates_are_named(rate):
    with pytest.raises(InputError, match="sample_rate"):
        freeze(make_sfi(conv_tasnet(), 16000), rate)


def test_a_frozen_layer_of_a_separator_knows_one_rate():
    frozen = freeze(sfi_zoo.load("convtasnet_mgf_native.music4"), 16000)
    with pytest.raises(InputError, match="frozen at 16000 Hz"):
        frozen.model(torch.randn(1, 1, 1600), 8000)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_checkpoint_of_asteroid_in_onnxruntime(rate, tmp_path):
    golden = Path(__file__).parent / "golden"
    model = sfi_zoo.load(import_checkpoint(golden / "asteroid_global_relu.bin", tmp_path / "model")).eval()
    x = 0.1 * torch.randn(1, 1, rate // 4)
    with torch.no_grad():
        expected = model(x, rate).numpy()
    assert_same(in_onnxruntime(freeze(model, rate), x, tmp_path / "m.onnx"), expected)


@pytest.mark.parametrize(("rate", "hop"), [(9001, 16), (9000, 15)])
def test_a_transform_with_many_phases_is_done_by_an_fft(rate, hop, monkeypatch):
    """Kernels of all phases against an FFT and a rotation for each: the same numbers, 1 / P of the memory; as the layers have them."""
    from sfi_zoo.layers.surgery import frozen_stft

    given = {"sample_rate": 8000}
    transform, inverse = SFISTFT(64, hop, **given), SFIISTFT(64, hop, **given)
    x = torch.randn(2, 1200)
    z = transform(x, rate)
    outputs, sizes = [], []
    for most in (2**40, 0):
        monkeypatch.setattr(frozen_stft, "MOST_KERNEL_BYTES", most)
        plain = frozen_stft.PlainSTFT(transform, rate), frozen_stft.PlainISTFT(inverse, rate)
        outputs.append((plain[0](x), plain[1](z)))
        sizes.append(sum(t.nbytes for module in plain for t in (*module.parameters(), *module.buffers())))
    for found, other, expected in zip(*outputs, (z, inverse(z, rate)), strict=True):
        assert (found - other).norm() <= 1e-6 * other.norm()
        assert (other - expected).norm() <= 1e-6 * expected.norm()
    assert sizes[1] < sizes[0] / (20 if rate == 9001 else 5)
