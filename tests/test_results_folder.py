"""A results folder that somebody has edited, or a disk has damaged: which file and line is told, and nothing is made of it."""

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfi_zoo import InputError, cli, hub
from sfi_zoo.metrics.reporting.leaderboard import leaderboard
from sfi_zoo.metrics.reporting.ranking import ranking
from sfi_zoo.metrics.reporting.report import as_html, sections
from sfi_zoo.metrics.reporting.study import study
from sfi_zoo.metrics.scoring.checks import check_record
from sfi_zoo.metrics.scoring.records import LONGEST, read_manifest, read_records
from sfi_zoo.metrics.scoring.rows import as_json, rows_of
from tests.test_report import records as made_records
from tests.test_report import results
from tests.tiny_separators import tiny

RECORDS = made_records([5.0], tracks=2)
LINES = [json.dumps(record).encode() + b"\n" for record in RECORDS]
DELETED = object()


def edited(record: dict[str, Any], *path: str | int, to: Any = DELETED) -> dict[str, Any]:
    """With another value at a place, or none."""
    record = copy.deepcopy(record)
    parent: Any = record
    for key in path[:-1]:
        parent = parent[key]
    if to is DELETED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = to
    return record


def line(*path: str | int, to: Any = DELETED) -> bytes:
    return json.dumps(edited(RECORDS[2], *path, to=to)).encode() + b"\n"


