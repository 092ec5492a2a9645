"""What becomes of features that are dead at a low sampling frequency: alive-aware normalisation and dead-feature fill."""

import json
import shutil

import numpy as np
import pytest
import torch

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.models.base import Latent, LatentGrid
from sfi_zoo.models.parts.dead_features import DeadFill, calibrate, treated
from sfi_zoo.models.parts.norms import NORMS, create_norm, over_alive
from tests.signals import band_limited, relative_error

SIZES = {"features": 16, "kernel_size": 320, "stride": 80, "bottleneck": 8, "hidden": 8}
MODELS = {
    "convtasnet": ("convtasnet", {"layers": 2, "repeats": 1}),
    "branches": ("convtasnet", {"layers": 2, "repeats": 1, "branches": 4, "norm_groups": 2}),
    "causal": ("convtasnet", {"layers": 2, "repeats": 1, "norm": "cumulative", "causal": True}),
    "sudormrf": ("sudormrf", {"blocks": 2, "levels": 2}),
}


def create(kind, **settings):
    torch.manual_seed(0)
    name, sizes = MODELS[kind]
    return sfi_zoo.create(name, **SIZES, **sizes, **settings).eval()


@pytest.fixture(params=MODELS)
def model(request):
    return create(request.param)


@pytest.fixture(scope="module")
def bundled():
    return sfi_zoo.load("convtasnet_mgf_native.music4")


def noise(rate, seconds=0.5, channels=1):
    return torch.randn(
        1, channels, round(rate * seconds), generator=torch.Generator().manual_seed(1), dtype=torch.float32
    )


def with_levels(model, **settings):
    """A treated copy, its levels measured on noise."""
    copy = treated(model, **settings)
    if copy.fill is not None:
        calibrate(copy, [noise(32000)[0]])
    return copy


# off, and at F0 ---------------------------------------------------------------------------------------------------------


def test_off_by_default_and_then_nothing_but_the_network(model):
    """The masks are those of the network on what it sees, to the last bit, also where features are dead."""
    latent = model.encode(noise(8000), 8000)
    assert not latent.grid.alive.all()
    assert (model.config.alive_norm, model.config.dead_fill) == (False, False)
    with torch.no_grad():
        assert torch.equal(model.predict_masks(latent), model.masker(model.seen(latent.values)))


@pytest.mark.parametrize("settings", [{"alive_norm": True}, {"dead_fill": "noise"}, {"dead_fill": "level"}])
def test_at_the_trained_rate_and_above_outputs_are_those_of_the_plain_network(model, settings):
    copy = treated(model, **settings)  # not even calibrated
    with torch.no_grad():
        for rate in (32000, 44100):
            assert torch.equal(copy(noise(rate), rate), model(noise(rate), rate))


@pytest.mark.parametrize("settings", [{"alive_norm": True}, {"dead_fill": "noise"}])
def test_the_latent_stays_the_true_one(model, settings):
    copy = with_levels(model, **settings)
    ours, plain = copy.encode(noise(8000), 8000), model.encode(noise(8000), 8000)
    assert torch.equal(ours.values, plain.values)


@pytest.mark.parametrize("settings", [{"alive_norm": True}, {"dead_fill": "noise"}, {"dead_fill": "level"}])
def test_silence_stays_silent_and_a_gain_stays_a_gain(model, settings):
    copy = with_levels(model, **settings).double()
    x = noise(8000).double()
    with torch.no_grad():
        assert not copy(0 * x, 8000).any()
        assert relative_error(copy(100 * x, 8000), 100 * copy(x, 8000)) < 1e-3


def test_a_model_saved_before_these_settings_loads_unchanged(bundled, tmp_path):
    folder = sfi_zoo.hub.BUNDLED / "convtasnet_mgf_native.music4"
    config = json.loads((folder / "config.json").read_text())
    old = {key: value for key, value in config.items() if key not in ("alive_norm", "dead_fill")}
    (tmp_path / "config.json").write_text(json.dumps(old))
    shutil.copy(folder / "model.safetensors", tmp_path)
    model = sfi_zoo.load(tmp_path)
    assert model.fill is None and not any("fill" in key for key in model.state_dict())
    x = noise(8000)
    with torch.no_grad():
        assert torch.equal(model(x, 8000), bundled(x, 8000))


# alive-aware normalisation ----------------------------------------------------------------------------------------------


def statistics(x, kind, frame, group, alive):
    """What the norm looks at: x is (channels, frames); the dead of a group do not count unless all are."""
    counted = alive[group] if alive[group].any() else np.ones_like(alive[group])
    x = x[group][counted]
    return {"global": x, "frame": x[:, frame], "cumulative": x[:, : frame + 1]}[kind]


