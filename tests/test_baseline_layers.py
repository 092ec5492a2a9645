"""Baseline layers: plain layers at F0, the level and timing they keep at other rates, and what they refuse."""

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline, interp1d
from torch import Tensor, nn

from sfi_zoo import InputError, at_sample_rate, set_sample_rate
from sfi_zoo.audio.resampling import NoisyKernel, WindowedSinc
from sfi_zoo.filters.interpolated import InterpolatedKernels, interpolate_kernel
from sfi_zoo.layers import (
    KernelInterpolatedConv1d,
    KernelInterpolatedConvTranspose1d,
    Resampled,
    ResampledConv1d,
    ResampledConvTranspose1d,
    SFIConv1d,
)
from sfi_zoo.layers.baselines.kernel_interpolated import kernel_size_at
from sfi_zoo.testing import assert_sfi
from tests.signals import band_limited, relative_error

ANALYSIS = [KernelInterpolatedConv1d, ResampledConv1d]
SYNTHESIS = [KernelInterpolatedConvTranspose1d, ResampledConvTranspose1d]
RATES = (8000, 11025, 22050, 44100, 48000)


def smooth_conv(kind: type, stride: int = 80, **options: object) -> nn.Module:
    """Eight Gaussian band-passes below 2.5 kHz, 160 taps at 32 kHz: kernels that interpolate well."""
    layer = kind(1, 8, 160, stride, 40, bias=False, sample_rate=32000, dtype=torch.float64, **options)
    t = (torch.arange(160, dtype=torch.float64) - 79.5) / 32000
    centres = torch.linspace(300, 2500, 8, dtype=torch.float64)[:, None]
    weight = torch.exp(-0.5 * (t / 7e-4) ** 2) * torch.cos(2 * math.pi * centres * t + 0.5) / 30
    return _with_weight(layer, weight[:, None])


def smooth_transpose(kind: type, **options: object) -> nn.Module:
    layer = kind(8, 1, 160, 80, 40, bias=False, sample_rate=32000, dtype=torch.float64, **options)
    return _with_weight(layer, smooth_conv(KernelInterpolatedConv1d).weight.detach())


def _with_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    layer.weight.data.copy_(weight)
    return layer


# at F0 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ANALYSIS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 7, "padding": 5},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "groups": 2, "bias": False},
        {"padding": 3, "padding_mode": "reflect", "dtype": torch.float64},
    ],
)
def test_is_conv1d_at_the_trained_rate(kind: type, options: dict) -> None:
    plain = nn.Conv1d(4, 6, 33, **options)
    layer = kind(4, 6, 33, **options, sample_rate=16000)
    layer.load_state_dict(plain.state_dict())
    for shape in ((2, 4, 300), (4, 300)):
        x = torch.randn(shape, dtype=plain.weight.dtype)
        assert torch.equal(layer(x), plain(x))


@pytest.mark.parametrize("kind", SYNTHESIS)
@pytest.mark.parametrize(
    "options", [{}, {"stride": 7, "padding": 5, "output_padding": 3}, {"groups": 2, "dilation": 2}]
)
def test_is_conv_transpose1d_at_the_trained_rate(kind: type, options: dict) -> None:
    plain = nn.ConvTranspose1d(4, 6, 33, **options)
    layer = kind(4, 6, 33, **options, sample_rate=16000)
    layer.load_state_dict(plain.state_dict())
    for z in (torch.randn(2, 4, 50), torch.randn(4, 50)):
        expected = plain(z)
        assert torch.equal(layer(z), expected)
        torch.testing.assert_close(layer(z, length=expected.shape[-1]), expected)


@pytest.mark.parametrize("kind", ANALYSIS)
def test_the_state_dict_is_that_of_conv1d(kind: type) -> None:
    assert list(kind(1, 2, 3, sample_rate=8000).state_dict()) == list(nn.Conv1d(1, 2, 3).state_dict())


# interpolated kernels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taps", [1, 7, 24, 50, 111])
def test_linear_interpolation_is_scipys(taps: int) -> None:
    weight, spacing = torch.randn(3, 50, dtype=torch.float64), 50 / taps
    positions = (np.arange(taps) - (taps - 1) / 2) * spacing + 24.5
    padded = np.pad(weight.numpy(), ((0, 0), (1, 1)))
    expected = interp1d(np.arange(-1, 51), padded)(positions)
    np.testing.assert_allclose(interpolate_kernel(weight, taps, spacing, "linear"), expected, atol=1e-12)


