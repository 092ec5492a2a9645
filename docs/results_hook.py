"""A hook of mkdocs: where a page says so, tables are made of hub_configs/*/scores.json while the site is built. No figure is typed.

<!-- board -->          the leaderboard, the component of the report and of `sfi-zoo demo`
<!-- scores -->         one folded table for each model: every mode and rate
<!-- which -->          what the default model loses in each mode
<!-- sources -->        what is gained: per source, and per group of tracks, from docs/zoo.json
<!-- modes -->          what is lost in every mode, from docs/zoo.json
<!-- study -->          what the plan asks, on both halves, from docs/study/study.json of tools/study.py
<!-- fresh -->          the same on songs that nobody had looked at, for each set of rows, from docs/study/range.json
<!-- range -->          the same of both halves and all sets of rows, and two readings of after the plan, from docs/study/range.json
<!-- songs -->          what intervals for one song cover, from docs/study/per_song.json of tools/study.py
<!-- beside -->         the other LEEs and costs on the half that chose nothing
<!-- on -->             what the scores were measured on
"""

import json
from html import escape
from pathlib import Path
from typing import Any

from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.hub.figures import gained_db, lost_db, most
from sfi_zoo.metrics.reporting.board import entries_of_scores
from sfi_zoo.metrics.reporting.board_page import SCRIPT, START, STYLE, board_html
from sfi_zoo.metrics.reporting.looks import decibels_shown, with_interval
from sfi_zoo.metrics.reporting.report import COLUMNS, scores_cells
from sfi_zoo.wording import markdown_table

FOLDER = Path(__file__).parent.parent / "hub_configs"
README = FOLDER.parent / "README.md"
BEGIN, END = "<!-- the zoo: python docs/results_hook.py -->", "<!-- end of the zoo -->"
STUDY = Path(__file__).parent / "study" / "study.json"  # of tools/study.py
SONGS, RANGE = STUDY.with_name("per_song.json"), STUDY.with_name("range.json")
ZOO = Path(__file__).parent / "zoo.json"  # of docs/make_results.py
CLAIM = ("scale_invariant", "si_sdr_lost_separated")  # of the plan
MODES = ("native", "resample", "none", "fixed_masks", "ratio_masks")
Row = dict[str, Any]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of every page."""
    for marker, tables in (("board", board), ("scores", each_model), ("on", measured_on), ("which", by_mode)):
        if (comment := f"<!-- {marker} -->") in markdown:
            markdown = markdown.replace(comment, tables(published()))
    for marker, table in (
        ("study", claim),
        ("fresh", fresh),
        ("range", after_the_plan),
        ("songs", songs),
        ("beside", beside),
        ("sources", gained),
        ("modes", lost),
    ):
        if (comment := f"<!-- {marker} -->") in markdown:
            markdown = markdown.replace(comment, table())
    return markdown


def published(folder: Path = FOLDER) -> dict[str, Row]:
    """Name -> content of scores.json, those with the most SI-SDR improvement at F0 first."""
    found = {path.parent.name: json.loads(path.read_text("utf-8")) for path in folder.glob("*/scores.json")}
    return dict(sorted(found.items(), key=lambda item: -(gained_db(item[1]) or 0)))


def sources_of(scores: Row) -> set[str]:
    """What a model separates: its task."""
    return set(scores["improvement_at_trained_rate_db"])


def at_trained(scores: Row) -> Row:
    """The row of the native mode at F0; empty where there is none."""
    return next(
        (r for r in scores["rows"] if r["mode"] == "native" and r["sample_rate"] == r["trained_rate"]), {}
    )


def board(models: dict[str, Row]) -> str:
    """The leaderboard; a model's name leads to its table of every mode and rate."""
    html = board_html(entries_of_scores(models), lambda name: f"../results_rates/#{_anchor(name)}")
    return f"{html}\n\n{_scripts()}"


def by_mode(models: dict[str, Row]) -> str:
    """A row for each mode, a column for each rate: what the default model loses."""
    modes = entries_of_scores({DEFAULT_MODEL: models[DEFAULT_MODEL]})[0].modes
    rates = sorted({rate for mode in modes.values() for rate in mode.curve})
    rows = [
        [mode, *(decibels_shown(own.curve.get(rate, {}).get("lost")) for rate in rates)]
        for mode, own in modes.items()
    ]
    return markdown_table(["mode", *(f"{_kilohertz(rate)} kHz" for rate in rates)], rows, numbers=True)


def _scripts() -> str:
    return f"<style>{STYLE}</style>\n<script>{SCRIPT}{START}</script>"


def claim(path: Path = STUDY) -> str:
    """Pearson's r and the partial one of the plan's metric and cost on both halves, with 95 % intervals, and tau at each F."""
    return _claims("half", json.loads(path.read_text("utf-8")))


