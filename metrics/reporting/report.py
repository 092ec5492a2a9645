"""A report of scoring runs: one HTML page that needs nothing from elsewhere, Markdown, and `scores.json` of each model."""

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.reporting.beside import by_songs, told, versions_note
from sfi_zoo.metrics.reporting.board import Entry, entries_of_records, entries_of_scores
from sfi_zoo.metrics.reporting.board_page import SCRIPT, START, board_html, board_markdown
from sfi_zoo.metrics.reporting.board_page import STYLE as BOARD_STYLE
from sfi_zoo.metrics.reporting.leaderboard import leaderboard
from sfi_zoo.metrics.reporting.looks import decibels_shown, lee_shown, with_interval
from sfi_zoo.metrics.reporting.ranking import FIGURES, ranking
from sfi_zoo.metrics.reporting.study import plot_study, study
from sfi_zoo.metrics.scoring.points import Points, points_of
from sfi_zoo.metrics.scoring.rows import LEES, Record, as_json, differences, rows_of
from sfi_zoo.metrics.scoring.unit import UNRANKED, place
from sfi_zoo.whole_files import made, write_text
from sfi_zoo.wording import markdown_table, markdown_text

COLUMNS = (
    "mode",
    "F in Hz",
    "mask LEE",
    "predictor LEE",
    "masked-latent LEE",
    "SI-SDR",
    "gained per pair",
    "lost",
    "drop",
)
QUALITY = ("si_sdr_db", "si_sdr_improvement_db", "si_sdr_lost_db", "si_sdr_drop_db")
LEGEND = (
    "All figures but F are in dB. F is the sampling frequency of the song, F0 the one that the model was trained at. LEE is the local "
    "equivariance error, our reading of arXiv:2506.03550: how much masks or latents change when only F changes. Lower is better. "
    "gained per pair: SI-SDR of the stems less that of the mixture, the mean over all pairs of track and stem. Where it says gained "
    "alone, it is the mean over the stems of each one's mean over the tracks. lost: SI-SDR of the stems at F0, resampled to F, less "
    "that of the stems at F. drop: SI-SDR at F0 less that at F. Modes: in native the layers adapt to F; in resample the song goes to "
    "F0 and the stems back; in none the model runs as it is. Controls are no models: fixed_masks cannot depend on F and separates "
    "nothing; ratio_masks are made of the true stems, about the best that masks can do."
)
LAYERS_SHOWN = 8
STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;background:Canvas;color:CanvasText}"
    "img{max-width:100%;background:#fff;border-radius:.4rem}h1{overflow-wrap:anywhere;font-size:1.5rem}h2{overflow-wrap:anywhere;font-size:1.2rem}"
    "summary{cursor:pointer}.plain td:first-child,.plain th:first-child{text-align:left}"
)


@dataclass(frozen=True)
class Section:
    """What a report has under one heading.

    Attributes:
        title: the heading.
        text: a paragraph.
        header: of the table, none if empty.
        rows: of the table, as they are shown.
        figure: a `matplotlib.figure.Figure`; in Markdown there is none.
        folded: on the page all below the heading is shown on a click.
        board: a leaderboard instead of the table.
    """

    title: str
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: Any = None
    folded: bool = False
    board: Sequence[Entry] = ()


def sections(
    records: Sequence[Record],
    resamples: int = 1000,
    pictures: bool = True,
    rows_of_board: Sequence[Record] | None = None,
) -> list[Section]:
    """The report: the leaderboard, rankings, what has no score, all figures of each model, the study.

    Args:
        records: of scoring runs.
        resamples: of the bootstraps.
        pictures: draw the study too.
        rows_of_board: the `leaderboard` of the records, where it is there already: its bootstrap is not run again.

    Raises:
        InputError: no record holds a score, or matplotlib, which `pictures` need, is not installed.
    """
    if all("failed" in record for record in records):
        raise InputError("no record holds a score: there is nothing to report")
    parts = [*_board(records, resamples, rows_of_board), _ranking(records, resamples), *_failures(records)]
    rows = rows_of(records)
    for model in sorted({row["model"] for row in rows}):
        own = sorted((row for row in rows if row["model"] == model), key=_place)
        if any(row["tracks"] for row in own):
            parts.append(Section(model, LEGEND, COLUMNS, [scores_cells(row) for row in own], folded=True))
    return [*parts, *_layers(records), *study_section(points_of(records), pictures)]


