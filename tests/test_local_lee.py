"""The LEE in local form: Lie derivatives against finite differences of the same expressions, computed without the layers.

Here the signal is resampled by the formula of the windowed sinc, and encoded by a dense matrix of the formulas of filter and taper: both
exact at any rate, where the layers interpolate between delays at rates with many phases.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.audio.resampling import Soxr, WindowedSinc
from sfi_zoo.data.songs import SyntheticSongs, channels_of
from sfi_zoo.metrics import (
    Adapted,
    local_mask_lee,
    local_masked_latent_lee,
    local_predictor_lee,
    mask_lee,
    motion,
    observe,
    predictor_motion,
)
from sfi_zoo.metrics.frames import frame_slope, interpolate
from sfi_zoo.metrics.local import SILENCE, band_response
from sfi_zoo.models.base import Latent, LatentGrid
from tests.signals import relative_error
from tests.small_models import small_tasnet, tones
from tests.tiny_separators import tiny

SOURCE_RATE, RATE, SECONDS = 11025, 8000, 0.0202
STEP = 1e-6
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def derivative(f, step):
    """f'(0) by central differences at four steps: Richardson extrapolation, error of order step^8."""
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    return sum(w * (f(k * step) - f(-k * step)) for k, w in weights.items()) / step


def resampled(x, rate, length):
    """y[m] = sum_n x[n] s sinc(s u) w(u / W), u = m F / F' - n, s = min(1, F' / F): 64 zero crossings, Kaiser 14 less its edge."""
    ratio = SOURCE_RATE / rate
    reach = math.ceil(64 * SOURCE_RATE / RATE - 1e-9)
    u = torch.arange(length, dtype=torch.float64)[:, None] * ratio - torch.arange(x.shape[-1])
    inside = (1 - (u / reach).square()).clamp(min=0).sqrt()
    window = (torch.special.i0(14 * inside) - 1) / (np.i0(14.0) - 1)
    return x @ (torch.sinc(u / ratio) / ratio * window).T


def encoded(model, x, rate, frames, clock=1.0):
    """z_k = sum_n x[n] h(tau_k - n / F) w(tau_k - n / F) / F for frames k, as if n / F were `clock` times as long."""
    config, bank = model.config, model.encoder.filters
    taken = rate / clock
    centre = (torch.arange(frames, dtype=torch.float64) + 0.5) * config.stride / config.sample_rate
    centre -= 0.5 / config.sample_rate
    t = (centre[:, None] - torch.arange(x.shape[-1], dtype=torch.float64) / taken).flatten()
    half, ramp = (
        config.kernel_size / config.sample_rate / 2,
        config.taper * config.kernel_size / config.sample_rate / 2,
    )
    window = 0.5 * (1 - torch.cos(math.pi * ((half - t.abs()) / ramp).clamp(0, 1))) * (t.abs() <= half)
    taps = (bank.impulse_response(t) * window / taken).unflatten(-1, (frames, -1))
    z = torch.einsum("bcn,fkn->bfk", x, taps)
    return torch.complex(*z.chunk(2, dim=1)) if config.latent == "complex" else z


def smooth(model):
    """Without the kinks of PReLUs, which differences stumble over."""
    for module in model.modules():
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.ones_(module.weight)
    return model


def padded():
    return torch.nn.functional.pad(tones(SOURCE_RATE, SECONDS), (0, round(SILENCE * SOURCE_RATE)))


def within(moved, *values):
    """Features and frames that count."""
    return [x[:, :, moved.shared()][..., moved.counted] for x in values]


def lie_derivatives(moved):
    """L m and L (m z)."""
    z, slope = moved.latent.values[:, None], moved.latent_slope[:, None]
    masked = moved.lie(moved.masks * z, moved.mask_slope * z + moved.masks * slope)
    return within(moved, moved.lie(moved.masks, moved.mask_slope), masked)