DAMAGED = {
    "no model": (line("model"), "model is no text"),
    "no track": (line("track"), "track is no text"),
    "a rate that is null": (line("sample_rate", to=None), "sample_rate is no positive number"),
    "a rate that is a text": (line("sample_rate", to="8000"), "sample_rate is no positive number"),
    "a rate that is true": (line("sample_rate", to=True), "sample_rate is no positive number"),
    "a rate of nothing": (line("trained_rate", to=0), "trained_rate is no positive number"),
    "another mode": (
        line("mode", to="magic"),
        "mode is none of native, resample, none, fixed_masks, ratio_masks",
    ),
    "no sources": (line("sources", to=[]), "sources is no list of 1 to 100 names"),
    "sources in a text": (line("sources", to="ab"), "sources is no list"),
    "a million sources": (line("sources", to=["a"] * 10**5), "sources is no list"),
    "a name of no letters": (line("model", to="a\udc80"), "is no name"),
    "a failure without a reason": (line("failed", to=None), "failed is no text"),
    "no LEE": (line("lee"), "lee has no LEEs"),
    "one LEE": (line("lee", "mask"), "lee.mask.error is not 2 numbers"),
    "a LEE in a text": (line("lee", "mask", "error", to="ab"), "lee.mask.error is not 2 numbers"),
    "a LEE of one source": (
        line("lee", "mask", "reference", to=[1.0]),
        "lee.mask.reference is not 2 numbers",
    ),
    "NaN": (line("lee", "mask", "error", 0, to=math.nan), "NaN is no number"),
    "infinity": (line("si_sdr", "estimate", 1, to=-math.inf), "-Infinity is no number"),
    "an enormous number": (line("si_sdr", "estimate", 1, to=10**400), "si_sdr.estimate is not 2 numbers"),
    "a number beyond doubles": (LINES[2].replace(b"4.0", b"4e999"), "4e999 is beyond the largest number"),
    "a number of 5000 digits": (LINES[2].replace(b"4.0", b"4" * 5000), "has 5000 digits"),
    "no SI-SDR": (line("si_sdr"), "si_sdr.estimate is not 2 numbers"),
    "no mixture": (line("sdr", "mixture"), "sdr.mixture is not 2 numbers"),
    "layers without numbers": (
        line("layers", to={"contribution": {"a": None}, "reference": 1}),
        "layers has no",
    ),
    "other sources": (line("sources", to=["a", "c"]), "sources is not as in the first record of m0"),
    "another F0": (line("trained_rate", to=16000), "trained_rate is not as in the first record of m0"),
    "one metric more": (
        line("lee", "mine", to=RECORDS[2]["lee"]["mask"]),
        "lee is not as in the first record",
    ),
    "nothing": (b"\n", "Expecting value"),
    "a list": (b"[1]\n", "model is no text"),
    "half a line": (LINES[2][:100] + b"\n", "at character"),
    "two lines in one": (LINES[2][:-1] + LINES[3], "Extra data"),
    "lists in lists": (b"[" * 10**5 + b"\n", "nested too deeply"),
    "no UTF-8": (LINES[2].replace(b"m0", b"m\xff"), "decode"),
    "bytes": (bytes(range(128, 256)) + b"\n", "decode"),
    "10 MB of spaces": (b" " * 10**7 + b"\n", f"longer than {LONGEST} bytes"),
    "10 MB": (line("failed", to="x" * 10**7), f"longer than {LONGEST} bytes"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return results(tmp_path / "results", RECORDS)


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_line_is_named_with_what_is_wrong(what: str, folder: Path) -> None:
    damaged, reason = DAMAGED[what]
    (folder / "records-1.jsonl").write_bytes(LINES[0] + LINES[1] + damaged + LINES[3])
    with pytest.raises(InputError) as caught:
        read_records(folder)
    said = str(caught.value)
    assert said.startswith(f"{folder / 'records-1.jsonl'}: line 3 is damaged (") and reason in said
    assert "delete it to have it measured again" in said and "\n" not in said and len(said) < 1000


@pytest.mark.parametrize("command", [["report"], ["study", "--no-plots"], ["report", "--json"]])
def test_the_commands_say_it_in_one_line_and_write_nothing(
    command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "records-0.jsonl").open("ab") as file:
        file.write(DAMAGED["NaN"][0])
    assert cli.main([*command, str(folder)]) == 2
    said = capsys.readouterr()
    place = f"sfi-zoo: {folder / 'records-0.jsonl'}: line {len(RECORDS) + 1} is damaged"
    assert said.err.startswith(place) and said.err.count("\n") == 1 and not said.out
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "records-0.jsonl"}


def test_a_run_goes_on_when_the_line_is_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = hub.save(tiny("convtasnet", sources=("vocals", "drums")), tmp_path / "model")
    out = tmp_path / "results"
    command = [
        "score",
        str(model),
        "--sample-rates",
        "6000",
        "--tracks",
        "1",
        "--seconds",
        "0.5",
        "-o",
        str(out),
    ]
    assert cli.main(command) == 0
    path = out / "records-0.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join((lines[0], lines[1].replace(b'"mask"', b'"musk"'), *lines[2:])))
    assert cli.main(command) == 2
    assert "line 2 is damaged (lee.mask.error is not 2 numbers" in capsys.readouterr().err
    path.write_bytes(b"".join((lines[0], *lines[2:])))
    assert cli.main(command) == 0
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines)


