"""The split of the local mask LEE over layers: against explicit Lie derivatives, and parts that add up to the whole."""

from types import SimpleNamespace

import pytest
import torch
from torch import func, nn

from sfi_zoo import InputError
from sfi_zoo.metrics import (
    Adapted,
    EquivariantOracle,
    Motion,
    layer_lee,
    lee_after_layers,
    local_mask_lee,
    local_predictor_lee,
    motion,
    observe,
    predictor_motion,
)
from sfi_zoo.models.base import Latent, LatentGrid, Separator
from tests.small_models import small_tasnet, tones

FRAMES, FEATURES, RATE = 30, 6, 8000


class Chain(Separator):
    """Masks of one source from twelve layers in a row."""

    config = SimpleNamespace(sources=("one",), sample_rate=RATE)

    def __init__(self, in_place=False):
        super().__init__()
        torch.manual_seed(0)
        conv = lambda i, o: nn.Conv1d(i, o, 3, padding=1)  # noqa: E731
        self.chain = nn.Sequential(
            *(nn.Tanh(), nn.GroupNorm(1, FEATURES), conv(FEATURES, 8), nn.ReLU(inplace=in_place), conv(8, 8)),
            *(
                nn.GroupNorm(2, 8),
                nn.PReLU(),
                conv(8, 8),
                nn.Tanh(),
                conv(8, FEATURES),
                nn.ReLU(),
                nn.Sigmoid(),
            ),
        ).double()

    def predict_masks(self, latent):
        return self.chain(latent.values)[:, None]


def moving(model, moves=0.0, fades=0.0):
    """A latent and slopes of noise; frames that move as those of an unadapted model, and features that fade."""
    generator = torch.Generator().manual_seed(1)
    z, slope = torch.randn(2, 2, FEATURES, FRAMES, generator=generator, dtype=torch.float64)
    k = torch.arange(FRAMES, dtype=torch.float64)
    grid = LatentGrid((k + 0.5) / 1000, torch.linspace(500, 3000, FEATURES), torch.ones(FEATURES).bool())
    masks, mask_slope = func.jvp(lambda z: model.predict_masks(Latent(z, grid)), (z,), (slope,))
    fade = fades * torch.rand(FEATURES, generator=generator, dtype=torch.float64)
    counted = torch.ones(FRAMES).bool()
    return Motion(
        Latent(z, grid),
        masks.detach(),
        slope,
        mask_slope.detach(),
        -moves * (k + 0.5),
        counted,
        fade,
        RATE,
        RATE,
    )


def explicit_parts(model, moved, fading):
    """v_0 ... v_n, forward: L h_i pushed through what follows; the first `fading` activations (z, then outputs) fade."""

    def generator(x, fade):
        return moved.carried(x) + (moved.fade[:, None] * x if fade else 0)

    def pushed(layers, x, v):
        return func.jvp(nn.Sequential(*layers), (x,), (v,))[1] if layers else v

    layers, x = list(model.chain), moved.latent.values
    parts = [pushed(layers, x, moved.latent_slope - generator(x, True))]
    for i, layer in enumerate(layers):
        y, moving_output = func.jvp(layer, (x,), (generator(x, i < fading),))
        parts.append(pushed(layers[i + 1 :], y, moving_output - generator(y, i + 1 < fading)))
        x = y
    return torch.stack([v.detach() for v in parts])


@pytest.mark.parametrize(("moves", "fades", "fading"), [(1.0, 0.0, 0), (0.0, 1.0, 3), (1.0, 1.0, 3)])
def test_parts_are_lie_derivatives_pushed_through_the_layers_behind(moves, fades, fading):
    """Features are an axis of the latent, of the outputs of tanh and of the norm, not of the first convolution's."""
    model = Chain()
    moved = moving(model, moves, fades)
    expected = explicit_parts(model, moved, fading)
    whole = expected.sum(0)
    split = layer_lee(model, moved, probes=1000, seed=2)
    assert split.names == ("encoder", *(f"chain.{i}" for i in range(12)), "functions")
    contributions = (expected * whole).sum((1, 2, 3))
    energies = expected.square().sum((1, 2, 3))
    assert torch.allclose(split.contribution[:-1], contributions, rtol=1e-9, atol=1e-10)
    assert bool(((split.energy[:-1] - energies).abs() <= 4 * split.energy_variance[:-1].sqrt() + 1e-12).all())
    assert abs(float(split.contribution[-1])) < 1e-9  # nothing is computed between these layers