@pytest.mark.parametrize("taps", [1, 7, 24, 50, 111])
def test_cubic_interpolation_is_the_catmull_rom_spline(taps: int) -> None:
    weight, spacing = torch.randn(3, 50, dtype=torch.float64), 50 / taps
    positions = (np.arange(taps) - (taps - 1) / 2) * spacing + 24.5
    padded = np.pad(weight.numpy(), ((0, 0), (3, 3)))
    slopes = (padded[:, 2:] - padded[:, :-2]) / 2
    spline = CubicHermiteSpline(np.arange(-2, 52), padded[:, 1:-1], slopes, axis=1)
    np.testing.assert_allclose(
        interpolate_kernel(weight, taps, spacing, "cubic"), spline(positions), atol=1e-12
    )


@pytest.mark.parametrize(
    ("rate", "taps", "stride", "padding"), [(8000, 40, 20, 10), (11025, 55, 28, 13), (48000, 240, 120, 60)]
)
def test_kernel_hop_and_padding_keep_their_durations(rate: int, taps: int, stride: int, padding: int) -> None:
    layer = smooth_conv(KernelInterpolatedConv1d, interpolation="cubic")
    x = torch.randn(1, 1, rate // 10, dtype=torch.float64)
    kernel = interpolate_kernel(layer.weight, taps, 32000 / rate, "cubic") * 32000 / rate
    torch.testing.assert_close(
        layer(x, rate), nn.functional.conv1d(x, kernel, stride=stride, padding=padding)
    )


@pytest.mark.parametrize("rate", (8000, 16000, 22050, 48000))
def test_an_sfi_layer_of_flavour_reference_interpolates_kernels_linearly(rate: int) -> None:
    layer = smooth_conv(KernelInterpolatedConv1d)
    bank = InterpolatedKernels(8, 32000, weight=layer.weight.detach())
    reference = SFIConv1d(1, 8, 160, 80, 40, sample_rate=32000, filters=bank, flavour="reference")
    x = torch.randn(1, 1, rate // 5, dtype=torch.float64)
    torch.testing.assert_close(reference(x, rate), layer(x, rate))


@pytest.mark.parametrize("rate", (*RATES, 44099, 96000))
@pytest.mark.parametrize("padding", [0, 3, 79, 160])
def test_frame_0_stays_within_half_a_sample(rate: int, padding: int) -> None:
    size = kernel_size_at(nn.Conv1d(1, 1, 160, 80, padding), rate, 32000)
    seconds, expected = ((size.span - 1) / 2 - size.left) / rate, (79.5 - padding) / 32000
    # below F0 a layer without padding would need a negative one: then it is a whole sample
    assert abs(seconds - expected) * rate <= (1 if rate < 32000 and not padding else 0.5)


@pytest.mark.parametrize("dilation", [2, 3])
def test_a_dilated_kernel_is_dilated_further(dilation: int) -> None:
    """At twice the rate the gaps double and the taps stay: the same filter, with images of the band."""
    layer = KernelInterpolatedConv1d(1, 2, 9, padding="same", dilation=dilation, bias=False, sample_rate=8000)
    x = torch.randn(1, 1, 400)
    expected = nn.functional.conv1d(x, layer.weight, padding="same", dilation=2 * dilation)
    torch.testing.assert_close(layer(x, 16000), expected)


def test_stride_1_follows_the_input() -> None:
    layer = KernelInterpolatedConv1d(1, 2, 33, padding="same", sample_rate=16000)
    for rate in RATES:
        assert layer(torch.randn(1, 1, 997), rate).shape[-1] == 997


@pytest.mark.parametrize("options", [{}, {"stride": 4, "padding": 2}])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradcheck_of_interpolated_kernels(options: dict, transposed: bool) -> None:
    kind = KernelInterpolatedConvTranspose1d if transposed else KernelInterpolatedConv1d
    layer = kind(2, 2, 8, **options, sample_rate=8000, interpolation="cubic", dtype=torch.float64)
    x = torch.randn(1, 2, 24, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, 11025), (x, *layer.parameters()))


# at other rates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda: smooth_conv(ResampledConv1d, 1), 1e-6),
        (lambda: smooth_conv(KernelInterpolatedConv1d, 1, interpolation="cubic"), 2e-3),
        (lambda: smooth_conv(KernelInterpolatedConv1d, 1, interpolation="linear"), 5e-3),
    ],
    ids=["resampled", "cubic", "linear"],
)
def test_a_tone_has_the_amplitude_of_the_trained_kernel(
    make: Callable[[], nn.Module], bound: float, rate: int
) -> None:
    """|W(f)| = |sum_n w[n] exp(-2 pi i f n / F0)| whatever the rate, here over 32 whole periods of 800 Hz."""
    layer, tone = make(), 800.0
    x = torch.sin(2 * math.pi * tone * torch.arange(rate // 5, dtype=torch.float64) / rate)[None, None]
    y = layer(x, rate)[0, :, rate // 20 :][:, : rate // 25].detach()
    n = torch.arange(160, dtype=torch.float64)
    response = (layer.weight.detach()[:, 0] * torch.exp(-2j * math.pi * tone * n / 32000)).sum(-1).abs()
    amplitude = math.sqrt(2) * y.square().mean(-1).sqrt()
    torch.testing.assert_close(amplitude, response, rtol=0, atol=bound * float(response.max()))


@pytest.mark.parametrize("rate", RATES)
def test_resampled_frames_are_those_of_f0(rate: int) -> None:
    layer = smooth_conv(ResampledConv1d)
    with torch.no_grad():
        y, expected = layer(band_limited(rate), rate), layer(band_limited(32000), 32000)
    assert relative_error(y[..., : expected.shape[-1]], expected) < 1e-5


def test_resampling_is_independent_of_the_rate_and_interpolated_kernels_are_not() -> None:
    assert_sfi(smooth_conv(ResampledConv1d), RATES, at_most_db=-100)
    with pytest.raises(AssertionError, match="KernelInterpolatedConv1d differs from itself at F0"):
        assert_sfi(smooth_conv(KernelInterpolatedConv1d), [16000, 48000], at_most_db=-40)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("kind", SYNTHESIS)
def test_the_level_of_the_output_stays(kind: type, rate: int) -> None:
    latent = smooth_conv(ResampledConv1d)(band_limited(32000), 32000).detach()
    layer = smooth_transpose(kind)
    with torch.no_grad():
        level = {f: layer(latent, f, length=f).square().mean().sqrt() for f in (rate, 32000)}
    assert float(level[rate] / level[32000]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("rate", RATES)
def test_resampled_synthesis_gives_the_waveform_of_f0(rate: int) -> None:
    latent = smooth_conv(ResampledConv1d)(band_limited(32000), 32000).detach()
    layer = smooth_transpose(ResampledConvTranspose1d)
    expected = WindowedSinc()(layer(latent), 32000, rate)
    assert torch.equal(layer(latent, rate), expected)
    assert layer(latent, rate, length=rate).shape[-1] == rate


@pytest.mark.parametrize("rate", RATES)
def test_stride_1_comes_back_at_the_rate_of_the_input(rate: int) -> None:
    """A delay of ten samples at F0 is the same time at every F."""
    for kind in (ResampledConv1d, ResampledConvTranspose1d):
        layer = kind(1, 1, 21, padding=10, bias=False, sample_rate=32000, dtype=torch.float64)
        weight = torch.zeros(21, dtype=torch.float64)
        weight[0 if kind is ResampledConv1d else 20] = 1  # 10 samples late
        layer.weight.data.copy_(weight)
        x = band_limited(rate)
        y = layer(x, rate).detach()
        n = torch.arange(x.shape[-1], dtype=torch.float64)
        spectrum = torch.fft.rfft(x) * torch.exp(
            -2j * math.pi * torch.fft.rfftfreq(len(n), dtype=torch.float64) * 10 * rate / 32000
        )
        assert relative_error(y, torch.fft.irfft(spectrum, len(n))) < 1e-5


# resampled modules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 44100, 44099, 32000])
@pytest.mark.parametrize("time", [1000, 1001, 1003])
def test_a_module_runs_at_its_own_rate_and_the_waveform_comes_back(rate: int, time: int) -> None:
    seen = []

    class Doubler(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape[-1])
            return torch.stack([x, 2 * x], 1)

    model = Resampled(Doubler(), 32000)
    x = torch.randn(2, time)
    assert model(x, rate).shape == (2, 2, time)
    assert seen == [math.floor(time * 32000 / rate + 0.5)]


def test_frames_do_not_come_back() -> None:
    module = nn.Conv1d(1, 4, 320, 160)
    model = Resampled(module, 32000, "soxr", output="frames")
    x = torch.randn(1, 1, 8000)
    expected = module(model.resampler(x, 16000, 32000))
    assert torch.equal(model(x, 16000), expected)


def test_sfi_layers_inside_run_at_the_rate_of_the_wrapper() -> None:
    layer = SFIConv1d(1, 4, 160, 80, sample_rate=16000)
    model = Resampled(layer, 16000, output="frames").eval()
    x = torch.randn(1, 1, 4000)
    set_sample_rate(model, 8000)
    assert torch.equal(model(x), layer(model.resampler(x, 8000, 16000), 16000))
    assert layer.current_rate == 8000


def test_training_through_the_way_back_needs_a_differentiable_resampler() -> None:
    x = torch.randn(1, 1, 400)
    layer = ResampledConv1d(1, 1, 5, padding=2, sample_rate=16000, resampler="soxr")
    with pytest.raises(InputError, match="WindowedSinc"):
        layer(x, 8000)
    with torch.no_grad():
        assert layer(x, 8000).shape == x.shape
    ResampledConv1d(1, 1, 5, padding=2, sample_rate=16000)(x, 8000).sum().backward()
    ResampledConv1d(1, 1, 5, stride=2, sample_rate=16000, resampler="soxr")(x, 8000).sum().backward()


def test_a_trainable_kernel_is_trained_with_the_layer() -> None:
    layer = ResampledConv1d(1, 1, 5, padding=2, sample_rate=16000, resampler="trainable_kernel")
    layer(torch.randn(1, 1, 400), 8000).square().sum().backward()
    assert float(layer.resampler.deviation.grad.abs().sum()) > 0


@pytest.mark.parametrize("kind", [ResampledConv1d, ResampledConvTranspose1d])
def test_noise_is_for_the_layer_and_not_for_its_output(kind: type) -> None:
    """From above F0 nothing is added on the way there, and nothing on the way back."""
    plain = kind(1, 1, 5, padding=2, sample_rate=16000)
    noisy = kind(1, 1, 5, padding=2, sample_rate=16000, resampler=NoisyKernel(0.1))
    noisy.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 400)
    assert torch.equal(noisy(x, 48000), plain(x, 48000))
    assert not torch.allclose(noisy(x, 8000), plain(x, 8000))


# what all of them share --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ANALYSIS + SYNTHESIS)
def test_the_stored_rate_is_used_and_explicit_wins(kind: type) -> None:
    layer = kind(1, 2, 32, 8, sample_rate=16000)
    x = torch.randn(1, 1, 400)
    with at_sample_rate(layer, 8000):
        assert torch.equal(layer(x), layer(x, 8000))
        assert layer(x).shape == layer(x, 8000).shape != layer(x, 16000).shape
    assert layer.current_rate == 16000


@pytest.mark.parametrize(
    ("kind", "rate"),
    [(kind, 10900.0) for kind in ANALYSIS + SYNTHESIS] + [(KernelInterpolatedConv1d, 16000.0)],
)
def test_differentiates_in_the_rate(kind: type, rate: float) -> None:
    """Forward mode against central differences in log F, where no size is about to be rounded the other way."""
    options = {"interpolation": "cubic"} if kind in (ANALYSIS[0], SYNTHESIS[0]) else {}  # hats have kinks
    layer = kind(1, 2, 32, 8, sample_rate=16000, dtype=torch.float64, **options)
    x = torch.randn(1, 1, 400, dtype=torch.float64)
    length = {"length": 500} if kind in SYNTHESIS else {}

    def at(t: Tensor) -> Tensor:
        return layer(x, rate * torch.exp(t), **length)

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    y, derivative = torch.func.jvp(at, (zero,), (one,))
    torch.testing.assert_close(y, layer(x, rate, **length))
    difference = (at(zero + 1e-6) - at(zero - 1e-6)) / 2e-6
    assert (
        relative_error(derivative, difference) < 1e-3
    )  # cubics bend at their knots, and at F0 all taps are on one


@pytest.mark.parametrize("kind", ANALYSIS + SYNTHESIS)
def test_copies_and_pickles_compute_alike(kind: type) -> None:
    layer, x = kind(1, 2, 32, 8, sample_rate=16000), torch.randn(1, 1, 400)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x, 8000), layer(x, 8000))


@pytest.mark.parametrize("kind", ANALYSIS + SYNTHESIS)
def test_works_in_both_precisions_and_without_a_batch(kind: type) -> None:
    layer, x = kind(1, 2, 32, 8, sample_rate=16000), torch.randn(1, 1, 400)
    y = layer(x, 11025)
    torch.testing.assert_close(layer(x[0], 11025), y[0])
    torch.testing.assert_close(layer.double()(x.double(), 11025).float(), y, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ANALYSIS + SYNTHESIS)
def test_compiles_in_one_graph(kind: type) -> None:
    layer, x = kind(1, 2, 32, 8, sample_rate=16000), torch.randn(1, 1, 400)
    compiled = torch.compile(lambda x: layer(x, 11025), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x, 11025))


