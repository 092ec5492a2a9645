"""Neural analog filters: the published numbers, and filters that do not depend on where they are asked."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sfi_zoo import InputError
from sfi_zoo.design import reference_taps
from sfi_zoo.filters import NeuralAnalogFrequency, NeuralAnalogTime
from sfi_zoo.layers import SFIConv1d
from tests.signals import relative_error

F0, LENGTH = 32000, 64
HERE = Path(__file__).parent / "golden" / "naf.golden.safetensors"
SHARED = Path(__file__).parents[2] / "shared" / "golden" / "naf.golden.safetensors"
GOLDEN = {name: load_file(file) for name, file in (("here", HERE), ("shared", SHARED)) if file.exists()}
CASES = [(where, key) for where, golden in GOLDEN.items() for key in golden]


def cases(start, end):
    found = [(where, key) for where, key in CASES if key.startswith(start) and key.endswith(end)]
    return pytest.mark.parametrize(("where", "key"), found, ids=[f"{w}-{k}" for w, k in found])


def published(variant, where="here", dtype=torch.float32):
    """The bank with the published parameters, loaded as they are."""
    family, extra = {
        "fd_naf": (NeuralAnalogFrequency, {}),
        "td_naf": (NeuralAnalogTime, {"duration": LENGTH / F0}),
    }[variant]
    bank = family(32, sample_rate=F0, channels=(24, 24), num_features=16, **extra)
    start = f"{variant}.state."
    state = {key.removeprefix(start): v for key, v in GOLDEN[where].items() if key.startswith(start)}
    assert bank.load_state_dict(state).missing_keys == []
    return bank.to(dtype).eval()


def relative(ours, golden):
    return float((ours - golden).abs().max() / golden.abs().max())


@cases("fd_naf", "omega")
def test_frequency_responses_are_the_published_ones(where, key):
    bank, prefix = published("fd_naf", where), key.removesuffix("omega")
    with torch.no_grad():
        response = bank.reference_response(GOLDEN[where][key].double())
    assert relative(response.real, GOLDEN[where][prefix + "response_real"]) < 1e-5
    assert relative(response.imag, GOLDEN[where][prefix + "response_imag"]) < 1e-5


@cases(("fd_naf", "td_naf"), "encoder_weight")
def test_taps_are_the_published_ones(where, key):
    variant, rate, _ = key.split(".")
    expected = GOLDEN[where][key]
    design = "frequency" if variant == "fd_naf" else "time"
    with torch.no_grad():
        taps = reference_taps(published(variant, where), design, expected.shape[1], int(rate), F0)
    assert relative(taps, expected) < 1e-5


@cases(("fd_naf", "td_naf"), "encoder_weight")
def test_the_reference_layer_holds_the_published_taps(where, key):
    variant, rate, _ = key.split(".")
    design = "frequency" if variant == "fd_naf" else "time"
    bank = published(variant, where)
    layer = SFIConv1d(
        1,
        32,
        LENGTH,
        LENGTH // 2,
        "centered",
        sample_rate=F0,
        filters=bank,
        design=design,
        flavour="reference",
    )
    with torch.no_grad():
        weight = layer.eval().weights(int(rate))[0][0]
    assert relative(weight, GOLDEN[where][key]) < 1e-5


def test_a_response_does_not_depend_on_what_else_is_asked():
    """The published one does: GroupNorm takes its statistics over all points together."""
    bank = published("fd_naf", dtype=torch.float64)
    omega = 2 * math.pi * torch.linspace(0, 16000, 50, dtype=torch.float64)
    with torch.no_grad():
        alone, among = bank.frequency_response(omega[7:8]), bank.frequency_response(omega)[:, 7:8]
        published_alone = bank.reference_response(omega[5:15])[:, 2:3]
        published_among = bank.reference_response(omega)[:, 7:8]
    assert relative_error(alone, among) < 1e-12
    assert relative_error(published_alone, published_among) > 1e-2


def test_the_native_response_is_the_published_one_at_the_trained_rate():
    """On the 640 points that the published layer uses there."""
    bank = published("fd_naf", dtype=torch.float64)
    omega = torch.linspace(0, math.pi * F0, 640, dtype=torch.float64)
    with torch.no_grad():
        assert relative_error(bank.frequency_response(omega), bank.reference_response(omega)) < 1e-12


def test_the_native_kernel_is_the_published_one_at_the_trained_rate():
    """In level, too, and nothing is dropped."""
    layer = SFIConv1d(1, 32, LENGTH, 32, sample_rate=F0, filters=published("td_naf"), taper=0.0).eval()
    with torch.no_grad():
        assert relative(layer.weights()[0][0], GOLDEN["here"]["td_naf.32000.encoder_weight"]) < 1e-5


@pytest.mark.parametrize("variant", ["fd_naf", "td_naf"])
def test_nothing_is_kept_above_the_trained_nyquist_frequency(variant):
    bank = published(variant)
    with torch.no_grad():
        below, above = (
            bank.frequency_response(2 * math.pi * torch.linspace(*edges, 9, dtype=torch.float64))
            for edges in ((15000, 16000), (16001, 48000))
        )
    assert (below.abs().amax(0) > 0).all() and not above.any()


def test_published_training_keeps_what_lies_above():
    bank = published("fd_naf").train()
    with torch.no_grad():
        assert bank.reference_response(torch.tensor([3 * math.pi * F0])).any()


def test_parameters_trained_up_to_another_frequency_are_refused():
    bank = NeuralAnalogFrequency(4, sample_rate=16000, channels=(8,), num_features=4)
    state = bank.state_dict() | {"max_ang_freq": torch.tensor(math.pi * F0)}
    with pytest.raises(InputError, match="sample_rate=32000"):
        bank.load_state_dict(state)


def test_a_limit_of_a_bank_inside_a_model_is_not_left_over():
    bank = NeuralAnalogFrequency(4, sample_rate=F0, channels=(8,), num_features=4)
    model = torch.nn.Sequential(bank)
    state = model.state_dict() | {"0.max_ang_freq": torch.tensor(math.pi * F0)}
    assert str(model.load_state_dict(state)) == "<All keys matched successfully>"


@pytest.mark.parametrize("length", [32, 160, 640])
@pytest.mark.parametrize(
    ("family", "design"), [("neural_analog_time", "time"), ("neural_analog_frequency", "frequency")]
)
def test_untrained_filters_keep_the_level_of_noise(family, design, length):
    torch.manual_seed(0)
    layer = SFIConv1d(
        1, 64, length, length, sample_rate=F0, filters=family, design=design, taper=0.0, padding="centered"
    )
    with torch.no_grad():
        level = float(layer.eval()(torch.randn(1, 1, 100 * length)).std())
    assert 0.3 < level < 2


def test_the_random_frequencies_can_be_kept():
    bank = NeuralAnalogTime(4, duration=0.002, sample_rate=8000, train_features=False)
    assert [name for name, p in bank.named_parameters() if not p.requires_grad] == ["RFF_param"]
