"""A report of scoring runs: one HTML page that needs nothing from elsewhere, Markdown, and `scores.json` of each model."""

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.reporting.curves import plot_curves
from sfi_zoo.metrics.reporting.ranking import FIGURES, ranking
from sfi_zoo.metrics.reporting.study import plot_study, study
from sfi_zoo.metrics.scoring.points import points_of
from sfi_zoo.metrics.scoring.rows import Record, as_json, differences, rows_of
from sfi_zoo.metrics.scoring.unit import place
from sfi_zoo.whole_files import made, write_text
from sfi_zoo.wording import markdown_table

COLUMNS = (
    "mode",
    "F in Hz",
    "mask LEE",
    "predictor LEE",
    "masked-latent LEE",
    "SI-SDR",
    "gained",
    "lost",
    "drop",
)
KEYS = (
    *("mask_lee_db", "predictor_lee_db", "masked_latent_lee_db"),
    *("si_sdr_db", "si_sdr_improvement_db", "si_sdr_lost_db", "si_sdr_drop_db"),
)
LEGEND = (
    "LEE and SI-SDR in dB. LEE: our reading of arXiv:2506.03550, lower is better. gained: SI-SDR over that of the mixture; lost: of the"
    " estimate at F0 resampled to F, less that of the estimate at F; drop: of the estimate at F0, less that at F. Controls: fixed_masks, a"
    " formula that cannot depend on F (mask and predictor LEE at the numerical floor; it separates nothing), ratio_masks, of the"
    " references (about what masks can do at most), and none, which is not adapted."
)
LAYERS_SHOWN = 8
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}img{max-width:100%}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}"
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
    """

    title: str
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: Any = None


def sections(records: Sequence[Record], resamples: int = 1000) -> list[Section]:
    """The report: rankings, what has no score, each model, the study.

    Args:
        records: of scoring runs.
        resamples: of the bootstraps.

    Raises:
        InputError: no record holds a score, or matplotlib is not installed.
    """
    if all("failed" in record for record in records):
        raise InputError("no record holds a score: there is nothing to report")
    parts = [_ranking(records, resamples), *_failures(records)]
    points = points_of(records)
    rows = rows_of(records)
    for model in sorted(set(points.models.tolist())):
        own = sorted((row for row in rows if row["model"] == model), key=_place)
        shown = [
            [row["mode"], f"{row['sample_rate']:g}", *(number(row.get(key, math.nan)) for key in KEYS)]
            for row in own
        ]
        parts.append(Section(model, LEGEND, COLUMNS, shown, plot_curves(points, model)))
    return [*parts, *_layers(records), *_study(records)]


def as_html(title: str, parts: Sequence[Section]) -> str:
    """One page, pictures within it."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        body += [f"<p>{html.escape(part.text)}</p>"] if part.text else []
        if part.figure is not None:
            body.append(f'<img alt="{html.escape(part.title)}" src="{_data_uri(part.figure)}">')
        if part.header:
            lines = [_html_row("th", part.header), *(_html_row("td", row) for row in part.rows)]
            body.append("<table>" + "".join(lines) + "</table>")
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return (
        f"<!doctype html><html lang=en><head>{head}</head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def as_markdown(title: str, parts: Sequence[Section]) -> str:
    """Headings, paragraphs and tables."""
    lines = [f"# {title}"]
    for part in parts:
        lines += ["", f"## {part.title}"]
        lines += ["", part.text] if part.text else []
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
    written = []
    for model in sorted({record["model"] for record in records}):
        own = [record for record in records if record["model"] == model]
        at_trained = [
            r
            for r in own
            if r["mode"] == "native" and r["sample_rate"] == r["trained_rate"] and "failed" not in r
        ]
        scores = {
            "data": settings["data"] | ({"what": dataset} if dataset else {}),
            **{key: settings[key] for key in ("sfi_zoo", "torch", "measures")},
            "weights": settings["models"][model],
            "rows": [
                {k: v for k, v in row.items() if k != "model"}
                for row in as_json(sorted(rows_of(own), key=_place))
            ],
            "improvement_at_trained_rate_db": _by_source(at_trained),
        }
        path = folder / folder_name(model) / "scores.json"
        with made(path.parent):
            write_text(path, json.dumps(scores, indent=1) + "\n")
        written.append(path)
    return written


def folder_name(model: str) -> str:
    """The last part of a model's name."""
    name = Path(model).name
    if name in ("", ".."):
        raise InputError(
            f"the records are of a model {model!r}, which cannot name a folder for its scores.json"
        )
    return name


def number(x: float | None) -> str:
    """Two places; a dash for none."""
    return "-" if x is None or math.isnan(x) else f"{x:.2f}"


def with_interval(x: dict[str, float | None], form: str = ".2f") -> str:
    """1.23 [1.10, 1.40]."""
    if x["value"] is None:
        return "-"
    known = x["low"] is not None and x["high"] is not None
    return f"{x['value']:{form}}" + (f" [{x['low']:{form}}, {x['high']:{form}}]" if known else "")


def _by_source(records: Sequence[Record]) -> dict[str, float | None]:
    """SI-SDR improvement, mean over the tracks where a source is not silent."""
    found: dict[str, list[float]] = {}
    for record in records:
        for name, x in zip(
            record["sources"], differences(record, "si_sdr", "estimate", "mixture"), strict=True
        ):
            found.setdefault(name, []).extend([] if x is None else [x])
    return {name: math.fsum(values) / len(values) if values else None for name, values in found.items()}


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
    text = "Means in dB over the rates other than F0 that all have, with 95 % intervals of a jackknife over tracks."
    return Section(title, text, header, rows)


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


def _study(records: Sequence[Record]) -> list[Section]:
    title = "Does a LEE tell what SDR is lost?"
    try:
        rows = study(records)
    except InputError as error:
        return [Section(title, str(error))]
    text = (
        "Correlation of each LEE, in dB and as it is, with the SDR lost in dB over (model, mode, F), with 95 % intervals of a jackknife"
        " over tracks and models; partial: given the bandwidth removed, log2(min(F, F0) / F0). See sfi_zoo.metrics.reporting.study."
    )
    return [Section(title, text, STUDY_COLUMNS, study_rows(rows), plot_study(records, scale="linear"))]


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


def _data_uri(figure: Any) -> str:
    """An SVG that is the same every time."""
    drawn = io.BytesIO()
    with import_module("matplotlib").rc_context({"svg.hashsalt": "sfi-zoo"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()
