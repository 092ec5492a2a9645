"""Stride modes of the transforms: exact, interpolated, rounded."""

import numpy as np
import pytest
import torch

from sfi_zoo import SFIISTFT, SFISTFT, InputError
from sfi_zoo.layers import freeze
from tests.signals import band_limited, relative_error

RATES = (8000, 11025, 22050, 44100)


def transform(mode, cls=SFISTFT, **options):
    return cls(512, 128, sample_rate=32000, stride_mode=mode, **options)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("rate", [11025, 44100])
def test_interpolate_is_the_transform_at_every_sample_interpolated(rate, center):
    """By numpy: sums over the window at every sample, then a sinc that nothing cuts."""
    x = band_limited(rate)[0, 0, : rate // 8]
    layer = transform("interpolate", center=center, pad_mode="constant", bins="nyquist")
    z = layer(x, rate)
    ratio = rate / 32000
    room, m = 1500, np.array([1, 7, 40])
    signal = np.pad(x.numpy(), room)
    first = -256 * ratio if center else 0.0  # where frame 0 starts, in samples
    starts = np.arange(-700, len(x) + 700)
    n = np.arange(int(512 * ratio) + 2)
    at = np.ceil(first) - first + n  # samples after the start of the window
    window = np.where(at < 512 * ratio, np.sin(np.pi * at / (512 * ratio)) ** 2, 0) / ratio
    kernels = window * np.exp(-2j * np.pi * m[:, None] * at / (512 * ratio))
    index = room + int(np.ceil(first)) + starts[:, None] + n
    every_sample = signal[index] @ kernels.T  # (starts, bins)
    hop = np.arange(z.shape[-1])[:, None] * 128 * ratio
    expected = torch.from_numpy((np.sinc(hop - starts) @ every_sample).T)
    inner = slice(4, -4)  # the long sinc sees further beyond the ends
    assert relative_error(z[m][:, inner], expected[:, inner]) < 2e-4


@pytest.mark.parametrize("rate", RATES)
def test_interpolate_gives_the_exact_latent_and_the_signal_back_to_its_own_accuracy(rate):
    x = band_limited(rate)[..., : rate // 4]
    z = transform("interpolate")(x, rate)
    assert relative_error(z, transform("exact")(x, rate)) < 5e-3
    y = transform("interpolate", SFIISTFT)(z, rate, length=x.shape[-1])
    assert relative_error(y, x) < 5e-3


@pytest.mark.parametrize("mode", ["interpolate", "round"])
def test_every_mode_is_exact_at_the_trained_rate(mode):
    x = torch.randn(2, 9000, dtype=torch.float64)
    z = transform(mode)(x)
    assert torch.equal(z, transform("exact")(x))
    assert relative_error(transform(mode, SFIISTFT)(z, length=9000), x) < 1e-12


def test_round_drifts_says_so_and_reconstructs():
    x = band_limited(44100)
    layer, exact = transform("round"), transform("exact")
    z = layer(x, 44100)
    times = layer.frame_times(z.shape[-1], 44100)
    assert times[100].item() == pytest.approx(100 * 176 / 44100, rel=1e-9)  # 176.4 samples
    assert relative_error(z[..., : exact(x, 44100).shape[-1]], exact(x, 44100)) > 0.1
    y = transform("round", SFIISTFT)(z, 44100, length=x.shape[-1])
    assert relative_error(y[..., 300:-300], x[..., 300:-300]) < 1e-6


def test_what_is_impossible_is_named():
    with pytest.raises(InputError, match="wobble"):
        transform("wobble")
    with pytest.raises(InputError, match=r"0\.5 samples"):
        SFISTFT(64, 2, sample_rate=32000, stride_mode="round")(torch.randn(4000), 8000)
    with pytest.raises(InputError, match="derivative"):
        transform("round")(torch.randn(9000), torch.tensor(32000.0, requires_grad=True))
    with pytest.raises(InputError, match="cannot be frozen"):
        freeze(torch.nn.Sequential(transform("interpolate")), 44100)
