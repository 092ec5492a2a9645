"""SFI short-time Fourier transforms: torch's own at F0, and at every other F the same bins, frames, phases and level."""

import copy
import io
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from sfi_zoo import SFIISTFT, SFISTFT, InputError, at_sample_rate, set_sample_rate
from sfi_zoo.layers import fractional_rows as rows
from sfi_zoo.layers.chirp_z import chirp_z, fast_length
from sfi_zoo.layers.fractional_fft import analyse, fractional_plan, synthesise
from sfi_zoo.layers.fractional_rows import rows_plan
from sfi_zoo.layers.frame_tables import FrameTables
from tests.signals import band_limited, relative_error

TRAINED = [(2048, 512, 32000), (4096, 1024, 44100)]  # the second is Open-Unmix's
RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
ODD_RATES = (44099, 37123, 8001.5)
TORCH_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "rectangular": torch.ones}
CONFIGURATIONS = [
    {"n_fft": 256},
    {"n_fft": 256, "hop_length": 100, "win_length": 201},
    {"n_fft": 255, "hop_length": 64, "win_length": 200, "normalized": True},
    {"n_fft": 256, "hop_length": 128, "window": "hamming", "center": False},
    {"n_fft": 256, "hop_length": 256, "window": "rectangular", "pad_mode": "constant"},
]


