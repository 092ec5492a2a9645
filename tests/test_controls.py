"""The control rows: fixed masks at the numerical floor, a model that is not adapted, at every rate and in every metric."""

import pytest
import torch

from sfi_zoo.metrics import (
    MODES,
    Adapted,
    controls,
    local_mask_lee,
    local_predictor_lee,
    mask_lee,
    masked_latent_lee,
    motion,
    observe,
    predictor_lee,
)
from tests.signals import relative_error
from tests.small_models import small_tasnet, tones

RATES = (4000, 6000, 7001, 8000, 11025, 16000, 44100, 48000)
FLOOR_DB = {torch.float64: -100, torch.float32: -60}


def wide(rate, dtype=torch.float64):
    """Tones up to 3.5 kHz or what the rate holds: the band is lost with the rate."""
    count = 40
    f = torch.linspace(150, 3500, count, dtype=torch.float64)[:, None]
    n = torch.arange(round(0.2 * rate), dtype=torch.float64) / rate
    waves = (2 * torch.pi * f * n + f).cos() * (f < 0.45 * rate)
    return (waves.sum(0) / 20)[None, None].to(dtype)


@pytest.mark.parametrize("dtype", FLOOR_DB)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("latent", ["relu", "complex"])
def test_fixed_masks_are_at_the_floor_at_every_rate(rate, dtype, latent):
    oracle = controls(small_tasnet(latent).to(dtype))["fixed_masks"]
    trained = observe(oracle, wide(8000, dtype), 8000)
    for lee in (
        mask_lee(observe(oracle, wide(rate, dtype), rate), trained),
        predictor_lee(oracle.predict_masks, trained, rate),
    ):
        assert lee.decibels() <= FLOOR_DB[dtype]


def test_fixed_masks_are_at_the_floor_in_local_form():
    oracle = controls(small_tasnet())["fixed_masks"]
    assert local_mask_lee(motion(oracle, tones(8000, 0.05))).decibels() <= -100
    trained = observe(oracle, tones(8000, 0.05), 8000)
    assert local_predictor_lee(oracle.predict_masks, trained, 6000).decibels() <= -100


def test_fixed_masks_depend_on_source_feature_and_frame():
    """A floor of constant masks would prove nothing."""
    masks = observe(controls(small_tasnet())["fixed_masks"], tones(8000, 0.2), 8000).masks
    assert torch.allclose(masks.sum(1), torch.ones_like(masks[:, 0]))
    assert min(float(masks.std(axis).mean()) for axis in (1, 2, 3)) > 0.1


def test_the_masked_latent_of_fixed_masks_are_the_error_of_its_encoder():
    model = small_tasnet("complex")
    seen, trained = (observe(controls(model)["fixed_masks"], wide(rate), rate) for rate in (16000, 8000))
    encoder = [x.latent.values[0, trained.latent.grid.frequencies < 3600] for x in (seen, trained)]
    shared = [x.masks[0][:, trained.latent.grid.frequencies < 3600] for x in (seen, trained)]
    frames = encoder[1].shape[-1]
    expected = relative_error(shared[1] * encoder[0][..., :frames], shared[1] * encoder[1]) ** 2
    assert masked_latent_lee(seen, trained).value() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rate", [6000, 16000, 44100])
def test_the_unadapted_model_scores_worst(rate):
    """On a signal that loses nothing with the rate."""
    model = small_tasnet("relu", taper=1.0, kernel_size=64)
    trained = observe(model, tones(8000, 0.2), 8000)
    seen = {mode: observe(Adapted(model, mode), tones(rate, 0.2), rate) for mode in MODES}
    lee = {mode: mask_lee(x, trained).value() for mode, x in seen.items()}
    unadapted = observe(controls(model)["unadapted"], tones(rate, 0.2), rate)
    assert mask_lee(unadapted, trained).value() == lee["none"]
    assert lee["none"] > 100 * max(lee["native"], lee["resample"])


def test_the_unadapted_model_is_worst_in_local_form():
    model = small_tasnet("relu", taper=1.0, kernel_size=64)
    native, unadapted = (
        local_mask_lee(motion(m, tones(8000, 0.2))) for m in (model, controls(model)["unadapted"])
    )
    assert unadapted.value() > 100 * native.value()
