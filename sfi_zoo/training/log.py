"""What a run writes down: a line of JSON for each validation, with the means of the figures since the one before."""

import json
from pathlib import Path
from typing import Any

from sfi_zoo.whole_files import write_text

LOG = "log.jsonl"


class Mean:
    """Means of the figures since the last validation."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, **figures: float) -> None:
        """One step."""
        self.count += 1
        for key, value in figures.items():
            self.sums[key] = self.sums.get(key, 0.0) + value

    def values(self) -> dict[str, float]:
        """So far."""
        return {key: value / self.count for key, value in self.sums.items()}

    def take(self) -> dict[str, float]:
        """So far; then from the beginning."""
        values = self.values()
        self.sums, self.count = {}, 0
        return values


def append_record(folder: Path, record: dict[str, Any]) -> None:
    """Adds a line to the log of a run."""
    with (folder / LOG).open("a") as file:
        file.write(json.dumps(_rounded(record)) + "\n")


def cut_log(folder: Path, step: int) -> None:
    """Drops the lines of steps after the checkpoint: they are done again."""
    path = folder / LOG
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if json.loads(line)["step"] <= step]
        write_text(path, "".join(line + "\n" for line in kept))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(x) for key, x in value.items()}
    return round(value, 4) if isinstance(value, float) else value
