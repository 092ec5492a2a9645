"""config.json has a version, and what earlier versions wrote loads and computes the same.

tests/frozen_0_1 was written by sfi_zoo 0.1 at its first commit with a model (ad8cc93): a tiny Conv-TasNet, and what it made of a tone.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.hub import config_version
from sfi_zoo.hub.config import read_config

FROZEN = Path(__file__).parent / "frozen_0_1"


def altered(folder: Path, **changes: Any) -> Path:
    """The frozen configuration with other values, in a file of its own."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads((FROZEN / "config.json").read_text()) | changes))
    return path


def test_a_model_of_version_0_1_computes_what_it_did() -> None:
    t = torch.arange(2000) / 8000
    tone = torch.sin(2 * math.pi * 440 * t) * torch.sin(math.pi * t / 0.25)
    with torch.no_grad():
        stems = sfi_zoo.load(FROZEN)(tone[None, None], 8000)
    expected = load_file(FROZEN / "expected.safetensors")["stems"]
    torch.testing.assert_close(stems, expected, rtol=0, atol=1e-5)


def test_the_frozen_file_lacks_what_came_later() -> None:
    frozen, now = json.loads((FROZEN / "config.json").read_text()), sfi_zoo.load(FROZEN).config_dict()
    assert config_version.KEY not in frozen
    assert "alive_norm" in now and "alive_norm" not in frozen


def test_what_is_saved_has_the_present_version_and_loads(tmp_path: Path) -> None:
    model = sfi_zoo.load(FROZEN)
    sfi_zoo.save(model, tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "config.json").read_text())
    assert saved[config_version.KEY] == config_version.present() >= 1
    assert sfi_zoo.load(tmp_path / "again").config == model.config


def test_every_version_is_brought_to_the_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shorter(config: dict[str, Any]) -> dict[str, Any]:
        return {("layers" if key == "blocks" else key): value for key, value in config.items()}

    monkeypatch.setattr(config_version, "MIGRATIONS", (*config_version.MIGRATIONS, shorter))
    frozen = json.loads((FROZEN / "config.json").read_text())
    renamed = {("blocks" if key == "layers" else key): value for key, value in frozen.items()}
    path = tmp_path / "config.json"
    for version in ({}, {config_version.KEY: 0}, {config_version.KEY: 1}):
        path.write_text(json.dumps(renamed | version))
        assert read_config(path) == read_config(FROZEN / "config.json")
    path.write_text(json.dumps(renamed | {config_version.KEY: 2}))
    with pytest.raises(InputError, match="unknown blocks"):
        read_config(path)


@pytest.mark.parametrize("version", [config_version.present() + 1, 10**400])
def test_a_later_version_says_what_to_do(version: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: config_version is .*pip install -U sfi-zoo"):
        read_config(altered(tmp_path, config_version=version, a_setting_of_tomorrow=1))


@pytest.mark.parametrize("version", ["1", 1.0, True, -1, None, [1]])
def test_no_version_at_all_is_refused(version: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="config_version must be a whole number"):
        read_config(altered(tmp_path, config_version=version))
