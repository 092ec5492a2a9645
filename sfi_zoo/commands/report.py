"""`sfi-zoo study` and `sfi-zoo report`: what the records of scoring runs say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE
from rich.table import Table

from sfi_zoo.commands.given import note, read_given
from sfi_zoo.commands.printing import say, say_json, say_table
from sfi_zoo.commands.shared import AsJson
from sfi_zoo.errors import InputError
from sfi_zoo.whole_files import Draft, made, publish, replacing, write_text

if TYPE_CHECKING:
    from sfi_zoo.metrics.scoring.points import Points

Results = Annotated[
    list[Path],
    typer.Argument(
        help="Folders of `sfi-zoo score -o`, scores.json files, or model folders that hold one.",
        metavar="RESULTS...",
    ),
]
WithZoo = Annotated[bool, typer.Option("--with-zoo", help="Show the bundled models beside them.")]
MOST_NAMED = 3  # rows in a note
Resamples = Annotated[int, typer.Option(help="Number of resamples of the bootstrap.", min=0)]


def study_command(
    results: Results,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder for study.json and scatter_*.svg; default: the first folder of RESULTS.",
        ),
    ] = None,
    cost: Annotated[str, typer.Option(help="Which cost to print; all are written.")] = "si_sdr_lost",
    families: Annotated[
        list[str] | None,
        typer.Option("--family", help="Models that share what was trained, with commas; may be repeated."),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw scatter plots, with matplotlib.")] = True,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A model or a mode to leave out; may be repeated.")
    ] = None,
    with_zoo: WithZoo = False,
    as_json: AsJson = False,
) -> None:
    """Correlate each LEE with the SDR lost, over models, modes and sample rates.

    Pearson's r, Spearman's rho, and both given the bandwidth removed, with 95 % intervals of a jackknife over families and tracks; where
    a scores.json is among RESULTS, over families alone.

    Example: sfi-zoo study results
    """
    from sfi_zoo.metrics.reporting import report, study
    from sfi_zoo.metrics.reporting.beside import points_of_scores
    from sfi_zoo.metrics.scoring.points import points_of

    folder = _folder(results, out)
    pictures = plots and _can_draw()
    given = read_given(results, with_zoo)
    if cost not in study.COSTS:
        raise InputError(f"--cost {cost}: not one of {', '.join(study.COSTS)}")
    for line in _uneven(given.records):
        note(line)
    alike = _same_songs(given.of_folders() | given.scores) if given.scores else {}
    points = _without(points_of_scores(alike) if alike else points_of(given.records), leave_out or [])
    owners = _families(sorted(set(points.models.tolist())), families or [])
    found = study.study(points, owners)
    for line in _few(found):
        note(line)
    with made(folder):
        write_text(folder / "study.json", json.dumps(found, indent=1) + "\n")
        if pictures:
            for each in dict.fromkeys(row["cost"] for row in found):
                for scale, name in (("linear", f"scatter_{each}"), ("dB", f"scatter_{each}_db")):
                    drawn = report.svg_of(study.plot_study(points, each, scale=scale))
                    with replacing(folder / f"{name}.svg") as draft:
                        draft.write_bytes(drawn)
    if as_json:
        say_json(found)
        return
    shown = [r for r in found if r["cost"] == cost and not r["group"].startswith("model ")]
    table = Table(title=f"LEE against {cost}", box=SIMPLE)
    for heading in report.STUDY_COLUMNS:
        table.add_column(heading, justify="right")
    for cells in report.study_rows(shown):
        table.add_row(*cells)
    say_table(table)
    say(folder / "study.json")


def report_command(
    results: Results,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder for report.html and report.md; default: the first folder of RESULTS."
        ),
    ] = None,
    scores_json: Annotated[
        Path | None, typer.Option("--scores-json", help="Also write DIR/<model>/scores.json.", metavar="DIR")
    ] = None,
    cards: Annotated[
        Path | None,
        typer.Option(
            help="Update scores.json and README.md of each model that has DIR/<model>/.", metavar="DIR"
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="What the data is called in scores and cards.")] = None,
    resamples: Resamples = 1000,
    with_zoo: WithZoo = False,
    as_json: AsJson = False,
) -> None:
    """Write a page on scored models, HTML and Markdown: rankings, curves, tables, the study.

    It prints the names of the files it writes; with --json, the leaderboard of the folders.

    Example: sfi-zoo report results --cards hub_configs --json > leaderboard.json
    """
    from sfi_zoo.metrics.reporting import report
    from sfi_zoo.metrics.reporting.cards import update_card
    from sfi_zoo.metrics.reporting.leaderboard import leaderboard

    folder = _folder(results, out)
    pictures = _can_draw()
    given = read_given(results, with_zoo)
    records = given.records
    for line in (*_without_trained(records), *_uneven(records)):
        note(line)
    title = "Scores: " + ", ".join(given.own)
    if as_json and not records:
        raise InputError(
            "--json prints the leaderboard of results folders, and there is none among scores.json files alone"
        )
    alike = report.by_tracks(records)
    # one bootstrap for the page, for what is printed and for the files of the models
    rows = leaderboard(records, resamples) if alike or as_json else None
    of_models = (
        given.of_folders(dataset, resamples, rows if len(alike) == 1 else None)
        if given.scores or scores_json or cards
        else {}
    )
    with_cards = _with_cards(cards, of_models) if cards else {}
    if cards and (without := sorted(of_models.keys() - with_cards.keys())):
        note(f"no card in {cards}, nothing written there: {', '.join(without)}")
    parts = report.beside(of_models | given.scores, resamples) if given.scores else []
    if records:
        parts += report.sections(records, resamples, pictures, rows)
    pages = {"report.html": report.as_html(title, parts), "report.md": report.as_markdown(title, parts)}
    with made(folder), Draft(folder) as draft:
        for name, text in pages.items():
            write_text(draft / name, text)
        publish(draft, [(draft / name, folder / name) for name in pages])
    written = [folder / name for name in pages]
    if scores_json is not None:
        written += report.put_scores(of_models, scores_json)
    if cards is not None:
        for path in report.put_scores(with_cards, cards):
            written += [path, update_card(path.parent)]
    if as_json:
        say_json(rows)
    else:
        for path in written:
            say(path)


def _without_trained(records: list[dict[str, Any]]) -> list[str]:
    """Models that were not scored at F0, where what they gain is told."""
    trained = {record["model"]: record["trained_rate"] for record in records}
    there = {record["model"] for record in records if record["sample_rate"] == record["trained_rate"]}
    return [
        f"{model} was not scored at its F0: what it gains is not known, and it has no rank; score it at {rate:g} Hz too"
        for model, rate in sorted(trained.items())
        if model not in there
    ]


def _uneven(records: list[dict[str, Any]]) -> list[str]:
    """Rows that are means over fewer tracks than others, since a track has no score there."""
    tracks = {record["track"] for record in records}
    rows: dict[str, set[str]] = {}
    for record in records:
        name = f"{record['model']}, {record['mode']}, {record['sample_rate']:g} Hz"
        rows.setdefault(name, set()).update([] if "failed" in record else [record["track"]])
    few = [f"{name} ({len(own)} of {len(tracks)})" for name, own in rows.items() if len(own) < len(tracks)]
    shown = "; ".join(few[:MOST_NAMED]) + (f"; and {len(few) - MOST_NAMED} more" if few[MOST_NAMED:] else "")
    return [f"means over fewer tracks do not compare with the others: {shown}"] * bool(few)


def _with_cards(cards: Path, of_models: dict[str, Any]) -> dict[str, Any]:
    """What is known of the models that have a card in this folder.

    Raises:
        InputError: a card tells what to expect of its model, and there is no configuration to read that from.
    """
    from sfi_zoo.hub import expectations
    from sfi_zoo.hub.folder import CARD, CONFIG
    from sfi_zoo.metrics.reporting.report import folder_name

    found = {m: x for m, x in of_models.items() if (cards / folder_name(m) / CARD).is_file()}
    for folder in (cards / folder_name(m) for m in found):
        text = (folder / CARD).read_text(encoding="utf-8", errors="replace")
        if expectations.BEGIN in text and not (folder / CONFIG).is_file():
            raise InputError(
                f"{folder}: {CARD} tells what to expect of the model, which is read from {CONFIG}, and that is missing; nothing was written"
            )
    return found


def _folder(results: list[Path], out: Path | None) -> Path:
    """The folder for the files: the one that was asked for, or else the first results folder.

    Raises:
        InputError: only files were given.
    """
    first = next((path for path in results if not path.is_file()), None)
    if out is None and first is None:
        raise InputError("with scores.json files alone, say where to write: -o FOLDER")
    return out or first or Path()


def _can_draw() -> bool:
    """Whether there will be pictures; if not, this is told before anything is computed."""
    from sfi_zoo.metrics.reporting.curves import can_draw

    if not can_draw():
        note("matplotlib is not installed: all is written but the pictures (pip install -e '.[plot]')")
    return can_draw()


def _same_songs(scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The models that were scored on the songs of the first one. Losses on other songs cannot be compared."""
    from sfi_zoo.metrics.reporting.beside import by_songs, told, versions_note

    groups = by_songs(scores)
    first, *others = groups
    for songs in others:
        names = ", ".join(groups[songs])
        note(f"left out, scored on other songs, {told(songs)}: {names}")
    if said := versions_note(groups[first]):
        note(said)
    return dict(groups[first])