@pytest.mark.parametrize("mode", ["native", "none", "resample"])
@pytest.mark.parametrize("rate", [8000, 11025])
def test_the_sum_of_the_parts_is_the_whole(mode, rate):
    """Reverse mode, part by part, against the forward mode of the local mask LEE: exactly, and by probes within their error."""
    model = Adapted(small_tasnet("complex"), mode, "windowed_sinc")
    moved = motion(model, tones(rate, 0.1, high=3500), rate)
    whole, split = local_mask_lee(moved), layer_lee(model, moved, probes=64)
    assert split.value() == pytest.approx(whole.value(), rel=1e-9)
    assert sum(split.by_layer().values()) == pytest.approx(whole.value(), rel=1e-9)
    error = float(whole.error.sum())
    assert abs(float(split.whole) - error) < 4 * float(split.whole_variance.sqrt())
    assert float(split.whole_variance.sqrt()) < 0.5 * error


def test_probes_are_unbiased():
    """The mean over many seeds of few probes: the energies are those of many probes, and the whole is the whole."""
    model = Chain()
    moved = moving(model, 1.0)
    splits = [layer_lee(model, moved, probes=2, seed=seed) for seed in range(200)]
    total = splits[0]
    for other in splits[1:]:
        total = total + other
    error = float(local_mask_lee(moved).error.sum())
    assert abs(float(total.whole) / 200 - error) < 4 * float(total.whole_variance.sqrt()) / 200
    expected = explicit_parts(model, moved, 0).square().sum((1, 2, 3))
    assert bool(
        (
            (total.energy[:-1] / 200 - expected).abs() < 4 * total.energy_variance[:-1].sqrt() / 200 + 1e-12
        ).all()
    )


def test_a_native_model_whose_band_stays_breaks_in_its_encoder_alone():
    model = small_tasnet("complex")
    parts = layer_lee(model, motion(model, tones(8000, 0.1, high=3500))).by_layer()
    assert parts.pop("encoder") > 0
    assert not any(parts.values())


def test_a_band_that_fades_breaks_the_norm_over_features_and_the_first_convolution():
    """The predictor LEE: the encoder is perfect, PReLU keeps rows apart, later layers have no features."""
    model = small_tasnet("complex", features=64)
    trained = observe(model, torch.randn(1, 1, 800, dtype=torch.float64), RATE)
    split = layer_lee(model, predictor_motion(model.predict_masks, trained, 5000))
    parts = split.by_layer()
    assert split.value() == pytest.approx(
        local_predictor_lee(model.predict_masks, trained, 5000).value(), rel=1e-9
    )
    broken = {name for name, part in parts.items() if abs(part) > 1e-4 * split.value()}
    assert broken == {"masker.norm_1", "masker.bottleneck"}


def test_an_unadapted_model_breaks_where_layers_look_along_time():
    """Frames move: a layer of one frame's width takes them as they come, up to the norms' share, a wide one does not."""
    model = Chain()
    split = layer_lee(model, moving(model, 1.0))
    energy = dict(zip(split.names, split.energy.tolist(), strict=True))
    assert energy["chain.2"] > 100 * energy["chain.5"]  # a convolution over three frames; a norm over all


def test_the_lee_after_each_layer_is_that_of_the_network_up_to_it():
    """From the latent, over the output of every layer of a chain, to the masks: explicit Lie derivatives."""
    model = Chain()
    moved = moving(model, 1.0)
    after = lee_after_layers(model, moved)
    assert list(after) == ["encoder", *(f"chain.{i}" for i in range(12)), "functions"]
    z = moved.latent.values
    for i in range(13):
        value, slope = (
            func.jvp(model.chain[:i], (z,), (moved.latent_slope,)) if i else (z, moved.latent_slope)
        )
        expected = [x.square().sum().item() for x in (slope - moved.carried(value), value)]
        assert list(after.values())[i] == pytest.approx(expected, rel=1e-9)
    assert after["functions"] == pytest.approx(
        after["chain.11"], rel=1e-12
    )  # summed twice, the order is the machine's


def test_the_lee_after_the_last_layer_is_the_whole():
    model = small_tasnet("complex")
    moved = motion(model, tones(11025, 0.1, high=3500), 11025)
    error, reference = lee_after_layers(model, moved)["functions"]
    assert error / reference == pytest.approx(local_mask_lee(moved).value(), rel=1e-9)


