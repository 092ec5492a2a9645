"""What `nn.Conv1d` and `nn.ConvTranspose1d` accept, SFI layers accept; and the three ways of striding."""

import inspect
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sfi_zoo import InputError, SFIConv1d, SFIConvTranspose1d
from sfi_zoo.filters import ModulatedGaussian, MultiPhaseGammatone
from sfi_zoo.layers import (
    KernelInterpolatedConv1d,
    KernelInterpolatedConvTranspose1d,
    ResampledConv1d,
    ResampledConvTranspose1d,
)
from tests.signals import band_limited, relative_error

TRAINED = 16000
PLAIN_CONV = [
    {"kernel_size": 9, "padding": "same"},
    {"kernel_size": 8, "padding": "same", "dilation": 3},
    {"kernel_size": 8, "padding": "valid", "stride": 3},
    {"kernel_size": 7, "padding": 5, "dilation": 2, "stride": 4},
    {"kernel_size": 16, "padding": 11, "stride": 5, "padding_mode": "reflect"},
    {"kernel_size": 16, "padding": 11, "stride": 5, "padding_mode": "replicate", "dilation": 2},
    {"kernel_size": 16, "padding": 11, "stride": 8, "padding_mode": "circular"},
    {"kernel_size": (16,), "padding": 3, "stride": (8,), "groups": 2},
    {"kernel_size": (7,), "padding": (5,), "dilation": (2,)},
    {"kernel_size": 8, "stride": 4, "dtype": torch.float64},
]
PLAIN_TRANSPOSED = [
    {"kernel_size": 16, "stride": 8, "padding": 4},
    {"kernel_size": 16, "stride": 8, "padding": 4, "output_padding": 5},
    {"kernel_size": 7, "stride": 3, "dilation": 3, "padding": 2},
    {"kernel_size": 7, "stride": 3, "groups": 2},
    {"kernel_size": (7,), "stride": (3,), "output_padding": (2,), "padding_mode": "zeros"},
]


def with_plain_weights(cls, options):
    """A layer whose filters are trained digital kernels, and the plain layer with the same numbers."""
    torch.manual_seed(0)
    plain = {SFIConv1d: nn.Conv1d, SFIConvTranspose1d: nn.ConvTranspose1d}[cls](2, 4, bias=True, **options)
    layer = cls(2, 4, bias=True, sample_rate=TRAINED, filters="interpolated", **options)
    weight = plain.weight.flatten(0, 1)
    (dilation,) = plain.dilation
    spread = torch.zeros(len(weight), (weight.shape[-1] - 1) * dilation + 1)
    spread[:, ::dilation] = weight
    with torch.no_grad():
        layer.filters.weight.copy_(spread)
        layer.bias.copy_(plain.bias)
    return layer.eval(), plain


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (SFIConv1d, nn.Conv1d),
        (KernelInterpolatedConv1d, nn.Conv1d),
        (ResampledConv1d, nn.Conv1d),
        (SFIConvTranspose1d, nn.ConvTranspose1d),
        (KernelInterpolatedConvTranspose1d, nn.ConvTranspose1d),
        (ResampledConvTranspose1d, nn.ConvTranspose1d),
    ],
)
def test_arguments_are_those_of_the_plain_layer_then_named_ones(ours, plain):
    """By the same names, in the same order, with the same defaults; and no option that a type checker cannot see."""
    given, expected = (inspect.signature(cls).parameters.values() for cls in (ours, plain))
    as_plain = [(p.name, p.default) for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert as_plain == [(p.name, p.default) for p in expected]
    rest = [p for p in given if p.kind is not p.POSITIONAL_OR_KEYWORD]
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty for p in rest)


def test_both_layers_have_the_same_options():
    options = [
        {name: p for name, p in inspect.signature(cls).parameters.items() if p.kind is p.KEYWORD_ONLY}
        for cls in (SFIConv1d, SFIConvTranspose1d)
    ]
    assert options[0] == options[1]