def _few(found: list[dict[str, Any]]) -> list[str]:
    """What a study of few families cannot say."""
    families = max(row["families"] for row in found)
    return ["one family of models alone: r says nothing of others, and has no interval over families"] * (
        families == 1
    )


def _families(models: list[str], given: list[str]) -> dict[str, str]:
    """Model -> its family, the first of its names.

    Raises:
        InputError: a model that is not there, or in two families.
    """
    known = set(models)
    found: dict[str, str] = {}
    for family in given:
        names = [name.strip() for name in family.split(",")]
        for name in names:
            if name not in known:
                raise InputError(f"--family {family}: {name} is not among {', '.join(sorted(known))}")
            if found.setdefault(name, names[0]) != names[0]:
                raise InputError(f"--family {family}: {name} is in another family too")
    return found


def _without(points: "Points", left_out: list[str]) -> "Points":
    """The points of other models and modes.

    Raises:
        InputError: a name that is of neither.
    """
    known = {*points.models.tolist(), *points.modes.tolist()}
    unknown = sorted(set(left_out) - known)
    if unknown:
        raise InputError(f"--leave-out {', '.join(unknown)}: not among {', '.join(sorted(known))}")
    names = zip(points.models.tolist(), points.modes.tolist(), strict=True)
    return points.where(np.array([not set(pair) & set(left_out) for pair in names], bool))