@pytest.mark.parametrize("ending", ["", " ", "\r"])
def test_spaces_at_the_ends_of_lines_do_no_harm(ending: str, folder: Path) -> None:
    text = "".join(json.dumps(record) + ending + "\n" for record in RECORDS)
    (folder / "records-0.jsonl").write_bytes(text.encode())
    assert len(read_records(folder)) == len(RECORDS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"[]", "sfi_zoo is missing or of another type"),
        (
            b'{"sfi_zoo": "", "torch": "", "models": [], "data": {}, "measures": {}}',
            "models is missing or of",
        ),
        (b'{"sfi_zoo": "", "torch": "", "models": {}, "data": {}}', "measures is missing"),
        (
            b'{"sfi_zoo": "", "torch": "", "models": {}, "data": {"a": NaN}, "measures": {}}',
            "NaN is no number",
        ),
        (
            b'{"sfi_zoo": "", "torch": "", "models": {}, "data": {"a": [[]]}, "measures": {}}',
            "data.a is nested too deeply",
        ),
        (b'{"a":' * 10**5, "nested too deeply"),
        (b"\xff", "decode"),
    ],
    ids=["empty", "list", "models", "measures", "NaN", "nested", "deep", "bytes"],
)
def test_a_damaged_manifest_is_named_with_what_is_wrong(
    text: bytes, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(InputError, match=r"manifest\.json cannot be read") as caught:
        read_manifest(folder)
    assert reason in str(caught.value)
    assert cli.main(["report", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_manifest_knows_the_models_of_the_records(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(made | {"models": {}}))
    assert cli.main(["report", str(folder)]) == 2
    assert "has records of m0, which its manifest.json does not know" in capsys.readouterr().err


def test_names_with_dollars_and_brackets_are_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    made = made_records([5.0, 4.0], tracks=2, model="[/b] $x_$ \u3000")
    made = [record | {"mode": record["mode"].replace("resample", "resample:[/b]$x_$")} for record in made]
    odd = results(tmp_path / "results", made)
    assert cli.main(["report", str(odd), "--resamples", "2", "--scores-json", str(tmp_path / "scores")]) == 0
    assert cli.main(["study", str(odd)]) == 0
    assert (tmp_path / "scores" / "b] $x_$ \u30000" / "scores.json").is_file()


def test_a_track_whose_name_is_no_unicode_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    failed = {key: RECORDS[0][key] for key in ("model", "mode", "sample_rate", "trained_rate", "sources")}
    made = [*RECORDS, failed | {"track": "caf\udce9", "failed": "no such file: caf\udce9"}]
    odd = results(tmp_path / "results", made)
    assert cli.main(["report", str(odd), "--resamples", "2"]) == 0
    assert r"caf\udce9" in (odd / "report.md").read_text()


# whatever is changed in a record ------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e100, -1e100, 1e-300, 0, -1]),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Of everything in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [x for key, part in inside for x in ((*above, key), *places(part, (*above, key)))]


LAYERS = {"contribution": {"encoder": 1.0, "masks": -1.0}, "reference": 0.0}
RICH = [record | {"layers": LAYERS, "bss_sdr": record["sdr"]} for record in RECORDS]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    number=st.integers(0, len(RICH) - 1),
    path=st.sampled_from(places(RICH[0])),
    value=st.one_of(st.just(DELETED), junk, numbers),
)
def test_a_changed_record_is_refused_by_its_line_or_all_can_be_made_of_it(
    number: int, path: tuple[str | int, ...], value: Any, tmp_path: Path
) -> None:
    made = [*RICH[:number], edited(RICH[number], *path, to=value), *RICH[number + 1 :]]
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    folder = results(tmp_path / "results", RICH)
    (folder / "records-0.jsonl").write_text("".join(json.dumps(record) + "\n" for record in made))
    try:
        found = read_records(folder)
    except InputError as error:
        # a first record that is changed is what the next one is held against
        assert any(f"records-0.jsonl: line {line} is damaged" in str(error) for line in (number + 1, 2))
        return
    check(found)


def check(found: list[dict[str, Any]]) -> None:
    """All that is made of records without pictures is made, and is JSON."""
    for value in (as_json(rows_of(found)), leaderboard(found, 2), ranking(found, 2), study(found)):
        json.dumps(value, allow_nan=False)


@pytest.mark.parametrize("value", [1e100, -1e100, 1e-300])
@pytest.mark.parametrize(
    "path",
    [
        ("sample_rate",),
        ("si_sdr", "estimate", 0),
        ("lee", "mask", "error", 0),
        ("lee", "mask", "reference", 0),
    ],
)
def test_numbers_of_any_size_are_drawn_or_refused(path: tuple[str | int, ...], value: float) -> None:
    pytest.importorskip("matplotlib")
    made = [edited(RICH[0], *path, to=value), *RICH[1:]]
    if path == ("sample_rate",) and value < 0:
        with pytest.raises(ValueError, match="sample_rate"):
            check_record(made[0])
        return
    check_record(made[0])
    check(made)
    as_html("a title", sections(made, 2))
