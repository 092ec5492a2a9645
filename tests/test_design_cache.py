"""The design cache survives what does not change it: every path from a file, a song or a page designs once per layer and rate."""

from pathlib import Path

import pytest
import soundfile
import torch
from torch import nn

from sfi_zoo.demo.separation import OWN, separate_song
from sfi_zoo.filters import InterpolatedKernels
from sfi_zoo.layers import SFIConv1d
from sfi_zoo.layers.design_cache import DesignCache
from sfi_zoo.layers.designed import DesignedConv
from sfi_zoo.metrics import score_model
from sfi_zoo.separation.files import separate_file
from tests.small_models import small_tasnet

LAYERS = 2  # of the small Conv-TasNet: encoder and decoder


@pytest.fixture
def designs(monkeypatch):
    """The rates of all designs, in order."""
    rates = []
    original = DesignedConv._design
    monkeypatch.setattr(
        DesignedConv,
        "_design",
        lambda self, at, *given, **named: (
            rates.append((id(self), at.rate)) or original(self, at, *given, **named)
        ),
    )
    return rates


def once_per_layer(designs, *rates):
    assert sorted(rate for _, rate in designs) == sorted(LAYERS * list(rates))
    assert len(set(designs)) == len(designs)


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "in training mode"])
def test_separate_designs_once_per_rate(designs, training):
    model = small_tasnet().train(training)
    for rate in (8000, 11025, 8000, 11025):
        model.separate(torch.randn(2, rate // 4), rate)
    once_per_layer(designs, 8000, 11025)
    assert model.training is training


def write(folder, count, rate=8000):
    paths = [Path(folder) / f"song {i}.wav" for i in range(count)]
    for path in paths:
        soundfile.write(path, 0.1 * torch.randn(rate // 4, 2).numpy(), rate)
    return paths


def test_a_batch_of_files_designs_once(designs, tmp_path):
    model = small_tasnet()
    for path in write(tmp_path, 3):
        separate_file(model, path, tmp_path / "stems")
    once_per_layer(designs, 8000)


def test_the_page_designs_once(designs, tmp_path):
    model = small_tasnet()
    for path in write(tmp_path, 2):
        separate_song(model, path, OWN, tmp_path)
    once_per_layer(designs, 8000)


def test_scoring_designs_once_for_all_songs(designs):
    model = small_tasnet()
    songs = [lambda rate, i=i: torch.sin(torch.arange(rate) * (0.01 + i)).repeat(3, 1) for i in (1, 2)]
    score_model(model, [8000, 12000], songs, modes=["native"])
    once_per_layer(designs, 8000, 12000)


def conv():
    return SFIConv1d(1, 4, 16, 8, sample_rate=8000).eval()


@pytest.mark.parametrize(
    ("change", "times"),
    [
        (lambda layer: layer.eval(), 1),
        (lambda layer: layer.requires_grad_(False), 1),
        (lambda layer: layer.to("cpu", torch.float32), 1),
        (lambda layer: layer.load_state_dict(layer.state_dict()), 1),
        (lambda layer: layer.train().eval(), 2),
        (lambda layer: layer.double(), 2),
        (lambda layer: layer.filters.phase.data.add_(0.1), 2),
        (lambda layer: setattr(layer.filters, "phase", nn.Parameter(layer.filters.phase + 1)), 2),
    ],
    ids=["eval again", "frozen", "same dtype", "same weights", "mode", "dtype", "weights", "new parameter"],
)
def test_what_makes_a_layer_forget(designs, change, times):
    layer = conv()
    layer.weights(11025)
    change(layer)
    layer.weights(11025)
    assert len(designs) == times


def test_a_training_step_between_two_separations_is_heard():
    model = small_tasnet().train()
    x = torch.randn(1, 2000)
    before = model.separate(x, 8000)
    with torch.no_grad():
        model.encoder.filters.phase.add_(0.5)
    assert not torch.equal(model.separate(x, 8000), before)
    assert torch.equal(model.separate(x, 8000), model.eval().separate(x, 8000))


def test_the_least_recently_used_design_leaves_first_and_the_newest_stays():
    cache, source, made = DesignCache(max_bytes=2 * 80), nn.Linear(1, 1), []

    def get(key, numbers=10):
        return cache.get(source, key, lambda: made.append(key) or torch.ones(numbers, dtype=torch.float64))

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]  # c pushed b out, which had not been used since
    assert cache.held_bytes() == 160
    get("large", 1000)
    get("large", 1000)
    assert made[-1] == "large" and made.count("large") == 1 and cache.held_bytes() == 8000


def test_centres_are_looked_for_once_and_again_after_a_change(monkeypatch):
    """Families that look for where a response peaks take an FFT of all kernels for it."""
    n, count = torch.arange(80), 0
    filters = InterpolatedKernels(2, 8000, weight=(torch.pi * n / torch.tensor([[4.0], [2.0]])).cos())
    layer = SFIConv1d(1, 2, 80, 40, sample_rate=8000, filters=filters).eval()
    find = filters.center_frequencies

    def counted():
        nonlocal count
        count += 1
        return find()

    monkeypatch.setattr(filters, "center_frequencies", counted)
    with torch.inference_mode():
        for _ in range(3):
            assert layer.center_frequencies().tolist() == pytest.approx([1000, 2000], abs=5)
        filters.weight.data.copy_(filters.weight.flip(0))
        assert layer.center_frequencies().tolist() == pytest.approx([2000, 1000], abs=5)
    assert count == 2
