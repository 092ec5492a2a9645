"""The three LEE in finite form: the formulas, their invariances, an independent record, torchmetrics."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from sfi_zoo import InputError
from sfi_zoo.metrics import (
    Adapted,
    LEESums,
    MaskedLatentLEE,
    MaskLEE,
    Observation,
    PredictorLEE,
    mask_lee,
    masked_latent_lee,
    observe,
    predictor_lee,
    shared_features,
)
from sfi_zoo.metrics.frames import at_times, common_times, interpolate
from sfi_zoo.metrics.observation import band_limited
from sfi_zoo.models.base import Latent, LatentGrid
from tests.signals import band_limited as band_limited_signal
from tests.small_models import small_tasnet, tones


def grid(frames=6, features=4, period=0.01, top=8000.0):
    return LatentGrid(
        torch.arange(frames, dtype=torch.float64) * period,
        torch.linspace(500, top, features),
        torch.ones(features).bool(),
    )


def observation(sample_rate=32000.0, sources=2, top=3000.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(1, sources, 4, 6, generator=generator)
    return Observation(Latent(torch.randn(1, 4, 6, generator=generator), grid(top=top)), masks, sample_rate)


def three(model, waveforms, rate, mode="native"):
    """Mask, predictor and masked-latent LEE of one clip, given at F and at F0."""
    adapted = Adapted(model, mode)
    seen = observe(adapted, waveforms[0], rate)
    trained = observe(adapted, waveforms[1], model.trained_rate)
    predictor = predictor_lee(model.predict_masks, trained, rate)
    return [x.value() for x in (mask_lee(seen, trained), predictor, masked_latent_lee(seen, trained))]


# the formulas ----------------------------------------------------------------------------------------------------


def test_sums_are_taken_before_the_division():
    sums, error, reference = [], 0.0, 0.0
    for seed in range(2):
        a, b = observation(seed=seed), observation(seed=seed + 10)
        sums.append(mask_lee(a, b))
        error += np.sum((a.masks.double().numpy() - b.masks.double().numpy()) ** 2)
        reference += np.sum(b.masks.double().numpy() ** 2)
    assert (sums[0] + sums[1]).value() == pytest.approx(error / reference, rel=1e-12)


def test_only_features_alive_at_both_rates_and_below_the_margin_count():
    shared = shared_features(grid(top=8000.0), grid(top=8000.0), 8000, 32000)
    assert shared.tolist() == [True, True, False, False]  # 500, 3000 below 0.9 * 4000; 5500, 8000 not
    with pytest.raises(InputError, match="no feature"):
        shared_features(grid(), grid(), 1000, 32000)


def test_the_perfect_encoder_takes_what_lies_above_half_the_rate():
    latent = Latent(torch.ones(1, 4, 6), grid(top=8000.0))
    assert band_limited(latent, 8000).values[0, :, 0].tolist() == [1, 1, 0, 0]


def test_nested_rates_take_the_lower_one():
    """A_F A_F' = A_min(F, F')."""
    latent = Latent(torch.randn(1, 4, 6), grid(top=8000.0))
    for first, second in ((16000, 8000), (8000, 16000)):
        both = band_limited(band_limited(latent, first), second)
        assert torch.equal(both.values, band_limited(latent, 8000).values)
        assert torch.equal(both.grid.alive, band_limited(latent, 8000).grid.alive)


@pytest.mark.parametrize("mode", ["native", "none"])
@pytest.mark.parametrize("latent", ["relu", "complex"])
def test_the_record_agrees_with_numpy(tmp_path, mode, latent):
    """From dumped masks and latents, in a process that knows nothing of this package."""
    model, rate = small_tasnet(latent), 6000
    adapted = Adapted(model, mode)
    signals = {"at_f": (tones(rate, 0.1, high=2500), rate), "at_f0": (tones(8000, 0.1, high=2500), 8000)}
    with torch.no_grad():
        seen = {key: observe(adapted if key == "at_f" else model, *given) for key, given in signals.items()}
        trained = seen["at_f0"]
        sums = {
            "mask": mask_lee(seen["at_f"], trained),
            "predictor": predictor_lee(model.predict_masks, trained, rate),
            "masked_latent": masked_latent_lee(seen["at_f"], trained),
        }
        predicted = model.predict_masks(band_limited(trained.latent, rate))
    dump = {"rates": [rate, 8000], "margin": 0.9, "predicted": predicted.numpy()}
    dump["frequencies"] = trained.latent.grid.frequencies.numpy()
    for key, x in seen.items():
        dump[f"{key}_masks"], dump[f"{key}_latents"] = x.masks.numpy(), x.latent.values.numpy()
        dump[f"{key}_times"], dump[f"{key}_alive"] = x.latent.grid.times.numpy(), x.latent.grid.alive.numpy()
    np.savez(tmp_path / "dump.npz", **dump)
    script = Path(__file__).with_name("lee_by_numpy.py")
    printed = subprocess.run(
        [sys.executable, script, tmp_path / "dump.npz"], capture_output=True, text=True, check=True
    ).stdout
    expected = json.loads(printed)
    assert {key: x.value() for key, x in sums.items()} == pytest.approx(expected, rel=1e-6)


# frames ----------------------------------------------------------------------------------------------------------


def test_frames_are_brought_to_the_same_seconds():
    """A slow sinusoid over frames, read between them."""
    times = torch.arange(200, dtype=torch.float64) * 0.004
    wanted = 0.2 + torch.arange(30, dtype=torch.float64) * 0.0101
    wave = lambda t: torch.cos(2 * torch.pi * 31 * t)[None]  # noqa: E731
    assert torch.allclose(at_times(wave(times), times, wanted), wave(wanted), atol=1e-3)


def test_a_complex_feature_is_read_at_its_own_frequency():
    """An oscillation of many turns per frame."""
    period, f = 0.004, torch.tensor([440.0, 3111.0], dtype=torch.float64)
    times = torch.arange(100, dtype=torch.float64) * period
    wave = lambda t: torch.polar(1 + 0.2 * torch.cos(20 * t), 2 * torch.pi * f[:, None] * t)  # noqa: E731
    wanted = times[30:60] + 0.3 * period
    y = at_times(wave(times), times, wanted, 2 * torch.pi * f * period)
    assert torch.allclose(y, wave(wanted), atol=1e-4)


def test_constants_stay_to_the_very_ends():
    y = interpolate(torch.ones(1, 20, dtype=torch.float64), torch.tensor([0.0, 0.3, 18.9, 19.0]).double())
    assert torch.allclose(y, torch.ones_like(y), atol=1e-12)


def test_frames_within_a_microsecond_stay_as_they_are():
    values, times = torch.rand(2, 9), torch.arange(9, dtype=torch.float64) * 0.01
    assert torch.equal(at_times(values, times, times[2:5] + 5e-7), values[:, 2:5])


def test_common_times_are_those_that_both_have():
    assert len(common_times(grid(frames=6, period=0.005), grid(frames=6))) == 3  # 0, 10 and 20 of 0 ... 25 ms


# invariances -----------------------------------------------------------------------------------------------------


def test_the_identity_scores_zero():
    x = tones(8000, 0.1)
    assert three(small_tasnet(), (x, x), 8000) == [0, 0, 0]


@pytest.mark.parametrize("mode", ["native", "resample", "none"])
def test_the_gain_of_the_input_does_not_matter(mode):
    model, signals = small_tasnet("relu"), (tones(6000, 0.1, high=2500), tones(8000, 0.1, high=2500))
    loud = three(model, [100 * x for x in signals], 6000, mode)
    assert loud == pytest.approx(three(model, signals, 6000, mode), rel=1e-4)


def test_the_order_of_the_sources_does_not_matter():
    a, b, order = observation(sources=3), observation(sources=3, seed=1), [2, 0, 1]
    turned = [Observation(x.latent, x.masks[:, order], x.sample_rate) for x in (a, b)]
    for lee in (mask_lee, masked_latent_lee):
        assert lee(*turned).value() == pytest.approx(lee(a, b).value(), rel=1e-12)
        assert torch.allclose(lee(*turned).by_source(), lee(a, b).by_source()[order], rtol=1e-12)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_signal_below_both_nyquist_frequencies_is_the_floor_of_an_sfi_model(rate):
    """Nothing is lost with the rate: what is left is the aliasing of the filters' tails."""
    model = small_tasnet(
        "relu",
        32000,
        taper=1.0,
        kernel_size=160,
        stride=80,
        encoder_filters={"frequency_range": (100.0, 6000.0)},
    )
    mask, predictor, masked = three(model, (band_limited_signal(rate), band_limited_signal(32000)), rate)
    assert predictor == 0
    assert max(mask, masked) < 1e-10


