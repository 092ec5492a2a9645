"""Training: what share of a step is spent waiting for data, at several ways to keep it.

    python benchmarks/training.py [--steps 40] [--workers 1] [--batch-size 4] [--data FOLDER]

The network is that of the zoo's Conv-TasNet rows at 32 kHz, examples are 4 s of four stems. Without --data the songs are noise, written
as 16-bit WAV for the run: mono at 32 kHz, and stereo at 44.1 kHz, which is resampled and mixed down in the workers. `speed.py` compares
an SFI training step with a plain one.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from report import machine

from sfi_zoo.training.recipe import recipe_from
from sfi_zoo.training.start import examples_of, starting_model
from sfi_zoo.training.trainer import train
from sfi_zoo.wording import markdown_table

STEMS = ("vocals", "drums", "bass", "other")
TARGET = "under 5 %"


def write_songs(root: Path, sample_rate: int, channels: int, seconds: float) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("valid", 1)):
        for number in range(count):
            folder = root / split / f"song {number}"
            folder.mkdir(parents=True)
            for stem in STEMS:
                noise = 0.1 * rng.standard_normal((round(seconds * sample_rate), channels))
                soundfile.write(folder / f"{stem}.wav", noise, sample_rate, subtype="PCM_16")
    return root


def measure(folder: Path, cache: Path | None, args: argparse.Namespace) -> tuple[float, float]:
    """Mean seconds of a step, and of waiting for its data, after the first steps."""
    sizes = {"features": 240, "kernel_size": 960, "hidden": 192, "layers": 6}
    if args.quick:
        sizes = {"features": 16, "kernel_size": 960, "hidden": 16, "bottleneck": 16, "layers": 2}
    begin = max(2, args.steps // 4)
    options = {"steps": args.steps, "batch_size": args.batch_size, "valid_every": begin, "ema": 0.0}
    recipe = recipe_from(
        {
            "model": {"architecture": "convtasnet"} | sizes,
            "data": {
                "folder": str(folder),
                "workers": args.workers,
                "cache": str(cache or ""),
                "valid_excerpts": 1,
            },
            "train": options | {"matmul_precision": "medium"},
        }
    )
    model, _ = starting_model(recipe)
    with tempfile.TemporaryDirectory() as out:
        train(model, examples_of(recipe, model.sources, model.trained_rate), recipe, out, device=args.device)
        lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()][1:]
    return tuple(float(np.mean([line[key] for line in lines])) for key in ("step_seconds", "wait_seconds"))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--quick", action="store_true", help="Tiny, to see that it runs.")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        args.steps = 8
    seconds = 6 if args.quick else 60
    rows = []
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        if args.data:
            cases = [(f"{args.data}", args.data, None), ("the same, cached", args.data, root / "cache")]
        else:
            mono = write_songs(root / "mono", 32000, 1, seconds)
            stereo = write_songs(root / "stereo", 44100, 2, seconds)
            cases = [
                ("mono 32 kHz", mono, None),
                ("stereo 44.1 kHz", stereo, None),
                ("stereo 44.1 kHz, cached", stereo, root / "cache"),
            ]
        for name, folder, cache in cases:
            step, wait = measure(folder, cache, args)
            rows.append((name, f"{step * 1e3:.0f} ms", f"{wait * 1e3:.1f} ms", f"{wait / step:.1%}", TARGET))
    print(machine())
    print(markdown_table(("data", "step", "waiting", "share", "target"), rows))


if __name__ == "__main__":
    main()
