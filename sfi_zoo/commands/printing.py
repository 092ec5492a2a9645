"""What commands print: results on standard output, remarks on standard error.

Standard output may be full, or unable to take a name (cp1252, that of Windows where it is no terminal). Work goes on: a name is printed
with escapes, what is lost is counted, and the last line of the command says so. Who closes a pipe wants no more, and is told nothing.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 160  # of a table in a file or a pipe
LONGEST = 100  # characters of a line that is quoted


@dataclass
class _Unprinted:
    """The lines that could not be printed as they are.

    Attributes:
        lines: that are lost.
        first: of them.
        reason: why; "" as long as nothing is lost.
        escaped: lines with escapes.
        unwanted: the reader of a pipe has closed it.
    """

    lines: int = 0
    first: str = ""
    reason: str = ""
    escaped: int = 0
    unwanted: bool = False


_unprinted = _Unprinted()


def begin() -> None:
    """Forget what was not printed."""
    global _unprinted  # noqa: PLW0603
    _unprinted = _Unprinted()


def say(*lines: object) -> None:
    """Lines on standard output, at once."""
    for line in lines:
        _write(f"{line}\n")


def say_json(value: Any) -> None:
    """A value as JSON, which every encoding can take."""
    say(json.dumps(value, indent=2))


def say_table(table: Table) -> None:
    """A table, texts as they are; as wide as it needs where standard output is no terminal."""
    width = None if Console().is_terminal else WIDTH
    console = Console(width=width, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    _write(captured.get())


def remark(line: str) -> None:
    """Print a line on standard error; if that cannot be written to, nothing happens."""
    with suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)


def end() -> str | None:
    """The note that lines held escape characters, at the end of all output; None where there were none.

    Raises:
        OSError: lines are lost; the message says how many, and the first of them.
    """
    with suppress(AttributeError, ValueError):  # of no standard output, and of a closed one
        try:
            sys.stdout.flush()
        except OSError:
            _to_nowhere()
            raise
    lost = _unprinted
    if lost.reason:
        first = lost.first[:LONGEST]
        raise OSError(
            f"standard output: {lost.reason}; {lost.lines} lines were not printed, the first of them: {first}"
        )
    if lost.escaped:
        return (
            f"standard output takes {sys.stdout.encoding} only; {lost.escaped} lines were printed with escapes: "
            "set PYTHONIOENCODING=utf-8, or take --json where a command has it"
        )
    return None


def _write(text: str) -> None:
    if _unprinted.unwanted:
        return
    if _unprinted.reason:
        _unprinted.lines += text.count("\n")
        return
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError as error:
            _unprinted.escaped += 1
            sys.stdout.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _unprinted.unwanted = True
        _to_nowhere()
    except (OSError, ValueError, AttributeError) as error:
        _unprinted.reason = getattr(error, "strerror", None) or "closed"
        _unprinted.first, _unprinted.lines = text.splitlines()[0], text.count("\n")
        _to_nowhere()


def _to_nowhere() -> None:
    """What waits in the buffer would fail again when Python ends, and change the exit code."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()