def scores_cells(row: Record) -> list[str]:
    """A row of `rows_of` under `COLUMNS`, also one that was read from JSON."""
    lees = (lee_shown(row, lee) for lee in LEES)
    return [row["mode"], f"{row['sample_rate']:g}", *lees, *(decibels_shown(row.get(key)) for key in QUALITY)]


def as_html(title: str, parts: Sequence[Section]) -> str:
    """One page: pictures, style and script within it; tables that a click on a column's head sorts."""
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *map(_html_section, parts)])
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}{BOARD_STYLE}</style>"
    )
    script = f"<script>{SCRIPT}{START}</script>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>\n{body}\n{script}</body></html>\n"


def _html_section(part: Section) -> str:
    inner = [f"<p>{html.escape(part.text)}</p>"] if part.text else []
    if part.board:
        inner.append(board_html(part.board))
    if part.figure is not None:
        inner.append(f'<img alt="{html.escape(part.title)}" src="{_data_uri(part.figure)}">')
    if part.header:
        label = html.escape(part.title, quote=True)
        lines = [f"<thead>{_html_row('th', part.header)}</thead>"]
        lines.append("<tbody>" + "".join(_html_row("td", row) for row in part.rows) + "</tbody>")
        inner.append(
            f'<div class="sfi-board plain"><div class="scroll" tabindex="0" role="region" aria-label="{label}">'
            f'<table class="sortable">{"".join(lines)}</table></div></div>'
        )
    heading, text = f"<h2>{html.escape(part.title)}</h2>", "\n".join(inner)
    if not part.folded:
        return f"{heading}\n{text}"
    return f"{heading}\n<details><summary>Show</summary>\n{text}\n</details>"


def as_markdown(title: str, parts: Sequence[Section]) -> str:
    """Headings, paragraphs and tables."""
    lines = [f"# {markdown_text(title)}"]
    for part in parts:
        lines += ["", f"## {markdown_text(part.title)}"]
        lines += ["", markdown_text(part.text)] if part.text else []
        lines += ["", board_markdown(part.board)] if part.board else []
        if part.header:
            lines += ["", markdown_table(part.header, part.rows)]
    return "\n".join(lines) + "\n"


def write_scores(
    records: Sequence[Record], settings: dict[str, Any], folder: Path, dataset: str | None = None
) -> list[Path]:
    """Writes `<folder>/<model>/scores.json` for each model: what it was measured on, and the rows of `rows_of`.

    Args:
        records: of one scoring run.
        settings: its manifest.
        folder: `hub_configs`, or another; the last part of a model's name is its folder there.
        dataset: what the data is, for people.

    Returns:
        The files.
    """
    return put_scores(scores_of(records, settings, dataset), folder)


