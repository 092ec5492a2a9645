"""Options and messages that commands share."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sfi_zoo.errors import InputError

PROGRAM = "sfi-zoo"
WIDTH = 160  # of a table in a file or a pipe

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, mps ...")]


def available(device: str | None) -> str | None:
    """Check that a device is there, before a model is moved to it."""
    if device is None:
        return None
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: not available here") from error
    return device


def print_json(value: Any) -> None:
    """To standard output."""
    print(json.dumps(value, indent=2))


def print_table(table: Table) -> None:
    """To standard output; as wide as it needs where that is no terminal."""
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def complain(error: Exception) -> None:
    """One line on standard error for one mistake, whatever the error says."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()  # names need not be text
    print(f"{PROGRAM}: {text}", file=sys.stderr)