@pytest.mark.parametrize("latent", ["linear", "complex"])
@torch.no_grad()
def test_native_against_finite_differences(latent):
    model = smooth(small_tasnet(latent))
    moved = motion(model, tones(SOURCE_RATE, SECONDS), SOURCE_RATE, resampler=WindowedSinc())
    length, frames = round(padded().shape[-1] * RATE / SOURCE_RATE), len(moved.latent.grid.times)

    def expression(t):
        rate = RATE * math.exp(t)
        z = encoded(model, resampled(padded(), rate, length), rate, frames)
        masks = model.predict_masks(Latent(z, moved.latent.grid))
        return torch.stack(within(moved, masks, masks * z[:, None]))

    masks, masked = derivative(expression, STEP)
    of_masks, of_masked = lie_derivatives(moved)
    assert relative_error(of_masks, masks.real) < 1e-5
    assert relative_error(of_masked, masked) < 1e-5


@torch.no_grad()
def test_unadapted_against_finite_differences():
    """Frames are brought back to their seconds; complex features at their own frequencies."""
    model = smooth(small_tasnet("complex"))
    moved = motion(Adapted(model, "none"), tones(SOURCE_RATE, SECONDS), SOURCE_RATE, resampler=WindowedSinc())
    grid, length = moved.latent.grid, round(padded().shape[-1] * RATE / SOURCE_RATE)
    k = torch.arange(len(grid.times), dtype=torch.float64)

    def expression(t):
        rate = RATE * math.exp(t)
        z = encoded(model, resampled(padded(), rate, length), rate, len(k), clock=math.exp(t))
        masks = model.predict_masks(Latent(z, grid))
        at = (grid.times * math.exp(t) - grid.times[0]) * RATE / model.config.stride  # own instant, in frames
        turns = 2 * math.pi * grid.frequencies * model.config.stride / RATE
        return torch.stack(within(moved, interpolate(masks, at), interpolate(masks * z[:, None], at, turns)))

    masks, masked = derivative(expression, STEP)
    of_masks, of_masked = lie_derivatives(moved)
    assert relative_error(of_masks, masks.real) < 1e-5
    assert relative_error(of_masked, masked) < 1e-5


@pytest.mark.parametrize("rate", [8000, 5000])
@torch.no_grad()
def test_predictor_against_finite_differences(rate):
    """A_t z = H(f; F e^t) / H(f; F0) z with the response of the resampler's low pass."""
    model = smooth(small_tasnet(features=64, encoder_filters={"frequency_range": (100.0, 3950.0)}))
    trained = observe(model, torch.randn(1, 1, 800, dtype=torch.float64), 8000)
    moved = predictor_motion(model.predict_masks, trained, rate)
    z, grid = trained.latent.values, moved.latent.grid

    def expression(t):
        response = [band_response(WindowedSinc(), grid.frequencies, f) for f in (rate * math.exp(t), 8000)]
        return model.predict_masks(Latent(z * (response[0] / response[1])[:, None], grid))

    (of_masks,) = within(moved, moved.mask_slope)
    assert relative_error(of_masks, within(moved, derivative(expression, STEP))[0]) < 1e-5
    expected = (of_masks.square().sum() / within(moved, expression(0.0))[0].square().sum()).item()
    assert local_predictor_lee(model.predict_masks, trained, rate).value() == pytest.approx(
        expected, rel=1e-6
    )


def test_the_low_pass_is_that_of_the_resampler():
    """A tone resampled up from 8 kHz keeps 1 up to 0.93 of the band; half of it is left at its end; nothing beyond 1.07."""
    response = band_response(WindowedSinc(), torch.tensor([100.0, 3700, 4000, 4300, 6000]), 8000)
    assert torch.allclose(response, torch.tensor([1, 1, 0.5, 0, 0]).double(), atol=1e-6)


@torch.no_grad()
def test_the_slope_over_frames_is_that_of_the_interpolation():
    values = torch.randn(2, 3, 50, dtype=torch.float64)
    k, step = torch.arange(2, 48, dtype=torch.float64), 1e-4
    expected = derivative(lambda t: interpolate(values, k + t), step)
    assert relative_error(frame_slope(values)[..., 2:48], expected) < 1e-9


