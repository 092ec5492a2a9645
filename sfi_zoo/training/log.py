"""What a run writes down: a line of JSON for each validation, with the means of the figures since the one before."""

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

from sfi_zoo.whole_files import write_text

LOG = "log.jsonl"


class Mean:
    """Means of the figures since the last validation.

    Args:
        sums: of steps before.
        count: of those steps.
    """

    def __init__(self, sums: dict[str, float] | None = None, count: int = 0) -> None:
        self.sums, self.count = dict(sums or {}), count

    def add(self, **figures: float) -> None:
        """Adds the figures of one step."""
        self.count += 1
        for key, value in figures.items():
            self.sums[key] = self.sums.get(key, 0.0) + value

    def values(self) -> dict[str, float]:
        """The means so far."""
        return {key: value / self.count for key, value in self.sums.items()}

    def take(self) -> dict[str, float]:
        """The means so far; after that counting starts again."""
        values = self.values()
        self.sums, self.count = {}, 0
        return values


def append_record(folder: Path, record: dict[str, Any]) -> None:
    """Adds a line to the log of a run, in one write; a line that was cut by a kill before ends here."""
    with (folder / LOG).open("ab+") as file:
        torn = file.tell() > 0 and not _ends_with_newline(file)
        file.write(b"\n" * torn + json.dumps(_rounded(record)).encode() + b"\n")


def _ends_with_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def cut_log(folder: Path, step: int) -> None:
    """Drops the lines of steps after the checkpoint, which are done again, and what a kill has left of a line."""
    path = folder / LOG
    if path.exists():
        kept = [line for line in path.read_bytes().split(b"\n") if _step_of(line) <= step]
        write_text(path, "".join(line.decode() + "\n" for line in kept))


def _step_of(line: bytes) -> float:
    """The step that a line is about; infinity where the line is damaged."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return math.inf
    return step if isinstance(step, int) else math.inf


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(x) for key, x in value.items()}
    return round(value, 4) if isinstance(value, float) else value
