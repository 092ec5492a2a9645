"""Many separations in one process: memory stays where it is."""

import gc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo.data.songs import SyntheticSongs
from sfi_zoo.metrics.scoring.run import Plan, score
from sfi_zoo.separation.files import separate_file
from tests.tiny_separators import ARCHITECTURES, tiny

COUNT = 1000
ALLOWED = 8  # MiB; 10 KB kept by each of the separations would be more


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_a_thousand_separations_at_many_rates_take_no_memory() -> None:
    models = [tiny(name) for name in ARCHITECTURES]
    signals = {rate: 0.1 * torch.randn(1, rate // 50) for rate in range(8000, 11000, 100)}

    def separations(rounds: range) -> None:
        for number in rounds:
            rate = 8000 if number % 4 else 8000 + 100 * (number % 30)  # now and then more than caches hold
            for model in models:
                model.separate(signals[rate], rate)

    rounds, first = COUNT // len(models), 50
    separations(range(first))
    before, curve = resident(), []
    for start in range(first, first + rounds, rounds // 10):
        separations(range(start, start + rounds // 10))
        curve.append((resident() - before) / 2**20)
    print("MiB more after each tenth:", " ".join(f"{grown:.1f}" for grown in curve))
    assert min(curve[-3:]) < ALLOWED, "what is free again is not always given back at once"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_many_files_take_no_memory_and_no_descriptors(tmp_path: Path) -> None:
    model = tiny("convtasnet")
    soundfile.write(tmp_path / "x.flac", np.random.default_rng(0).uniform(-0.5, 0.5, (400, 2)), 8000)

    def files(count: int) -> None:
        for _ in range(count):
            separate_file(model, tmp_path / "x.flac", tmp_path / "out", overwrite=True)

    files(30)
    before, descriptors = resident(), len(list(Path("/proc/self/fd").iterdir()))
    files(150)
    assert (resident() - before) / 2**20 < ALLOWED
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_two_hundred_songs_are_scored_in_the_memory_of_twenty(tmp_path: Path) -> None:
    model = tiny("convtasnet", sources=("vocals", "drums"), sample_rate=8000)
    curve: list[int] = []
    descriptors: list[int] = []

    def measured(done: int, total: int) -> None:
        if done and done % (total // 10) == 0:
            curve.append(resident())
            descriptors.append(len(list(Path("/proc/self/fd").iterdir())))

    score({"model": lambda: model}, SyntheticSongs(200, 0.5), Plan((6000,), ("native",)), tmp_path, measured)
    print("MiB at each tenth:", " ".join(f"{x / 2**20:.1f}" for x in curve))
    assert max(curve[1:]) < 1.05 * curve[0]
    assert max(descriptors[1:]) <= descriptors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "records-0.jsonl"]
