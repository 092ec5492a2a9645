"""Reading other people's pickles without running them, and what the converter refuses."""

import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
import torch

from sfi_zoo import cli
from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.sfi_convtasnet import _kilohertz

GOLDEN = Path(__file__).parent / "golden"


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def saved(tmp_path, content, **options):
    torch.save(content, tmp_path / "file", **options)
    return tmp_path / "file"


def attacks(marker):
    command = f"touch {marker}"
    yield "posix.system", Runs(os.system, command)
    yield "builtins.eval", Runs(eval, f"open({str(marker)!r}, 'w')")
    yield "builtins.exec", Runs(exec, f"open({str(marker)!r}, 'w')")
    yield "builtins.getattr", Runs(getattr, "text", "upper")
    yield "subprocess.Popen", Runs(subprocess.Popen, ["touch", str(marker)])
    yield "torch.serialization.load", Runs(torch.load, str(marker))
    yield "builtins.bytearray", Runs(bytearray, 10)
    yield "posix.system", OrderedDict(a=[{"b": (Runs(os.system, command),)}])
    yield "posix.system", Runs(OrderedDict, [("a", Runs(os.system, command))])
    yield "posix.system", Runs(defaultdict, dict, state={"_content": Runs(os.system, command)})


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("number", range(10))
def test_a_malicious_pickle_is_named_and_does_not_run(tmp_path, number, legacy):
    marker = tmp_path / "marker"
    name, content = list(attacks(marker))[number]
    torch.save({"args": content}, tmp_path / "file", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError) as caught:
        read_checkpoint(tmp_path / "file")
    assert name in str(caught.value)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "module", ["omegaconf.base", "omegaconf.dictconfig", "typing", "torch", "torch._utils"]
)
def test_a_dotted_name_in_an_admitted_module_is_refused(tmp_path, module):
    content = (
        b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c\x09os.system\x93\x8c\x04true\x85R."
    )
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("x/data.pkl", content)
    with pytest.raises(InputError, match=r"os\.system"):
        read_checkpoint(tmp_path / "file")


def test_an_argument_hidden_in_a_stand_in_does_not_run(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"a": 1})
    config.__dict__["_content"]["a"].__dict__["_val"] = Runs(os.system, f"touch {tmp_path / 'marker'}")
    with pytest.raises(InputError, match=r"posix\.system"):
        read_checkpoint(saved(tmp_path, {"args": config}))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_and_plain_values_come_back(tmp_path, legacy):
    base = torch.arange(12.0).reshape(3, 4)
    state = OrderedDict(
        a=base.t(),
        b=base[1:, 2],
        c=torch.tensor(3),
        d=torch.nn.Parameter(torch.ones(2).half()),
        e=torch.empty(0),
    )
    content = {"epoch": 3, "state_dict": state, "lr": 0.1, "list": [1, (2, None)], "set": {1}, "on": True}
    read = read_checkpoint(saved(tmp_path, content, _use_new_zipfile_serialization=not legacy))
    assert {k: v for k, v in read.items() if k != "state_dict"} == {
        k: v for k, v in content.items() if k != "state_dict"
    }
    assert type(read["state_dict"]) is dict
    for key, value in state.items():
        assert torch.equal(read["state_dict"][key], value.detach())
        assert read["state_dict"][key].dtype == value.dtype


def test_current_omegaconf_becomes_plain_with_references_resolved(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    plain = {"rate": 32000, "deep": {"rate": "${rate}", "range": [50.0, 16000.0], "none": None}, "text": "a"}
    config = omegaconf.OmegaConf.create(plain)
    expected = omegaconf.OmegaConf.to_container(config, resolve=True)
    assert read_checkpoint(saved(tmp_path, {"args": config}))["args"] == expected


@pytest.fixture
def old_omegaconf(monkeypatch):
    """Classes laid out as those of OmegaConf 1.4: `content`, `parent`, `val`."""
    classes = {}
    for module, name in [
        ("dictconfig", "DictConfig"),
        ("listconfig", "ListConfig"),
        ("nodes", "UntypedNode"),
    ]:
        full = f"omegaconf.{module}"
        cls = type(name, (), {"__module__": full, "__qualname__": name})
        stand_in = types.ModuleType(full)
        setattr(stand_in, name, cls)
        monkeypatch.setitem(sys.modules, full, stand_in)
        classes[name] = cls
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))

    def build(value, parent=None):
        if not isinstance(value, dict | list):
            node = classes["UntypedNode"]()
            node.__dict__["val"] = value
            return node
        made = classes["DictConfig" if isinstance(value, dict) else "ListConfig"]()
        items = value.items() if isinstance(value, dict) else enumerate(value)
        children = {key: build(child, made) for key, child in items}
        made.__dict__.update(
            content=children if isinstance(value, dict) else list(children.values()),
            flags={"readonly": None, "struct": True},
            parent=parent,
            missing=False,
            resolver_cache=defaultdict(dict),
        )
        return made

    return build


