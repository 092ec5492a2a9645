"""The tool that measures how silent a stem is that is not in the song, on a model whose answers are known."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tools.silent_stems import gains, levels_without, row

TOOL = Path(__file__).parents[1] / "tools" / "silent_stems.py"


class Shares:
    """Gives each of three sources a fixed share of the mixture."""

    sources = ("vocals", "drums", "bass")
    shares = (0.1, 0.01, 0.5)

    def __call__(self, waveform: Tensor, sample_rate: float) -> Tensor:
        assert waveform.ndim == 3 and sample_rate == 8000
        return torch.stack([share * waveform for share in self.shares], 1)


def test_levels_are_those_of_the_shares() -> None:
    stems = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    model: Any = Shares()
    assert levels_without(model, stems, 8000) == pytest.approx(
        {"vocals": -20, "drums": -40, "bass": -6.02}, abs=0.01
    )
    stems[1] = 0  # it is not there to be taken out
    assert set(levels_without(model, stems, 8000)) == {"vocals", "bass"}


def test_the_mixture_gains_nothing_and_quiet_sources_do_not_count() -> None:
    stems = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    stems[2] *= 1e-3
    assert gains(Shares(), stems, 8000) == pytest.approx({"vocals": 0, "drums": 0}, abs=1e-4)  # type: ignore[arg-type]


def test_a_row() -> None:
    levels = [{"vocals": -50.0, "bass": -20.0}, {"vocals": -40.0}]
    found = row("m", levels, [{"vocals": 3.0, "bass": -1.0}, {"vocals": 5.0}])
    assert found == "| `m` | -45.0 | -20.0 | -40.0 | -36.7 | 33% | 1.50 | 1 of 3 |"


def test_songs_that_are_not_there(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), str(tmp_path), "convtasnet_mgf_base.music4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and str(tmp_path) in done.stderr and "Traceback" not in done.stderr
