"""The leaderboard as a piece of a page: what `sfi-zoo demo`, the report and the documentation show.

One row for each model and task. A click on a column's head sorts; so does Enter on it. Without scripts it is a plain table, the best first.
"""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from sfi_zoo.metrics.reporting.board import QUANTITIES, Entry, Figure, modes_of
from sfi_zoo.metrics.reporting.board_curves import curves_svg, sample_svg, span_of
from sfi_zoo.metrics.reporting.looks import NONE, look_of, with_interval
from sfi_zoo.wording import markdown_table

ASSETS = Path(__file__).with_name("assets")
STYLE = (ASSETS / "board.css").read_text(encoding="utf-8")
SCRIPT = (ASSETS / "board.js").read_text(encoding="utf-8")  # defines sfiBoard(element)
START = "document.querySelectorAll('.sfi-board').forEach(sfiBoard);"
GAINED = "SI-SDR of the stems less that of the mixture, at F0: higher is better. In brackets the 95 % interval of a bootstrap over tracks."
MODES = {
    "native": "native: the layers adapt to F",
    "resample": "resample: the song goes to F0, the stems back to F",
    "none": "none: the model runs at F as if it were F0",
}


class Column(NamedTuple):
    """Of the table: its name, what it means, its group ("" for none) and its mode ("" for all)."""

    name: str
    meaning: str
    group: str = ""
    mode: str = ""


class Cell(NamedTuple):
    """What is shown, and what it is sorted by; None goes last."""

    text: str
    value: float | str | None


def columns_of(entries: Sequence[Entry]) -> list[Column]:
    """All columns, the modes side by side."""
    modes = modes_of(entries)
    columns = [
        Column(
            "rank",
            "1 + the number of models that surely gain more: the 95 % interval of the difference, by a bootstrap over shared tracks,"
            " lies above 0. Several models may share a rank.",
        ),
        Column("model", "Name of the model, and what it separates."),
        Column("F0", "Sampling frequency that the model was trained at, in kHz."),
        Column("all", GAINED, "gained at F0"),
        *(Column(g, f"The same over the tracks of {g} alone.", "gained at F0") for g in _groups(entries)),
    ]
    for mode in modes:
        columns.append(
            Column(
                mode,
                "SI-SDR of the model's stems at F0, resampled to F, less that of its stems at F, at the worst F: lower is better."
                f" In {_told(mode)}.",
                "lost at the worst F",
                mode,
            )
        )
    for mode in modes:
        columns.append(
            Column(
                mode,
                "Local equivariance error of the masks, our reading of arXiv:2506.03550: how much they change when only F changes, at the"
                f" worst F: lower is better. In {_told(mode)}.",
                "mask LEE at the worst F",
                mode,
            )
        )
    return columns


def cells_of(entry: Entry, columns: Sequence[Column]) -> list[Cell]:
    """A row: a cell for each column."""
    return [_cell(entry, column) for column in columns]


def board_html(entries: Sequence[Entry], link: Callable[[str], str | None] = lambda _: None) -> str:
    """The table, its legend and, folded, the curves of each model. Needs `STYLE`, and `SCRIPT` to sort.

    Args:
        entries: the best first.
        link: where a model's name leads, None for nowhere.
    """
    if not entries:
        return '<div class="sfi-board"><p>No model has scores yet.</p></div>'
    columns = columns_of(entries)
    rows = "\n".join(_row(entry, columns, link) for entry in entries)
    return (
        f'<div class="sfi-board">\n{_key(entries)}\n<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard">\n'
        f'<table class="sortable">\n<thead>{_head(columns)}</thead>\n<tbody>\n{rows}\n</tbody></table></div>\n'
        f"{_legend(columns)}\n{_curves(entries)}\n</div>"
    )


def board_markdown(entries: Sequence[Entry]) -> str:
    """The same table in Markdown."""
    columns = columns_of(entries)
    header = [f"{column.group}: {column.name}" if column.group else column.name for column in columns]
    rows = [[cell.text for cell in cells_of(entry, columns)] for entry in entries]
    return markdown_table(header, rows)


def _cell(entry: Entry, column: Column) -> Cell:
    if column.group == "gained at F0":
        return _figure(entry.gained if column.name == "all" else entry.by_group.get(column.name))
    if column.mode:
        mode = entry.modes.get(column.mode)
        return _figure((mode.lee if column.group.startswith("mask") else mode.lost) if mode else None)
    if column.name == "model":
        return Cell(f"{entry.model} ({', '.join(entry.sources)})", entry.model)
    if column.name == "F0":
        return Cell(f"{entry.trained_rate / 1000:g}", entry.trained_rate)
    return Cell(NONE if entry.rank is None else str(entry.rank), entry.rank)


