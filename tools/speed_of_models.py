"""How fast the bundled models separate: writes hub_configs/NAME/speed.json, which `sfi-zoo list` and `info` show.

    python tools/speed_of_models.py                 # all of them
    python tools/speed_of_models.py 'bsrnn*'

12 s of stereo noise at 44.1 kHz, one chunk, as files are separated, on one CPU thread; the least CPU time of several rounds, in which all
models take turns. A figure is of one machine and compares models, no more.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

import sfi_zoo
from sfi_zoo.hub.bundled import BUNDLED, list_models
from sfi_zoo.separation.chunks import separate
from sfi_zoo.separation.options import FILE_DEFAULTS
from sfi_zoo.whole_files import write_text

SECONDS, RATE, CHANNELS = 12, 44100, 2


def processor() -> str:
    """Its name, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measures, and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pattern", nargs="?", default="*")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signal = 0.05 * torch.randn(CHANNELS, SECONDS * RATE, generator=torch.Generator().manual_seed(0))
    models = {name: sfi_zoo.load(name) for name in list_models(arguments.pattern)}
    least = dict.fromkeys(models, float("inf"))
    for _ in range(arguments.rounds + 1):  # filters are designed in the first
        for name, model in models.items():
            start = time.process_time()
            separate(model, signal, RATE, FILE_DEFAULTS)
            least[name] = min(least[name], time.process_time() - start)
    for name, seconds in least.items():
        record = {
            "real_time": round(SECONDS / seconds, 2),
            "sample_rate": RATE,
            "channels": CHANNELS,
            "threads": 1,
            "processor": processor(),
            "sfi_zoo": sfi_zoo.__version__,
            "torch": torch.__version__,
        }
        write_text(BUNDLED / name / "speed.json", json.dumps(record, indent=2) + "\n")
        print(f"{name}: {record['real_time']:g} x real time", flush=True)


if __name__ == "__main__":
    main()