@pytest.mark.parametrize("kind", ANALYSIS + SYNTHESIS)
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kernel_size": 0}, "kernel_size"),
        ({"stride": -1}, "stride"),
        ({"stride": 1.5}, "stride"),
        ({"dilation": 0}, "dilation"),
        ({"groups": 5}, "groups"),
        ({"in_channels": 0}, "in_channels"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": math.nan}, "sample_rate"),
    ],
)
def test_impossible_layers_are_named(kind: type, options: dict, named: str) -> None:
    given = {"in_channels": 2, "out_channels": 4, "kernel_size": 8, "sample_rate": 8000}
    with pytest.raises(InputError, match=named):
        kind(**given | options)


def test_impossible_choices_are_named() -> None:
    with pytest.raises(InputError, match="quintic"):
        KernelInterpolatedConv1d(1, 1, 8, sample_rate=8000, interpolation="quintic")
    with pytest.raises(InputError, match="windowed_sinc"):
        ResampledConv1d(1, 1, 8, sample_rate=8000, resampler="sox")
    with pytest.raises(InputError, match="spectrum"):
        Resampled(nn.Identity(), 8000, output="spectrum")


@pytest.mark.parametrize("kind", ANALYSIS + SYNTHESIS)
def test_impossible_inputs_are_named(kind: type) -> None:
    layer = kind(2, 4, 64, 8, sample_rate=16000)
    with pytest.raises(InputError, match=r"\(1, 3, 400\)"):
        layer(torch.randn(1, 3, 400), 8000)
    with pytest.raises(InputError, match="sample_rate"):
        layer(torch.randn(1, 2, 400), -1)


@pytest.mark.parametrize("kind", ANALYSIS)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_signal_shorter_than_the_kernel_is_refused(kind: type, rate: int) -> None:
    layer = kind(1, 4, 64, 8, sample_rate=16000)
    for time in (0, 20):
        with pytest.raises(InputError, match="shorter than the kernel"):
            layer(torch.randn(1, 1, time), rate)


@pytest.mark.parametrize("kind", [KernelInterpolatedConv1d, KernelInterpolatedConvTranspose1d])
def test_a_rate_that_leaves_no_hop_is_refused(kind: type) -> None:
    with pytest.raises(InputError, match="stride of 0"):
        kind(1, 1, 160, 2, sample_rate=32000)(torch.randn(1, 1, 400), 4000)


@pytest.mark.parametrize("kind", SYNTHESIS)
def test_a_length_that_is_none_is_refused(kind: type) -> None:
    with pytest.raises(InputError, match="length"):
        kind(1, 1, 8, 4, sample_rate=8000)(torch.randn(1, 1, 10), 16000, length=0)