@pytest.mark.slow
@pytest.mark.usefixtures("mypy_cache")
def test_mypy_of_a_caller_sees_the_options(tmp_path):
    caller = tmp_path / "caller.py"
    caller.write_text(
        "from sfi_zoo import SFIConv1d\n"
        "SFIConv1d(1, 2, (8,), stride_mode='round', sample_rate=16000)\n"
        "SFIConv1d(1, 2, 8, taper='wide', sample_rate=16000)\n"
        "SFIConv1d(1, 2, 8, tapper=1.0, sample_rate=16000)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(caller)]
    lines = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert re.findall(r"caller.py:(\d+): error: .*\[(.*)\]", lines) == [("3", "arg-type"), ("4", "call-arg")]


def test_a_bias_starts_at_zero_with_the_type_of_the_filters():
    bank = ModulatedGaussian(3).double()
    layer = SFIConv1d(1, 3, 8, sample_rate=TRAINED, filters=bank)
    assert layer.bias.dtype is torch.float64 and not layer.bias.any()
    assert SFIConv1d(1, 3, 8, bias=False, sample_rate=TRAINED).bias is None


@pytest.mark.parametrize("options", PLAIN_CONV, ids=str)
def test_is_the_plain_convolution_at_the_trained_rate(options):
    layer, plain = with_plain_weights(SFIConv1d, options)
    x = torch.randn(3, 2, 200).to(plain.weight)
    assert layer(x).shape == plain(x).shape
    assert relative_error(layer(x), plain(x)) < 1e-6
    assert relative_error(layer(x[0]), plain(x[0])) < 1e-6


@pytest.mark.parametrize("options", PLAIN_TRANSPOSED, ids=str)
def test_is_the_plain_transposed_convolution_at_the_trained_rate(options):
    layer, plain = with_plain_weights(SFIConvTranspose1d, options)
    z = torch.randn(3, 2, 20)
    assert layer(z).shape == plain(z).shape
    assert relative_error(layer(z), plain(z)) < 1e-6
    for length in (50, 64, 90):
        wanted = plain(z)[..., :length]
        assert relative_error(layer(z, length=length)[..., : wanted.shape[-1]], wanted) < 1e-6


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("rate", [22050, 32000, 44100])
def test_padding_modes_pad_the_signal_at_its_own_rate(padding_mode, rate):
    """Padding inside the layer is padding before it, by as many samples as the kernel reaches out."""
    torch.manual_seed(0)
    common = {"kernel_size": 64, "stride": 16, "sample_rate": TRAINED, "filters": ModulatedGaussian(6)}
    layer = SFIConv1d(1, 6, padding=24, padding_mode=padding_mode, **common).eval()
    bare = SFIConv1d(1, 6, **common).eval()
    x = torch.randn(1, 1, rate // 10)
    reach = 24 * rate / TRAINED
    samples = math.ceil(reach)
    padded = functional.pad(x, (samples, samples), padding_mode)
    # whole samples are added: cut the bare layer's frames to the same seconds
    if samples == reach:
        assert relative_error(layer(x, rate), bare(padded, rate)) < 1e-6
    inner = slice(2, -3)
    zeros = SFIConv1d(1, 6, padding=24, **common).eval()
    assert relative_error(layer(x, rate)[..., inner], zeros(x, rate)[..., inner]) < 1e-6
    assert relative_error(layer(x, rate)[..., :1], zeros(x, rate)[..., :1]) > 1e-2


# stride modes -------------------------------------------------------------------------------------------------------


def conv(mode, **options):
    torch.manual_seed(0)
    given = {"filter_options": {"frequency_range": (100.0, 3000.0)}, "taper": 1.0, "padding": 40}
    layer = SFIConv1d(1, 12, 160, 80, sample_rate=32000, stride_mode=mode, **given | options)
    return layer.double().eval().requires_grad_(False)


def stride_1_interpolated(layer, x, rate):
    """A convolution at every sample, then sinc interpolation at the frames: numpy, and a sinc that nothing cuts."""
    taps, first = layer.weights(rate)
    position = float(layer.frame_grid(rate).start(0)) + first  # sample under the first tap of frame 0
    room = 4000
    signal = np.pad(x[0, 0].numpy(), room)
    every_sample = np.stack([np.correlate(signal, w, "valid") for w in taps[0].numpy()])
    k = np.arange(layer.num_frames(x.shape[-1], rate))
    at = room + position + k * 80 * rate / 32000
    return torch.from_numpy(every_sample @ np.sinc(at - np.arange(every_sample.shape[-1])[:, None]))[None]


@pytest.mark.parametrize("rate", [11025, 22050, 44100, 44099])
def test_interpolate_is_a_stride_1_convolution_interpolated(rate):
    x = band_limited(rate)[..., : rate // 8]
    y = conv("interpolate")(x, rate)
    if rate != 44099:  # there taps are designed at other delays than that of frame 0
        expected = stride_1_interpolated(conv("exact"), x, rate)
        inner = slice(8, -8)  # the long sinc sees further beyond the ends
        assert relative_error(y[..., inner], expected[..., inner]) < 2e-4
    assert (
        relative_error(y, conv("exact")(x, rate)) < 2e-4
    )  # and so it is what exact computes, to its own accuracy


@pytest.mark.parametrize("mode", ["exact", "interpolate", "round"])
@pytest.mark.parametrize("flavour", ["native", "reference"])
@pytest.mark.parametrize("rate", [16000, 22050, 44100, 44099])
def test_the_transposed_layer_is_the_adjoint_in_every_mode(mode, flavour, rate):
    if flavour == "reference" and mode == "exact":
        pytest.skip("not published")
    layer = conv(mode, flavour=flavour)
    back = SFIConvTranspose1d(
        12, 1, 160, 80, padding=40, sample_rate=32000, stride_mode=mode, taper=1.0,
        flavour=flavour, filters=layer.filters,
    )  # fmt: skip
    x = torch.randn(1, 1, rate // 4, dtype=torch.float64)
    y = layer(x, rate)
    z = torch.randn_like(y)
    gain = rate / 32000 if flavour == "native" else 1.0
    forward = (y * z).sum().item() * gain
    adjoint = (back.double().eval()(z, rate, length=x.shape[-1]) * x).sum().item()
    assert adjoint == pytest.approx(forward, rel=1e-9)


def test_round_drifts_and_says_where_its_frames_are():
    """110 samples instead of 110.25 at 44.1 kHz: 2.27 ms per second, as published."""
    layer = conv("round")
    frames = layer.num_frames(44100, 44100)
    drift = layer.frame_times(frames, 44100) - conv("exact").frame_times(frames, 44100)
    assert drift[-1].item() == pytest.approx(-(frames - 1) * 0.25 / 44100, rel=1e-9)
    x = band_limited(44100)
    exact = conv("exact")(x, 44100)
    assert relative_error(layer(x, 44100)[..., 0], exact[..., 0]) < 1e-9
    assert relative_error(layer(x, 44100)[..., : exact.shape[-1]], exact) > 0.1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"stride_mode": "wobble"}, "wobble"),
        ({"stride_mode": "exact", "flavour": "reference"}, "round"),
        ({"dilation": 2, "flavour": "reference"}, "dilation"),
        ({"dilation": 0}, "dilation"),
        ({"padding": -1}, "padding"),
        ({"padding": "same"}, "stride 1"),
        ({"padding_mode": "mirror"}, "mirror"),
        ({"hilbert": True}, "quadrature"),
        ({"frequency_grid": "jittered"}, "reference"),
        ({"frequency_grid": "hexagonal", "flavour": "reference"}, "hexagonal"),
        ({"filters": MultiPhaseGammatone(10)}, "12 filters"),
    ],
    ids=str,
)
def test_impossible_options_are_named(options, named):
    with pytest.raises(InputError, match=named):
        conv(**{"mode": options.pop("stride_mode", None)} | options)