def test_old_omegaconf_gives_the_same_model(tmp_path, old_omegaconf):
    original = read_checkpoint(GOLDEN / "td_mpgtf.best_checkpoint")
    args = original["args"]
    for side in ("encoder_params", "decoder_params"):
        args[side]["filter_params"]["train_sample_rate"] = "${sampling_rate}"
    file = saved(
        tmp_path,
        {"epoch": 0, "state_dict": original["state_dict"], "optimizer": {}, "args": old_omegaconf(args)},
    )
    old = load(import_checkpoint(file, tmp_path / "old"))
    new = load(import_checkpoint(GOLDEN / "td_mpgtf.best_checkpoint", tmp_path / "new"))
    assert old.config == new.config
    assert all(
        torch.equal(a, b) for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True)
    )


def rewritten(tmp_path, change, name="data.pkl"):
    """A golden checkpoint with one entry of its zip file changed."""
    out = tmp_path / "file"
    with zipfile.ZipFile(GOLDEN / "fd_mgf.best_checkpoint") as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("/" + name):
                content = change(content)
            if content is not None:
                target.writestr(entry.filename, content)
    return out


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((5,), (1,), 0), ((2, 2), (3, 1), 0), ((4,), (1,), 1), ((10**12,), (0,), 0), ((-1,), (1,), 0)],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, size, stride, offset):
    class Beyond:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (
                torch.ones(4).storage(),
                offset,
                size,
                stride,
                False,
                OrderedDict(),
            )

    file = saved(tmp_path, {"state_dict": {"x": Beyond()}})
    with pytest.raises(InputError, match="'x'"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (lambda content: None, "0", "missing"),
        (lambda content: content[:-4], "0", "holds"),
        (lambda content: None, "data.pkl", "data.pkl"),
        (lambda content: content[:200], "data.pkl", "not a readable"),
        (lambda content: b"big", "byteorder", "big-endian"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, change, name, reason):
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(rewritten(tmp_path, change, name), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is a text", b"PK\x03\x04", b"\x80\x02K\x01.", b"(" * 50]
)
def test_a_file_of_another_kind_is_one_line(tmp_path, content, capsys):
    (tmp_path / "file").write_bytes(content)
    assert cli.main(["import", str(tmp_path / "file"), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "file" in said
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def nest(depth):
    bomb = ["x"]
    for _ in range(depth):
        bomb = [bomb, (bomb, bomb)]
    return bomb


def test_shared_and_cyclic_parts_are_read_once(tmp_path):
    cycle = [nest(50)]
    cycle.append(cycle)
    assert read_checkpoint(saved(tmp_path, {"cycle": cycle}))["cycle"][1][1][0][0]


def test_deep_nesting_is_refused(tmp_path):
    with pytest.raises(InputError, match="nested"):
        read_checkpoint(saved(tmp_path, {"args": nest(150)}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(stages_num=2), "stages_num=2"),
        (lambda a: a.update(use_asteroid=True), "use_asteroid=True"),
        (lambda a: a.update(model_type="other"), "model_type"),
        (lambda a: a.update(kernel=5), "kernel=5"),
        (lambda a: a.pop("N"), "no N"),
        (lambda a: a.update(N="32"), "N='32'"),
        (lambda a: a.update(layers=2), r"unknown stage\.mask\.tcn\.4"),
        (
            lambda a: a["decoder_params"].update(use_Hilbert_transforms=True),
            r"decoder\S+mus \(32,\) \(want \(16,\)\)",
        ),
        (lambda a: a["decoder_params"].update(ContFilterType="Conv"), "Conv"),
        (lambda a: a["encoder_params"].update(nonlineartity="tanh"), "tanh"),
        (lambda a: a.pop("encoder_params"), "no encoder_params"),
    ],
)
def test_settings_that_cannot_be_imported_are_named(tmp_path, change, reason):
    checkpoint = read_checkpoint(GOLDEN / "td_mgf.best_checkpoint")
    change(checkpoint["args"])
    file = saved(tmp_path, {"args": checkpoint["args"], "state_dict": checkpoint["state_dict"]})
    with pytest.raises(InputError, match=reason):
        import_checkpoint(file, tmp_path / "out")


FILTERS = "stage.encoder.conv.continuous_filters"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("stage.mask.tcn.2.skip_out.conv.weight"), r"misses stage\.mask\.tcn\.2\.skip_out\.conv\.weight"),
        (lambda s: s.pop(f"{FILTERS}.mus"), rf"misses {FILTERS}\.mus"),
        (lambda s: s.update({f"{FILTERS}.mus": torch.zeros(3)}), rf"shape {FILTERS}\.mus \(3,\) \(want \(32,\)\)"),
        (lambda s: s[f"{FILTERS}._ln_sigma2s"].fill_(torch.nan), rf"not finite {FILTERS}\._ln_sigma2s"),
        (lambda s: s["stage.mask.norm_2.group_norm.bias"].fill_(torch.inf), r"not finite stage\.mask\.norm_2\.group_norm\.bias"),
        (lambda s: s.update(other=torch.zeros(1)), "unknown other"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named_as_in_the_file(tmp_path, change, reason):
    checkpoint = read_checkpoint(GOLDEN / "td_mgf.best_checkpoint")
    change(checkpoint["state_dict"])
    file = saved(tmp_path, {"args": checkpoint["args"], "state_dict": checkpoint["state_dict"]})
    with pytest.raises(InputError, match=reason):
        import_checkpoint(file, tmp_path / "out")


def test_the_sources_of_a_published_checkpoint_can_be_renamed(tmp_path):
    file, names = GOLDEN / "td_mgf.best_checkpoint", ("Schlagzeug", "Bass", "Rest", "Gesang")
    assert load(import_checkpoint(file, tmp_path / "a")).sources == ("drums", "bass", "other", "vocals")
    assert load(import_checkpoint(file, tmp_path / "b", sources=names)).sources == names
    with pytest.raises(InputError, match="sample rate is 32000, not 8000"):
        import_checkpoint(file, tmp_path / "c", sample_rate=8000)


def test_a_linear_latent_and_a_one_sided_bank_are_imported(tmp_path):
    checkpoint = read_checkpoint(GOLDEN / "fd_mgf.best_checkpoint")
    checkpoint["args"]["encoder_params"]["nonlineartity"] = None
    checkpoint["args"]["encoder_params"]["filter_params"]["one_sided"] = True
    file = saved(tmp_path, {"args": checkpoint["args"], "state_dict": checkpoint["state_dict"]})
    model = load(import_checkpoint(file, tmp_path / "out"))
    assert model.config.latent == "linear"
    assert model.encoder.filters.one_sided
    assert not model.decoder.filters.one_sided
    assert (model.encode(torch.randn(1, 1, 4000), 32000).values < 0).any()


def test_the_command_line_imports(tmp_path, capsys):
    assert cli.main(["import", str(GOLDEN / "td_mgf.best_checkpoint"), "-o", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model")
    assert {f.name for f in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    card = (tmp_path / "model" / "README.md").read_text()
    assert "license: mit" in card
    assert "td_mgf.best_checkpoint" in card
    assert cli.main(["import", str(tmp_path / "nothing"), "-o", str(tmp_path / "x")]) == 2
    assert cli.main(["import", str(tmp_path), "-o", str(tmp_path / "x")]) == 2


def test_a_centre_stays_on_its_side_of_the_nyquist_frequency():
    hertz = torch.tensor([4000.0, 5512.5, 8000.0, 11025.0, 16000.0])
    for published in (hertz, torch.nextafter(hertz, hertz + 1), torch.nextafter(hertz, hertz - 1)):
        ours = (_kilohertz(published.double(), published).double() * 1000).float()
        assert torch.equal(ours <= hertz, published <= hertz)


def test_the_attack_list_is_real(tmp_path):
    torch.save(Runs(os.system, f"touch {tmp_path / 'marker'}"), buffer := io.BytesIO())
    with zipfile.ZipFile(buffer) as archive:
        pickle.loads(archive.read("archive/data.pkl"))
    assert (tmp_path / "marker").exists()
