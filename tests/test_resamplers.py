"""Resamplers as objects: one protocol; the windowed sinc against its formula, scipy, analytic signals and finite differences."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from scipy.special import i0
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from sfi_zoo import InputError
from sfi_zoo.audio.resampling import (
    RESAMPLER_TYPES,
    NoisyKernel,
    Soxr,
    Torchaudio,
    TrainableKernel,
    WindowedSinc,
    create_resampler,
    windowed_sinc,
)

FEW_PHASES = [(8000, 32000), (32000, 8000), (44100, 48000), (48000, 44100), (8000, 11025)]
MANY_PHASES = [(8000, 8000 * math.pi / 3), (8000, 2500 * math.pi), (48000, 44099), (8000.3, 12345.6)]
DOUBLE = torch.float64


def kernel(lag: np.ndarray, ratio: float, zero_crossings: int, rolloff: float, beta: float) -> np.ndarray:
    """k(u) as its docstring has it, by numpy and scipy."""
    scale = rolloff * min(1, 1 / ratio)
    position = np.minimum(np.abs(lag) / math.ceil(zero_crossings / scale), 1)
    window = (i0(beta * np.sqrt(1 - position**2)) - 1) / (i0(beta) - 1)
    return scale * np.sinc(scale * lag) * window


def dense(x: Tensor, rate_in: float, rate_out: float, length: int, **settings: float) -> Tensor:
    """y[m] = sum_n x[n] k(m F / F' - n), all of it."""
    lag = np.arange(length)[:, None] * (rate_in / rate_out) - np.arange(x.shape[-1])
    given = {"zero_crossings": 64, "rolloff": 1.0, "beta": 14.0} | settings
    return x @ torch.from_numpy(kernel(lag, rate_in / rate_out, **given)).T


def tones(rate: float, frequencies: list[float], seconds: float = 0.1) -> tuple[Tensor, Tensor]:
    """A sum of sines, and its derivative in time per second."""
    t = torch.arange(round(rate * seconds), dtype=DOUBLE) / rate
    w = 2 * math.pi * torch.tensor(frequencies, dtype=DOUBLE)[:, None]
    phase = torch.arange(len(frequencies), dtype=DOUBLE)[:, None]
    return torch.sin(w * t + phase).sum(0), (w * torch.cos(w * t + phase)).sum(0)


def level_db(error: Tensor, signal: Tensor) -> float:
    """Power of the middle half of `error` over that of `signal`."""
    middle = slice(len(error) // 4, 3 * len(error) // 4)
    return 10 * math.log10(float((error[middle].square().mean() / signal.square().mean()).detach()) + 1e-40)


# every resampler ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESAMPLER_TYPES)
@pytest.mark.parametrize(("rate_in", "rate_out"), [*FEW_PHASES, (22050, 16000)])
@pytest.mark.parametrize("time", [0, 1, 2, 999])
def test_length_is_rounded_and_axes_and_dtype_stay(name: str, rate_in: int, rate_out: int, time: int) -> None:
    y = create_resampler(name)(torch.ones(2, 3, time, dtype=torch.float16), rate_in, rate_out)
    assert y.shape == (2, 3, math.floor(time * rate_out / rate_in + 0.5))
    assert y.dtype == torch.float16


@pytest.mark.parametrize("name", RESAMPLER_TYPES)
@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 32000), (32000, 8000), (22050, 16000)])
def test_sample_0_stays_at_0_seconds(name: str, rate_in: int, rate_out: int) -> None:
    """A tone comes out as the same tone; the bound is that of torchaudio's short default kernel and of the noise."""
    x, expected = tones(rate_in, [500.0])[0], tones(rate_out, [500.0])[0]
    assert level_db(create_resampler(name)(x, rate_in, rate_out) - expected, expected) < -35


@pytest.mark.parametrize("name", RESAMPLER_TYPES)
def test_equal_rates_give_the_input_itself(name: str) -> None:
    x = torch.randn(2, 100)
    assert create_resampler(name)(x, 16000, 16000.0) is x


