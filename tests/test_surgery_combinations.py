"""Filter in front x encoder x side path x mask x decoder x cropping x layout: every combination is right, or refused or warned of by name.

Compared at rates that `make_sfi` does not look at itself, on an exact band-limited sound ten times as loud as that of its check.
"""

import math
import warnings

import pytest
import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

from sfi_zoo import InputError, at_sample_rate, make_sfi
from tests.foreign_combinations import F0, Combination, Combined, at_random, one_by_one
from tests.signals import band_limited, relative_error
from tests.test_surgery_patterns import spectral_error

RATES = (7000, 16000)
RIGHT = 1e-4  # -80 dB
RANDOM = {"few choices": (30, 11, 0.75), "many choices": (15, 12, 0.4)}
CONVERTIBLE = {
    "front": "fir",
    "encoder": "strided twice",
    "side": "long filter",
    "decoder": "two steps",
    "crop": "residual",
}


def outputs(model: torch.nn.Module, rate: int) -> list[torch.Tensor]:
    """All that a model gives of a second of sound, time last."""
    with torch.no_grad():
        tensors = pytree.tree_leaves(model(band_limited(rate, 2400).float()))
    return [y.movedim(max(range(y.ndim), key=lambda i: y.shape[i]), -1) for y in tensors]


def error_at(converted: torch.nn.Module, rate: int, trained: list[torch.Tensor]) -> float:
    """The largest error of the spectra; infinite where a length is wrong."""
    with at_sample_rate(converted, rate):
        given = outputs(converted, rate)
    worst = 0.0
    for y, z in zip(given, trained, strict=True):
        if z.shape[-1] == 1:
            continue
        slack = 0 if z.shape[-1] == F0 else 0.02 * rate
        if y.shape[:-1] != z.shape[:-1] or abs(y.shape[-1] - z.shape[-1] * rate / F0) > slack:
            return math.inf
        whole = functional.pad(y, (0, rate - y.shape[-1])), functional.pad(z, (0, F0 - z.shape[-1]))
        worst = max(worst, spectral_error(*whole, rate))
    return worst


def check(chosen: Combination) -> str:
    """What came of it; fails where it is silently wrong."""
    model = Combined(chosen).eval()
    trained = outputs(model, F0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            converted = make_sfi(model, F0)
        except InputError as error:
            assert "fallback='resample'" in str(error) and "\n" not in str(error), error
            return "refused"
    for y, z in zip(outputs(converted, F0), trained, strict=True):
        assert relative_error(y, z) < 1e-5, chosen
    if any("is converted" in str(warning.message) for warning in told):
        return "warned"
    for rate in RATES:
        assert error_at(converted, rate, trained) < RIGHT, (chosen, rate)
    return "converted"


@pytest.mark.slow
@pytest.mark.parametrize("chosen", list(one_by_one()), ids="|".join)
def test_each_choice_alone(chosen: Combination) -> None:
    check(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("draw", RANDOM.values(), ids=RANDOM)
def test_choices_together(draw: tuple[int, int, float]) -> None:
    found = [check(chosen) for chosen in at_random(*draw)]
    assert "refused" in found and "converted" in found


def test_what_can_be_converted_is_together_too() -> None:
    plain = next(iter(one_by_one()))
    assert check(plain) == check(plain._replace(**CONVERTIBLE)) == "converted"


@pytest.mark.parametrize(
    ("place", "choice", "named"),
    [
        ("side", "argmax", "argmax.*places, which are counted in samples"),
        ("side", "energy by sum", "sum .*counted in samples"),
        ("side", "zero crossings", "slice from sample 1 on"),
        ("front", "peak", "amax"),
        ("decoder", "gain on samples", "repeat_interleave"),
    ],
)
def test_what_only_shows_in_loud_or_in_whole_numbers_is_named(place: str, choice: str, named: str) -> None:
    chosen = next(iter(one_by_one()))._replace(**{place: choice})
    with pytest.raises((InputError, UserWarning), match=named), warnings.catch_warnings():
        warnings.simplefilter("error")
        make_sfi(Combined(chosen).eval(), F0)
