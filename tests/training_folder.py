"""A small data set of the MUSDB layout and a recipe for a tiny model, that the tests of training share."""

import json
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 8000, 1.5
SOURCES = ("vocals", "drums")
RECIPE = f"""
[model]
architecture = "convtasnet"
sources = {json.dumps(SOURCES)}
sample_rate = {RATE}
features = 12
kernel_size = 160
stride = 40
bottleneck = 8
hidden = 8
layers = 2
repeats = 1
encoder_filters = {{ frequency_range = [100.0, 3500.0] }}
decoder_filters = {{ frequency_range = [100.0, 3500.0] }}

[data]
seconds = 0.5
workers = 0
valid_excerpts = 3

[bandwidth]
share = 0.5
lowest = 4500.0

[train]
steps = 12
batch_size = 4
warmup_steps = 2
valid_every = 4
"""


def write_songs(root: Path) -> Path:
    """Three tracks to train on and one to validate on: a tone and noise bursts."""
    rng = np.random.default_rng(0)
    t = np.arange(round(RATE * SECONDS)) / RATE
    for number, split in enumerate(("train", "train", "train", "valid")):
        folder = root / split / f"song {number}"
        folder.mkdir(parents=True)
        stems = {
            "vocals": 0.3 * np.sin(2 * np.pi * (200 + 60 * number) * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2,
            "drums": 0.2 * rng.standard_normal(len(t)) * (np.sin(2 * np.pi * 4 * t) > 0.5),
        }
        for name, stem in (stems | {"mixture": sum(stems.values())}).items():
            soundfile.write(folder / f"{name}.wav", stem, RATE, subtype="PCM_24")
    return root


def write_recipe(path: Path, *changes: tuple[str, str]) -> Path:
    """The recipe with texts replaced."""
    text = RECIPE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return path
