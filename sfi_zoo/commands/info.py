"""`sfi-zoo info`."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sfi_zoo.commands.printing import say_json, say_table
from sfi_zoo.commands.shared import AsJson, bundled
from sfi_zoo.hub.bundled import BUNDLED, DEFAULT_MODEL


def info_command(
    name: Annotated[
        str, typer.Argument(help="A name from `sfi-zoo list`, a folder, or a Hub id.", autocompletion=bundled)
    ],
    as_json: AsJson = False,
) -> None:
    """Describe a model: what it is for, sources, rates, size, licence, data, paper, scores.

    A model of others is described without fetching it.

    Example: sfi-zoo info convtasnet_mgf_gate.music4
    """
    described = _describe(name)
    if as_json:
        say_json(described)
        return
    table = Table(show_header=False, box=None)
    for key, value in described.items():
        between = "\n" if key == "data" else ", "
        table.add_row(key, between.join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    say_table(table)


def _describe(name: str) -> dict[str, Any]:
    from sfi_zoo.hub.catalogue import read_row
    from sfi_zoo.hub.expectations import paragraph
    from sfi_zoo.hub.published import find

    others = None if Path(name).is_dir() else find(name)
    if others is not None:
        return {
            "name": name,
            "for": others.task,
            "about": others.about,
            "sources": list(others.sources),
            "sample_rate": others.sample_rate,
            "weights": f"from {others.origin}, on first use",
            "bytes": others.bytes,
            "licence": others.license,
            "paper": others.paper,
            "read at": others.read_at,
            **_scores(read_row(others.folder)),
            "expect": paragraph(read_row(others.folder)),
        }
    from sfi_zoo import hub

    model = hub.load(name)
    described = {
        "name": name,
        "architecture": type(model).__name__,
        "sources": list(model.sources),
        "sample_rate": model.trained_rate,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    folder = BUNDLED / name
    if Path(name).is_dir() or not (folder / "config.json").is_file():
        return described
    row = read_row(folder)
    return described | {
        "for": row.task,
        "licence": row.license,
        "megabytes": row.megabytes,
        "default": name == DEFAULT_MODEL,
        **_scores(row),
        **(
            {}
            if row.speed is None
            else {"speed": f"{row.speed:g} x real time on one CPU thread (stereo, 44.1 kHz)"}
        ),
        "data": _data(folder / "README.md"),
        "paper": _paper(type(model)),
        "expect": paragraph(row),
        "card": str(folder / "README.md"),
    }


def _data(card: Path) -> list[str]:
    """What a model was trained on: the points below "Data and licence" of its card."""
    text = card.read_text(encoding="utf-8") if card.exists() else ""
    section = text.partition("## Data and licence")[2].partition("\n## ")[0]
    points = re.findall(r"^- (.+(?:\n  .+)*)", section, re.M)
    return [" ".join(point.split()).rstrip(".") for point in points]


def _paper(architecture: type) -> str:
    """The sources that the file of an architecture names."""
    told = re.search(
        r"^Sources?: (.+?)(?:\n\n|\Z)", sys.modules[architecture.__module__].__doc__ or "", re.M | re.S
    )
    return " ".join(told[1].split()) if told else ""


def _scores(row: Any) -> dict[str, Any]:
    """The scores in words; empty where there are none."""
    if row.gained_db is None:
        return {}
    by_source = ", ".join(f"{source} {gain:.1f}" for source, gain in row.by_source.items())
    lost = "" if row.lost_db is None else f"; at most {row.lost_db:.1f} dB lost at another sampling frequency"
    return {"scores": f"{row.gained_db:.1f} dB SI-SDR gained at F0 ({by_source}){lost}"}