# parts of the whole ----------------------------------------------------------------------------------------------


def test_bands_and_sources_add_up_to_the_whole():
    sums = mask_lee(observation(sources=3), observation(sources=3, seed=1))
    assert float(sums.by_band([1000, 2000]).sum()) == pytest.approx(sums.value(), rel=1e-12)
    assert float(sums.by_source().sum()) == pytest.approx(sums.value(), rel=1e-12)


def test_an_error_of_one_source_in_one_band_is_found_there():
    b = observation(sources=3)
    masks = b.masks.clone()
    masks[:, 1, 2] += 1  # 2167 Hz
    sums = mask_lee(Observation(b.latent, masks, 16000.0), b)
    assert (sums.by_source() > 0).tolist() == [False, True, False]
    assert (sums.by_band([1000, 2000, 2500]) > 0).tolist() == [False, False, True, False]


def test_edges_must_increase():
    with pytest.raises(InputError, match="2000"):
        mask_lee(observation(), observation()).by_band([2000, 1000])


# bad input -------------------------------------------------------------------------------------------------------


def test_the_lee_of_silence_is_refused():
    zero = torch.zeros(2, 4, dtype=torch.float64)
    with pytest.raises(InputError, match="nothing"):
        LEESums(zero, zero, torch.arange(4)).value()


