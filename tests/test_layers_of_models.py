"""`sfi-zoo score --layers` of every architecture, in every mode: no traceback, and nothing left without a name."""

import pytest

import sfi_zoo
from sfi_zoo.data.songs import Clip, SyntheticSongs, channels_of
from sfi_zoo.metrics.scoring.unit import Measures, records_of
from tests.tiny_separators import ARCHITECTURES, tiny

PARTS = ("vocals", "drums")


def layers(model, rate, mode, seconds=0.3):
    """The record of a song whose stems are dealt out to the model's sources."""
    songs = SyntheticSongs(1, seconds)
    parts = songs.clip(songs.names[0], PARTS, channels_of(model))

    def at(rate):
        references = parts.at(rate)[1][[i % len(PARTS) for i in range(len(model.sources))]]
        return references.sum(0), references

    (record,) = records_of(model, Clip("song", at), [(mode, float(rate))], Measures(layers=True))
    return record


@pytest.mark.parametrize("mode", ["native", "none", "resample", "fixed_masks"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_them_in_every_mode(architecture, mode):
    model = tiny(architecture)
    record = layers(model, round(0.7 * model.trained_rate), mode)
    assert "failed" not in record
    assert ("layers" in record) == (mode in ("native", "none"))
    if "layers" in record:
        parts = record["layers"]["contribution"]
        assert abs(parts["functions"]) < 1e-6 * sum(parts.values())


def test_nothing_is_left_where_parts_are_a_million_times_the_whole():
    """Open-Unmix divides by sums that are nearly silent: in float32 4 to 99 % would be rounding, under "functions"."""
    parts = layers(sfi_zoo.load("openunmix.music4").eval(), 8000, "none", 1.0)["layers"]["contribution"]
    whole = sum(parts.values())
    assert max(map(abs, parts.values())) > 1e5 * whole
    assert abs(parts["functions"]) < 1e-6 * whole