def noise(*shape, dtype=torch.float64, below=None):
    """White noise, or what it has below a fraction of the Nyquist frequency."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    if below is None:
        return x
    spectrum = torch.fft.rfft(x)
    spectrum[..., int(below * spectrum.shape[-1]) :] = 0
    return torch.fft.irfft(spectrum, n=shape[-1])


def for_torch(configuration, inverse=False):
    """Arguments of torch.stft or torch.istft."""
    given = dict(configuration)
    length = given.get("win_length", given["n_fft"])
    given["window"] = TORCH_WINDOWS[given.pop("window", "hann")](length, dtype=torch.float64)
    if inverse:
        given.pop("pad_mode", None)
    return given if inverse else given | {"return_complex": True}


def pair(n_fft=64, hop=16, rate=16000, window="hann", **options):
    return (
        SFISTFT(n_fft, hop, window=window, sample_rate=rate, **options),
        SFIISTFT(n_fft, hop, window=window, sample_rate=rate, **options),
    )


class Bypass(nn.Module):
    """Analysis and synthesis."""

    def __init__(self, **options):
        super().__init__()
        self.stft, self.istft = pair(**options)

    def forward(self, x, sample_rate=None):
        return self.istft(self.stft(x, sample_rate), sample_rate, length=x.shape[-1])


# at F0 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3000, 3001, 2816])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_is_torch_stft_at_the_trained_rate(configuration, length):
    x = noise(3, length)
    expected = torch.stft(x, **for_torch(configuration))
    z = SFISTFT(**configuration, sample_rate=16000)(x)
    assert z.shape == expected.shape
    assert relative_error(z, expected) < 1e-13


@pytest.mark.parametrize("length", [None, 1800])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_is_torch_istft_at_the_trained_rate(configuration, length):
    """Of bins that no signal has."""
    features = configuration["n_fft"] // 2 + 1
    z = torch.complex(noise(3, features, 30), noise(3, features, 30).flip(-1))
    given = {k: v for k, v in configuration.items() if k != "pad_mode"}
    expected = torch.istft(z, **for_torch(configuration, inverse=True), length=length)
    y = SFIISTFT(**given, sample_rate=16000)(z, length=length)
    assert y.shape == expected.shape
    assert relative_error(y, expected) < 1e-11  # the ends are divided by little


def test_takes_the_window_of_a_foreign_model():
    for window in (torch.hann_window(200), torch.kaiser_window(200, True, 12.0)):
        x = noise(1, 2000).float()
        expected = torch.stft(x, 256, 64, 200, window, return_complex=True)
        assert relative_error(SFISTFT(256, 64, 200, window, sample_rate=8000)(x), expected) < 1e-6


def test_any_leading_shape():
    stft, istft = pair()
    x = noise(2, 3, 500)
    assert stft(x).shape == (2, 3, 33, 32)
    assert torch.equal(stft(x)[1, 2], stft(x[1, 2]))
    assert istft(stft(x)).shape == (2, 3, 496)


# at any F --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [11025, 12000, 16000, 22050, 24000, 15999, 8000.25])
@pytest.mark.parametrize("win_length", [64, 50])
def test_is_the_sum_of_its_definition(rate, win_length):
    """X_k[m] = F0 / F sum_n x[n] w(n/F - t_k) exp(-2 pi j m df (n/F - t_k)), in numpy, every sample at once."""
    n_fft, hop, f0 = 64, 24, 16000
    x = noise(400)
    z = SFISTFT(n_fft, hop, win_length, center=False, sample_rate=f0)(x, rate).numpy()
    m = np.arange(n_fft // 2 + 1)[:, None]
    for k in range(z.shape[-1]):
        t = np.arange(400) / rate - k * hop / f0
        inside = t * f0 - (n_fft - win_length) // 2
        w = np.where((inside >= 0) & (inside < win_length), np.sin(np.pi * inside / win_length) ** 2, 0)
        expected = (f0 / rate * x.numpy() * w * np.exp(-2j * np.pi * m * f0 / n_fft * t)).sum(-1)
        expected[m[:, 0] * f0 / n_fft > rate / 2] = 0
        np.testing.assert_allclose(z[:, k], expected, atol=1e-11)


@pytest.mark.parametrize("rate", [11025, 12000, 16000, 24000, 15999])
def test_synthesis_is_the_sum_of_its_definition(rate):
    """Waves c_m / n_fft Re X exp(2 pi j m df t) times windows, over summed squared windows, at t = n/F."""
    n_fft, hop, f0, frames = 64, 16, 16000, 9
    _, istft = pair(n_fft, hop, f0, window="hamming", center=False, bins="nyquist")
    period = n_fft * rate / f0
    z = torch.complex(noise(int(period // 2) + 1, frames), noise(int(period // 2) + 1, frames).flip(0))
    m = np.arange(len(z))[:, None]
    c = np.full(m.shape, 2.0)
    c[0], c[-1] = 1, 1 + period - 2 * (len(z) - 1)
    length = istft(z, rate).shape[-1]
    above, below = np.zeros(length), np.zeros(length)
    for k in range(frames):
        t = np.arange(length) / rate - k * hop / f0
        inside = (t * f0 >= -1e-9) & (t * f0 < n_fft - 1e-9)
        w = np.where(inside, 0.54 - 0.46 * np.cos(2 * np.pi * t * f0 / n_fft), 0)
        waves = c * np.exp(2j * np.pi * m * f0 / n_fft * t) / n_fft
        above += w * (z[:, k].numpy()[:, None] * waves).real.sum(0)
        below += w**2
    assert length == round((n_fft + (frames - 1) * hop) * rate / f0)
    reached = below > 0
    np.testing.assert_allclose(
        istft(z, rate).numpy()[reached], (above / below.clip(1e-9))[reached], atol=1e-11
    )


@pytest.mark.parametrize(("n_fft", "hop", "trained"), TRAINED)
@pytest.mark.parametrize("rate", RATES + ODD_RATES)
def test_latent_does_not_depend_on_the_rate(rate, n_fft, hop, trained):
    """A signal below 3 kHz. At 8 kHz what the window leaks beyond 4 kHz folds back."""
    stft = SFISTFT(n_fft, hop, sample_rate=trained)
    z, expected = stft(band_limited(rate), rate), stft(band_limited(trained))
    alive = stft.alive(rate)
    assert z.shape == expected.shape
    assert relative_error(z[..., alive, :], expected[..., alive, :]) < (1e-6 if rate < 11025 else 2e-7)
    assert not z[..., ~alive, :].any()


@pytest.mark.parametrize(("n_fft", "hop", "trained"), TRAINED)
@pytest.mark.parametrize("rate", RATES + ODD_RATES)
def test_waveform_of_a_latent_does_not_depend_on_the_rate(rate, n_fft, hop, trained):
    """What was analysed at F0 comes out at F as the same signal, sampled at F."""
    stft, istft = pair(n_fft, hop, trained)
    z = stft(band_limited(trained)) * stft.alive(rate)[:, None]
    x = band_limited(rate)
    assert relative_error(istft(z, rate, length=x.shape[-1]), x) < 1e-7


@pytest.mark.parametrize("rate", RATES + ODD_RATES)
@pytest.mark.parametrize("bins", ["fixed", "nyquist"])
def test_bins_are_at_the_same_hertz(rate, bins):
    stft, _ = pair(2048, 512, 32000, bins=bins)
    frequencies, alive = stft.frequencies(rate), stft.alive(rate)
    assert torch.equal(frequencies, 15.625 * torch.arange(len(frequencies)))
    assert torch.equal(alive, frequencies <= rate / 2)
    assert len(frequencies) == (1025 if bins == "fixed" else rate // 31.25 + 1)
    assert stft(noise(1, 5000), rate).shape[1] == len(frequencies) == stft.num_features(rate)


@pytest.mark.parametrize("rate", RATES + ODD_RATES)
def test_number_of_frames_depends_on_the_duration_only(rate):
    stft, _ = pair(2048, 512, 32000)
    assert stft.num_frames(round(2 * rate), rate) == stft.num_frames(64000) == 126


@pytest.mark.parametrize("rate", [44100, 44099, 96000.5])
@pytest.mark.parametrize("frames", [101, 102, 103, 104])
def test_rounding_the_length_of_a_signal_loses_no_frame(rate, frames):
    """It ends just where a frame does."""
    stft, _ = pair(2048, 512, 32000)
    assert stft.num_frames(round((frames - 1) * 512 * rate / 32000), rate) == frames


@pytest.mark.parametrize("n_fft", [256, 255])
def test_frames_are_where_the_grid_says(n_fft):
    """A tone at the frequency of a bin has its own phase at the start of a frame, which is half a window before its centre."""
    stft, _ = pair(n_fft, 64, 16000)
    rate, m = 22050, 17
    tone = 2 * torch.pi * float(stft.frequencies()[m])
    z = stft(torch.cos(tone * torch.arange(4000, dtype=torch.float64) / rate), rate)[m]
    phase = tone * (stft.frame_times(len(z), rate) - n_fft / 16000 / 2)
    level = n_fft / 4  # half the sum of the window
    assert relative_error(z[5:-5], torch.polar(torch.full_like(phase, level), phase)[5:-5]) < 1e-6
    torch.testing.assert_close(stft.frame_times(50, rate), stft.frame_times(50), rtol=0, atol=1e-12)


# reconstruction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_fft", "hop", "trained"), TRAINED)
@pytest.mark.parametrize("rate", RATES + ODD_RATES)
def test_reconstruction(rate, n_fft, hop, trained):
    """Exact where F / df is a whole number of samples; elsewhere the residual that the docstring states."""
    stft, istft = pair(n_fft, hop, trained, bins="nyquist")
    x, below = noise(1, 30000), noise(1, 30000, below=0.9)
    back = lambda x: istft(stft(x, rate), rate, length=x.shape[-1])  # noqa: E731
    if (n_fft * Fraction(rate) / trained).denominator == 1:
        assert relative_error(back(x), x) < 1e-14
        assert relative_error(back(x.float()), x.float()) < 1e-6
    else:
        assert relative_error(back(x), x) < 2e-2
        assert relative_error(back(below), below) < 2e-4


@pytest.mark.parametrize("hop", [24, 25])
def test_reconstruction_is_exact_at_fractional_hops(hop):
    """12 kHz: frames of 48 samples every 18.75 or 18 samples."""
    bypass = Bypass(hop=hop).double()
    x = noise(2, 1000)
    assert relative_error(bypass(x, 12000), x) < 1e-14


def test_reconstruction_up_to_the_trained_nyquist_frequency():
    """Fixed bins at a higher rate: what the signal has below F0 / 2."""
    bypass, inner = Bypass(n_fft=512, hop=128), slice(1000, -1000)  # the mirrored ends are not band-limited
    below, white = noise(1, 20000, below=0.45), noise(1, 20000)
    assert relative_error(bypass(below, 32000)[:, inner], below[:, inner]) < 1e-6
    assert 0.65 < relative_error(bypass(white, 32000), white) < 0.75  # half of the energy is above


def test_samples_that_no_window_reaches_are_zero():
    stft, istft = pair(center=False)
    x = noise(500)
    y = istft(stft(x), length=600)
    assert y[0] == 0 and not y[500:].any()
    assert relative_error(y[1:490], x[1:490]) < 1e-9


def test_from_seconds():
    seconds = SFISTFT.from_seconds(0.032, 0.008, sample_rate=16000)
    x = noise(1, 3000)
    assert torch.equal(seconds(x, 22050), SFISTFT(512, 128, sample_rate=16000)(x, 22050))
    computed = SFIISTFT.from_seconds(2048 / 44100, 512 / 44100, 4096 / 44100, sample_rate=44100)
    assert (computed.n_fft, computed.hop_length, computed.win_length) == (4096, 512, 2048)


def test_from_seconds_need_not_be_samples_of_any_rate():
    """23.2 ms at 44.1 kHz are 1023.12 samples; at 50 kHz they are 1160 and reconstruction is exact."""
    seconds = {"window_seconds": 0.0232, "hop_seconds": 0.0058, "sample_rate": 44100, "bins": "nyquist"}
    stft, istft = SFISTFT.from_seconds(**seconds), SFIISTFT.from_seconds(**seconds)
    x = noise(1, 9000)
    assert relative_error(istft(stft(x, 50000), 50000, length=9000), x) < 1e-14
    expected = stft(band_limited(44100), 44100)
    assert relative_error(stft(band_limited(32000), 32000)[..., :300, :], expected[..., :300, :]) < 1e-6


# chirp-z ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "period", "count"), [(50, 50.0, 26), (50, 47.31, 30), (7, 100.5, 40), (200, 3.7, 5)]
)
def test_chirp_z_is_the_sum(n, period, count):
    v = torch.complex(noise(3, 90, n), noise(3, 90, n).flip(0))
    matrix = np.exp(-2j * np.pi / period * np.arange(n)[:, None] * np.arange(count))
    np.testing.assert_allclose(chirp_z(v, period, count).numpy(), v.numpy() @ matrix, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "period", "count"),
    [(2, 2.2, 2), (8, 7.3, 4), (50, 50.0, 26), (62, 61.7, 31), (401, 400.3, 201), (700, 699.9, 100)],
)
def test_the_fractional_transform_is_the_sum_and_its_adjoint(n, period, count, dtype):
    plan = fractional_plan(period, n, count, dtype)
    turns = np.arange(n)[:, None] * np.arange(count) / period
    matrix = np.exp(-2j * np.pi * (turns % 1))
    v, x = noise(3, n), torch.complex(noise(3, count), noise(3, count).flip(0))
    spectrum = analyse(v.to(dtype) * plan.correction, plan).numpy()
    signal = (synthesise(x.to(torch.promote_types(dtype, torch.complex64)), plan) * plan.correction).numpy()
    bound = 1e-6 if dtype is torch.float32 else 1e-13
    for found, expected in ((spectrum, v.numpy() @ matrix), (signal, (x.numpy() @ matrix.conj().T).real)):
        assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "period", "count"),
    [(2, 2.2, 2), (8, 7.3, 4), (50, 50.0, 26), (401, 400.3, 201), (700, 699.9, 100), (1412, 1411.2, 706)],
)
def test_the_transform_by_rows_is_the_sum_and_its_adjoint(n, period, count, dtype):
    """Counted from the middle; one and several groups of blocks."""
    plan = rows_plan(period, n, count, dtype)
    turns = (np.arange(n) - plan.middle)[:, None] * np.arange(count) / period
    matrix = np.exp(-2j * np.pi * (turns % 1))
    v, x = noise(3, n), torch.complex(noise(3, count), noise(3, count).flip(0))
    sequences = torch.zeros(3, plan.length, dtype=dtype)
    sequences[:, plan.first : plan.first + n] = v.to(dtype) * plan.correction
    spectrum = rows.analyse(sequences, plan).numpy().T
    given = x.to(torch.promote_types(dtype, torch.complex64)).T
    signal = (rows.synthesise(given, plan) * plan.correction).numpy()
    bound = 1e-6 if dtype is torch.float32 else max(1e-13, 3e-16 * n)  # the angles here are rounded, too
    for found, expected in ((spectrum, v.numpy() @ matrix), (signal, (x.numpy() @ matrix.conj().T).real)):
        assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


@pytest.mark.parametrize("bins", ["fixed", "nyquist"])
@pytest.mark.parametrize("rate", [11025, 22050, 15999, 8000.25])
def test_what_is_written_in_place_is_what_is_differentiated(rate, bins):
    """Frames some at a time, written where they lie, against all of them kept for the gradient."""
    stft, istft = pair(256, 64, bins=bins)
    x = noise(3, 9000)
    z, kept = stft(x, rate), stft(x.clone().requires_grad_(), rate)
    assert kept.requires_grad and relative_error(z, kept.detach()) < 1e-12
    y, again = istft(z, rate), istft(z.clone().requires_grad_(), rate)
    assert again.requires_grad and relative_error(y, again.detach()) < 1e-12


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "sqrt_hann", "kaiser"])
def test_windows_by_factors_are_the_windows(window):
    """Frames in the middle of a long signal, a few at a time, against the window at the instants of their samples."""
    if window == "kaiser":  # of many cosines: evaluated
        window = torch.kaiser_window(90, periodic=False, beta=9.0, dtype=torch.float64)
    stft = SFISTFT(100, 25, 90, window=window, sample_rate=8000)
    frames = stft._frames(5000, 8001.5, each=False)
    tables = FrameTables(frames, stft.window, None, noise(1))
    windows, phases = tables.windows(3000, 3010), tables.phases(3000, 3010)
    ratio = 8001.5 / 8000
    for row, k in enumerate(range(3000, 3010)):
        instants = math.ceil(k * 25 * ratio - 50 * ratio) + np.arange(frames.taps) - (k * 25 - 50) * ratio
        u = (instants - 5 * ratio) / (90 * ratio) - 0.5
        inside = (u >= -0.5) & (u < 0.5)
        expected = stft.window(torch.from_numpy(u)).numpy() * inside
        np.testing.assert_allclose(windows[row].numpy(), expected, atol=1e-9)
        angle = -2 * np.pi * instants[0] / (100 * ratio) * np.arange(frames.alive)
        np.testing.assert_allclose(phases[row].numpy(), np.exp(1j * angle), atol=1e-9)


def test_fast_lengths():
    assert [fast_length(n) for n in (1, 7, 11, 17, 121, 2823)] == [1, 8, 12, 18, 125, 2880]


# in PyTorch ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 22050, 15999])
def test_gradcheck(rate):
    stft, istft = pair(16, 4)
    x = noise(1, 50).requires_grad_()
    z = stft(x, rate).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: stft(x, rate), (x,))
    assert torch.autograd.gradcheck(lambda z: istft(z, rate, length=50), (z,))


@pytest.mark.parametrize("rate", [22050.0, 15000.0])
def test_derivative_in_the_sampling_frequency(rate):
    """Against central differences. (At a rate where a bin lies on F / 2 it comes and goes: there is none.)"""
    stft, istft = pair(60, 16)
    x, z = noise(500), stft(noise(500), rate)
    one = torch.ones((), dtype=torch.float64)
    for f in (lambda rate: torch.view_as_real(stft(x, rate)), lambda rate: istft(z, rate, length=500)):
        value, slope = torch.func.jvp(f, (one * rate,), (one,))
        assert relative_error(value, f(rate)) < 1e-12
        h = 0.02
        differences = (8 * (f(rate + h) - f(rate - h)) - (f(rate + 2 * h) - f(rate - 2 * h))) / (12 * h)
        assert relative_error(slope, differences) < 1e-6


def test_compiles_without_a_graph_break():
    bypass, x = Bypass(), noise(2, 600)
    torch._dynamo.reset()
    compiled = torch.compile(bypass, fullgraph=True, backend="aot_eager")
    for rate in (16000, 22050.0):
        with at_sample_rate(bypass, rate):
            assert relative_error(compiled(x), bypass(x)) < 1e-13
    assert relative_error(compiled(x[:, :500], 15999), bypass(x[:, :500], 15999)) < 1e-13


@pytest.mark.slow
def test_compiled_code_computes_the_same():
    bypass, x = Bypass(), noise(2, 600)
    torch._dynamo.reset()
    assert relative_error(torch.compile(bypass, fullgraph=True)(x, 22050), bypass(x, 22050)) < 1e-12


@pytest.mark.parametrize("rate", [16000, 22050])
def test_exports_and_the_program_survives_a_file(rate):
    bypass, x, file = Bypass(), noise(2, 600), io.BytesIO()
    set_sample_rate(bypass, rate)
    torch.export.save(torch.export.export(bypass, (x,)), file)
    file.seek(0)
    assert relative_error(torch.export.load(file).module()(x), bypass(x)) < 1e-13


def test_holds_no_state_and_copies():
    bypass, x = Bypass(window=torch.kaiser_window(64)), noise(1, 500)
    assert not bypass.state_dict()
    for copied in (copy.deepcopy(bypass), pickle.loads(pickle.dumps(bypass))):
        assert torch.equal(copied(x, 22050), bypass(x, 22050))


def test_built_on_the_meta_device():
    with torch.device("meta"):
        bypass = Bypass()
        assert bypass(torch.empty(2, 600), 22050).is_meta
    x = noise(1, 500)
    assert torch.equal(bypass(x, 22050), Bypass()(x, 22050))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    bypass, x = Bypass(), noise(1, 600).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = bypass(x, 22050)
    assert y.dtype == torch.float32
    assert torch.equal(y, bypass(x.float(), 22050))


@pytest.mark.parametrize("rate", [16000, 22050, 15999])
def test_maps_over_a_batch(rate):
    bypass, x = Bypass(), noise(3, 2, 600)
    assert relative_error(torch.func.vmap(lambda x: bypass(x, rate))(x), bypass(x, rate)) < 1e-13


def test_rate_reaches_layers_inside_a_model_and_explicit_wins():
    bypass, x = Bypass(), noise(1, 600)
    expected = bypass.stft(x, 22050)
    with at_sample_rate(bypass, 22050):
        assert torch.equal(bypass.stft(x), expected)
        assert bypass.stft(x, 16000).shape != expected.shape
    set_sample_rate(bypass, 22050)
    assert torch.equal(bypass.stft(x), expected)


# bad input -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast", True, [16000]])
def test_impossible_rates_are_named(rate):
    stft, istft = pair()
    for call in (
        lambda: stft(noise(500), rate),
        lambda: istft(stft(noise(500)), rate),
        lambda: pair(rate=rate),
    ):
        with pytest.raises(InputError, match="sample_rate"):
            call()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_fft": 0}, "n_fft .* 0"),
        ({"n_fft": 64.0}, "n_fft .* 64.0"),
        ({"n_fft": 3}, "0 < hop_length"),
        ({"hop_length": 65}, "got 65, 64 and 64"),
        ({"hop_length": 50, "win_length": 40}, "got 50, 40 and 64"),
        ({"win_length": 65}, "got 16, 65 and 64"),
        ({"window": "welch"}, "'welch'"),
        ({"window": torch.ones(63)}, "win_length 64"),
        ({"bins": "all"}, "'all'"),
        ({"pad_mode": "mirror"}, "'mirror'"),
    ],
)
def test_impossible_transforms_are_named(options, named):
    with pytest.raises(InputError, match=named):
        SFISTFT(**{"n_fft": 64, "sample_rate": 16000} | options)


def test_windows_that_cannot_be_inverted_are_named():
    with pytest.raises(InputError, match="64 samples every 64"):
        SFIISTFT(64, 64, sample_rate=16000)
    SFIISTFT(64, 64, window="rectangular", sample_rate=16000)


@pytest.mark.parametrize("seconds", [0, -0.1, float("nan"), "long"])
def test_impossible_durations_are_named(seconds):
    with pytest.raises(InputError, match="seconds"):
        SFISTFT.from_seconds(0.01, seconds, sample_rate=16000)


@pytest.mark.parametrize(
    ("x", "rate", "named"),
    [
        (torch.zeros(500, dtype=torch.int16), 16000, "int16"),
        (torch.zeros(500, dtype=torch.complex64), 16000, "complex64"),
        (torch.zeros(()), 16000, r"\(\)"),
        (torch.zeros(0), 16000, "0 samples"),
        (torch.zeros(32), 16000, "takes 32 from them"),
        (torch.zeros(500), 499, "499 Hz is too low"),
    ],
)
def test_impossible_signals_are_named(x, rate, named):
    with pytest.raises(InputError, match=named):
        SFISTFT(64, sample_rate=16000)(x, rate)


def test_a_signal_shorter_than_a_frame_is_named():
    with pytest.raises(InputError, match=r"63 samples .* shorter"):
        SFISTFT(64, center=False, sample_rate=16000)(torch.zeros(63))
    assert SFISTFT(64, pad_mode="constant", sample_rate=16000)(torch.zeros(1)).shape == (33, 1)


@pytest.mark.parametrize(
    ("z", "length", "named"),
    [
        (torch.zeros(33, 9), None, "float32"),
        (torch.zeros(33, 0, dtype=torch.complex64), None, r"\(33, 0\)"),
        (torch.zeros(32, 9, dtype=torch.complex64), None, "33 features .* 32"),
        (torch.zeros(33, 9, dtype=torch.complex64), 0, "length"),
    ],
)
def test_impossible_latents_are_named(z, length, named):
    with pytest.raises(InputError, match=named):
        SFIISTFT(64, sample_rate=16000)(z, length=length)
