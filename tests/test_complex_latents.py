"""Complex latents of every filter family: pairs, decoders that invert, and models that start from another's filters."""

import math

import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.data.synthetic import song
from sfi_zoo.filters import create_filters
from sfi_zoo.models.parts.initialise import start_from

RATE = 16000
SCALE = {"scale": "log1p", "corner_hz": 8000.0, "frequency_range": [30.0, 7600.0]}
MGF = SCALE | {"bandwidth": [24.0, 40.0]}
SMALL = {
    "sample_rate": RATE,
    "features": 160,
    "kernel_size": 480,
    "stride": 160,
    "bottleneck": 8,
    "hidden": 8,
    "layers": 1,
    "repeats": 1,
}
NAF = {"channels": [16, 32], "num_features": 32, "feature_bandwidth": 100.0}
FAMILIES = {
    "mgf": {"filters": "modulated_gaussian", "encoder_filters": MGF, "decoder_filters": MGF},
    "mgf frequency": {"filters": "modulated_gaussian", "design": "frequency", "encoder_filters": MGF, "decoder_filters": MGF},
    "mgf reference": {"filters": "modulated_gaussian", "flavour": "reference", "encoder_filters": MGF, "decoder_filters": MGF},
    "mgf frequency reference": {
        "filters": "modulated_gaussian",
        "flavour": "reference",
        "design": "frequency",
        "encoder_filters": MGF,
        "decoder_filters": MGF,
    },
    "gammatone": {"filters": "multi_phase_gammatone", "encoder_filters": SCALE, "decoder_filters": SCALE},
    "gammatone bands": {"filters": "multi_phase_gammatone", "encoder_filters": MGF, "decoder_filters": MGF},
    "sinc": {"filters": "sinc_bandpass", "encoder_filters": SCALE, "decoder_filters": SCALE},
    "plain": {"filters": "interpolated"},
    "naf time": {"filters": "neural_analog_time", "encoder_filters": NAF, "decoder_filters": NAF},
    "naf frequency": {
        "filters": "neural_analog_frequency",
        "design": "frequency",
        "encoder_filters": NAF,
        "decoder_filters": NAF,
    },
}  # fmt: skip
families = pytest.mark.parametrize("family", FAMILIES)


def create(family, **settings):
    torch.manual_seed(0)
    return sfi_zoo.create("convtasnet", **SMALL | FAMILIES[family] | settings)


def mixture(seconds=1.0):
    stems = song(seed=1, duration=seconds, sample_rate=RATE, channels=1)
    return torch.from_numpy(sum(stems.values())).float()[None]


def reconstruction(model, x):
    """SNR in dB of what comes back from the latent as it is."""
    with torch.no_grad():
        latent = model.encode(x)
        y = model.decode(latent.values[:, None], length=x.shape[-1])
    return float(10 * torch.log10(x.square().sum() / (y[:, 0] - x[:, 0]).square().sum()))


@families
def test_a_training_step_reaches_every_filter(family):
    model, x = create(family), mixture(0.2)
    latent = model.encode(x)
    assert latent.values.is_complex()
    assert latent.values.shape[1] == len(latent.grid.frequencies) == len(latent.grid.alive) == 160
    y = model(x)
    assert y.shape == (1, 4, 1, x.shape[-1])
    (y * torch.randn_like(y)).mean().backward()
    for name, parameter in model.named_parameters():
        if ".filters." in name:
            assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


@families
def test_every_rate_gives_the_frames_and_frequencies_of_the_trained_one(family):
    model = create(family).eval()
    with torch.no_grad():
        at_trained = model.encode(mixture(0.3)).grid
        low = model.encode(mixture(0.3)[..., ::2], RATE / 2).grid
    torch.testing.assert_close(low.frequencies, at_trained.frequencies)
    frames = min(len(low.times), len(at_trained.times))
    if (
        FAMILIES[family].get("flavour") != "reference"
    ):  # whose frames are centred on half a sample of each rate
        torch.testing.assert_close(low.times[:frames], at_trained.times[:frames])


