"""What to expect of a model stands in its card, in `info` and on the page, with the figures of its scores; its speed is a record."""

import json
import re
from pathlib import Path

import pytest

from sfi_zoo import cli
from sfi_zoo.hub.bundled import BUNDLED, DEFAULT_MODEL, list_models
from sfi_zoo.hub.catalogue import Row, catalogue, read_row
from sfi_zoo.hub.expectations import BEGIN, END, paragraph, update_card, with_expectations

CARDS = sorted(path.parent for path in BUNDLED.glob("*/README.md"))
OURS = [BUNDLED / name for name in list_models()]


@pytest.mark.parametrize("folder", CARDS, ids=lambda folder: folder.name)
def test_every_card_says_what_to_expect_as_its_scores_are_now(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.count(BEGIN) == card.count(END) == 1
    told = card[card.index(BEGIN) + len(BEGIN) : card.index(END)].strip()
    assert told == paragraph(read_row(folder)), "run tools/what_to_expect.py"
    assert len(told.splitlines()) == 3 and "above" in told and "rate" in told


@pytest.mark.parametrize("folder", OURS, ids=lambda folder: folder.name)
def test_every_figure_is_one_of_the_scores(folder: Path) -> None:
    """Read from scores.json here, on its own."""
    scores = json.loads((folder / "scores.json").read_text())
    native = [row for row in scores["rows"] if row["mode"] == "native"]
    at_f0 = next(row for row in native if row["sample_rate"] == row["trained_rate"])
    gains = scores["improvement_at_trained_rate_db"]
    lost = max(row["si_sdr_lost_db"] for row in native if row["sample_rate"] != row["trained_rate"])
    quality, above, rate = paragraph(read_row(folder)).splitlines()
    quality = quality.replace(scores["data"]["what"], "")
    assert re.findall(r"-?\d+(?:\.\d+)?", quality) == [
        f"{at_f0['tracks']}",
        f"{sum(gains.values()) / len(gains):.1f}",
        f"{max(gains.values()):.1f}",
        f"{min(gains.values()):.1f}",
    ]
    assert f"up to {at_f0['trained_rate'] / 2000:g} kHz" in above
    assert f"at most {max(lost, 0):.1f} dB" in rate


def test_a_source_that_gets_worse_is_told() -> None:
    row = Row("m", "t", ("a", "b"), 16000, None, "mit", 1.0, 0.2, {"a": 3.0, "b": -1.0}, 5, "songs")
    assert "b least (-1.0 dB, which is worse than the mixture)" in paragraph(row)
    assert "has not been scored" in paragraph(Row("m", "t", ("a", "b"), 16000, None, "mit"))


def test_a_card_keeps_all_else(tmp_path: Path) -> None:
    row = Row("m", "t", ("a", "b"), 16000, None, "mit")
    card = "# m\n\nAbout.\n\n## Training\n\nx\n"
    once = with_expectations(card, row)
    assert with_expectations(once, row) == once
    assert once.startswith("# m\n\nAbout.\n\n## What to expect\n") and once.endswith("\n\n## Training\n\nx\n")
    assert with_expectations("# m\n", row).startswith("# m\n\n## What to expect\n")
    folder = tmp_path / "row"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "scores.json"):
        (folder / name).write_bytes((BUNDLED / DEFAULT_MODEL / name).read_bytes())
    (folder / "README.md").write_text(once)
    update_card(folder)
    assert paragraph(read_row(BUNDLED / DEFAULT_MODEL)) in (folder / "README.md").read_text()


def test_speed_is_a_record_of_every_bundled_model(capsys: pytest.CaptureFixture) -> None:
    for folder in OURS:
        record = json.loads((folder / "speed.json").read_text())
        assert record["real_time"] > 0 and record["processor"] and record["threads"] == 1
        assert read_row(folder).speed == record["real_time"]
    assert cli.main(["list", "--sort", "speed", "--json", "*.music4"]) == 0
    speeds = [row["speed"] for row in json.loads(capsys.readouterr().out)]
    assert speeds == sorted(speeds, reverse=True)
    assert cli.main(["list", "*.music4"]) == 0
    assert "x real time" in capsys.readouterr().out
    assert {row.speed for row in catalogue() if not row.ours} == {None}


def test_info_says_all_that_a_choice_needs(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["info", DEFAULT_MODEL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"licence", "megabytes", "data", "paper", "scores", "speed", "expect", "card"} <= set(told)
    assert all(told.values()) and "2019" in told["paper"]
    assert any("CC0" in data for data in told["data"]) and len(told["data"]) >= 3
    assert told["expect"] == paragraph(read_row(BUNDLED / DEFAULT_MODEL))


def test_the_page_says_it_too() -> None:
    pytest.importorskip("gradio")
    from sfi_zoo.demo.separate_tab import _expectations

    assert _expectations(DEFAULT_MODEL) == paragraph(read_row(BUNDLED / DEFAULT_MODEL))
    assert _expectations("/somewhere/else") == ""