@pytest.mark.parametrize("kind", ["global", "frame", "cumulative"])
@pytest.mark.parametrize("alive", ["110010", "110000", "000001"])
@pytest.mark.parametrize("groups", [1, 2])
def test_statistics_are_those_of_the_living(kind, alive, groups):
    """numpy, value by value; with two groups the second (or first) may hold no living channel."""
    torch.manual_seed(0)
    norm = create_norm(kind, groups, 6).double()
    mask = np.array([c == "1" for c in alive])
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6))
        norm.bias.copy_(torch.randn(6))
        x = torch.randn(2, 6, 7, dtype=torch.float64) + 3
        y = over_alive(norm, x, torch.from_numpy(mask)).numpy()
        plain = over_alive(norm, x, torch.ones(6).bool())
        assert torch.allclose(plain, norm(x), atol=1e-12)
    each = 6 // groups
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    for item, channel, frame in np.ndindex(*y.shape):
        first = channel // each * each
        seen = statistics(x[item].numpy(), kind, frame, slice(first, first + each), mask)
        z = (x[item, channel, frame].item() - seen.mean()) / np.sqrt(seen.var() + 1e-8)
        assert abs(y[item, channel, frame] - (z * weight[channel] + bias[channel])) < 1e-10


@pytest.mark.parametrize("kind", ["feature", "batch"])
def test_statistics_of_each_channel_have_nothing_to_leave_out(kind):
    norm, x = create_norm(kind, 1, 4).eval(), torch.randn(2, 4, 5)
    assert torch.equal(over_alive(norm, x, torch.tensor([True, False, True, False])), norm(x))
    assert {"feature", "batch"} < set(NORMS)