@pytest.mark.parametrize("family", ["modulated_gaussian", "multi_phase_gammatone", "sinc_bandpass"])
def test_the_second_half_is_the_first_turned_by_a_quarter(family):
    """H_pair = -j H where the filter is narrow against its centre; so is its centre frequency."""
    bank = create_filters(family, 8, quadrature=True, frequency_range=(2000.0, 4000.0)).eval()
    f = bank.center_frequencies()
    assert torch.equal(f[:4], f[4:])
    own, pair = bank.frequency_response(2 * math.pi * f[:4]).chunk(2)
    torch.testing.assert_close(pair.diagonal(), -1j * own.diagonal(), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("modulated_gaussian", {}),
        ("multi_phase_gammatone", {}),
        ("multi_phase_gammatone", {"bandwidth": (40.0, 90.0)}),
        ("sinc_bandpass", {}),
    ],
)
def test_both_responses_of_a_pair_are_one_filter(family, options):
    """The frequency response is the Fourier transform of the impulse response, by a sum over fine samples."""
    options = options | {"quadrature": True, "gain": True, "frequency_range": (300.0, 1500.0)}
    bank = create_filters(family, 6, **options).double().eval()
    nn.init.uniform_(bank.log_gain, -1, 1)
    rate, seconds = 200_000, 0.5
    t = (torch.arange(-seconds * rate, seconds * rate, dtype=torch.float64) + 0.5) / rate
    if bank.causal:
        t = t + seconds
    f = torch.tensor([100.0, 450.0, 777.0, 1250.0, 1790.0], dtype=torch.float64)
    angle = 2 * math.pi * f[:, None] * t
    kernel = bank.impulse_response(t)
    wanted = torch.complex(kernel @ angle.cos().T, -kernel @ angle.sin().T) / rate
    tolerance = 2e-3 if family == "sinc_bandpass" else 1e-4  # falls as 1 / t
    torch.testing.assert_close(bank.frequency_response(2 * math.pi * f), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("family", ["mgf", "mgf frequency", "mgf reference", "mgf frequency reference"])
def test_the_decoder_starts_as_the_inverse_of_the_encoder(family):
    assert reconstruction(create(family).eval(), mixture()) > 25


def test_gammatones_with_bands_for_the_hop_invert_better_than_with_those_of_the_ear():
    ear, bands = (
        reconstruction(create(family).eval(), mixture()) for family in ("gammatone", "gammatone bands")
    )
    assert bands > 15 > ear + 5


@pytest.mark.parametrize(("family", "gain"), [("gammatone", 1), ("gammatone bands", 1), ("sinc", 0.8)])
def test_other_pairs_come_back_at_their_level(family, gain):
    """Bands that are wide against the hop alias, and a short window blurs the edges of a sinc."""
    x, model = mixture(), create(family).eval()
    with torch.no_grad():
        y = model.decode(model.encode(x).values[:, None], length=x.shape[-1])
    assert float((y * x).sum() / x.square().sum()) == pytest.approx(gain, abs=0.1)


def test_a_bank_without_gains_cannot_invert():
    with pytest.raises(InputError, match="gain=True"):
        create_filters("multi_phase_gammatone", 4, quadrature=True).set_dual_gains(10)


@pytest.mark.parametrize("training", [True, False])
def test_a_plain_model_starts_with_the_kernels_of_another(training):
    reference, model, x = create("mgf").eval(), create("plain").train(training), mixture()
    with torch.no_grad():
        model(x)  # what was designed before is forgotten
        assert start_from(model, reference) == pytest.approx({"encoder": 0, "decoder": 0}, abs=1e-12)
        wanted = reference.encode(x).values
        torch.testing.assert_close(
            model.eval().encode(x).values, wanted, rtol=0, atol=1e-6 * float(wanted.abs().max())
        )
    assert reconstruction(model, x) == pytest.approx(reconstruction(reference, x), abs=1e-3)


@pytest.mark.parametrize("family", ["mgf", "mgf frequency", "mgf reference", "mgf frequency reference"])
def test_a_bank_of_the_same_family_takes_the_parameters(family):
    reference, model = create("mgf"), create(family)
    for part in (reference.encoder, reference.decoder):
        part.filters.center_khz.data.mul_(0.99)
        part.filters.phase.data.add_(0.5)
    error = start_from(model, reference)
    for part in ("encoder", "decoder"):
        wanted = getattr(reference, part).filters.state_dict()
        for key, value in getattr(model, part).filters.state_dict().items():
            assert torch.equal(value, wanted[key]) or (key == "log_gain" and "reference" in family)
        if family != "mgf frequency reference":  # whose kernels lie half a sample beside
            assert error[part] < (1e-6 if family == "mgf" else 0.3)  # the others have another taper, or none
    assert reconstruction(model.eval(), mixture()) > 20


@pytest.mark.parametrize("family", ["naf time", "naf frequency"])
def test_neural_filters_are_the_least_squares_fit(family):
    """No step of the last layer makes the squared error smaller: its gradient vanishes against that of a random start."""
    reference, model, fresh = create("mgf"), create(family), create(family)
    error = start_from(model, reference)
    target = reference.encoder.weights()[0].detach()

    def gradient(one):
        kernels = one.encoder.weights()[0]
        last = one.encoder.filters.implicit_filter[-1]
        loss = (kernels - target).square().sum()
        return float(loss.detach().sqrt() / target.norm()), torch.autograd.grad(loss, last.weight)[0].norm()

    (reached, slope), (before, steep) = gradient(model), gradient(fresh)
    assert reached == pytest.approx(error["encoder"], rel=1e-3)
    assert reached < min(1, before)
    assert slope < 1e-3 * steep
    frozen = [key for key in fresh.state_dict() if "implicit_filter.6" not in key]
    assert all(torch.equal(fresh.state_dict()[key], model.state_dict()[key]) for key in frozen)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("plain", {"stride": 80}, "stride 80 and 160"),
        ("plain", {"latent": "relu", "features": 320}, "features 320 and 160, latent 'relu' and 'complex'"),
        ("gammatone", {}, "MultiPhaseGammatone cannot start from ModulatedGaussian"),
    ],
)
def test_a_start_that_does_not_fit_is_named(family, settings, message):
    with pytest.raises(InputError, match=message):
        start_from(create(family, **settings), create("mgf"))


def test_only_filter_banks_can_start():
    with pytest.raises(InputError, match=r"the model .* has no filter banks"):
        start_from(sfi_zoo.create("openunmix"), create("mgf"))