def fresh(path: Path = RANGE) -> str:
    """The same on the fresh songs, by which the plan decides: with the rows of the plan, with those of after it, with both."""
    entries = json.loads(path.read_text("utf-8"))
    return _claims("rows", {entry["set"]: entry for entry in entries if entry["half"] == "fresh"})


def _claims(what: str, entries: dict[str, Row]) -> str:
    """Two tables: r of each entry and group, and tau of each entry, mode and F."""
    correlations, choices = [], []
    for name, found in entries.items():
        for r in found["correlations"]:
            if (r["metric"], r["cost"]) == CLAIM:
                sizes = [str(r["points"]), f"{r['models']} in {r['families']}", str(r["tracks"])]
                values = map(with_interval, (r["pearson"], r["partial_pearson"]))
                lowest = decibels_shown(r["without"]["value"]) + f" ({r['without']['family']})"
                correlations.append([f"{name}, {r['group']}", *sizes, *values, lowest])
        choices += [
            [
                f"{name}, {c['mode']}",
                _kilohertz(c["sample_rate"]),
                f"{c['pairs']} of {c['of']}",
                decibels_shown(c["tau"]),
            ]
            for c in found["choices"]
        ]
    header = [f"{what}, group", "points", "rows in families", "songs", "Pearson's r", "given the bandwidth"]
    tables = markdown_table([*header, "r without the family that matters most"], correlations, numbers=True)
    return (
        tables
        + "\n\n"
        + markdown_table(
            [f"{what}, mode", "F in kHz", "pairs that differ", "Kendall's tau"], choices, numbers=True
        )
    )


def after_the_plan(path: Path = RANGE) -> str:
    """A row for each half, set of rows and mode: r, its partial and the lowest tau, as planned and as read after it."""
    rows = []
    for entry in (entry for entry in json.loads(path.read_text("utf-8")) if entry["half"] != "fresh"):
        of_modes = zip(entry["correlations"], entry["same_pairs"], strict=True)
        for plan, pairs in ((a, b) for a, b in of_modes if a["group"] != "all"):
            mode = plan["group"].removeprefix("mode ")
            taus = [_lowest(entry[name], mode) for name in ("choices", "two_errors")]
            values = [
                [decibels_shown(r[x]["value"]) for x in ("pearson", "partial_pearson")] for r in (plan, pairs)
            ]
            sizes = [f"{plan['models']} in {plan['families']}", str(plan["tracks"])]
            rows.append(
                [f"{entry['half']}, {entry['set']}, {mode}", *sizes, *values[0], taus[0], *values[1], taus[1]]
            )
    header = ["half, rows, mode", "rows in families", "songs", "r", "given the bandwidth"]
    header += ["lowest tau", "r, same pairs", "given the bandwidth", "lowest tau, two errors"]
    return markdown_table(header, rows, numbers=True)


def _lowest(choices: list[Row], mode: str) -> str:
    """The lowest tau of a mode, and at which F."""
    told = [c for c in choices if c["mode"] == mode and c["tau"] is not None]
    if not told:
        return "n/a"
    least = min(told, key=lambda c: c["tau"])
    return f"{decibels_shown(least['tau'])} ({_kilohertz(least['sample_rate'])} kHz)"


def songs(path: Path = SONGS) -> str:
    """What intervals for the loss of one song cover on songs that they were not made of, with and without its LEE."""
    header = [
        "interval",
        "covers",
        "of the worst song",
        "median width in dB",
        "width if stretched to cover as much as it says",
    ]
    rows = [
        [
            f"{100 * r['level']:.0f} %, {'with' if r['with_lee'] else 'without'} the LEE",
            *(f"{r[key]:.3f}" for key in ("coverage", "lowest")),
            *(decibels_shown(r[key]) for key in ("width", "widened")),
        ]
        for r in json.loads(path.read_text("utf-8"))
    ]
    return markdown_table(header, rows, numbers=True)


def beside(path: Path = STUDY) -> str:
    """Pearson's r of every LEE and cost, on the half that chose nothing."""
    found = json.loads(path.read_text("utf-8"))["kept"]["correlations"]
    costs = list(dict.fromkeys(r["cost"] for r in found))
    of = {(r["group"], r["metric"], r["cost"]): r["pearson"]["value"] for r in found}
    rows = [
        [group, metric.replace("_", " "), *(decibels_shown(of[group, metric, cost]) for cost in costs)]
        for group, metric in dict.fromkeys((r["group"], r["metric"]) for r in found)
    ]
    return markdown_table(["group", "LEE", *(cost.replace("_", " ") for cost in costs)], rows, numbers=True)


