"""Trains a tiny model on songs from a formula, as `sfi-zoo train` does, and separates with it.

    python examples/train_tiny_model.py [FOLDER] [STEPS]

A minute; to see how the parts go together, not to be heard. Stopped, it goes on when it is run again.
"""

import sys
from pathlib import Path

import soundfile
import torch

import sfi_zoo
from sfi_zoo import cli
from sfi_zoo.data.synthetic import song

RATE = 8000
RECIPE = """
[model]
architecture = "convtasnet"
sample_rate = {rate}
features = 32
kernel_size = 160       # samples at the rate above: 20 ms
stride = 40
bottleneck = 16
hidden = 32
layers = 3
repeats = 1
encoder_filters = {{ frequency_range = [100.0, 3500.0] }}
decoder_filters = {{ frequency_range = [100.0, 3500.0] }}

[data]
seconds = 1.0
workers = 0
valid_excerpts = 4

[bandwidth]             # a third of the examples has no upper band
share = 0.3
lowest = 4500.0

[train]
steps = {steps}
batch_size = 4
warmup_steps = 5
valid_every = {every}
"""


def write_songs(folder: Path, count: int = 3) -> None:
    """Songs in the layout of MUSDB18-HQ, the last one for validation."""
    for number in range(count):
        track = folder / ("valid" if number == count - 1 else "train") / f"song {number}"
        track.mkdir(parents=True, exist_ok=True)
        stems = song(number, duration=4.0, sample_rate=RATE, channels=1)
        for name, stem in (stems | {"mixture": sum(stems.values())}).items():
            soundfile.write(track / f"{name}.wav", stem.T, RATE)


def main() -> int:
    """Write songs, train, separate one that was not trained on."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tiny")
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    write_songs(folder / "songs")
    recipe = folder / f"{steps} steps.toml"
    recipe.write_text(RECIPE.format(rate=RATE, steps=steps, every=max(1, steps // 3)))
    run = recipe.with_suffix("")
    if code := cli.main(
        ["train", str(recipe), "--data", str(folder / "songs"), "-o", str(run), "--device", "cpu"]
    ):
        return code
    model = sfi_zoo.load(run / "model")
    mixture = torch.from_numpy(sum(song(9, 2.0, 44100, channels=2).values())).float()
    print("stems at 44.1 kHz:", tuple(model.separate(mixture, 44100).shape))
    return 0


if __name__ == "__main__":
    sys.exit(main())
