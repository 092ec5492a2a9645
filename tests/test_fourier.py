"""Windows as functions of time, and Fourier filters: the short-time Fourier transform by way of a filter bank."""

import numpy as np
import pytest
import scipy.integrate
import scipy.signal
import torch

from sfi_zoo import InputError
from sfi_zoo.filters import Fourier
from sfi_zoo.filters.windows import WINDOWS, create_window
from sfi_zoo.layers import SFISTFT, SFIConv1d
from tests.signals import band_limited, relative_error

LENGTH = 30
SCIPY_NAMES = {"hann": "hann", "hamming": "hamming", "blackman": "blackman", "rectangular": "boxcar"}


def instants(length, per_sample=1):
    """Where the samples of a window lie, in windows, and `per_sample` - 1 more between each two."""
    return torch.arange(length * per_sample, dtype=torch.float64) / (length * per_sample) - 0.5


def samples_of(name, length, symmetric=False):
    if name == "sqrt_hann":
        return np.sqrt(scipy.signal.get_window("hann", length, fftbins=not symmetric))
    return scipy.signal.get_window(SCIPY_NAMES[name], length, fftbins=not symmetric)


@pytest.mark.parametrize("name", WINDOWS)
def test_named_windows_are_those_of_scipy(name):
    np.testing.assert_allclose(
        create_window(name)(instants(LENGTH)).numpy(), samples_of(name, LENGTH), atol=1e-12
    )


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_samples_of_a_named_window_become_the_closed_form(name, symmetric):
    """Seen between the samples, where the window of three times the length has its own."""
    window = create_window(torch.from_numpy(samples_of(name, LENGTH, symmetric)).float())
    dense = samples_of(name, 3 * LENGTH - 2 * symmetric, symmetric)
    np.testing.assert_allclose(window(instants(LENGTH, 3)).numpy()[: len(dense)], dense, atol=1e-12)


@pytest.mark.parametrize("length", [64, 65])
def test_other_windows_pass_through_their_samples(length):
    kaiser = scipy.signal.get_window(("kaiser", 14.0), length)
    window = create_window(torch.from_numpy(kaiser))
    np.testing.assert_allclose(window(instants(length)).numpy(), kaiser, atol=1e-8)
    between = scipy.signal.get_window(("kaiser", 14.0), 2 * length)
    np.testing.assert_allclose(window(instants(length, 2)).numpy(), between, atol=5e-6)


@pytest.mark.parametrize("shape", [*WINDOWS, torch.tensor([0.1, 0.7, 1.0, 0.3, 0.0])])
def test_spectrum_is_the_integral(shape):
    window, u = create_window(shape), np.linspace(-0.5, 0.5, 4001)
    assert window.mean == pytest.approx(scipy.integrate.simpson(window(torch.from_numpy(u)).numpy(), x=u))
    for x in (0.0, 0.3, 1.0, -2.7):
        wave = window(torch.from_numpy(u)).numpy() * np.exp(-2j * np.pi * x * u)
        expected = scipy.integrate.simpson(wave, x=u)
        assert complex(window.spectrum(torch.tensor(x, dtype=torch.float64))) == pytest.approx(
            expected, abs=1e-9
        )


def test_bank_is_windowed_cosines_then_sines():
    t, duration, spacing = np.linspace(-0.0039, 0.0039, 41), 0.008, 125.0
    hann = 0.5 + 0.5 * np.cos(2 * np.pi * t / duration)
    gain = np.array([1.0, 2.0, 2.0])[:, None] / (duration / 2)
    angle = 2 * np.pi * spacing * np.arange(3)[:, None] * t
    expected = np.concatenate([gain * hann * np.cos(angle), gain * hann * np.sin(angle)])
    bank = Fourier(6, duration)
    np.testing.assert_allclose(bank.impulse_response(torch.from_numpy(t)).numpy(), expected, atol=1e-9)
    np.testing.assert_array_equal(bank.center_frequencies(), [0, 125, 250, 0, 125, 250])


SHAPES = ["hann", "rectangular", torch.linspace(0.1, 1, 64, dtype=torch.float64)]


def transform_and_level(window, n_fft=64, f0=16000):
    """The transform of frames centred at k hop, and what turns the bank's pairs into its bins.

    Phases count from the centre of a frame there, from its start here: every other bin has the other sign.
    """
    m = torch.arange(n_fft // 2)
    level = create_window(window).mean * n_fft * torch.where(m == 0, 1.0, 0.5).double() * (1 - 2 * (m % 2))
    stft = SFISTFT(n_fft, 16, window=window, pad_mode="constant", sample_rate=f0)
    return stft, level, Fourier(n_fft, n_fft / f0, window=window)


@pytest.mark.parametrize("window", SHAPES)
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 15999])
def test_filtering_with_the_bank_is_the_transform(rate, window):
    """z_k = sum_n x[n] h(k hop - n/F) / F. Two ways that share the window only."""
    stft, level, bank = transform_and_level(window)
    x = band_limited(rate, seconds=0.05)[0, 0]
    z = stft(x, rate)[: len(level)]
    alive = stft.alive(rate)[: len(level)]
    n = torch.arange(len(x), dtype=torch.float64)
    for k in range(z.shape[-1]):
        cosines, sines = (bank.impulse_response(k * 16 / 16000 - n / rate) @ x / rate).chunk(2)
        expected = torch.complex(cosines, sines) * level
        assert (z[alive, k] - expected[alive]).norm() < 1e-12 * z.norm()


@pytest.mark.parametrize("window", SHAPES)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_convolution_layer_with_the_bank_is_the_transform(rate, window):
    stft, level, bank = transform_and_level(window)
    # with that padding frame k of the convolution is centred at k hop
    layer = SFIConv1d(1, 64, 64, 16, 63 / 2, sample_rate=16000, filters=bank).double().eval()
    x = band_limited(rate, seconds=0.1)
    with torch.no_grad():
        cosines, sines = layer(x, rate)[0].chunk(2)
    expected = torch.complex(cosines, sines) * level[:, None]
    assert relative_error(stft(x, rate)[0, 0, :32, : expected.shape[-1]], expected) < 1e-12


def test_window_of_the_bank_stands_without_a_taper():
    layer = SFIConv1d(1, 16, 64, 16, sample_rate=16000, filters="fourier", taper=1.0).eval()
    untapered = SFIConv1d(1, 16, 64, 16, sample_rate=16000, filters="fourier", taper=0.0).eval()
    assert torch.equal(layer.weights()[0], untapered.weights()[0])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((7, 0.01), "num_filters .* 7"),
        ((0, 0.01), "num_filters .* 0"),
        ((8, 0.0), "duration .* 0.0"),
        ((8, float("inf")), "duration .* inf"),
        ((8, 0.01, -1.0), "spacing .* -1.0"),
        ((8, 0.01, None, "welch"), "'welch'"),
        ((8, 0.01, None, torch.zeros(8)), "not all zero"),
        ((8, 0.01, None, torch.ones(2, 8)), r"\(2, 8\)"),
        ((8, 0.01, None, torch.ones(8, dtype=torch.int64)), "int64"),
    ],
)
def test_impossible_banks_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        Fourier(*arguments)
