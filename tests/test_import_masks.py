"""Masks of imported models against those of the packages that define the formats (tests/golden/make_masks.py)."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sfi_zoo.hub import import_checkpoint, load
from tests.signals import relative_error
from tests.test_import_dual_path import mixture
from tests.test_import_msst import noise

HERE = Path(__file__).parent / "golden"
GOLDEN = HERE / "masks.golden.safetensors"
STEP = 7  # frames of the RoFormers that are compared
with safe_open(str(GOLDEN), "pt") as file:
    NAMES = sorted(file.keys())


def test_each_format_is_there():
    counts = [
        sum(name.startswith(x) for name in NAMES) for x in ("asteroid", "dualpath", "sepformer", "msst")
    ]
    assert counts == [5, 4, 2, 4]


def imported(name, folder):
    """The model, and what it hears."""
    if name.startswith("msst"):
        model = load(import_checkpoint(HERE / f"{name}.pt", folder, config=HERE / f"{name}.yaml"))
        return model, noise(model.config.channels)
    if name.startswith("asteroid"):
        key = f"{name.removeprefix('asteroid_')}.mixture"
        return load(import_checkpoint(HERE / f"{name}.bin", folder)), load_file(
            HERE / "asteroid.golden.safetensors"
        )[key][:1]
    file = HERE / name if name.startswith("sepformer") else HERE / f"{name}.pt"
    return load(import_checkpoint(file, folder)), mixture()


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_the_packages(name, tmp_path):
    model, waveform = imported(name, tmp_path / "model")
    golden = load_file(GOLDEN)[name]
    with torch.no_grad():
        masks = model.predict_masks(model.encode(waveform))[0]
    if name.startswith("msst"):
        masks = masks[..., ::STEP]
        if model.config.zero_dc:  # the package predicts a mask there, and then leaves the bin out
            bins = masks.shape[1] // model.config.channels
            assert not masks[:, ::bins].any()
            golden[:, ::bins] = 0
    assert masks.shape == golden.shape
    assert relative_error(masks, golden) < 1e-5