def test_blocks_can_be_layers():
    model = small_tasnet("linear")
    moved = motion(Adapted(model, "none"), tones(8000, 0.05, high=3000))
    names = ["masker.bottleneck", "masker.blocks.0", "masker.blocks.1", "masker.output"]
    split = layer_lee(model, moved, layers=names)
    assert split.names == ("encoder", *names, "functions")
    assert split.value() == pytest.approx(local_mask_lee(moved).value(), rel=1e-9)


class Functions(Chain):
    """No layers: a sum along frames, and a sigmoid."""

    def predict_masks(self, latent):
        summed = latent.values.cumsum(-1)
        masks = torch.sigmoid(summed)
        return masks[:, None]


def test_functions_between_layers_are_named_by_their_call_sites():
    """Each under its file, line and name, with its Lie derivative pushed through what follows: written out here."""
    model = Functions()
    moved = moving(model, 1.0)
    z, first = moved.latent.values, Functions.predict_masks.__code__.co_firstlineno
    y, slope = z.cumsum(-1), torch.sigmoid(z.cumsum(-1)) * torch.sigmoid(-z.cumsum(-1))
    parts = {
        "encoder": slope * (moved.latent_slope - moved.carried(z)).cumsum(-1),
        f"test_layerwise.py:{first + 1} cumsum": slope * (moved.carried(z).cumsum(-1) - moved.carried(y)),
        f"test_layerwise.py:{first + 2} sigmoid": slope * moved.carried(y) - moved.carried(torch.sigmoid(y)),
    }
    whole = torch.stack(list(parts.values())).sum(0)
    split = layer_lee(model, moved, call_sites=True)
    found = dict(zip(split.names, split.contribution.tolist(), strict=True))
    for name, part in parts.items():
        assert found.pop(name) == pytest.approx(float((part * whole).sum()), rel=1e-9)
    assert set(found) == {f"test_layerwise.py:{first + 3} getitem", "functions"}
    assert all(abs(rest) < 1e-9 * float((whole * whole).sum()) for rest in found.values())


@pytest.mark.parametrize("mode", ["native", "none"])
def test_call_sites_share_what_the_functions_had(mode):
    """The other parts and the whole are as without call sites, and almost nothing is left without a name."""
    model = small_tasnet("complex")
    moved = motion(Adapted(model, mode), tones(11025, 0.1, high=3500), 11025)
    plain, named = (layer_lee(model, moved, call_sites=sites) for sites in (False, True))
    before, after = plain.by_layer(), named.by_layer()
    assert named.value() == pytest.approx(plain.value(), rel=1e-9)
    sites = [name for name in after if name not in before]
    assert sites and all(".py:" in name for name in sites)
    for name in before.keys() - {"functions"}:
        assert after[name] == pytest.approx(before[name], rel=1e-9, abs=1e-12 * plain.value())
    assert abs(after["functions"]) < 1e-9 * plain.value()


def test_masks_that_do_not_see_the_latent_have_no_parts():
    oracle = EquivariantOracle(small_tasnet("linear"))
    split = layer_lee(oracle, motion(oracle, tones(8000, 0.05)))
    assert not split.contribution.any()


def test_the_passes_it_takes():
    """Two passes through the predictor, of which one ends at its first layer, and one backward pass for every probe and one more."""
    model, passes, backward = small_tasnet("complex"), [], []
    moved = motion(model, tones(11025, 0.05), 11025)
    predict, grad = model.predict_masks, torch.autograd.grad
    model.predict_masks = lambda z: passes.append(1) or predict(z)
    try:
        torch.autograd.grad = lambda *a, **k: backward.append(1) or grad(*a, **k)
        layer_lee(model, moved, probes=4)
    finally:
        torch.autograd.grad = grad
    assert (len(passes), len(backward)) == (2, 5)


def test_what_it_refuses():
    model = small_tasnet("linear")
    moved = motion(model, tones(8000, 0.05))
    with pytest.raises(InputError, match="nowhere"):
        layer_lee(model, moved, layers=["masker.nowhere"])
    with pytest.raises(InputError, match="inside"):
        layer_lee(model, moved, layers=["masker.blocks.0", "masker.blocks.0.expand"])
    with pytest.raises(InputError, match="probes"):
        layer_lee(model, moved, probes=1)
    with pytest.raises(InputError, match=r"chain\.\d.*in place"):
        layer_lee(Chain(in_place=True), moving(Chain()))
    with pytest.raises(InputError, match="cannot be added"):
        layer_lee(model, moved) + layer_lee(Chain(), moving(Chain()))
