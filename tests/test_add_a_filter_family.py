"""The family of docs/add_a_filter_family.md, run as it stands and tested as every other."""

import re
from pathlib import Path

import pytest
import torch

from sfi_zoo.filters import FILTER_FAMILIES
from sfi_zoo.layers import SFIConv1d
from tests import test_filters
from tests.signals import band_limited, relative_error

GUIDE = (Path(__file__).parent.parent / "docs" / "add_a_filter_family.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def guide():
    """What the guide's blocks define; the family is registered for these tests only."""
    before, names = dict(FILTER_FAMILIES), {}
    for block in BLOCKS:
        exec(compile(block, "add_a_filter_family.md", "exec"), names)
    yield names
    FILTER_FAMILIES.clear()
    FILTER_FAMILIES.update(before)


def test_the_line_registers_one_family(guide):
    assert len(BLOCKS) == 2
    assert FILTER_FAMILIES["cauchy"] is guide["Cauchy"]
    assert guide["latent"].shape == (1, 64, 399)


@pytest.mark.parametrize("design", ["time", "frequency"])
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_latents_do_not_depend_on_the_rate(guide, rate, design):
    layer = SFIConv1d(1, 32, 160, 80, sample_rate=32000, filters="cauchy", design=design, taper=1.0)
    layer = layer.double().eval()
    with torch.no_grad():
        error = relative_error(layer(band_limited(rate), rate), layer(band_limited(32000), 32000))
    assert error < 1e-5


@pytest.mark.parametrize("response", ["impulse_response", "frequency_response"])
def test_it_passes_what_every_family_passes(guide, response):
    test_filters.test_responses_are_a_fourier_pair("cauchy")
    test_filters.test_responses_are_differentiable("cauchy", response)
    test_filters.test_the_response_peaks_at_the_centre("cauchy")
    test_filters.test_responses_are_computed_in_the_wider_dtype("cauchy", response)
    test_filters.test_state_dict_is_all_there_is("cauchy", response)


@pytest.mark.parametrize("family", sorted(FILTER_FAMILIES))
def test_what_a_family_may_say_is_said_of_a_real_one(family):
    """The guide's table names attributes that exist."""
    named = re.findall(r"^\| `(\w+)", GUIDE, re.MULTILINE)
    assert len(named) == 10
    assert all(hasattr(FILTER_FAMILIES[family], name) for name in named)
