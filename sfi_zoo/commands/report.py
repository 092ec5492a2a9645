"""`sfi-zoo study` and `sfi-zoo report`: what the records of scoring runs say."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from sfi_zoo.commands.printing import say, say_json, say_table
from sfi_zoo.commands.shared import AsJson
from sfi_zoo.errors import InputError
from sfi_zoo.whole_files import Draft, made, publish, replacing, write_text

Results = Annotated[list[Path], typer.Argument(help="Folders of `sfi-zoo score -o`.", metavar="RESULTS...")]
Resamples = Annotated[int, typer.Option(help="Of the bootstrap.", min=0)]


def study_command(
    results: Results,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for study.json and scatter_*.svg; the first of RESULTS."),
    ] = None,
    cost: Annotated[str, typer.Option(help="Which is printed; all are written.")] = "si_sdr_lost",
    families: Annotated[
        list[str] | None,
        typer.Option("--family", help="Models that share what was trained, with commas; may be repeated."),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Scatter plots, by matplotlib.")] = True,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A model or a mode to leave out; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Correlate each LEE with the SDR lost, over models, modes and sample rates.

    Pearson's r, Spearman's rho, and both given the bandwidth removed, with 95 % intervals of a jackknife over families and tracks.

    Example: sfi-zoo study results
    """
    from sfi_zoo.metrics.reporting import report, study

    records = _without(read_results(results)[0], leave_out or [])
    if cost not in study.COSTS:
        raise InputError(f"--cost {cost}: not one of {', '.join(study.COSTS)}")
    found = study.study(records, _families(records, families or []))
    folder = out or results[0]
    with made(folder):
        write_text(folder / "study.json", json.dumps(found, indent=1) + "\n")
        if plots:
            for each in dict.fromkeys(row["cost"] for row in found):
                for scale, name in (("linear", f"scatter_{each}"), ("dB", f"scatter_{each}_db")):
                    with replacing(folder / f"{name}.svg") as draft:
                        study.plot_study(records, each, scale=scale).savefig(draft)
    if as_json:
        say_json(found)
        return
    shown = [r for r in found if r["cost"] == cost and not r["group"].startswith("model ")]
    table = Table(title=f"LEE against {cost}", box=SIMPLE)
    for heading in report.STUDY_COLUMNS:
        table.add_column(heading, justify="right")
    for line in report.study_rows(shown):
        table.add_row(*line)
    say_table(table)
    say(folder / "study.json")


def report_command(
    results: Results,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for report.html and report.md; the first of RESULTS."),
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
    as_json: AsJson = False,
) -> None:
    """Write a page on scored models, HTML and Markdown: rankings, curves, tables, the study.

    It prints the names of the files it writes; with --json, the leaderboard.

    Example: sfi-zoo report results --cards hub_configs --json > leaderboard.json
    """
    from sfi_zoo.hub.folder import CARD
    from sfi_zoo.metrics.reporting import report
    from sfi_zoo.metrics.reporting.cards import update_card
    from sfi_zoo.metrics.reporting.leaderboard import leaderboard

    records, settings = read_results(results)
    title = "Scores: " + ", ".join(sorted({record["model"] for record in records}))
    parts = report.sections(records, resamples)
    folder = out or results[0]
    pages = {"report.html": report.as_html(title, parts), "report.md": report.as_markdown(title, parts)}
    with made(folder), Draft(folder) as draft:
        for name, text in pages.items():
            write_text(draft / name, text)
        publish(draft, [(draft / name, folder / name) for name in pages])
    written = [folder / name for name in pages]
    for own, made_with in settings:
        if scores_json is not None:
            written += report.write_scores(own, made_with, scores_json, dataset)
        if cards is not None:
            there = [
                record for record in own if (cards / report.folder_name(record["model"]) / CARD).is_file()
            ]
            for path in report.write_scores(there, made_with, cards, dataset):
                written += [path, update_card(path.parent)]
    if as_json:
        say_json(leaderboard(records, resamples))
    else:
        for path in written:
            say(path)


def _families(records: list[dict[str, Any]], given: list[str]) -> dict[str, str]:
    """Model -> its family, the first of its names.

    Raises:
        InputError: a model that is not there, or in two families.
    """
    known = {record["model"] for record in records}
    found: dict[str, str] = {}
    for family in given:
        names = [name.strip() for name in family.split(",")]
        for name in names:
            if name not in known:
                raise InputError(f"--family {family}: {name} is not among {', '.join(sorted(known))}")
            if found.setdefault(name, names[0]) != names[0]:
                raise InputError(f"--family {family}: {name} is in another family too")
    return found


def _without(records: list[dict[str, Any]], left_out: list[str]) -> list[dict[str, Any]]:
    """The records of other models and modes.

    Raises:
        InputError: a name that is of neither.
    """
    known = {record[key] for record in records for key in ("model", "mode")}
    unknown = sorted(set(left_out) - known)
    if unknown:
        raise InputError(f"--leave-out {', '.join(unknown)}: not among {', '.join(sorted(known))}")
    return [record for record in records if not {record["model"], record["mode"]} & set(left_out)]


def read_results(
    folders: list[Path],
) -> tuple[list[dict[str, Any]], list[tuple[list[dict[str, Any]], dict[str, Any]]]]:
    """The records of all folders, each unit once, and those of each folder with its settings.

    Raises:
        InputError: a folder without results, or two that differ on a unit, or were scored on different data.
    """
    from sfi_zoo.metrics.scoring.records import MANIFEST, key_of, read_manifest, read_records

    each = [(read_records(folder), read_manifest(folder)) for folder in folders]
    if not any(own for own, _ in each):
        raise InputError(f"{folders[0]}: no records yet; run `sfi-zoo score ... -o {folders[0]}`")
    for folder, (own, made_with) in zip(folders, each, strict=True):
        unknown = sorted({record["model"] for record in own} - made_with["models"].keys())
        if unknown:
            raise InputError(
                f"{folder}: has records of {', '.join(unknown)}, which its {MANIFEST} does not know"
            )
    if any(made_with["data"] != each[0][1]["data"] for _, made_with in each):
        raise InputError("these results are of different data: a table of them would compare nothing")
    records: dict[Any, dict[str, Any]] = {}
    for record in (record for own, _ in each for record in own):
        if records.setdefault(key_of(record), record) != record:
            model, track, mode, rate = key_of(record)
            what = f"{model} on {track}, {mode} at {rate:g} Hz"
            raise InputError(f"two of these folders have different scores of {what}: give one of them")
    return list(records.values()), each
