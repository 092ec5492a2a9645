"""Every separator is a citizen of the Hub's PyTorchModelHubMixin, without its traps; and those of users are, once registered."""

import copy
import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors.torch import load_file, save_file

import sfi_zoo
from sfi_zoo import hub, models
from sfi_zoo.errors import InputError
from sfi_zoo.hub.config_version import present
from sfi_zoo.hub.results import METRICS, MUSIC, fill_model_index
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import Separator
from sfi_zoo.models.filterbank import FilterbankConfig, FilterbankSeparator
from tests.tiny_separators import ARCHITECTURES, tiny


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> Separator:
    return tiny(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return hub.save(tiny("convtasnet"), tmp_path / "tasnet")


def test_it_is_one_and_its_class_says_what_it_is(model: Separator) -> None:
    assert isinstance(model, PyTorchModelHubMixin)
    about = type(model)._hub_mixin_info.model_card_data
    assert about.library_name == "sfi-zoo" and about.pipeline_tag == "audio-to-audio"


@pytest.mark.parametrize("method", ["from_pretrained", "save_pretrained", "push_to_hub"])
def test_methods_take_what_those_of_the_mixin_take(method: str) -> None:
    theirs = inspect.signature(getattr(PyTorchModelHubMixin, method)).parameters
    ours = inspect.signature(getattr(Separator, method)).parameters
    assert {k: (p.kind, p.default) for k, p in theirs.items() if k != "commit_message"}.items() <= {
        k: (p.kind, p.default) for k, p in ours.items()
    }.items()


def test_saved_and_loaded_by_its_class_it_is_the_same(model: Separator, tmp_path: Path) -> None:
    model.train().save_pretrained(tmp_path / "x")
    again = type(model).from_pretrained(tmp_path / "x", map_location="cpu", strict=True)
    assert again.config == model.config and not again.training
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert json.loads((tmp_path / "x" / "config.json").read_text()) == json.loads(
        json.dumps(
            {"architecture": model.architecture, "config_version": present()}
            | model.config_dict()
            | {
                "weights_sha256": hashlib.sha256(
                    (tmp_path / "x" / "model.safetensors").read_bytes()
                ).hexdigest()
            }
        )
    )


def test_a_copy_of_a_model_is_the_model(model: Separator) -> None:
    x = torch.randn(1, 1, 4000)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(x, 16000), model(x, 16000))


def test_the_base_class_loads_any(folder: Path) -> None:
    assert type(Separator.from_pretrained(folder)) is type(tiny("convtasnet"))
    assert type(Separator.from_pretrained(str(folder))) is type(tiny("convtasnet"))


def test_another_class_refuses(folder: Path) -> None:
    with pytest.raises(InputError, match="is convtasnet, a ConvTasNet, not a BSRNN"):
        type(tiny("bsrnn")).from_pretrained(folder)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"strict": False}, "strict=False"),
        ({"hidden": 3}, "hidden: settings come"),
        ({"config": {}}, "config"),
    ],
)
def test_what_would_load_something_else_is_refused(
    arguments: dict[str, Any], reason: str, folder: Path
) -> None:
    with pytest.raises(InputError, match=reason):
        Separator.from_pretrained(folder, **arguments)


def test_two_revisions_are_refused() -> None:
    with pytest.raises(InputError, match="another revision"):
        Separator.from_pretrained("org/name@v1", revision="v2")


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    state = load_file(weights)
    state["another"] = torch.zeros(1)
    save_file(state, weights)
    with pytest.raises(InputError, match="unknown another"):
        Separator.from_pretrained(folder)


