"""A model's folder: what is written comes back, and what does not fit is refused by name."""

import json
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

import sfi_zoo
from sfi_zoo import cli, hub
from sfi_zoo.errors import InputError

NETWORK = {"bottleneck": 8, "hidden": 8, "layers": 1, "repeats": 1}
SMALL = {"features": 8, "kernel_size": 64, "stride": 16, **NETWORK}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return sfi_zoo.create("convtasnet", sources=["a", "b"], encoder_filters={"scale": "mel"}, **SMALL).eval()


@pytest.fixture
def folder(model, tmp_path):
    return hub.save(model, tmp_path / "model")


def test_a_saved_model_comes_back_the_same(model, folder):
    loaded = sfi_zoo.load(folder)
    assert not loaded.training
    assert loaded.config == model.config
    x = torch.randn(1, 2, 4000)
    with torch.no_grad():
        assert torch.equal(loaded(x, 16000), model(x, 16000))


def test_a_folder_holds_three_readable_files(folder):
    assert sorted(f.name for f in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert len({stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()}) == 1
    assert list(folder.parent.iterdir()) == [folder]
    assert "library_name: sfi-zoo" in (folder / "README.md").read_text()


def test_half_stores_filters_whole_and_loads_as_float32(model, tmp_path):
    folder = hub.save(model, tmp_path / "half", half=True)
    for name, value in load_file(folder / "model.safetensors").items():
        exact = name.startswith(("encoder.filters", "decoder.filters"))
        assert value.dtype == (torch.float32 if exact else torch.float16)
    assert {p.dtype for p in hub.load(folder).parameters()} == {torch.float32}


def test_saving_again_keeps_the_card(model, folder):
    (folder / "README.md").write_text("mine")
    hub.save(model, folder)
    assert (folder / "README.md").read_text() == "mine"


def test_saving_onto_a_file_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        hub.save(model, tmp_path / "file")


def edit(change):
    def apply(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (edit(lambda c: c.update(colour=1, zest=2)), r"config\.json.*unknown colour, zest"),
        (edit(lambda c: (c.pop("taper"), c.pop("layers"))), r"config\.json.*missing layers, taper"),
        (edit(lambda c: c.update(layers="1")), "layers='1'"),
        (edit(lambda c: c.update(layers=True)), "layers=True"),
        (edit(lambda c: c.update(layers=1.5)), r"layers=1\.5"),
        (edit(lambda c: c.update(sources="ab")), "sources='ab'"),
        (edit(lambda c: c.update(sources=[1, 2])), "sources="),
        (edit(lambda c: c.update(encoder_filters=[])), "encoder_filters="),
        (edit(lambda c: c.update(filters="none")), "unknown filter family 'none'"),
        (edit(lambda c: c.update(architecture="none")), "unknown architecture 'none'"),
        (edit(lambda c: c.pop("architecture")), "architecture"),
        (edit(lambda c: c.update(hidden=7, norm_groups=2)), r"config\.json"),
        (edit(lambda c: c.update(norm_groups=0)), r"config\.json"),
        (edit(lambda c: c.update(hidden=16)), r"model\.safetensors.*another shape.*expand"),
        (edit(lambda c: c.update(layers=2)), r"model\.safetensors.*misses.*and \d+ more"),
        (lambda f: (f / "config.json").write_text("[]"), "JSON object"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "not JSON"),
        (lambda f: (f / "config.json").unlink(), r"no config\.json"),
        (lambda f: (f / "model.safetensors").unlink(), r"no model\.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), r"model\.safetensors: truncated"),
        (lambda f: (f / "model.safetensors").write_text("text"), r"model\.safetensors: truncated"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(folder, spoil, reason):
    spoil(folder)
    with pytest.raises(InputError, match=reason) as caught:
        hub.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_weights_are_named(folder, share, capsys):
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    assert cli.main(["info", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "model.safetensors" in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.update(extra=torch.zeros(1)), "unknown extra"),
        (lambda s: s.pop("masker.prelu_1.weight"), r"misses masker\.prelu_1\.weight"),
        (lambda s: s["masker.prelu_1.weight"].fill_(torch.nan), r"not finite masker\.prelu_1\.weight"),
        (lambda s: s.update({"masker.prelu_1.weight": torch.ones(1).int()}), "another kind"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, change, reason):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match=reason):
        hub.load(folder)


def test_a_pickle_in_place_of_weights_is_not_read(model, folder):
    torch.save(model.state_dict(), folder / "model.safetensors")
    with pytest.raises(InputError, match="safetensors"):
        hub.load(folder)


def test_bundled_names_are_listed_loaded_and_suggested(model, tmp_path, monkeypatch):
    monkeypatch.setattr("sfi_zoo.hub.bundled.BUNDLED", tmp_path)
    for name in ("tasnet.one", "tasnet.two"):
        hub.save(model, tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert hub.list_models() == ["tasnet.one", "tasnet.two"]
    assert hub.list_models("*two") == ["tasnet.two"]
    assert hub.load("tasnet.two").config == model.config
    with pytest.raises(InputError, match=r"did you mean tasnet\.one"):
        hub.load("tasnet.on")


@pytest.mark.parametrize("name", hub.list_models())
def test_every_bundled_model_loads(name):
    assert hub.load(name).sources


@pytest.mark.parametrize("name", ["nothing", "/no/such/folder", "./nothing", "", "a/b/c"])
def test_an_unknown_name_says_what_can_be_named(name):
    with pytest.raises(InputError) as caught:
        hub.load(name)
    assert "\n" not in str(caught.value)


def hub_error(name):
    import httpx2
    from huggingface_hub import errors

    cls = getattr(errors, name)
    if issubclass(cls, errors.HfHubHTTPError):
        request = httpx2.Request("GET", "https://huggingface.co")
        return cls("first\nsecond", response=httpx2.Response(404, request=request))
    return cls("first\nsecond")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("RepositoryNotFoundError", "no such repository"),
        ("GatedRepoError", "gated"),
        ("RevisionNotFoundError", "no such revision"),
        ("RemoteEntryNotFoundError", r"no config\.json"),
        ("LocalEntryNotFoundError", "is not cached"),
        ("HfHubHTTPError", "first"),
        ("HFValidationError", "not a valid"),
        ("OfflineModeIsEnabled", "HF_HUB_OFFLINE"),
    ],
)
def test_hub_errors_are_one_line_with_the_id(error, reason, monkeypatch):
    import huggingface_hub

    def fail(*_, **__):
        raise hub_error(error)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(InputError, match=rf"^org/name@v1: .*{reason}") as caught:
        hub.load("org/name@v1")
    assert "\n" not in str(caught.value)


def test_a_hub_id_loads_its_two_files_only(folder, monkeypatch):
    import huggingface_hub

    asked = []

    def give(repo, file, revision=None):
        asked.append((repo, file, revision))
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", give)
    assert hub.load("org/name@v1").sources == ("a", "b")
    assert asked == [("org/name", "config.json", "v1"), ("org/name", "model.safetensors", "v1")]


def test_import_asks_the_hub_for_the_seed(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def give(repo, file, revision=None):
        asked.append((repo, file))
        raise hub_error("LocalEntryNotFoundError")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", give)
    source = "tnkmr/sfi_convtasnet_fd_mgf_musdb18hq"
    for seed in (None, 47):
        with pytest.raises(InputError, match=source):
            hub.import_checkpoint(source, tmp_path / "out", seed=seed)
    file = "dataset=musdb18_32000,model=sfi_convtasnet_fd_mgf,seed={},time_length=8.0/best_checkpoint"
    assert asked == [(source, file.format(42)), (source, file.format(47))]
    with pytest.raises(InputError, match="40, 42, 44, 47"):
        hub.import_checkpoint(source, tmp_path / "out", seed=1)
    assert not list(tmp_path.iterdir())