def _figure(x: Figure | None) -> Cell:
    return Cell(with_interval(x), None if x is None else x["value"])


def _groups(entries: Sequence[Entry]) -> list[str]:
    """Groups of tracks that all models have."""
    shared = [name for name in entries[0].by_group if all(name in entry.by_group for entry in entries)]
    return shared if len(shared) > 1 else []


def _told(mode: str) -> str:
    base, named, resampler = mode.partition(":")
    return MODES.get(base, base) + (f", by {resampler}" if named else "")


def _head(columns: Sequence[Column]) -> str:
    """Two rows: groups, and the columns in them."""
    upper, lower = [], []
    for number, column in enumerate(columns):
        mode = f' data-mode="{escape(column.mode, quote=True)}"' if column.mode else ""
        meaning = f' data-meaning="{escape(column.meaning, quote=True)}"{mode}'
        if not column.group:
            upper.append(f'<th scope="col" rowspan="2" class="{column.name}"{meaning}>{column.name}</th>')
            continue
        if number == 0 or columns[number - 1].group != column.group:
            inner = [other.mode for other in columns if other.group == column.group]
            of = f' data-of="{escape(" ".join(inner), quote=True)}"' if column.mode else ""
            upper.append(
                f'<th scope="colgroup" colspan="{len(inner)}" class="group"{of}>{escape(column.group)}, dB</th>'
            )
        sample = sample_svg(look_of(column.mode, [c.mode for c in columns if c.mode])) if column.mode else ""
        lower.append(f'<th scope="col"{meaning}>{sample}{escape(column.name)}</th>')
    return f"<tr>{''.join(upper)}</tr><tr>{''.join(lower)}</tr>"


def _row(entry: Entry, columns: Sequence[Column], link: Callable[[str], str | None]) -> str:
    cells = []
    for column, cell in zip(columns, cells_of(entry, columns), strict=True):
        value = "" if cell.value is None else escape(str(cell.value), quote=True)
        mode = f' data-mode="{escape(column.mode, quote=True)}"' if column.mode else ""
        if column.name == "model" and not column.group:
            target = link(entry.model)
            name = escape(entry.model)
            name = f'<a href="{escape(target, quote=True)}">{name}</a>' if target else name
            tracks = f"{', '.join(entry.sources)}; {entry.tracks} tracks"
            cells.append(f'<th scope="row" data-value="{value}">{name}<small>{escape(tracks)}</small></th>')
            continue
        text, _, rest = cell.text.partition(" [")
        between = f"<small>[{escape(rest)}</small>" if rest else ""
        cells.append(f'<td data-value="{value}"{mode}>{escape(text)}{between}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _key(entries: Sequence[Entry]) -> str:
    """The modes with their lines; boxes show and hide their columns."""
    modes = modes_of(entries)
    boxes = "".join(
        f'<label><input type="checkbox" checked value="{escape(mode, quote=True)}">'
        f"{sample_svg(look_of(mode, modes))}{escape(_told(mode))}</label>"
        for mode in modes
    )
    return f'<fieldset class="modes"><legend>Modes</legend>{boxes}</fieldset>'


def _legend(columns: Sequence[Column]) -> str:
    seen: dict[str, str] = {}
    for column in columns:
        name = column.group if column.mode or column.name == "all" else column.name
        seen.setdefault(
            name, column.meaning.split(f" In {_told(column.mode)}.")[0] if column.mode else column.meaning
        )
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in seen.items())
    return f"<details><summary>What the columns mean</summary><dl>{listed}</dl></details>"


def _curves(entries: Sequence[Entry]) -> str:
    """A folded panel for each model: each source's gain, and every quantity over F."""
    modes, spans = modes_of(entries), {quantity: span_of(entries, quantity) for quantity in QUANTITIES}
    panels = []
    for entry in entries:
        drawn = (curves_svg(entry, quantity, spans[quantity], modes) for quantity in QUANTITIES)
        sources = ", ".join(f"{name} {with_interval(x)}" for name, x in entry.by_source.items())
        panels.append(
            f"<details><summary>{escape(entry.model)}</summary><p>Gained at F0 in dB: {escape(sources)}</p>"
            f'<div class="panels">{"".join(filter(None, drawn))}</div></details>'
        )
    return (
        '<h3 class="curves">Over the sampling frequency</h3><p>All models share the axes. Open two to compare them.'
        " Each point is a mean over all pairs of track and source.</p>" + "\n".join(panels)
    )
