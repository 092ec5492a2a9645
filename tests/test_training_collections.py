"""Collections of a data set: which there are, how often each is drawn, and a validation in which each counts the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sfi_zoo import InputError
from sfi_zoo.metrics.sdr import si_sdr
from sfi_zoo.training.augment import AugmentConfig
from sfi_zoo.training.collections import by_collection, patterns_of, track_shares
from sfi_zoo.training.excerpts import Excerpts, balanced_excerpts
from sfi_zoo.training.validation import Validation, validate
from tests.musdb_layout import RATE, STEMS, ArrayTrack

PLAIN = AugmentConfig(remix=0.0, gain_db=(0.0, 0.0), swap_channels=False, flip_sign=False)
ENGINE = SimpleNamespace(process_index=0, num_processes=1, device="cpu", reduce=lambda x, how: x)


def track(name: str, level: float, seconds: float = 1.0) -> ArrayTrack:
    return ArrayTrack(name, dict.fromkeys(STEMS, np.full((1, round(seconds * RATE)), level)))


def test_what_no_pattern_matches_is_the_last_collection():
    tracks = [track(name, 1.0) for name in ("EIF - A", "PJS - 1", "other", "PJS - 2")]
    found = by_collection(tracks, patterns_of(" PJS* , EIF*"))
    assert {p: [t.name for t in members] for p, members in found.items()} == {
        "PJS*": ["PJS - 1", "PJS - 2"],
        "EIF*": ["EIF - A"],
        "*": ["other"],
    }
    assert patterns_of("") == ("*",) and patterns_of("A*, *") == ("A*", "*")


@pytest.mark.parametrize("text", ["A*,,B*", "A*, A*", " , "])
def test_patterns_that_say_nothing_are_refused(text: str):
    with pytest.raises(InputError, match="distinct patterns"):
        patterns_of(text)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_collections_are_drawn_as_the_formula_says(temperature: float):
    """Counted over 4000 examples: 8 s of A, 1 s and 1 s of B; within four standard deviations."""
    tracks = [track("A", 0.1, 8.0), track("B 1", 0.2), track("B 2", 0.3)]
    weight = {"A": 8.0**temperature, "B": 2.0**temperature}
    expected = np.array([weight["A"], weight["B"] / 2, weight["B"] / 2]) / sum(weight.values())
    shares = track_shares(tracks, patterns_of("A*, B*"), temperature)
    np.testing.assert_allclose(shares, expected, rtol=1e-12)
    examples = Excerpts(tracks, STEMS, RATE, 0.01, 1, PLAIN, 0, 4000, shares)
    levels = torch.stack([examples[i][0, 0, 0] for i in range(4000)])
    for level, p in zip((0.1, 0.2, 0.3), expected, strict=True):
        count = int((levels - level).abs().lt(1e-3).sum())
        assert abs(count - 4000 * p) < 4 * np.sqrt(4000 * p * (1 - p))


def test_validation_takes_as_many_excerpts_of_each_collection():
    tracks = [track("A", 0.1, 20.0), track("B", 0.2, 2.0)]
    chosen = balanced_excerpts(tracks, patterns_of("A*, B*"), STEMS, RATE, 0.5, 1, 6)
    assert chosen.collections == ("A*",) * 3 + ("B*",) * 3
    assert [t.name for t, _ in chosen.places] == ["A"] * 3 + ["B"] * 3


class Scaled(torch.nn.Module):
    """Estimates that are the targets' own sum, mixed a little: figures that numpy can give, too."""

    sources = ("x", "y", "z")

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        other = mixture.roll(7, -1)
        return torch.stack([0.5 * mixture + other, mixture + 0.1 * other, 0.3 * other], 1)


class Items(list):
    collections = ("A", "A", "B", "B")


def test_figures_of_a_validation_are_means_over_heard_sources_of_each_collection():
    rng = torch.Generator().manual_seed(0)
    items = Items(torch.randn(3, 1, 400, generator=rng) for _ in range(4))
    items[2][1] = 0.0
    items[3][1:] = 0.0  # one source is all that is heard: nothing can be gained
    model = Scaled()
    found = validate(model, items, ENGINE)  # type: ignore[arg-type]
    gains: dict[str, dict[str, list[float]]] = {c: {s: [] for s in "xyz"} for c in "AB"}
    leaks = []
    for name, targets in zip(Items.collections, items, strict=True):
        mixture = targets.sum(0)
        for source, target, estimate in zip("xyz", targets, model(mixture[None])[0], strict=True):
            if target.any() and not torch.equal(target, mixture):
                gains[name][source].append(
                    float(
                        si_sdr(estimate.flatten(), target.flatten())
                        - si_sdr(mixture.flatten(), target.flatten())
                    )
                )
            elif not target.any():
                leaks.append(float(10 * torch.log10(estimate.square().sum() / mixture.square().sum())))
    means = {name: {s: np.mean(v) for s, v in by.items() if v} for name, by in gains.items()}
    assert found.gained == {name: pytest.approx(by, abs=1e-5) for name, by in means.items()}
    assert found.score == pytest.approx(
        np.mean([np.mean(list(by.values())) for by in means.values()]), abs=1e-5
    )
    flat = {name: [x for v in by.values() for x in v] for name, by in gains.items()}
    assert found.worse == pytest.approx({name: np.mean(np.array(v) < 0) for name, v in flat.items()})
    assert found.leaked_db == pytest.approx(np.mean(leaks), abs=1e-4)
    assert found.by_source["y"] == pytest.approx(means["A"]["y"], abs=1e-5)


def test_every_collection_counts_the_same_in_the_score():
    assert Validation({"A": {"x": 1.0, "y": 3.0}, "B": {"x": 8.0}}, {}, None).score == 5.0
