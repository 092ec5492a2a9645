"""Long files and full disks, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sfi_zoo

NOISE = np.random.default_rng(0).uniform(-0.2, 0.2, (20000, 2))

SCRIPT = """
import resource, sys
import torch
from tests.half_separator import Half
from sfi_zoo.separation.files import separate_file
from sfi_zoo.separation.options import SeparationOptions
from sfi_zoo.errors import InputError
name, rate, most_bytes = sys.argv[1], int(sys.argv[2]) or None, int(sys.argv[3])
torch.set_num_threads(1)
if most_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
try:
    separate_file(Half(), name, "out", sample_rate=rate, options=SeparationOptions(4))
except InputError as error:
    print(error)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def separate(folder: Path, name: str, sample_rate: int = 0, most_bytes: int = 0) -> str:
    """Separate in a new process; what it prints is its peak memory in KiB, or its error."""
    roots = [str(Path(__file__).parent), str(Path(sfi_zoo.__file__).parents[1])]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, str(sample_rate), str(most_bytes)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
    )
    return result.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate", [0, 16000])
def test_memory_does_not_grow_with_the_length(sample_rate: int, tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 6):
        with soundfile.SoundFile(tmp_path / f"{minutes}.wav", "w", 22050, 2) as file:
            for _ in range(minutes):
                file.write(np.resize(NOISE, (22050 * 60, 2)))
        peaks.append(int(separate(tmp_path, f"{minutes}.wav", sample_rate)))
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("name", ["song.wav", "song.flac", "song.ogg", "song.mp3"])
def test_a_full_disk_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    """A limit on the size of a file stands in for the end of the disk."""
    soundfile.write(tmp_path / name, np.tile(NOISE, (10, 1)), 44100)
    error = separate(tmp_path, name, most_bytes=20_000)
    ending = {".ogg": ".wav", ".mp3": ".wav"}.get(Path(name).suffix, Path(name).suffix)
    assert error.startswith(f"out/song/vocals{ending}: cannot be written") and "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == [name]