def gained(path: Path = ZOO) -> str:
    """SI-SDR gained at F0 with its interval: over all tracks, of each source, in each group of tracks."""
    rows = [row for row in json.loads(path.read_text("utf-8")) if row["mode"] == "native"]
    sources, groups = (
        list(dict.fromkeys(name for row in rows for name in row[key])) for key in ("by_source", "by_group")
    )
    cells = [
        [
            row["model"],
            with_interval(row["si_sdr_improvement"]),
            *(with_interval(row["by_source"][name]) for name in sources),
            *(with_interval(row["by_group"][name]) for name in groups),
        ]
        for row in rows
    ]
    return markdown_table(["model", "all", *sources, *groups], cells, numbers=True)


def lost(path: Path = ZOO) -> str:
    """SI-SDR lost in each mode: the most of all rates from 11.025 kHz on, and that at 8 kHz."""
    rows = json.loads(path.read_text("utf-8"))
    modes = sorted({row["mode"] for row in rows}, key=_place)
    found = {(row["model"], row["mode"]): row for row in rows}
    models = dict.fromkeys(row["model"] for row in rows)
    cells = [
        [model, *(_lost(found[model, mode]) if (model, mode) in found else "n/a" for mode in modes)]
        for model in models
    ]
    return markdown_table(["model", *modes], cells, numbers=True)


def _lost(row: Row) -> str:
    return " / ".join(decibels_shown(row[key] and row[key]["value"]) for key in ("worst_lost", "lost_at_8k"))


def in_readme(text: str) -> str:
    """README.md with the table of the zoo as the scores have it now: the models that separate what the default one separates. Of those
    that differ in how dead features are treated, and so in nothing at F0, the one that loses least.
    """
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    models = published()
    task = sources_of(models[DEFAULT_MODEL])
    alike = {name: scores for name, scores in models.items() if sources_of(scores) == task}
    best: dict[float | None, str] = {}
    losses = {name: lost_db(scores) for name, scores in alike.items()}
    for name in sorted(alike, key=lambda name: float("inf") if losses[name] is None else losses[name]):
        best.setdefault(gained_db(alike[name]), name)
    table = leaderboard(
        {n: row for n, row in alike.items() if n in best.values()}, "hub_configs/{name}/README.md"
    )
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}"


def leaderboard(models: dict[str, Row], link: str = "#{anchor}") -> str:
    """Native mode: `sfi_zoo.hub.figures` at F0 and away from it, and at F0 the gain on each group of tracks."""
    groups = {entry.model: entry.by_group for entry in entries_of_scores(models)}
    names = sorted({name for group in groups.values() for name in group})
    header = ["model", "F0 in kHz", "SI-SDR gained at F0", "lost, at worst", "mask LEE, at worst"]
    header += [f"gained on {name}" for name in names]
    rows = []
    for name, scores in models.items():
        figures = [gained_db(scores), lost_db(scores), most(scores, "mask_lee_db")]
        figures += [groups[name].get(group, {}).get("value") for group in names]
        rows.append([name, _kilohertz(at_trained(scores).get("sample_rate")), *map(decibels_shown, figures)])
    table = markdown_table(header, rows, numbers=True)
    for name in models:  # a cell is text, so links are put in afterwards
        place = link.format(name=name, anchor=_anchor(name))
        table = table.replace(f"\n| {name} |", f"\n| [{name}]({place}) |", 1)
    return table


def each_model(models: dict[str, Row]) -> str:
    """A folded table of modes and rates for each."""
    parts = []
    for name, scores in models.items():
        rows = sorted(scores["rows"], key=lambda row: (_place(row["mode"]), row["sample_rate"]))
        head, *lines = [_html_row("th", COLUMNS), *(_html_row("td", scores_cells(row)) for row in rows)]
        table = f"<thead>{head}</thead><tbody>{''.join(lines)}</tbody>"
        parts.append(
            f'<details class="rates" id="{_anchor(name)}"><summary>{escape(name)}</summary><div class="sfi-board">'
            f'<div class="scroll" tabindex="0"><table class="sortable">{table}</table></div></div></details>'
        )
    opened = "const own = location.hash && document.querySelector(location.hash); if (own) own.open = true;"
    return "\n".join(parts) + f"\n\n{_scripts()}\n<script>{opened}</script>"


def _html_row(cell: str, values: Any) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values) + "</tr>"


def _place(mode: str) -> tuple[int, str]:
    """Modes in their order, "resample:NAME" after "resample"."""
    return MODES.index(mode.partition(":")[0]), mode


def measured_on(models: dict[str, Row]) -> str:
    """Data and versions, each once."""
    lines = {
        f"- {s['data'].get('what') or s['data']['kind']}; {s['data'].get('tracks', '?')} tracks; "
        f"sfi_zoo {s['sfi_zoo']}, torch {s['torch']}"
        for s in models.values()
    }
    return "\n".join(sorted(lines)) or "No model has scores yet."


def _kilohertz(rate: float | None) -> str:
    return "-" if rate is None else f"{rate / 1000:g}"


def _anchor(name: str) -> str:
    return name.replace(".", "-")


if __name__ == "__main__":
    README.write_text(in_readme(README.read_text("utf-8")), "utf-8")
