"""The leaderboard of the page, the report and the documentation: its entries, ranks, numbers, and the piece of HTML."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfi_zoo.metrics.reporting import report
from sfi_zoo.metrics.reporting.board import Entry, InMode, entries_of_records, entries_of_scores
from sfi_zoo.metrics.reporting.board_curves import curves_svg, span_of
from sfi_zoo.metrics.reporting.board_page import (
    SCRIPT,
    START,
    STYLE,
    board_html,
    board_markdown,
    cells_of,
    columns_of,
)
from sfi_zoo.metrics.reporting.looks import LOOKS, decibels_shown, lee_shown, look_of, with_interval
from sfi_zoo.metrics.reporting.ranking import FEWEST_TRACKS, gained_ranks, mean_gain
from sfi_zoo.metrics.scoring.rows import as_json, rows_of
from tests.test_report import records
from tests.test_study import record

CHROMIUM = Path("/usr/bin/chromium")
MANIFEST = {"data": {"kind": "synthetic"}, "sfi_zoo": "0", "torch": "0", "measures": {}}


# numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (-math.inf, "≤ -60"),
        (-60.0, "≤ -60"),
        (-67.69, "≤ -60"),
        (-59.994, "-59.99"),
        (-0.001, "0.00"),
        (0.005, "0.01"),
    ],
)
def test_a_number_has_one_form(x: float | None, text: str) -> None:
    assert decibels_shown(x) == text


def test_a_lee_reads_the_same_from_records_and_from_json() -> None:
    made = records([5.0])
    for r in made:
        if r["sample_rate"] == 8000:
            r["lee"] = {name: s | {"error": [0.0 for _ in s["error"]]} for name, s in r["lee"].items()}
    rows = rows_of(made)
    assert [lee_shown(row, "mask") for row in rows] == [lee_shown(row, "mask") for row in as_json(rows)]
    assert lee_shown(rows[0], "mask") == "≤ -60" and lee_shown({}, "mask") == "n/a"


def test_an_interval_stands_in_brackets() -> None:
    assert with_interval({"value": 1.234, "low": -0.001, "high": 2.0}) == "1.23 [0.00, 2.00]"
    assert with_interval({"value": 1.234, "low": None, "high": None}) == "1.23"
    assert with_interval(None) == "n/a"


# looks --------------------------------------------------------------------------------------------------------------


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_lines_of_modes_are_seen_on_light_and_on_dark_and_told_apart_without_colour() -> None:
    looks = [
        *LOOKS.values(),
        look_of("resample:a", ["resample:a", "resample:b"]),
        look_of("resample:b", ["resample:a", "resample:b"]),
    ]
    for look in looks:
        light = luminance(look.color)
        assert 1.05 / (light + 0.05) >= 3 and (light + 0.05) / (luminance("#1b1b1f") + 0.05) >= 3, look
    assert len({look.dash for look in looks}) == len({look.color for look in looks}) == len(looks)


def test_a_line_on_another_does_not_hide_it() -> None:
    """Native is widest and has no gaps: where others run on it, it shows beside and between their dashes; it is drawn first."""
    native = LOOKS["native"]
    assert not native.dash
    assert all(
        look.dash and look.width <= native.width / 2 for mode, look in LOOKS.items() if mode != "native"
    )
    drawn = curves_svg(
        entries_of_records(records([5.0]), 0)[0], "lost", (0, 1), ["native", "resample", "none"]
    )
    assert [drawn.index(LOOKS[mode].color) for mode in ("native", "resample", "none")] == sorted(
        drawn.index(LOOKS[mode].color) for mode in ("native", "resample", "none")
    )


# ranks --------------------------------------------------------------------------------------------------------------


def gains(
    offsets: dict[str, float], tracks: int = 12, noise: float = 0.0
) -> dict[str, dict[str, list[float]]]:
    rng = np.random.default_rng(0)
    songs = rng.normal(0, 5, (tracks, 2))  # songs differ far more than models
    return {
        name: {f"t{i:02d}": list(song + offset + noise * rng.normal(size=2)) for i, song in enumerate(songs)}
        for name, offset in offsets.items()
    }


def test_ranks_follow_paired_differences_not_the_spread_of_the_songs() -> None:
    assert gained_ranks(gains({"a": 1.0, "b": 0.5, "c": 0.0})) == {"a": 1, "b": 2, "c": 3}


def test_models_that_differ_less_than_their_uncertainty_share_a_rank() -> None:
    found = gained_ranks(gains({"a": 4.0, "b": 0.02, "c": 0.0}, noise=1.0))
    assert found == {"a": 1, "b": 2, "c": 2}


def test_a_rank_needs_tracks_and_a_bootstrap() -> None:
    few = gains({"a": 1.0, "b": 0.0}, tracks=FEWEST_TRACKS - 1)
    assert gained_ranks(few) == {"a": None, "b": None}
    assert gained_ranks(gains({"a": 1.0, "b": 0.0}), resamples=0) == {"a": None, "b": None}
    assert gained_ranks(few | gains({"c": 0.0})) == {"a": None, "b": None, "c": 1}


def test_the_mean_gain_is_that_of_the_sources_means() -> None:
    assert mean_gain([(6.0, None), (8.0, 2.0), (1.0, 3.0)]) == pytest.approx((5.0 + 2.5) / 2)
    assert mean_gain([]) is None and mean_gain([(None, None)]) is None


# entries ------------------------------------------------------------------------------------------------------------


def test_scores_json_gives_the_entries_that_the_records_give(tmp_path: Path) -> None:
    made = records([5.0, 4.0], noise=0.5)
    settings = MANIFEST | {"models": {r["model"]: "digest" for r in made}}
    files = report.write_scores(made, settings, tmp_path)
    read = {path.parent.name: json.loads(path.read_text()) for path in files}
    direct, stored = entries_of_records(made), entries_of_scores(read)
    assert [e.model for e in stored] == [e.model for e in direct] == ["m0", "m1"]
    for one, other in zip(direct, stored, strict=True):
        assert one.rank == other.rank and one.rank is not None
        assert other.gained == pytest.approx(one.gained) and other.by_source.keys() == one.by_source.keys()
        for mode, own in one.modes.items():
            assert other.modes[mode].lost == pytest.approx(own.lost)
            assert other.modes[mode].lee == pytest.approx(own.lee) and own.lee["low"] is not None
            assert other.modes[mode].curve == {rate: pytest.approx(x) for rate, x in own.curve.items()}


def test_old_scores_have_figures_without_intervals_and_no_rank(tmp_path: Path) -> None:
    made = records([5.0])
    (path,) = report.write_scores(made, MANIFEST | {"models": {"m0": "digest"}}, tmp_path)
    content = json.loads(path.read_text())
    del content["leaderboard"]
    (old,), (new,) = entries_of_scores({"m0": content}), entries_of_records(made)
    assert old.gained == {"value": pytest.approx(new.gained["value"]), "low": None, "high": None}
    assert old.rank is None and old.modes["none"].lost["value"] == pytest.approx(
        new.modes["none"].lost["value"]
    )


def test_controls_have_no_row() -> None:
    assert list(entries_of_records(records([5.0]), 0)[0].modes) == ["native", "resample", "none"]


def test_models_of_different_tasks_are_not_ranked_together() -> None:
    made = records([9.0, 4.0])
    for r in made:
        if r["model"] == "m1":
            r["sources"] = ["c", "d"]
    assert {entry.rank for entry in entries_of_records(made)} == {1}


# the piece of HTML --------------------------------------------------------------------------------------------------


def grouped() -> list[dict[str, Any]]:
    """Two models, tracks of two groups."""
    made = records([5.0, 4.0], noise=0.5)
    for r in made:
        r["track"] = f"{'EIF' if r['track'] in ('t0', 't1') else 'PJS'} - {r['track']}"
    return made


def test_a_row_for_each_model_with_modes_and_groups_as_columns() -> None:
    entries = entries_of_records(grouped(), 20)
    columns = columns_of(entries)
    assert [(c.group, c.name) for c in columns] == [
        *(("", name) for name in ("rank", "model", "F0")),
        *(("gained at F0", name) for name in ("all", "EIF", "PJS")),
        *(
            (group, m)
            for group in ("lost at the worst F", "mask LEE at the worst F")
            for m in ("native", "resample", "none")
        ),
    ]
    assert all(len(column.meaning) > 20 for column in columns)
    html = board_html(entries)
    assert html.count('<th scope="row"') == 2
    assert html.count("data-meaning=") == len(columns)
    for entry in entries:
        assert [len(cells_of(entry, columns))] == [len(columns)]
    assert board_markdown(entries).count("\n") == 3


def test_names_are_text_whatever_is_in_them() -> None:
    x = {"value": 1.0, "low": None, "high": None}
    mode = InMode(x | {"sample_rate": 8000.0}, x, {8000.0: {"lost": 1.0}})
    entry = Entry("<b>&\"'m", ("<i>",), 32000.0, 1, x, {"<i>": x}, {}, None, {"native": mode})
    html = board_html([entry], lambda name: f'"><script>{name}')
    assert "<b>" not in html and "<i>" not in html and "<script>" not in html
    assert "&lt;b&gt;" in html


def test_nothing_is_said_to_be_nothing() -> None:
    assert "No model has scores yet" in board_html([])


def test_curves_of_all_models_share_an_axis_and_tell_their_values() -> None:
    entries = entries_of_records(records([5.0, 4.0]), 0)
    span = span_of(entries, "gained")
    values = [at["gained"] for e in entries for m in e.modes.values() for at in m.curve.values()]
    assert span == (min(values), max(values))
    drawn = curves_svg(entries[0], "gained", span, ["native", "resample", "none"])
    assert "<title>native at 8 kHz: 5.00 dB</title>" in drawn
    ticks = {
        re.findall(r'text-anchor="end">([^<]*)', curves_svg(e, "gained", span, ["native"]))[0]
        for e in entries
    }
    assert len(ticks) == 1


# in a browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Any:
    if not CHROMIUM.exists():
        pytest.skip("needs chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield started
        started.close()


@pytest.fixture
def report_page(tmp_path: Path) -> Path:
    pytest.importorskip("matplotlib")
    made = grouped()
    made += [
        record(f"a model with a name that is long {i}", mode, rate, r["track"], -20, 0.1 * i, 3.0 + i)
        for i in range(4)
        for r in made[:24:4]
        for mode in ("native", "resample", "none")
        for rate in (8000.0, 32000.0)
    ]
    made = list({(r["model"], r["track"], r["mode"], r["sample_rate"]): r for r in made}.values())
    page = tmp_path / "report.html"
    page.write_text(report.as_html("Scores", report.sections(made, 50)), encoding="utf-8")
    return page


def test_a_report_is_small_and_asks_the_network_for_nothing(browser: Any, report_page: Path) -> None:
    assert report_page.stat().st_size < 1_000_000
    page, asked, errors = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(report_page.as_uri())
    for folded in page.locator("summary").all():
        folded.click()
    assert asked[:1] == [report_page.as_uri()] and all(url.startswith("data:") for url in asked[1:])
    assert errors == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_report_fits_its_window_and_the_readers_colours(
    browser: Any, report_page: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(report_page.as_uri())
    for folded in page.locator("summary").all():
        folded.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back, text = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    dark, light = sorted(sum(map(int, re.findall(r"\d+", x)[:3])) for x in (back, text))
    assert light - dark > 500 and (sum(map(int, re.findall(r"\d+", back)[:3])) > 380) == (scheme == "light")
    page.close()


def test_a_board_is_sorted_from_the_keyboard_and_says_so(browser: Any, report_page: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report_page.as_uri())
    board = page.locator(".sfi-board").first
    head = board.locator("th").filter(has_text="native").first  # lost
    first_rows = board.locator("tbody tr")

    def order(column: int) -> list[float]:
        values = first_rows.evaluate_all(f"rows => rows.map(row => row.cells[{column}].dataset.value)")
        return [float(x) if x else math.inf for x in values]

    column = head.evaluate(
        "head => [...head.closest('thead').querySelectorAll('th:not(.group)')].indexOf(head)"
    )
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").focus()
    told = page.get_by_role("tooltip")
    assert "SI-SDR of the model's stems at F0" in told.inner_text()
    outline = head.get_by_role("button").evaluate("button => getComputedStyle(button).outlineStyle")
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending" and order(column) == sorted(order(column))
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert order(column) == sorted(order(column), reverse=True)
    assert outline == "solid"  # the focus is seen
    page.keyboard.press("Escape")
    assert not told.is_visible()
    page.close()


def test_boxes_show_and_hide_the_columns_of_a_mode(browser: Any, report_page: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(report_page.as_uri())
    board = page.locator(".sfi-board").first
    assert board.locator("td[data-mode=none]").first.is_hidden()  # a narrow window begins with one mode
    assert board.locator("td[data-mode=native]").first.is_visible()
    box = board.locator("input[value=none]")
    box.focus()
    page.keyboard.press("Space")
    assert board.locator("td[data-mode=none]").first.is_visible()
    page.close()


def test_without_scripts_the_board_is_a_plain_table() -> None:
    html = board_html(entries_of_records(records([5.0]), 0))
    assert "<button" not in html and not re.search(r"[^-]hidden", html)
    assert "function sfiBoard" in SCRIPT and START and ".sfi-board" in STYLE and "${" not in STYLE