@torch.no_grad()
def test_an_unadapted_encoder_moves_along_its_response():
    """A tone at f: the dilated filter has the response H(f e^-t), so L z = -f H'(f) exp(2 pi j f tau) / 2, at any frame."""
    model, f = small_tasnet("complex", kernel_size=64, stride=2, taper=1.0, features=8), 1000.0
    n = torch.arange(4000, dtype=torch.float64) / 8000
    moved = motion(Adapted(model, "none"), torch.cos(2 * math.pi * f * n)[None, None])
    lie = moved.lie(moved.latent.values, moved.latent_slope)[0, :, 200:300]
    t = (torch.arange(4001, dtype=torch.float64) - 2000) / 4000 * 0.008  # the kernel, finely
    real, imaginary = (
        model.encoder.filters.impulse_response(t) * torch.cos(math.pi * t / 0.008).square()
    ).chunk(2)
    analytic = torch.complex(real, imaginary)

    def response(f):
        return (analytic * torch.polar(torch.ones_like(t), -2 * math.pi * f * t)).sum(-1) * 0.008 / 4000

    def tone(f):  # cos is the sum of two rotations
        tau = moved.latent.grid.times[200:300]
        rotation = torch.polar(torch.ones_like(tau), 2 * math.pi * 1000.0 * tau)
        return (response(f)[:, None] * rotation + response(-f)[:, None] * rotation.conj()) / 2

    expected = -derivative(lambda h: tone(f * math.exp(h)), 1e-3)
    heard = expected.abs().amax(-1) > 0.1 * expected.abs().max()
    assert (
        relative_error(lie[heard], expected[heard]) < 3e-3
    )  # the slope of the interpolation, times 300 frames


@torch.no_grad()
def test_resampling_to_the_trained_rate_and_back_is_the_floor():
    model = Adapted(small_tasnet(), "resample", WindowedSinc())
    assert local_mask_lee(motion(model, tones(8000, 0.1))).decibels() < -200


def test_the_local_form_is_the_slope_of_the_finite_one():
    """LEE(F0 e^t) = t^2 LEE_local for small t: predictor of a native model, whose band fades."""
    model, t = small_tasnet(features=64), 1e-5
    trained = observe(model, torch.randn(1, 1, 800, dtype=torch.float64), 8000)
    base, local = (
        predictor_motion(model.predict_masks, trained, 6000),
        local_predictor_lee(model.predict_masks, trained, 6000),
    )
    moved = predictor_motion(model.predict_masks, trained, 6000 * math.exp(t))
    (a, b) = within(base, moved.masks, base.masks)
    assert float((a - b).square().sum() / b.square().sum()) == pytest.approx(t**2 * local.value(), rel=1e-3)


def test_masks_are_those_of_the_model():
    model, x = small_tasnet(), torch.nn.functional.pad(tones(8000, 0.05), (0, 800))
    moved, seen = motion(model, x[..., :400]), observe(model, x, 8000)
    assert relative_error(moved.masks, seen.masks) < 1e-12
    assert int(moved.counted.sum()) == 50


def test_the_order_of_the_sources_and_the_gain_do_not_matter():
    """And a second clip is added before the division."""
    model = small_tasnet("relu")
    one, loud = (motion(model, g * tones(8000, 0.05)) for g in (1, 100))
    assert local_mask_lee(loud).value() == pytest.approx(local_mask_lee(one).value(), rel=1e-4)
    assert local_masked_latent_lee(loud).value() == pytest.approx(
        local_masked_latent_lee(one).value(), rel=1e-4
    )
    other = motion(model, tones(8000, 0.05, high=3000))
    both = local_mask_lee(one) + local_mask_lee(other)
    error = sum(float(local_mask_lee(x).error.sum()) for x in (one, other))
    assert float(both.error.sum()) == pytest.approx(error)


