"""The second reading of the LEE: against numpy, and what level, silence and a silent source do."""

import numpy as np
import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.data.songs import SyntheticSongs
from sfi_zoo.metrics import Adapted, Observation, comparison, observe, ratio_masks
from sfi_zoo.metrics.observation import ALIVE_MARGIN, band_limited
from sfi_zoo.metrics.registry import METRICS, Metric
from sfi_zoo.metrics.scoring.unit import Measures, records_of
from sfi_zoo.metrics.weighted import GATE, LEVEL, prepared
from sfi_zoo.models.base import Latent, LatentGrid
from tests.small_models import small_tasnet

WEIGHTED = ("gated_mask", "energy_predictor", "scale_invariant", "round_trip")
F, F0 = 8000.0, 16000.0
FREQUENCIES = torch.tensor([300.0, 900.0, 1800.0, 3500.0, 3700.0, 6000.0])  # 3700 is above 0.9 F / 2
KEPT = 4


def pair(seed=0, frames=9, items=2, sources=3, span=6.0):
    """What is seen at F and at F0: complex latents whose cells differ by `span` powers of ten, a last source that is faint."""
    rng = np.random.default_rng(seed)

    def one(rate):
        shape = (items, len(FREQUENCIES), frames)
        z = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * 10 ** rng.uniform(-span / 2, 0, shape)
        m = rng.uniform(size=(items, sources, len(FREQUENCIES), frames)) * 10 ** rng.uniform(
            -3, 0, (items, sources, 1, frames)
        )
        m[:, -1] *= 1e-7
        times = torch.arange(frames, dtype=torch.float64) / 100
        grid = LatentGrid(times, FREQUENCIES, rate / 2 > FREQUENCIES)
        return Observation(Latent(torch.from_numpy(z), grid), torch.from_numpy(m), rate)

    return one(F), one(F0)


def by_numpy(name, seen, trained):
    """The formulas of the head of `sfi_zoo.metrics.weighted`, cell by cell."""
    z, z0 = (x.latent.values.numpy()[:, :KEPT] for x in (seen, trained))
    m, m0 = (x.masks.numpy()[:, :, :KEPT] for x in (seen, trained))
    items, sources, features, frames = m.shape
    loudest = max(
        sum(abs(z0[i, f, k]) ** 2 for f in range(features)) for i in range(items) for k in range(frames)
    )
    error = reference = 0.0
    for s in range(sources):
        a, b = [], []
        for i in range(items):
            for k in range(frames):
                heard = sum(abs(m0[i, s, f, k] * z0[i, f, k]) ** 2 for f in range(features))
                if heard <= GATE * loudest:
                    continue
                for f in range(features):
                    if name == "gated_mask":
                        if abs(z0[i, f, k]) ** 2 > GATE * loudest / features:
                            a.append(m[i, s, f, k])
                            b.append(m0[i, s, f, k])
                    elif name == "energy_predictor":
                        a.append(abs(z0[i, f, k]) * m[i, s, f, k])
                        b.append(abs(z0[i, f, k]) * m0[i, s, f, k])
                    else:
                        a.append(m[i, s, f, k] * z[i, f, k])
                        b.append(m0[i, s, f, k] * z0[i, f, k])
        a, b = np.array(a), np.array(b)
        if not len(a):
            continue
        gain = np.vdot(a, b).real / np.vdot(a, a).real if name == "scale_invariant" else 1.0
        error += np.sum(np.abs(gain * a - b) ** 2)
        reference += np.sum(np.abs(b) ** 2)
    return error / reference


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_formula_by_numpy(name, seed):
    seen, trained = pair(seed)
    assert METRICS[name].of(seen, trained, ALIVE_MARGIN).value() == pytest.approx(
        by_numpy(name, seen, trained), rel=1e-10
    )


