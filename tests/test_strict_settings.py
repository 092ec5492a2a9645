"""Settings of somebody else, JSON and YAML: what repeats itself, is nested without end, or is no number is refused at once."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from sfi_zoo import cli, hub
from sfi_zoo.errors import InputError
from sfi_zoo.hub import bundled, published
from sfi_zoo.hub.results import fill_model_index
from sfi_zoo.importers.yaml_data import MOST_BYTES, read_yaml
from sfi_zoo.models.conv_tasnet import ConvTasNet
from sfi_zoo.strict_json import parsed
from tests.cpu_time import cpu_seconds
from tests.tiny_separators import tiny
from tests.training_folder import write_recipe, write_songs

SIZE = MOST_BYTES - 100
BOMBS = {
    "a list in a list ...": "a: " + "[" * (SIZE // 2),
    "lines of lists": "- " * (SIZE // 2),
    "keys of keys": "? " * (SIZE // 2),
    "a list of nine times the one before": "a0: &a0 [x]\n"
    + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)),
    "itself": "a: &a [*a]\n",
    "a tuple of tuples as key": "a0: &a0 !!python/tuple [1]\n"
    + "".join(f"a{i}: &a{i} !!python/tuple [*a{i - 1},*a{i - 1}]\n" for i in range(1, 60))
    + "? *a59\n: 1\n",
    "a mapping very often": "b: &b {x: 1}\nc: {<<: [" + "*b," * (SIZE // 4) + "]}",
    "minutes of minutes": "a: 1" + ":1" * (SIZE // 2),
    "minutes of minutes and a half": "a: 1" + ":1" * (SIZE // 2 - 5) + ".5",
    "a number of many digits": "a: " + "9" * 5000,
    "a number of many bits": "a: 0x" + "f" * (SIZE - 10),
    "a key twice": "a: 1\nb: {c: 1, c: 2}\n",
    "NaN": "a: [1, .nan]\n",
    "too much": "a: 1\n" + "#\n" * SIZE,
}


@pytest.mark.parametrize("what", BOMBS)
def test_yaml_that_takes_more_than_it_is_is_refused_at_once(what: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(BOMBS[what])
    with cpu_seconds() as spent, pytest.raises(InputError, match=r"x\.yaml: ") as caught:
        read_yaml(tmp_path / "x.yaml")
    assert spent[0] < 2 and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_yaml_without_a_limit_of_recursion_is_refused_as_well(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(BOMBS["a list in a list ..."])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * limit)  # as some libraries do: PyYAML would take a hundred times as long
    try:
        with cpu_seconds() as spent, pytest.raises(InputError, match="nested too deeply"):
            read_yaml(tmp_path / "x.yaml")
    finally:
        sys.setrecursionlimit(limit)
    assert spent[0] < 2


def test_mappings_that_name_the_one_before_four_times_take_no_time(tmp_path: Path) -> None:
    """Versions of PyYAML before 6.0.4 would take 4^40 pairs: these are refused."""
    chain = "".join(f"b{i}: &b{i}\n  <<: [{','.join([f'*b{i - 1}'] * 4)}]\n" for i in range(1, 40))
    (tmp_path / "x.yaml").write_text("b0: &b0 {x: 1}\n" + chain)
    with cpu_seconds() as spent, suppress(InputError):
        assert read_yaml(tmp_path / "x.yaml")["b39"] == {"x": 1}
    assert spent[0] < 2


def test_yaml_of_training_programs_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "base: &base {a: 1, b: 0x10}\nmore: &more\n  <<: *base\n  a: 2\nlast:\n  <<: [*base]\n  c: 1e-4\n  d: .inf\n"
    )
    more = {"a": 2, "b": 16}
    assert read_yaml(tmp_path / "x.yaml") == {
        "base": {"a": 1, "b": 16},
        "more": more,
        "last": {"a": 1, "b": 16} | {"c": 1e-4, "d": float("inf")},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "'a' is there twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "'a' is there twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("1e999", "1e999 is beyond the largest number"),
        ("9" * 5000, "has 5000 digits"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        (b'"\xff"', "invalid start byte"),
        ("[1,]", "at character"),
    ],
)
def test_json_is_what_its_standard_says(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parsed(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    assert parsed('{"a": [1, 2.5, "x", null, true]}') == {"a": [1, 2.5, "x", None, True]}


HOSTILE = [
    '{"a": 1, "a": 1}',
    "NaN",
    '{"rows": NaN}',
    "[" * 100_000,
    '{"rows": [' + "9" * 5000 + "]}",
    "[]",
    "{}",
    "\xff",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_files_of_a_model_that_are_no_json(
    text: str, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hub.save(tiny("openunmix"), folder / "zoo" / "model", license="mit")
    (made / "scores.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"scores\.json") as caught:
        fill_model_index(made, "x", "x")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(bundled, "BUNDLED", folder / "zoo")
    assert cli.main(["list"]) == 2
    (made / "scores.json").unlink()
    (made / "source.json").write_text(text, encoding="latin-1")
    assert cli.main(["list"]) == 2
    with pytest.raises(InputError, match=r"source\.json: cannot be read"):
        published.find("model")
    (made / "source.json").unlink()
    (made / "config.json").write_text(text, encoding="latin-1")
    assert cli.main(["list"]) == 2
    assert cli.main(["info", "zoo/model"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and all(line.startswith("sfi-zoo: ") for line in said)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"])
def test_weights_of_eight_bits_are_refused_by_name(
    dtype: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    made = hub.save(tiny("openunmix"), folder / "model")
    state: dict[str, Any] = load_file(made / "model.safetensors")
    save_file(
        {k: v.to(getattr(torch, dtype)) if v.is_floating_point() else v for k, v in state.items()},
        made / "model.safetensors",
    )
    assert cli.main(["info", "model"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"of a precision that is not read targets.0.input_mean {dtype}" in error


def test_a_digest_that_is_no_text(folder: Path, capsys: pytest.CaptureFixture) -> None:
    made = hub.save(tiny("openunmix"), folder / "model")
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {"weights_sha256": 7}))
    assert cli.main(["info", "model"]) == 2
    assert "weights_sha256 must be a text, got 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    "call",
    [
        "separate -m model -o OUT x.wav",
        "import GOLDEN -o OUT --sample-rate 8000",
        "train recipe.toml --data data -o OUT",
    ],
)
def test_an_output_whose_name_is_no_text_is_one_line(
    call: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    hub.save(tiny("convtasnet"), folder / "model")
    soundfile.write("x.wav", np.full(400, 0.1), 8000)
    write_recipe(folder / "recipe.toml")
    write_songs(folder / "data")
    golden = str(Path(__file__).parent / "golden" / "asteroid_global_relu.bin")
    places = {"OUT": os.fsdecode(b"o\xffut"), "GOLDEN": golden}
    assert cli.main([places.get(word, word) for word in call.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "o\\udcffut" in error and "not valid text, choose another" in error
    assert not list(folder.glob(".sfi-zoo-*")) and not (folder / places["OUT"]).exists()


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."
        ),
    ],
)
def test_out_of_memory_is_one_line_and_the_batch_goes_on(
    raised: Exception, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.save(tiny("convtasnet"), folder / "model")
    for name in ("x.wav", "y.wav"):
        soundfile.write(name, np.full(400, 0.1), 8000)
    forward, calls = ConvTasNet.forward, []

    def fail_once(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise raised
        return forward(self, *args)

    monkeypatch.setattr(ConvTasNet, "forward", fail_once)
    assert cli.main(["separate", "-m", "model", "x.wav", "y.wav"]) == 1
    said = capsys.readouterr()
    assert (
        said.err.startswith("sfi-zoo: x.wav: out of memory; try --chunk-seconds")
        and said.err.count("\n") == 1
    )
    assert said.out.split() == ["separated/y/a.wav", "separated/y/b.wav"]
    monkeypatch.setattr("sfi_zoo.hub.load", lambda *_, **__: (_ for _ in ()).throw(raised))
    assert cli.main(["info", "model"]) == 2
    assert capsys.readouterr().err.startswith("sfi-zoo: out of memory; ")