def put_scores(scores: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes {model: content of its scores.json} to `<folder>/<model>/scores.json`."""
    written = []
    for model, content in scores.items():
        path = folder / folder_name(model) / "scores.json"
        with made(path.parent):
            write_text(path, json.dumps(numbers(content), indent=1, allow_nan=False) + "\n")
        written.append(path)
    return written


def numbers(value: Any) -> Any:
    """The same with null for what is not finite: JSON has no such number, and readers refuse it."""
    if isinstance(value, Mapping):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [numbers(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def scores_of(
    records: Sequence[Record],
    settings: dict[str, Any],
    dataset: str | None = None,
    resamples: int = 1000,
    rows_of_board: Sequence[Record] | None = None,
) -> dict[str, dict[str, Any]]:
    """Model -> content of its scores.json.

    Args:
        records, settings, dataset: those of `write_scores`.
        resamples: of the bootstrap.
        rows_of_board: the `leaderboard` of these and other records that all have the same tracks: its bootstrap is not run again.
    """
    boards = _leaderboards(records, resamples) if rows_of_board is None else rows_of_board
    found = {}
    for model in sorted({record["model"] for record in records}):
        own = [record for record in records if record["model"] == model]
        at_trained = [
            r
            for r in own
            if r["mode"] == "native" and r["sample_rate"] == r["trained_rate"] and "failed" not in r
        ]
        found[model] = {
            "data": settings["data"] | ({"what": dataset} if dataset else {}),
            **{key: settings[key] for key in ("sfi_zoo", "torch", "measures")},
            "weights": settings["models"][model],
            "rows": [
                {k: v for k, v in row.items() if k != "model"}
                for row in as_json(sorted(rows_of(own), key=_place))
            ],
            "improvement_at_trained_rate_db": _by_source(at_trained),
            "leaderboard": [
                {k: v for k, v in row.items() if k not in ("model", "rates")}
                for row in boards
                if row["model"] == model
            ],
        }
    return found


def folder_name(model: str) -> str:
    """The last part of a model's name."""
    name = Path(model).name
    if name in ("", ".."):
        raise InputError(
            f"the records are of a model {model!r}, which cannot name a folder for its scores.json"
        )
    return name


def by_tracks(records: Sequence[Record]) -> list[list[Record]]:
    """The records that hold a score of a model, those of models with the same tracks together: one bootstrap is enough for these."""
    scored = [r for r in records if "failed" not in r and r["mode"] not in UNRANKED]
    tracks: dict[str, set[str]] = {}
    for record in scored:
        tracks.setdefault(record["model"], set()).add(record["track"])
    groups: dict[frozenset[str], list[Record]] = {}
    for record in scored:
        groups.setdefault(frozenset(tracks[record["model"]]), []).append(record)
    return list(groups.values())


def _leaderboards(records: Sequence[Record], resamples: int) -> list[Record]:
    """The rows of `leaderboard` of each model: figures with intervals, and what is gained in each track, by which models are ranked."""
    return [row for group in by_tracks(records) for row in leaderboard(group, resamples)]


def _by_source(records: Sequence[Record]) -> dict[str, float | None]:
    """SI-SDR improvement, mean over the tracks where a source is not silent."""
    found: dict[str, list[float]] = {}
    for record in records:
        for name, x in zip(
            record["sources"], differences(record, "si_sdr", "estimate", "mixture"), strict=True
        ):
            found.setdefault(name, []).extend([] if x is None else [x])
    return {name: math.fsum(values) / len(values) if values else None for name, values in found.items()}


def _board(records: Sequence[Record], resamples: int, rows: Sequence[Record] | None) -> list[Section]:
    """The leaderboard, if a model has a score: controls are none."""
    if all("failed" in r or r["mode"] in UNRANKED for r in records):
        return []
    text = "A row for each model. A click on the head of a column sorts by it, and a second click turns the order."
    return [Section("Leaderboard", text, board=entries_of_records(records, resamples, rows))]


def _ranking(records: Sequence[Record], resamples: int) -> Section:
    title = "Ranking away from F0"
    try:
        ranked = ranking(records, resamples)
    except InputError as error:
        return Section(title, str(error))
    header = ("rank", "in its mode", "model", "mode", "SI-SDR gained", "SI-SDR lost", "mask LEE")
    rows = [
        [
            with_interval(r["rank"], ".0f"),
            with_interval(r["rank_in_mode"], ".0f"),
            r["model"],
            r["mode"],
            *(with_interval(r[name]) for name in FIGURES),
        ]
        for r in ranked
    ]
    text = (
        "Means in dB over all sampling frequencies but F0 that every model has. In brackets the 95 % interval of a bootstrap over tracks,"
        " of ranks too: models whose intervals of rank overlap are not told apart."
    )
    return Section(title, text, header, rows, folded=True)


def _layers(records: Sequence[Record]) -> list[Section]:
    """Where models break, if that was measured: sums over tracks before the division."""
    sums: dict[tuple[str, str, float], tuple[dict[str, float], float]] = {}
    for record in (record for record in records if "layers" in record):
        key = (record["model"], record["mode"], record["sample_rate"])
        parts, reference = sums.get(key, ({}, 0.0))
        found = record["layers"]
        added = {name: parts.get(name, 0.0) + x for name, x in found["contribution"].items()}
        sums[key] = (added, reference + found["reference"])
    rows = [
        [model, mode, f"{rate:g}", name, f"{x / reference:.3g}", f"{100 * x / sum(parts.values()):.1f}"]
        for (model, mode, rate), (parts, reference) in sorted(sums.items())
        if reference and sum(parts.values())
        for name, x in sorted(parts.items(), key=lambda item: -abs(item[1]))[:LAYERS_SHOWN]
    ]
    text = (
        f"Parts of the local mask LEE (linear), the {LAYERS_SHOWN} largest at each F; all parts add up to it, negative ones make up for"
        " others. See sfi_zoo.metrics.layerwise."
    )
    header = ("model", "mode", "F in Hz", "layer", "contribution", "% of the LEE")
    return [Section("Where it breaks", text, header, rows)] if rows else []


def _failures(records: Sequence[Record]) -> list[Section]:
    failed = [r for r in records if "failed" in r]
    rows = [[r["model"], r["track"], r["mode"], f"{r['sample_rate']:g}", r["failed"]] for r in failed]
    return (
        [Section("Without a score", "", ("model", "track", "mode", "F in Hz", "why"), rows)] if rows else []
    )


def beside(scores: Mapping[str, Mapping[str, Any]], resamples: int = 1000) -> list[Section]:
    """A leaderboard of the models that were scored on the same songs, for each set of songs.

    Args:
        scores: model -> content of its scores.json.
        resamples: of the bootstrap that ranks.
    """
    groups = by_songs(scores)
    apart = " Figures on other songs do not compare with these." if len(groups) > 1 else ""
    return [
        Section(
            f"Leaderboard: {told(songs)}",
            f"A row for each model that was scored on these songs.{apart} {versions_note(own)}".strip(),
            board=entries_of_scores(own, resamples),
        )
        for songs, own in groups.items()
    ]


def study_section(points: Points, pictures: bool = True) -> list[Section]:
    """Correlations of LEEs with what is lost."""
    title = "Does a LEE tell what SDR is lost?"
    try:
        rows = study(points)
    except InputError as error:
        return [Section(title, str(error))]
    text = (
        "Each point is a model in a mode at an F other than F0. The table has the correlation of each LEE, linear and in dB, with the SDR"
        " lost in dB. In brackets the 95 % interval of a jackknife over tracks and models. Partial correlations hold the bandwidth that F"
        " removes, log2(min(F, F0) / F0), constant. Formulas: sfi_zoo.metrics.reporting.study."
    )
    figure = plot_study(points, scale="linear") if pictures else None
    return [Section(title, text, STUDY_COLUMNS, study_rows(rows), figure, folded=True)]


STATISTICS = ("pearson", "spearman", "partial_pearson", "partial_spearman")
STUDY_COLUMNS = ("group", "LEE", "scale", "lost", "points", *(name.replace("_", " ") for name in STATISTICS))


def study_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The rows of `study` as they are shown."""
    return [
        [
            row["group"],
            row["metric"],
            row["scale"],
            row["cost"],
            str(row["points"]),
            *(with_interval(row[s]) for s in STATISTICS),
        ]
        for row in rows
    ]


def _place(row: Record) -> tuple[tuple[int, str], float]:
    return place(row["mode"]), row["sample_rate"]


def _html_row(cell: str, values: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{html.escape(value)}</{cell}>" for value in values) + "</tr>\n"


def svg_of(figure: Any) -> bytes:
    """A `matplotlib.figure.Figure` as an SVG that is the same every time."""
    drawn = io.BytesIO()
    with import_module("matplotlib").rc_context({"svg.hashsalt": "sfi-zoo"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _data_uri(figure: Any) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg_of(figure)).decode()