def test_masks_that_are_not_finite_are_refused():
    model = small_tasnet()
    torch.nn.init.constant_(model.masker.bottleneck.weight, float("nan"))
    with pytest.raises(InputError, match="not finite"):
        observe(model, tones(8000, 0.05), 8000)


def test_masks_of_other_sources_are_refused():
    with pytest.raises(InputError, match="cannot be compared"):
        mask_lee(observation(sources=2), observation(sources=3))


# torchmetrics ----------------------------------------------------------------------------------------------------


def test_classes_accumulate_what_the_functions_sum():
    clips = [(observation(seed=i), observation(seed=i + 5)) for i in range(3)]
    for cls, lee in ((MaskLEE, mask_lee), (MaskedLatentLEE, masked_latent_lee)):
        metric = cls()
        for clip in clips:
            metric.update(*clip)
        first, *rest = (lee(*clip) for clip in clips)
        assert float(metric.compute()) == pytest.approx(sum(rest, first).value(), rel=1e-12)
        assert metric.higher_is_better is False


def test_decibels():
    linear, decibels = MaskLEE(), MaskLEE(in_decibels=True)
    for metric in (linear, decibels):
        metric.update(observation(), observation(seed=1))
    assert float(decibels.compute()) == pytest.approx(10 * np.log10(float(linear.compute())))


def test_the_predictor_metric_calls_the_predictor_once():
    model, trained, calls = small_tasnet(), None, []
    trained = observe(model, tones(8000, 0.05), 8000)
    metric = PredictorLEE()
    metric.update(lambda z: calls.append(1) or model.predict_masks(z), trained, 6000)
    assert len(calls) == 1
    assert float(metric.compute()) == pytest.approx(predictor_lee(model.predict_masks, trained, 6000).value())


def test_an_update_with_something_else_says_what_it_takes():
    with pytest.raises(InputError, match="Observation, Observation"):
        MaskLEE().update(observation())
    with pytest.raises(InputError, match="Motion"):
        MaskLEE(local=True).update(observation(), observation())


def test_an_empty_metric_is_refused():
    with pytest.raises(InputError, match="nothing"), pytest.warns(UserWarning, match="compute"):
        MaskLEE().compute()


def in_one_of_two_processes(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    metric = MaskLEE()
    for seed in range(rank, 5, 2):
        metric.update(observation(seed=seed), observation(seed=seed + 9))
    torch.save(metric.compute(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path):
    multiprocessing.spawn(in_one_of_two_processes, (str(tmp_path),), nprocs=2)
    metric = MaskLEE()
    for seed in range(5):
        metric.update(observation(seed=seed), observation(seed=seed + 9))
    for rank in range(2):
        assert float(torch.load(tmp_path / f"{rank}.pt")) == pytest.approx(float(metric.compute()), rel=1e-12)


def test_importing_the_metrics_does_not_import_torchmetrics():
    code = "import sys, sfi_zoo.metrics; assert 'torchmetrics' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_examples_in_the_descriptions():
    import doctest

    from sfi_zoo.metrics import accumulated

    result = doctest.testmod(accumulated)
    assert result.attempted > 10 and not result.failed