@pytest.mark.parametrize("name", RESAMPLER_TYPES)
def test_copies_and_pickles_resample_alike(name: str) -> None:
    resampler, x = create_resampler(name), torch.randn(200)
    for other in (copy.deepcopy(resampler), pickle.loads(pickle.dumps(resampler))):
        assert torch.equal(other(x, 8000, 11025), resampler(x, 8000, 11025))
        assert repr(other) == repr(resampler)


@pytest.mark.parametrize("name", [name for name in RESAMPLER_TYPES if name != "soxr"])
def test_gradient_reaches_the_signal(name: str) -> None:
    x = torch.randn(2, 40, dtype=DOUBLE, requires_grad=True)
    resampler = create_resampler(name)
    assert gradcheck(lambda x: resampler(x, 8000, 11025), x)


@pytest.mark.parametrize("rate_out", [32000, 44099])
def test_autocast_does_not_reach_a_resampler(rate_out: int) -> None:
    x, resampler = torch.randn(500), WindowedSinc()
    with torch.autocast("cpu", torch.bfloat16):
        inside = resampler(x, 8000, rate_out)
    assert torch.equal(inside, resampler(x, 8000, rate_out))


@pytest.mark.parametrize("name", RESAMPLER_TYPES)
@pytest.mark.parametrize("rate", [0, -8000, math.nan, math.inf, "fast", None])
def test_a_rate_that_is_none_is_refused(name: str, rate: float) -> None:
    with pytest.raises(InputError, match="rate"):
        create_resampler(name)(torch.zeros(8), 8000, rate)


@pytest.mark.parametrize("x", [torch.zeros(8, dtype=torch.int16), torch.tensor(1.0), np.zeros(8)])
def test_what_is_not_a_signal_is_refused(x: Tensor) -> None:
    with pytest.raises(InputError, match="floating-point tensor"):
        WindowedSinc()(x, 8000, 16000)


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("sinc", {}, "windowed_sinc"),
        ("windowed_sinc", {"width": 3}, "width"),
        ("windowed_sinc", {"zero_crossings": 0}, "zero_crossings"),
        ("windowed_sinc", {"rolloff": 1.1}, "rolloff"),
        ("windowed_sinc", {"window": "box"}, "box"),
        ("windowed_sinc", {"beta": 0}, "beta"),
        ("noisy_kernel", {"sigma": -1.0}, "sigma"),
        ("soxr", {"quality": "best"}, "best"),
        ("torchaudio", {"width": 3}, "width"),
    ],
)
def test_impossible_settings_are_named(name: str, options: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        create_resampler(name, **options)


@pytest.mark.parametrize("resampler", [Soxr(), Torchaudio()])
def test_a_rate_with_a_gradient_needs_the_windowed_sinc(resampler: Soxr) -> None:
    with pytest.raises(InputError, match="WindowedSinc"):
        resampler(torch.zeros(8), torch.tensor(8000.0, requires_grad=True), 16000)


def test_soxr_loses_no_gradient_silently() -> None:
    x, soxr = torch.ones(8), Soxr()
    with pytest.raises(InputError, match="WindowedSinc"):
        soxr(x.clone().requires_grad_(), 8000, 16000)
    with pytest.raises(InputError, match="WindowedSinc"):
        torch.func.jvp(lambda x: soxr(x, 8000, 16000), (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(InputError, match="WindowedSinc"):
        soxr(forward_ad.make_dual(x, x), 8000, 16000)
    with torch.no_grad():
        assert soxr(x.clone().requires_grad_(), 8000, 16000).shape == (16,)


# the windowed sinc -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate_in", "rate_out"), FEW_PHASES + MANY_PHASES)
@pytest.mark.parametrize(
    "settings", [{}, {"zero_crossings": 5, "rolloff": 0.9, "beta": 6.0}, {"zero_crossings": 2, "beta": 20.0}]
)
def test_is_its_formula(rate_in: float, rate_out: float, settings: dict) -> None:
    x = torch.randn(2, 300, dtype=DOUBLE)
    y = WindowedSinc(**settings)(x, rate_in, rate_out)
    torch.testing.assert_close(y, dense(x, rate_in, rate_out, y.shape[-1], **settings), atol=1e-11, rtol=0)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 32000), (48000, 44100)])