@torch.no_grad()
def test_a_clip_at_a_higher_rate_does_not_alias_into_the_band():
    """White noise at 11025 Hz: what a low pass with its middle at F / 2 lets through would be multiplied by 2 pi F tau."""
    model = small_tasnet(kernel_size=64, taper=1.0, encoder_filters={"frequency_range": (100.0, 3950.0)})
    noise = torch.randn(1, 1, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, aliased = (
        local_mask_lee(motion(model, noise, SOURCE_RATE, resampler=r)) for r in (None, WindowedSinc())
    )
    assert ours.value() < aliased.value() / 10


def test_a_resampler_without_a_derivative_is_refused():
    with pytest.raises(InputError, match="derivative"):
        motion(small_tasnet(), tones(8000, 0.05), resampler=Soxr())


def test_float32():
    """The derivative of a model in single precision."""
    model, x = small_tasnet(), tones(8000, 0.0504)
    expected = local_mask_lee(motion(model, x)).value()
    assert local_mask_lee(motion(model.float(), x.float())).value() == pytest.approx(expected, rel=1e-3)


def test_finite_and_local_look_at_the_same_features():
    model, x = small_tasnet(), tones(8000, 0.05)
    seen = observe(model, x, 8000)
    finite, local = mask_lee(seen, seen), local_mask_lee(motion(model, x))
    assert torch.equal(finite.reference > 0, local.reference > 0)
    assert isinstance(seen.latent.grid, LatentGrid)


@pytest.mark.parametrize("architecture", ["bsrnn", "bsroformer", "convtasnet", "openunmix", "sudormrf"])
def test_every_architecture_has_a_local_lee(architecture):
    """Recurrent layers and attention too, in forward mode, in one precision and the other."""
    for dtype in (torch.float32, torch.float64):
        model = tiny(architecture).to(dtype)
        signal = tones(model.trained_rate, 0.3).to(dtype).expand(1, channels_of(model), -1)
        assert 0 <= local_mask_lee(motion(model, signal)).value() < math.inf


def test_above_the_margin_only_the_action_moves_what_the_predictor_sees():
    """P on both: what the latent does there beyond fading with the band does not enter."""
    model = small_tasnet("complex", encoder_filters={"frequency_range": (100.0, 3900.0)})
    above = ~motion(model, tones(8000, 0.2)).shared()
    same, limited = motion(model, tones(8000, 0.2)), motion(model, tones(16000, 0.2), 16000, 8000)
    assert bool(above.any()) and not bool(same.latent_slope[:, above].any())
    expected = limited.fade[above, None] * limited.latent.values[:, above]
    torch.testing.assert_close(limited.latent_slope[:, above], expected)


SEEN = {
    "convtasnet": {"latent": "complex"},
    "openunmix": {},
    "bsrnn": {},
}  # filter bank, STFT, STFT and recurrent


def song_of(model, rate, seconds):
    songs = SyntheticSongs(1, seconds)
    return songs.clip(songs.names[0], ("vocals", "drums"), channels_of(model)).at(rate)[0].double()[None]


@pytest.mark.parametrize("seconds", [0.5, 2])
@pytest.mark.parametrize("architecture", SEEN)
def test_local_is_the_limit_of_the_finite_one_where_the_band_stays(architecture, seconds, monkeypatch):
    """What moves are aliases, which turn with 2 pi F tau: t is small. These filters are sampled directly at F0 alone."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from local_lee import ratios

    model = tiny(architecture, **SEEN[architecture]).double()
    rate = float(model.trained_rate)
    (ratio,) = ratios(model, song_of(model, rate, seconds), rate, (1e-7,))
    assert ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("architecture", "mode"), [*((name, "native") for name in SEEN), ("convtasnet", "resample")]
)
def test_local_is_the_limit_of_the_finite_one_where_the_band_moves(architecture, mode, monkeypatch):
    """A clip at a higher rate than F0, limited to F0 e^t / 2."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from local_lee import ratios

    model = tiny(architecture, **SEEN[architecture]).double()
    model = Adapted(model, mode, "windowed_sinc") if mode == "resample" else model
    (ratio,) = ratios(model, song_of(model, 48000.0, 0.3), 48000.0, (1e-7,))
    assert ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("mode", ["native", "resample"])
def test_at_a_hundredth_it_is_the_finite_one_but_for_kinks(mode, monkeypatch):
    """Of a smooth predictor that minds its band finite / t^2 is within 10 % of the local form, and Richardson's figure within 1 %."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from local_lee import EXTRAPOLATED, extrapolated, ratios, without_kinks

    model = without_kinks(sfi_zoo.load("convtasnet_mgf_native.music4").double().eval())
    model = Adapted(model, mode, "windowed_sinc") if mode == "resample" else model
    clip = song_of(model, 48000.0, 0.5), 48000.0
    assert ratios(model, *clip, (EXTRAPOLATED,))[0] == pytest.approx(1, abs=0.1)
    assert extrapolated(model, *clip) == pytest.approx(1, abs=0.01)
