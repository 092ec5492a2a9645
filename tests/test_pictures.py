"""Pictures of where a LEE comes from: what the bars are."""

import sys

import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.metrics import LEESums, layer_lee, lee_after_layers, motion
from sfi_zoo.metrics.reporting.pictures import plot_bands, plot_layers, plot_sources
from tests.small_models import small_tasnet, tones


@pytest.fixture
def sums():
    error = torch.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=torch.float64)
    return LEESums(error, torch.ones(2, 3, dtype=torch.float64), torch.tensor([100.0, 600.0, 3000.0]))


def heights(axis):
    return [bar.get_height() for bar in axis.patches]


def test_bands(sums):
    (axis,) = plot_bands(sums, [500, 1000]).axes
    assert heights(axis) == pytest.approx([5 / 6, 7 / 6, 9 / 6])
    assert [x.get_text() for x in axis.get_xticklabels()] == ["< 500", "500 - 1000", "> 1000"]


def test_sources(sums):
    (axis,) = plot_sources(sums, ["vocals", "drums"]).axes
    assert heights(axis) == pytest.approx([1, 2.5])
    with pytest.raises(InputError, match="vocals"):
        plot_sources(sums, ["vocals"])


def test_layers(tmp_path):
    model = small_tasnet()
    moved = motion(model, tones(11025, 0.05), 11025)
    split, after = layer_lee(model, moved), lee_after_layers(model, moved)
    assert len(plot_layers(split).axes) == 2
    figure = plot_layers(split, after)
    left, _, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx(list(split.by_layer().values()))
    assert [x.get_text() for x in left.get_yticklabels()] == list(split.names)
    assert list(right.lines[0].get_xdata()) == pytest.approx(
        [error / reference for error, reference in after.values()]
    )
    figure.savefig(tmp_path / "layers.png")


def test_without_matplotlib_it_says_what_to_install(sums, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        plot_sources(sums, ["a", "b"])