def test_is_scipys_polyphase_filter(rate_in: int, rate_out: int) -> None:
    up, down = rate_out // math.gcd(rate_in, rate_out), rate_in // math.gcd(rate_in, rate_out)
    reach = math.ceil(64 * max(1, down / up)) * up
    taps = kernel(np.arange(-reach, reach + 1) / up, down / up, 64, 1.0, 14.0)
    x = torch.randn(480, dtype=DOUBLE)
    expected = resample_poly(x.numpy(), up, down, window=taps / up)
    y = WindowedSinc()(x, rate_in, rate_out)
    np.testing.assert_allclose(y.numpy(), expected[: len(y)], atol=1e-12)


def test_hann_window() -> None:
    x = torch.zeros(41, dtype=DOUBLE)
    x[20] = 1
    lag = np.arange(82) / 2 - 20
    window = np.where(np.abs(lag) < 8, np.cos(np.pi * lag / 16) ** 2, 0)
    y = WindowedSinc(8, window="hann")(x, 8000, 16000)
    np.testing.assert_allclose(y.numpy(), np.sinc(lag) * window, atol=1e-14)


@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(8000, 32000), (32000, 8000), (44100, 48000), (16000, 5000 * math.pi)]
)
@pytest.mark.parametrize("position", [0.3, 0.8, 0.93])
def test_passband_error_is_as_stated(rate_in: float, rate_out: float, position: float) -> None:
    frequency = position * min(rate_in, rate_out) / 2
    x, expected = tones(rate_in, [frequency], 0.2)[0], tones(rate_out, [frequency], 0.2)[0]
    assert level_db(WindowedSinc()(x, rate_in, rate_out) - expected, expected) < -134


@pytest.mark.parametrize("rate_out", [8000, 2500 * math.pi])
@pytest.mark.parametrize("position", [1.07, 1.3, 1.9])
def test_stopband_is_as_stated(rate_out: float, position: float) -> None:
    x = tones(32000, [position * rate_out / 2], 0.2)[0]
    assert level_db(WindowedSinc()(x, 32000, rate_out), x) < -137


