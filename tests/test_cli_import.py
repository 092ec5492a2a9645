"""`sfi-zoo import` and `sfi-zoo list`, by typer's runner: what the options mean, and that the listing imports little."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

import sfi_zoo
from sfi_zoo import InputError, cli
from sfi_zoo.hub.published import list_published
from sfi_zoo.models import ARCHITECTURES, architecture_class, list_architectures

ASTEROID = Path(__file__).parent / "golden" / "asteroid_global_relu.bin"


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ([], {}),
        (["--seed", 44], {"seed": 44}),
        (["--sample-rate", 8000, "--layers", 3], {"sample_rate": 8000, "layers": 3}),
        (["--sources", "lead vox, drums"], {"sources": ["lead vox", "drums"]}),
        (["--mask", "relu"], {"mask": "relu"}),
        (["--config", "a.yaml"], {"config": Path("a.yaml")}),
        (["--activation", "elu", "--bins", 1536], {"activation": "elu", "bins": 1536}),
    ],
)
def test_options_of_import_are_those_of_the_function(options, given, monkeypatch):
    calls = []

    def fake(*arguments, **named):
        calls.append((arguments, named))
        return Path("folder")

    fake_hub = SimpleNamespace(import_checkpoint=fake)
    monkeypatch.setitem(sys.modules, "sfi_zoo.hub", fake_hub)
    monkeypatch.setattr(sfi_zoo, "hub", fake_hub, raising=False)
    result = run("import", "file.pth", "-o", "folder", *options)
    assert (result.exit_code, result.output) == (0, "folder\n")
    assert json.loads(run("import", "file.pth", "-o", "folder", *options, "--json").output) == {
        "folder": "folder"
    }
    nothing = dict.fromkeys(
        ("seed", "sample_rate", "sources", "mask", "layers", "config", "activation", "bins")
    )
    assert calls == [(("file.pth", Path("folder")), nothing | given)] * 2


def test_an_asteroid_file_is_imported_with_names(tmp_path):
    out = tmp_path / "model"
    result = run("import", ASTEROID, "-o", out, "--sample-rate", 8000, "--sources", "near,far")
    assert result.exit_code == 0, result.output
    model = sfi_zoo.load(out)
    assert (model.sources, model.trained_rate) == (("near", "far"), 8000)
    card = (out / "README.md").read_text()
    assert f"sfi-zoo import {ASTEROID} --sample-rate 8000 --sources near,far -o model" in card


def test_a_state_dict_of_torchaudio_needs_what_it_does_not_say(tmp_path):
    torchaudio = pytest.importorskip("torchaudio")
    torch.manual_seed(0)
    sizes = {"enc_kernel_size": 16, "enc_num_feats": 12, "msk_num_feats": 6, "msk_num_hidden_feats": 8}
    theirs = torchaudio.models.ConvTasNet(2, **sizes, msk_num_layers=3, msk_num_stacks=2).eval()
    torch.save(theirs.state_dict(), tmp_path / "file.pt")
    command = ["import", tmp_path / "file.pt", "-o", tmp_path / "model", "--sample-rate", 8000]
    with pytest.raises(InputError, match=r"mask|layers"):
        raise run(*command).exception
    result = run(*command, "--mask", "sigmoid", "--layers", 3)
    assert result.exit_code == 0, result.output
    x = torch.randn(1, 1, 800)
    with torch.no_grad():
        assert torch.allclose(sfi_zoo.load(tmp_path / "model")(x)[:, :, 0], theirs(x), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--sources", "a,b,c"], "2 sources, 3 names"),
        (["--sample-rate", "44100"], "44100"),
        (["--seed", "42"], "--seed 42"),
        (["--sources", ""], "sources"),
    ],
)
def test_options_that_do_not_fit_the_file_are_one_line(options, named, tmp_path, capsys):
    code = cli.main(["import", str(ASTEROID), "-o", str(tmp_path / "model"), *options])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert named in error
    assert not (tmp_path / "model").exists()


def test_a_number_that_is_none_is_refused():
    result = run("import", ASTEROID, "-o", "model", "--layers", "many")
    assert result.exit_code == 2
    assert "--layers" in result.output


# list -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["*", "convtasnet*", "nothing*"])
def test_models_and_architectures_are_listed_by_pattern(pattern):
    import fnmatch

    matching = [name for name in sorted(ARCHITECTURES) if fnmatch.fnmatch(name, pattern)]
    result = run("list", pattern, "--architectures")
    assert (result.exit_code, result.output.split()) == (0, matching)
    assert json.loads(run("list", pattern, "--architectures", "--json").output) == matching
    names = {*sfi_zoo.list_models(pattern), *(row.name for row in list_published(pattern))}
    result = run("list", pattern)
    lines = [line for line in result.output.splitlines() if line][1:]
    assert (result.exit_code, {line.split()[0] for line in lines}) == (0, names)
    assert len(lines) == len(names)
    listed = json.loads(run("list", pattern, "--json").output)
    assert [row["name"] for row in listed] == [line.split()[0] for line in lines]


def test_every_architecture_is_what_its_line_says():
    for name in list_architectures():
        cls = architecture_class(name)
        assert cls.architecture == name
        assert cls(cls.config_class()).config_dict().keys() == cls.config_class.__dataclass_fields__.keys()


def test_an_unknown_architecture_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"unknown architecture 'demucs'; known: .*convtasnet.*sudormrf"):
        sfi_zoo.create("demucs")


@pytest.mark.parametrize(
    "code",
    ["import sfi_zoo", "import sfi_zoo.models; sfi_zoo.models.list_architectures()", "import sfi_zoo.cli"],
)
def test_imports_and_the_registry_load_nothing(code):
    """No torch, no Hub, no architecture."""
    heavy = (
        "[m for m in sys.modules"
        " if m in ('torch', 'huggingface_hub', 'sfi_zoo.hub.loading', 'sfi_zoo.layers', 'sfi_zoo.models.base')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print({heavy})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
