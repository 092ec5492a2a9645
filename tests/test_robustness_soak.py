"""Many separations in one process: memory stays where it is."""

import gc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo.audio.files import separate_file
from tests.tiny_separators import ARCHITECTURES, tiny

COUNT = 1000
ALLOWED = 8 * 2**20  # bytes; 10 KB kept by each of the separations would be more


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_thousand_separations_at_many_rates_take_no_memory(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    signals = {rate: 0.1 * torch.randn(1, rate // 50) for rate in range(8000, 11000, 100)}

    def separations(count: int) -> None:
        for number in range(count):
            rate = (
                8000 if number % 4 else 8000 + 100 * (number % 30)
            )  # more rates than caches hold, now and then
            model.separate(signals[rate], rate)

    separations(COUNT // len(ARCHITECTURES) // 4)
    before = resident()
    separations(COUNT // len(ARCHITECTURES))
    assert resident() - before < ALLOWED


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_many_files_take_no_memory_and_no_descriptors(tmp_path: Path) -> None:
    model = tiny("convtasnet")
    soundfile.write(tmp_path / "x.flac", np.random.default_rng(0).uniform(-0.5, 0.5, (400, 2)), 8000)

    def files(count: int) -> None:
        for _ in range(count):
            separate_file(model, tmp_path / "x.flac", tmp_path / "out")

    files(30)
    before, descriptors = resident(), len(list(Path("/proc/self/fd").iterdir()))
    files(150)
    assert resident() - before < ALLOWED
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