@pytest.mark.parametrize("name", ["mask", "masked_latent", *WEIGHTED])
def test_sums_do_not_depend_on_the_blocks_they_are_had_in(name, monkeypatch):
    seen, trained = pair()
    whole = METRICS[name].of(seen, trained, ALIVE_MARGIN)
    monkeypatch.setattr(comparison, "CACHE", 1)  # one feature at a time
    trained.references.clear()
    rows = METRICS[name].of(seen, trained, ALIVE_MARGIN)
    torch.testing.assert_close(
        (rows.error, rows.reference), (whole.error, whole.reference), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("name", WEIGHTED)
def test_single_precision_is_that_of_the_values_alone(name):
    """Sums over values in float32 are those of the same values in float64, but for a rounding of each."""
    seen, trained = (
        Observation(
            Latent(x.latent.values.to(torch.complex64), x.latent.grid), x.masks.float(), x.sample_rate
        )
        for x in pair(frames=400)
    )
    exact = (
        Observation(
            Latent(x.latent.values.to(torch.complex128), x.latent.grid), x.masks.double(), x.sample_rate
        )
        for x in (seen, trained)
    )
    assert METRICS[name].of(seen, trained, ALIVE_MARGIN).value() == pytest.approx(
        METRICS[name].of(*exact, ALIVE_MARGIN).value(), rel=1e-7
    )


def changed(seen, gain=1.0, silence=0):
    """Louder, and with frames of silence at the end, where masks are as they like."""
    latent, masks = seen.latent, seen.masks
    tail = torch.zeros_like(latent.values[..., :1]).expand(-1, -1, silence)
    wild = torch.rand(
        *masks.shape[:-1], silence, generator=torch.Generator().manual_seed(1), dtype=masks.dtype
    )
    values = torch.cat([latent.values * gain, tail], -1)
    grid = LatentGrid(
        torch.arange(values.shape[-1], dtype=torch.float64) / 100, FREQUENCIES, latent.grid.alive
    )
    return Observation(Latent(values, grid), torch.cat([masks, wild], -1), seen.sample_rate)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("change", [{"gain": 1e-3}, {"silence": 50}, {"gain": 1e3, "silence": 9}])
def test_neither_level_nor_silence_changes_it(name, change):
    seen, trained = pair()
    found = METRICS[name].of(changed(seen, **change), changed(trained, **change), ALIVE_MARGIN).value()
    assert found == pytest.approx(METRICS[name].of(seen, trained, ALIVE_MARGIN).value(), rel=1e-9)


def test_silence_does_change_the_plain_mask_lee():
    seen, trained = pair()
    plain = [
        METRICS["mask"].of(changed(x, silence=n), changed(y, silence=n), ALIVE_MARGIN).value()
        for x, y in [(seen, trained)]
        for n in (0, 50)
    ]
    assert abs(plain[1] / plain[0] - 1) > 0.2


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_source_that_is_silent_does_not_count(name):
    seen, trained = pair()
    sums = METRICS[name].of(seen, trained, ALIVE_MARGIN)
    assert (
        float(sums.error[-1].sum()) == float(sums.reference[-1].sum()) == 0 < float(sums.reference[0].sum())
    )


def test_a_gain_of_each_source_is_free_in_the_scale_invariant_one_alone():
    _, trained = pair()
    louder = Observation(trained.latent, trained.masks * torch.tensor([0.5, 3.0, 1.0])[:, None, None], F)
    assert METRICS["scale_invariant"].of(louder, trained, ALIVE_MARGIN).value() < 1e-20
    assert METRICS["masked_latent"].of(louder, trained, ALIVE_MARGIN).value() > 0.1


# the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored():
    model = small_tasnet("complex", sources=("vocals", "drums", "bass", "other"))
    clip = SyntheticSongs(1, 0.5).clip("synthetic 0", model.sources, 1)
    units = [("native", 6000.0), ("resample", 6000.0), ("native", 11025.0), ("ratio_masks", 6000.0)]
    return model, clip, list(records_of(model, clip, units, Measures(round_trip=True)))


def value(record, name):
    return sum(record["lee"][name]["error"]) / sum(record["lee"][name]["reference"])


def test_a_run_has_every_metric_of_the_registry(scored):
    _, _, records = scored
    assert all(set(record["lee"]) == set(METRICS) for record in records)


def test_round_trip_is_that_of_the_signal_there_and_back_in_every_mode(scored):
    model, clip, (native, resampled, above, _) = scored
    there_and_back = Adapted(model, "resample")
    mixture = clip.at(8000.0)[0].double()
    at_f = there_and_back.from_trained(mixture, 6000.0, round(0.5 * 6000))
    back = there_and_back.to_trained(at_f, 6000.0)[..., : mixture.shape[-1]]
    seen, trained = observe(model, back[None], 8000), observe(model, mixture[None], 8000)
    seen = Observation(seen.latent, seen.masks, 6000.0)
    expected = METRICS["round_trip"].of(seen, trained, ALIVE_MARGIN).value()
    assert value(native, "round_trip") == value(resampled, "round_trip") == pytest.approx(expected, rel=1e-9)
    assert value(above, "round_trip") == value(above, "energy_predictor") == 0


def test_the_energy_weighted_predictor_sees_the_latent_without_its_upper_band(scored):
    model, clip, (native, *_) = scored
    trained = observe(model, clip.at(8000.0)[0].double()[None], 8000)
    latent = band_limited(trained.latent, 6000.0)
    with torch.no_grad():
        masks = model.predict_masks(latent)
    expected = METRICS["energy_predictor"].of(Observation(latent, masks, 6000.0), trained, ALIVE_MARGIN)
    assert value(native, "energy_predictor") == pytest.approx(expected.value(), rel=1e-9)


def test_ratio_masks_are_a_ceiling(scored):
    _, _, (native, _, _, ceiling) = scored
    best, ours = (np.mean([x for x in r["si_sdr"]["estimate"] if x is not None]) for r in (ceiling, native))
    assert best > ours + 3


def test_ratio_masks_are_the_shares_of_the_references_power(scored):
    model, clip, _ = scored
    mixture, references = (x.double() for x in clip.at(8000.0))
    latent = observe(model, mixture[None], 8000).latent
    masks = ratio_masks(model, latent, references, 8000)
    z = np.stack([observe(model, x[None], 8000).latent.values[0].numpy() for x in references])
    np.testing.assert_allclose(
        masks[0].detach().numpy(), np.abs(z) ** 2 / (np.abs(z) ** 2).sum(0), rtol=1e-6, atol=1e-9
    )


def test_a_metric_of_ones_own_that_raises_is_named(scored, monkeypatch):
    model, clip, _ = scored

    def broken(observed, trained, margin):
        raise ZeroDivisionError("of nothing")

    monkeypatch.setitem(METRICS, "broken", broken)
    (record,) = records_of(model, clip, [("native", 6000.0)], Measures())
    assert record["failed"] == "the broken LEE raised ZeroDivisionError: of nothing"


def test_a_metric_sees_one_of_three_things():
    with pytest.raises(InputError, match="round trip; got 'masks'"):
        Metric(METRICS["mask"].of, "masks")


# what level and silence do to the model ---------------------------------------------------------------------------


def test_a_prepared_signal_does_not_know_its_level_and_its_silence():
    noise = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = torch.nn.functional.pad(noise * 1e-3, (1600, 40000))  # whole frames of silence
    a, b = prepared(noise, 8000), prepared(padded, 8000)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)
    assert float(a.square().mean().sqrt()) == pytest.approx(LEVEL)


def test_silence_is_refused():
    with pytest.raises(InputError, match="silent"):
        prepared(torch.zeros(1, 100), 8000)