def test_a_pickle_in_place_of_weights_is_not_looked_for(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        Separator.from_pretrained(folder)


def test_its_card_is_the_one_that_is_saved() -> None:
    card = tiny("convtasnet").generate_model_card(license="mit")
    assert isinstance(card, ModelCard) and card.data.license == "mit"
    assert "license" not in tiny("convtasnet").generate_model_card().data.to_dict()


def test_a_mode_is_not_a_model() -> None:
    with pytest.raises(InputError, match="save its `model`"):
        Adapted(tiny("convtasnet"), "resample").save_pretrained("nowhere")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(models, "_REGISTERED", {})
    yield


class Own(FilterbankSeparator):
    """Somebody's."""

    architecture = "own"
    config_class: Any = FilterbankConfig

    def __init__(self, config: FilterbankConfig) -> None:
        super().__init__(config)
        self.masker = torch.nn.Sequential(
            torch.nn.Conv1d(config.features, config.features, 1),
            torch.nn.Unflatten(1, (1, config.features)),
        )


def own() -> Own:
    return Own(FilterbankConfig(("a",), 8000, 8, 64, 32, latent="relu", filters="interpolated"))


def test_a_users_own_architecture_is_loaded_once_it_is_registered(registry: None, tmp_path: Path) -> None:
    folder = hub.save(own(), tmp_path / "own")
    with pytest.raises(InputError, match=r"unknown architecture 'own'.*import what registers it"):
        sfi_zoo.load(folder)
    sfi_zoo.register(Own)
    assert "own" in models.list_architectures()
    assert type(sfi_zoo.load(folder)) is Own
    assert isinstance(sfi_zoo.create("own", sources=["x"]), Own)
    assert "own" not in (folder / "config.json").read_text().replace('"architecture": "own"', "")
    assert "@sfi_zoo.register" in (folder / "README.md").read_text()


def test_unregistered_it_is_not_pushed(registry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "none")
    with pytest.raises(InputError, match="unknown architecture 'own'"):
        own().push_to_hub("org/own")


def test_a_name_is_taken_once(registry: None) -> None:
    sfi_zoo.register(Own)
    sfi_zoo.register(Own)
    with pytest.raises(InputError, match="'own' is taken"):
        sfi_zoo.register(type("Other", (Own,), {}))
    with pytest.raises(InputError, match="'convtasnet' is taken"):
        sfi_zoo.register(type("Mine", (Own,), {"architecture": "convtasnet"}))


def test_what_lacks_something_is_not_registered(registry: None) -> None:
    @dataclass
    class NoRate:
        sources: tuple[str, ...] = ("a",)

    for lacking in ({"architecture": None}, {"config_class": dict}, {"config_class": NoRate}):
        with pytest.raises(InputError):
            sfi_zoo.register(type("Lacking", (Own,), lacking))
    with pytest.raises(InputError, match="must be a Separator"):
        sfi_zoo.register(torch.nn.Linear)


def test_scores_become_results_that_the_hub_reads(folder: Path) -> None:
    row = {name: 0.25 for name in METRICS} | {"mode": "native", "sample_rate": 11025.0, "trained_rate": 44100}
    rows = [
        row,
        row | {"sample_rate": 44100, "si_sdr_db": None, "mask_lee_db": -0.5},
        row | {"mode": "none"},
    ]
    gained = {"a": 1.0, "b": None, "c": 3.0}
    (folder / "scores.json").write_text(json.dumps({"rows": rows, "improvement_at_trained_rate_db": gained}))
    body = (folder / "README.md").read_text().split("---\n", 2)[2]
    fill_model_index(folder, "data", "The data")
    fill_model_index(folder, "data", "The data")
    text = (folder / "README.md").read_text()
    assert text.split("---\n", 2)[2] == body
    results = ModelCard(text).data.eval_results
    assert results is not None
    found = {(r.dataset_config, r.metric_type): r.metric_value for r in results}
    assert len(results) == len(found) == 2 * len(METRICS)  # one is null, one is what is gained
    assert found["44100 Hz", "si_sdr_improvement"] == 2
    assert found["11025 Hz", "masked_latent_lee"] == 0.25 and found["44100 Hz", "mask_lee"] == -0.5
    for task, name in (
        (None, MUSIC),
        ("music: vocals", MUSIC),
        ("speech: enhancement", "speech enhancement"),
    ):
        (folder / "source.json").write_text(json.dumps({"task": task} if task else {}))
        fill_model_index(folder, "data", "The data")
        assert {r.task_name for r in ModelCard((folder / "README.md").read_text()).data.eval_results} == {
            name
        }


@pytest.mark.parametrize("content", ["", "{}", '{"rows": []}', '{"rows": 3}', "[]"])
def test_scores_that_are_none_are_refused(content: str, folder: Path) -> None:
    (folder / "scores.json").write_text(content)
    before = (folder / "README.md").read_text()
    with pytest.raises(InputError):
        fill_model_index(folder, "data", "The data")
    assert (folder / "README.md").read_text() == before and len(list(folder.iterdir())) == 4