@pytest.mark.parametrize("kind", ["convtasnet", "branches", "sudormrf"])
def test_dead_features_do_not_shift_the_scale_of_the_living(kind):
    """A latent as strong in all features, half of which die: what the norm hands on for the living is nearer to that of F0."""
    plain, aware = create(kind), create(kind, alive_norm=True)
    aware.load_state_dict(plain.state_dict())
    generator = torch.Generator().manual_seed(2)
    values = torch.view_as_complex(torch.randn(1, 16, 200, 2, generator=generator))
    alive = plain.alive(8000)
    assert int(alive.sum()) == 11  # so that with two groups some of the second are dead
    grid = LatentGrid(torch.arange(200) * 0.0025, torch.zeros(16), alive)
    full = Latent(values, LatentGrid(grid.times, grid.frequencies, plain.alive()))
    low = Latent(values * alive[:, None], grid)

    def normalised(model, latent):
        """What the layer after the norm is given."""
        found = []
        model.masker.bottleneck.register_forward_pre_hook(lambda _, inputs: found.extend(inputs))
        with torch.no_grad():
            model.predict_masks(latent)
        return found[0][:, alive.repeat(found[0].shape[1] // 16)]

    reference = normalised(plain, full)
    error, without = (relative_error(normalised(m, low), reference) for m in (aware, plain))
    assert error < 0.2 * without


def test_a_signal_below_all_nyquist_frequencies_needs_no_treatment(bundled):
    """At F0 its high features are as empty as at 8 kHz: the plain norm already sees one latent, leaving zeros out makes two."""
    aware = treated(bundled, alive_norm=True)
    with torch.no_grad():
        latents = {f: bundled.encode(band_limited(f).float(), f) for f in (8000, 32000)}
        alive = latents[8000].grid.alive
        masks = [m.predict_masks(latents[f])[:, :, alive] for m in (bundled, aware) for f in (8000, 32000)]
    assert relative_error(masks[0], masks[1]) < 0.02
    assert relative_error(masks[2], masks[3]) > 5 * relative_error(masks[0], masks[1])


# dead-feature fill ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", ["complex", "relu", "linear"])
def test_the_level_of_a_feature_is_its_mean_at_the_trained_rate(latent):
    model = create("sudormrf", latent=latent, dead_fill="noise")
    waveforms = [noise(32000, 0.5, 2)[0], 0.1 * noise(32000, 1.0)[0, 0], torch.zeros(500)]
    calibrate(model, waveforms)
    values = [
        model.encode(w.reshape(1, -1, w.shape[-1])).values.abs().transpose(0, 1).flatten(1)
        for w in waveforms[:2]
    ]
    seen = torch.cat(values, 1).detach().double().numpy()
    expected = np.sqrt(seen).mean(1) if latent == "complex" else seen.mean(1)
    np.testing.assert_allclose(model.fill.level.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("latent", ["complex", "relu", "linear"])
@pytest.mark.parametrize("constant", [False, True])
def test_dead_features_get_their_level_and_the_living_stay(latent, constant):
    """Mean size l_f g_k over many frames, g_k the level of the living in each frame."""
    fill = DeadFill(4, latent, constant).eval()
    fill.level.copy_(torch.tensor([1.0, 2.0, 3.0, 0.5]))
    alive = torch.tensor([True, True, False, False])
    x = torch.ones(2, 4, 20000) * torch.tensor([3.0, 6.0, 0.0, 0.0])[:, None]
    x[..., 10000:] *= 2
    y = fill(x, alive)
    assert torch.equal(y[:, alive], x[:, alive])
    for half, gain in ((y[..., :10000], 3.0), (y[..., 10000:], 6.0)):  # (3 + 6) / (1 + 2), and twice that
        expected = gain * torch.tensor([3.0, 0.5]).expand(2, 2)
        assert torch.allclose(half[:, ~alive].abs().mean(-1), expected, rtol=0.03)
    if constant:
        assert torch.allclose(y[0, 2, :10000], torch.full((10000,), 9.0))
    elif latent != "linear":
        assert (y >= 0).all()


def test_the_noise_has_the_distribution_of_noise_in_the_latent():
    """For a complex latent: quantiles of sqrt |z|, z Gaussian, over its mean, by numpy."""
    fill = DeadFill(2, "complex").eval()
    fill.level.copy_(torch.ones(2))
    y = fill(torch.ones(1, 2, 100_000), torch.tensor([True, False]))[0, 1].numpy()
    z = np.random.default_rng(0).normal(size=(2, 1_000_000))
    expected = np.sqrt(np.hypot(*z))
    quantiles = np.linspace(0.02, 0.98, 13)
    np.testing.assert_allclose(
        np.quantile(y, quantiles), np.quantile(expected / expected.mean(), quantiles), rtol=0.02
    )


def test_the_noise_is_the_same_in_every_call_item_and_process(model):
    copy = with_levels(model, dead_fill="noise")
    x = noise(8000)
    state = torch.get_rng_state()
    with torch.no_grad():
        once, twice = copy(x, 8000), copy(torch.cat([x, x]), 8000)
    assert torch.allclose(twice, once.expand_as(twice), atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)  # nor does it disturb anyone else's


def test_in_training_the_noise_is_new():
    fill = DeadFill(2, "relu").train()
    fill.level.copy_(torch.ones(2))
    x, alive = torch.ones(1, 2, 50), torch.tensor([True, False])
    assert not torch.equal(fill(x, alive), fill(x, alive))


def test_it_comes_back_from_disk(model, tmp_path):
    copy = with_levels(model, dead_fill="noise", alive_norm=True)
    copy.save_pretrained(tmp_path / "model")
    again = sfi_zoo.load(tmp_path / "model")
    assert again.config == copy.config
    with torch.no_grad():
        assert torch.equal(again(noise(8000), 8000), copy(noise(8000), 8000))


def test_gradients_flow_through_the_living(model):
    copy = with_levels(model, dead_fill="noise", alive_norm=True).train()
    x = noise(8000).requires_grad_()
    copy(x, 8000).square().sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.any()


def test_bundled_masks_come_closer_to_those_of_the_trained_rate():
    """Songs at 8 kHz, levels from other songs: mask LEE 1 dB lower, SI-SDR no worse, without training."""
    from sfi_zoo.metrics import score_model, synthetic_songs

    bundled = sfi_zoo.load("convtasnet_mgf_base.music4")  # not trained again when rows are
    copy = treated(bundled, dead_fill="noise")
    songs = synthetic_songs(bundled.sources, 4, 4.0)
    calibrate(copy, [song.at(32000)[0] for song in songs[2:]])
    rows = [score_model(m, [8000], songs[:2], modes=["native"])[0] for m in (bundled, copy)]
    assert rows[1]["mask_lee_db"] < rows[0]["mask_lee_db"] - 1
    assert rows[1]["si_sdr_db"] > rows[0]["si_sdr_db"] - 0.1


def test_a_treatment_that_is_not_named_stays(model):
    filled = with_levels(model, dead_fill="level")
    both = treated(filled, alive_norm=True)
    assert (both.config.dead_fill, both.config.alive_norm) == ("level", True)
    assert torch.equal(both.fill.level, filled.fill.level)
    back = treated(both, alive_norm=False, dead_fill=False)
    with torch.no_grad():
        assert torch.equal(back(noise(8000), 8000), model(noise(8000), 8000))


# mistakes ---------------------------------------------------------------------------------------------------------------


def test_other_settings_are_no_treatments(model):
    with pytest.raises(InputError, match="treated takes alive_norm, dead_fill, gate_db, got features, gate"):
        treated(model, gate=-20.0, features=3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"alive_norm": "yes"}, "alive_norm must be one of False, True; got 'yes'"),
        ({"alive_norm": 1}, "alive_norm.*got 1"),
        ({"dead_fill": "zeros"}, "dead_fill must be one of False, True, noise, level; got 'zeros'"),
    ],
)
def test_settings_that_are_not_allowed_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        create("sudormrf", **settings)


def test_a_fill_without_levels_says_how_to_get_them():
    with pytest.raises(InputError, match="calibrate"):
        create("sudormrf", dead_fill=True)(noise(8000), 8000)


@pytest.mark.parametrize(
    ("waveforms", "named"),
    [
        ([], "none"),
        ([torch.zeros(2, 1000)], "not silent"),
        ([torch.zeros(1, 2, 1000)], r"\(1, 2, 1000\)"),
        ([torch.full((100,), float("nan"))], "finite"),
    ],
)
def test_audio_that_calibrates_nothing_is_refused(waveforms, named):
    with pytest.raises(InputError, match=named):
        calibrate(create("sudormrf", dead_fill=True), waveforms)


def test_a_model_without_fill_cannot_be_calibrated():
    with pytest.raises(InputError, match="no dead_fill"):
        calibrate(create("sudormrf"), [torch.ones(1000)])
