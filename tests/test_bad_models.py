"""Folders and settings that do not fit, the same for every architecture: refused by name, in one line, before memory is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfi_zoo import hub
from sfi_zoo.errors import InputError
from sfi_zoo.models import list_architectures
from tests.tiny_separators import ARCHITECTURES, tiny


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    return hub.save(tiny(name), tmp_path / "model")


def refused(folder: Path, *named: str) -> hub.WeightsError | InputError:
    with pytest.raises(InputError) as caught:
        hub.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in named if word not in message] == []
    return caught.value


def with_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def with_settings(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def test_every_architecture_is_here() -> None:
    assert list_architectures() == ARCHITECTURES


def test_it_comes_back_as_it_was(name: str, folder: Path) -> None:
    model, again = tiny(name), hub.load(folder)
    x = 0.1 * torch.randn(1, 1, 5000)
    with torch.no_grad():
        assert torch.equal(model(x, 22050), again(x, 22050))


@pytest.mark.parametrize("other", ARCHITECTURES)
def test_weights_of_another_architecture_are_refused(
    name: str, folder: Path, other: str, tmp_path: Path
) -> None:
    if other == name:
        return
    weights = hub.save(tiny(other), tmp_path / "other") / "model.safetensors"
    (folder / "model.safetensors").write_bytes(weights.read_bytes())
    refused(folder, "model.safetensors", "the weights do not fit", "misses", "has unknown")


def test_missing_extra_misshapen_and_nan_tensors_are_all_named(folder: Path) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        floating = [key for key, value in state.items() if value.is_floating_point()]
        missing, misshapen, nan, infinite = floating[0], floating[1], floating[2], floating[3]
        del state[missing]
        state[misshapen] = torch.zeros(*state[misshapen].shape, 2)
        state[nan].view(-1)[-1] = torch.nan
        state[infinite].view(-1)[0] = torch.inf
        state["another"] = torch.zeros(3)
        spoilt.extend([missing, misshapen, nan, infinite, "another"])

    spoilt: list[str] = []
    with_weights(folder, spoil)
    error = refused(folder, *spoilt)
    assert isinstance(error, hub.WeightsError)
    assert {key.split(" ")[0] for keys in error.problems.values() for key in keys} == set(spoilt)


def test_all_tensors_that_are_missing_are_named_where_the_message_is_short(folder: Path) -> None:
    wanted = set(load_file(folder / "model.safetensors"))
    with_weights(folder, lambda state: [state.pop(key) for key in list(state)[1:]])
    error = refused(folder, f"and {len(wanted) - 1 - hub.SHOWN} more")
    assert isinstance(error, hub.WeightsError) and len(error.problems["misses"]) == len(wanted) - 1


def test_half_of_a_file_is_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    refused(folder, "truncated")


def whole_numbers(name: str) -> list[str]:
    config = tiny(name).config_dict()
    return [key for key, value in config.items() if type(value) is int]


HUGE = [(name, key) for name in ARCHITECTURES for key in whole_numbers(name)]


@pytest.mark.parametrize("value", [10**6, 10**9, 10**15, 10**400])
@pytest.mark.parametrize(("name", "key"), HUGE)
def test_a_hostile_size_is_refused_before_memory_is_taken(
    key: str, value: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is not even begun: what is refused is its outline, without memory, or its settings."""
    cls = type(tiny(json.loads((folder / "config.json").read_text())["architecture"]))
    begin = cls.__init__

    def on_meta_only(self: Any, config: Any) -> None:
        assert torch.empty(0).device.type == "meta", "memory was taken"
        begin(self, config)

    monkeypatch.setattr(cls, "__init__", on_meta_only)
    with_settings(folder, **{key: value})
    refused(folder)


def test_very_many_sources_are_refused(folder: Path) -> None:
    with_settings(folder, sources=[f"source_{i}" for i in range(10**5)])
    refused(folder)


def test_a_configuration_of_megabytes_is_not_read(folder: Path) -> None:
    with_settings(folder, sources=["x" * 2**21])
    refused(folder, "config.json", "1048576 bytes")


@pytest.mark.parametrize("rate", [0, -1, 3999, 192001])
def test_a_trained_rate_that_is_none_is_refused(folder: Path, rate: int) -> None:
    with_settings(folder, sample_rate=rate)
    refused(folder, "config.json", f"{rate} Hz is outside")


@pytest.mark.parametrize("rate", [4000, 8000, 192000])
@pytest.mark.parametrize("samples", [1, 7, 100])
def test_a_signal_shorter_than_the_receptive_field_is_separated(name: str, rate: int, samples: int) -> None:
    stems = tiny(name).separate(0.1 * torch.randn(1, samples), rate)
    assert stems.shape == (2, 1, samples) and torch.isfinite(stems).all()


@pytest.mark.parametrize("rate", [4000, 44100])
def test_chunks_shorter_than_the_receptive_field_are_separated(name: str, rate: int) -> None:
    signal = 0.1 * torch.randn(1, rate // 2)
    stems = tiny(name).separate(signal, rate, chunk_seconds=0.1, overlap_seconds=0.05)
    assert stems.shape == (2, *signal.shape) and torch.isfinite(stems).all()


@pytest.mark.parametrize("name", ["convtasnet", "sudormrf"])
def test_a_rate_below_the_lowest_band_is_an_error_not_silence(name: str) -> None:
    model = tiny(name, encoder_filters={"frequency_range": (3000.0, 15000.0)})
    x = 0.1 * torch.randn(1, 4000)
    with pytest.raises(InputError, match="4000 Hz leaves no filter alive"):
        model.separate(x, 4000)
    assert model.separate(x, 8000).any()


def test_at_the_lowest_rate_every_architecture_has_a_band(name: str) -> None:
    assert tiny(name).separate(0.1 * torch.randn(1, 4000), 4000).any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_became_nan_in_training_are_an_error_not_a_file_of_nan(name: str, value: float) -> None:
    model = tiny(name)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if ".filters." not in parameter_name:
                parameter.fill_(value)
    with pytest.raises(InputError, match="non-finite samples"):
        model.separate(0.1 * torch.randn(1, 4000), 8000)