def test_instants_stay_exact_far_from_the_start() -> None:
    """Two minutes at 8 kHz, an irrational ratio; the last fifth of a second."""
    rate_out, frequency, seconds = 2500 * math.pi, 1000.0, 120
    start = 8000 * seconds - 3200
    x = torch.zeros(8000 * seconds, dtype=DOUBLE)
    n = torch.arange(start, len(x), dtype=DOUBLE)
    x[start:] = torch.sin(2 * math.pi * frequency / 8000 * n)
    y = WindowedSinc()(x, 8000, rate_out)[-1500:-500]
    m = torch.arange(round(rate_out * seconds), dtype=DOUBLE)[-1500:-500]
    assert float((y - torch.sin(2 * math.pi * frequency / rate_out * m)).abs().max()) < 1e-7


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, resampler = torch.randn(3, 700, dtype=DOUBLE), WindowedSinc()
    whole = [resampler(x, *rates) for rates in FEW_PHASES + MANY_PHASES]
    monkeypatch.setattr(windowed_sinc, "BLOCK", 3000)
    for rates, expected in zip(FEW_PHASES + MANY_PHASES, whole, strict=True):
        torch.testing.assert_close(resampler(x, *rates), expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("rate_out", [8000 * math.pi / 3, 32000, 11025])
def test_memory_does_not_grow_with_the_kernel_times_the_length(
    rate_out: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tensor is larger than the signal with its padding, the output in whole phases, or a block."""
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                sizes.append(result.untyped_storage().nbytes() // 8)
            if func in (
                torch.ops.aten.mm.default,
                torch.ops.aten.bmm.default,
            ):  # they copy windows that overlap
                sizes.extend(factor.numel() for factor in args)
            return result

    monkeypatch.setattr(windowed_sinc, "BLOCK", 2**15)
    x, resampler = torch.randn(40_000, dtype=DOUBLE), WindowedSinc()
    with Sizes():
        y = resampler(x, 8000, rate_out)
    assert max(sizes) <= max(2**16, 1.02 * len(y), len(x) + 4 * 128)
    assert len(y) * 128 > 40 * max(sizes)  # what it would be in one piece


# derivatives -------------------------------------------------------------------------------------------------------


def test_tensor_rates_give_the_values_of_numbers() -> None:
    x, resampler = torch.randn(300, dtype=DOUBLE), WindowedSinc()
    for rate_in, rate_out in FEW_PHASES + MANY_PHASES:
        y = resampler(x, torch.tensor(rate_in, dtype=DOUBLE), torch.tensor(rate_out, dtype=DOUBLE))
        torch.testing.assert_close(y, resampler(x, rate_in, rate_out), atol=1e-11, rtol=0)


def test_ratio_1_is_the_identity() -> None:
    x = torch.randn(1000, dtype=DOUBLE)
    y = WindowedSinc()(x, 32000, torch.tensor(32000.0, dtype=DOUBLE))
    torch.testing.assert_close(y, x, atol=1e-13, rtol=0)


@pytest.mark.parametrize("method", ["func", "forward_ad", "backward"])
def test_derivative_at_ratio_1_is_that_of_the_analog_signal(method: str) -> None:
    """y[m] = x(m / F), F = F0 e^t: dy/dt = -m / F0 x'(m / F0) at t = 0."""
    rate = 16000
    x, slope = tones(rate, [440.0, 1234.5, 3000.0, 6000.0], 0.2)
    expected = -torch.arange(len(x), dtype=DOUBLE) / rate * slope

    def resampled(t: Tensor) -> Tensor:
        return WindowedSinc()(x, rate, rate * torch.exp(t))

    zero, one = torch.tensor(0.0, dtype=DOUBLE), torch.tensor(1.0, dtype=DOUBLE)
    if method == "func":
        derivative = torch.func.jvp(resampled, (zero,), (one,))[1]
    elif method == "forward_ad":
        with forward_ad.dual_level():
            derivative = forward_ad.unpack_dual(resampled(forward_ad.make_dual(zero, one))).tangent
    else:
        zero.requires_grad_()
        y = resampled(zero)
        chosen = range(900, 2300, 100)
        derivative = expected.clone()
        derivative[list(chosen)] = torch.stack(
            [torch.autograd.grad(y[m], zero, retain_graph=True)[0] for m in chosen]
        )
    middle = slice(200, -200)
    assert (
        float((derivative - expected)[middle].abs().max() / expected.abs().max()) < 3e-7
    )  # the kernel, -134 dB


@pytest.mark.parametrize("which", ["rate_in", "rate_out"])
@pytest.mark.parametrize("rate_out", [8000.0, 8000 * math.pi / 3, 16000.0, 2500 * math.pi, 4000.0, 5333.0])
def test_derivative_in_a_rate_is_that_of_finite_differences(which: str, rate_out: float) -> None:
    """Richardson's central differences of the formula itself."""
    x = tones(8000, [300.0, 1700.0, 2950.0], 0.05)[0]
    length = len(WindowedSinc()(x, 8000, rate_out))
    sign = {"rate_in": (1, 0), "rate_out": (0, 1)}[which]

    def at(h: float) -> Tensor:
        # the side of the cutoff and the width of the kernel are those of the middle
        ratio = 8000 * (1 + h * sign[0]) / (rate_out * (1 + h * sign[1]))
        base = 8000 / rate_out
        scale = 1.0 if base <= 1 else 1 / ratio
        reach = math.ceil(64 * max(1, base))
        lag = np.arange(length)[:, None] * ratio - np.arange(len(x))
        position = np.minimum(np.abs(lag) / reach, 1)
        window = (i0(14.0 * np.sqrt(1 - position**2)) - 1) / (i0(14.0) - 1)
        return x @ torch.from_numpy(scale * np.sinc(scale * lag) * window).T

    def difference(h: float) -> Tensor:
        return (at(h) - at(-h)) / (2 * h)

    expected = (4 * difference(1e-5) - difference(2e-5)) / 3
    rates = {"rate_in": 8000.0, "rate_out": rate_out}

    def resampled(t: Tensor) -> Tensor:
        return WindowedSinc()(x, **rates | {which: rates[which] * (1 + t)})

    zero, one = torch.tensor(0.0, dtype=DOUBLE), torch.tensor(1.0, dtype=DOUBLE)
    derivative = torch.func.jvp(resampled, (zero,), (one,))[1]
    assert float((derivative - expected).norm() / expected.norm()) < 1e-7


@pytest.mark.parametrize("rate_out", [11000.123, 5000.77])
def test_gradcheck(rate_out: float) -> None:
    resampler = WindowedSinc(4, beta=6.0)
    x = torch.randn(2, 12, dtype=DOUBLE, requires_grad=True)
    ratio = torch.tensor(rate_out / 8000, dtype=DOUBLE, requires_grad=True)
    # in units of 8 kHz the steps of the check are those of the ratio
    assert gradcheck(lambda x, r: resampler(x, 1.0, r), (x, ratio), check_forward_ad=True)
    assert gradgradcheck(lambda x, r: resampler(x, 1.0, r), (x, ratio), atol=1e-4)


def test_differentiates_under_a_model_in_forward_mode() -> None:
    """What the local metric does: the tangent of model(resample(x, F, F0 e^t)) is the model's own of the derivative."""
    x = tones(8000, [500.0, 900.0], 0.05)[0]
    model = torch.nn.Conv1d(1, 3, 5).double()
    zero, one = torch.tensor(0.0, dtype=DOUBLE), torch.tensor(1.0, dtype=DOUBLE)

    def signal(t: Tensor) -> Tensor:
        return WindowedSinc()(x, 8000, 8000 * torch.exp(t))

    inner = torch.func.jvp(signal, (zero,), (one,))[1]
    whole = torch.func.jvp(lambda t: model(signal(t)[None]).tanh(), (zero,), (one,))[1]
    by_hand = torch.func.jvp(lambda s: model(s[None]).tanh(), (x,), (inner,))[1]
    torch.testing.assert_close(whole, by_hand)


@pytest.mark.parametrize("rate", [torch.tensor([8000.0]), torch.tensor(8000 + 0j)])
def test_a_tensor_that_is_no_rate_is_refused(rate: Tensor) -> None:
    with pytest.raises(InputError, match="0-dim"):
        WindowedSinc()(torch.zeros(8), rate, 16000)


# perturbed kernels -------------------------------------------------------------------------------------------------


def above_old_nyquist(x: Tensor, y: Tensor, ratio: int) -> float:
    """Power of `y` in the upper (1 - 1 / ratio) of its band, over that of `x`, in dB."""
    spectrum = torch.fft.rfft(y * torch.hann_window(len(y), dtype=DOUBLE)).abs().square()
    upper = spectrum[int(1.08 * len(spectrum) / ratio) :].sum() / (1 - 1.08 / ratio)
    power = 2 * upper / len(y) / torch.hann_window(len(y), dtype=DOUBLE).square().sum()
    return 10 * math.log10(float(power / x.square().mean()))


def test_noise_fills_the_empty_band_at_the_level_stated() -> None:
    """2 W sigma^2 in all, the share of the upper band by its width."""
    x = torch.randn(40_000, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    noisy = NoisyKernel(sigma=1e-2)
    expected = 10 * math.log10(2 * 64 * 1e-4)
    assert above_old_nyquist(x, noisy(x, 8000, 32000), 4) == pytest.approx(expected, abs=1.0)
    assert above_old_nyquist(x, WindowedSinc()(x, 8000, 32000), 4) < -120


def test_noise_is_a_function_of_the_lag() -> None:
    """The noisy resampler is a filter: linear, the same at all times, the same instants at any output rate."""
    noisy, x = NoisyKernel(sigma=0.1), torch.randn(300, dtype=DOUBLE)
    y = noisy(x, 8000, 12000)
    shifted = noisy(torch.nn.functional.pad(x, (2, 0)), 8000, 12000)
    torch.testing.assert_close(shifted[3:], y)
    torch.testing.assert_close(noisy(-3 * x, 8000, 12000), -3 * y)
    torch.testing.assert_close(noisy(x, 8000, 24000)[::2], y)


def test_noise_is_that_of_its_seed() -> None:
    x = torch.randn(300)
    y = NoisyKernel(seed=3)(x, 8000, 16000)
    assert torch.equal(NoisyKernel(seed=3)(x, 8000, 16000), y)
    assert not torch.equal(NoisyKernel(seed=4)(x, 8000, 16000), y)


def test_noise_has_one_variance_between_the_entries_of_its_table() -> None:
    x = torch.zeros(3000, dtype=DOUBLE)
    x[1500] = 1
    lags = torch.arange(3000 * 40) / 40
    noise = torch.stack([NoisyKernel(0.1, seed)(x, 1, 40) - WindowedSinc()(x, 1, 40) for seed in range(40)])
    inside = (lags - 1500).abs() < 63
    by_phase = noise[:, inside].square().mean(0)[: 40 * 125].reshape(125, 40).mean(0).sqrt()
    torch.testing.assert_close(by_phase, torch.full_like(by_phase, 0.1), atol=0, rtol=0.06)


@pytest.mark.parametrize("resampler", [NoisyKernel(0.1), TrainableKernel()])
def test_down_sampling_and_the_way_back_are_plain(resampler: NoisyKernel) -> None:
    x = torch.randn(300)
    if isinstance(resampler, TrainableKernel):
        torch.nn.init.normal_(resampler.deviation)
    assert torch.equal(resampler(x, 16000, 8000), WindowedSinc()(x, 16000, 8000))
    assert torch.equal(resampler.way_back(x, 8000, 16000), WindowedSinc()(x, 8000, 16000))
    assert not torch.allclose(resampler(x, 8000, 16000), WindowedSinc()(x, 8000, 16000))


def test_training_starts_at_the_windowed_sinc() -> None:
    x = torch.randn(300, dtype=DOUBLE)
    for rates in FEW_PHASES + MANY_PHASES:
        torch.testing.assert_close(TrainableKernel()(x, *rates), WindowedSinc()(x, *rates))


@pytest.mark.parametrize("rate_out", [32000, 8000 * math.pi / 3])
def test_the_trained_kernel_is_its_table_interpolated(rate_out: float) -> None:
    """Against numpy.interp, in few phases and in many."""
    trained, x = TrainableKernel(zero_crossings=4).double(), torch.randn(60, dtype=DOUBLE)
    torch.nn.init.normal_(trained.deviation)
    y = trained(x, 8000, rate_out)
    lag = np.arange(len(y))[:, None] * (8000 / rate_out) - np.arange(60)
    table = np.interp(lag, trained.lags, trained.deviation.detach(), left=0, right=0)
    table[lag >= 4] = 0  # a window of samples has room for one of the two ends
    expected = dense(x, 8000, rate_out, len(y), zero_crossings=4) + x @ torch.from_numpy(table).T
    torch.testing.assert_close(y, expected, atol=1e-11, rtol=0)


def test_the_kernel_is_learned() -> None:
    """Least squares by gradient descent finds the table that another kernel has."""
    target, trained = TrainableKernel(zero_crossings=2), TrainableKernel(zero_crossings=2)
    torch.nn.init.normal_(target.deviation)
    x = torch.randn(400)
    wanted = target(x, 8000, 16000).detach()
    optimiser = torch.optim.SGD(trained.parameters(), 0.3)
    for _ in range(100):
        loss = (trained(x, 8000, 16000) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-6
    assert list(trained.state_dict()) == ["deviation"]