def test_a_signal_too_short_for_its_padding_mode_is_named():
    layer = SFIConv1d(1, 6, 64, 16, padding=60, padding_mode="reflect", sample_rate=TRAINED).eval()
    with pytest.raises(InputError, match="30 samples are too few"):
        layer(torch.randn(1, 1, 30))


def test_output_padding_must_be_whole():
    with pytest.raises(InputError, match="output_padding"):
        SFIConvTranspose1d(4, 1, 64, 16, output_padding=-1, sample_rate=TRAINED)


def test_a_transposed_convolution_pads_with_zeros_alone():
    with pytest.raises(InputError, match=r"padding_mode must be 'zeros'.*'reflect'"):
        SFIConvTranspose1d(4, 1, 64, 16, padding_mode="reflect", sample_rate=TRAINED)


@pytest.mark.parametrize("grid", ["jittered", "random"])
def test_frequency_grids_are_drawn_in_training_only(grid):
    torch.manual_seed(0)
    layer = conv(None, flavour="reference", design="frequency", frequency_grid=grid)
    fixed = conv(None, flavour="reference", design="frequency")
    assert torch.equal(layer.weights(16000)[0], fixed.weights(16000)[0])
    layer.train()
    first, second = layer.weights(16000)[0], layer.weights(16000)[0]
    assert not torch.equal(first, second)
    assert relative_error(first, fixed.weights(16000)[0]) < 0.2
