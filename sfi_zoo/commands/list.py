"""`sfi-zoo list`."""

from dataclasses import asdict
from typing import Annotated

import typer

from sfi_zoo.commands.printing import say, say_json, say_table
from sfi_zoo.commands.shared import AsJson, one_of
from sfi_zoo.errors import InputError
from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.hub.catalogue import SORTS, Row, catalogue

HEADER = ("name", "for", "separates", "F0 kHz", "MB", "licence", "gained dB", "lost dB", "x real time")


def list_command(
    pattern: Annotated[str, typer.Argument(help="Show only names that match; * stands for any text.")] = "*",
    sort: Annotated[
        str, typer.Option(help=f"Order within a task: {', '.join(SORTS)}.", autocompletion=one_of(*SORTS))
    ] = "gained",
    sources: Annotated[
        str | None,
        typer.Option(help="Show only models that give these stems, for example vocals, sorted by them."),
    ] = None,
    architectures: Annotated[
        bool, typer.Option("--architectures", help="List instead what `sfi_zoo.create` builds untrained.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Show only models of others, which are fetched on first use.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models: ours, which come with the package, then those of others, which are fetched and imported on first use.

    gained: SI-SDR gained at F0; lost: the most SI-SDR lost at another sampling frequency; means over the test tracks of a task, which do
    not compare between tasks. x real time: seconds of stereo at 44.1 kHz separated in one, on one thread of the CPU that its record names.

    Example: sfi-zoo list --sources vocals
    """
    if architectures and published:
        raise InputError("--architectures and --published are two lists; ask for one")
    if architectures:
        from sfi_zoo.models import list_architectures

        names = list_architectures(pattern)
        if as_json:
            say_json(names)
        else:
            for name in names:
                say(name)
        return
    wanted = tuple(name.strip() for name in sources.split(",")) if sources is not None else ()
    rows = [row for row in catalogue(pattern, wanted, sort) if not (published and row.ours)]
    if as_json:
        say_json([asdict(row) | {"default": row.name == DEFAULT_MODEL} for row in rows])
    else:
        show(rows)


def show(rows: list[Row]) -> None:
    """Prints a line for each model. Names are never cut, and the default is marked."""
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for title in HEADER:
        right = title in HEADER[3:5] or title in HEADER[6:]
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        default = " (default)" * (row.name == DEFAULT_MODEL)
        size = "?" if row.megabytes is None else f"{row.megabytes:.1f}"
        figures = ("-" if x is None else f"{x:.1f}" for x in (row.gained_db, row.lost_db, row.speed))
        rate = f"{row.sample_rate / 1000:g}"
        table.add_row(row.name + default, row.task, " ".join(row.sources), rate, size, row.license, *figures)
    say_table(table)
