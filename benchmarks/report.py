"""What the benchmarks share beside timing: a line on the machine, and the page in docs/ that they fill in."""

import os
import platform
import re
import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "layers_accuracy.md"


def machine() -> str:
    """Processor, cores, threads and torch version in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"model name\s*:\s*(.*)", info.read_text())
        cpu = names[0] if names else cpu
    return (
        f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s), torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def write_section(name: str, text: str) -> None:
    """Replaces what lies between the two marks of that name on the page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, rest = PAGE.read_text().split(begin)
    PAGE.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}")


@cache
def band_limited(sample_rate: float) -> Tensor:
    """The signal of the tests, `tests/signals.py`: one second of tones below 3 kHz, (1, 1, time) float64."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from tests.signals import band_limited as signal

    return signal(sample_rate)


def relative_error(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||."""
    return float(((a - b).norm() / b.norm()).detach())
