"""Options and messages that commands share."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from sfi_zoo.commands.printing import remark
from sfi_zoo.errors import InputError
from sfi_zoo.hub import list_models

PROGRAM = "sfi-zoo"
LONGEST = 1000  # characters of a message

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, mps ...")]


def available(device: str | None) -> str | None:
    """Check that a device exists before a model is moved to it."""
    if device is None:
        return None
    import torch

    try:
        if torch.empty(1, device=device).is_meta:
            raise InputError(f"--device {device}: cannot compute; give cpu, cuda or mps")
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: not available here") from error
    return device


def checked_threads(number: int) -> int:
    """A number of CPU threads that a machine can have: libraries crash when they cannot start as many as they are told.

    Raises:
        InputError: less than 1, or many more than there are cores.
    """
    most = max(64, 4 * (os.cpu_count() or 1))
    if not 1 <= number <= most:
        raise InputError(f"--threads {number}: give 1 to {most}")
    return number


def bundled(incomplete: str) -> list[str]:
    """Names of the zoo's models that begin so, for completion; those of others too."""
    from sfi_zoo.hub.published import list_published

    names = [*list_models(), *(row.name for row in list_published())]
    return [name for name in names if name.startswith(incomplete)]


def one_of(*values: str) -> Callable[[str], list[str]]:
    """A completion for the shell from these values."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def complain(error: Exception) -> str:
    """One line on standard error for one mistake, whatever the error says; returns the message in it."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 200]} ... {text[-200:]}"
    # what a file holds, and its name, need not be text, and may be commands to a terminal
    text = "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)
    remark(f"{PROGRAM}: {text}")
    return text
