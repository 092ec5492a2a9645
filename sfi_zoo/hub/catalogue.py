"""What there is to choose from: one row for each model, ours and those of others, read from their folders. Nothing here imports torch."""

import fnmatch
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub import bundled, figures
from sfi_zoo.hub.published import NOT_STATED, SOURCE, read_source
from sfi_zoo.strict_json import read_json

FOUR = ("vocals", "drums", "bass", "other")
TASKS = {"music: four stems": FOUR}
SORTS = ("gained", "lost", "size", "rate", "name", "speed")


@dataclass(frozen=True)
class Row:
    """A model, as far as its folder tells without its weights being read.

    Attributes:
        name: what `load` takes.
        task: what it is for. Scores of different tasks are on different data, and do not compare.
        sources: what it separates.
        sample_rate: F0 in Hz.
        megabytes: of its weights; None where that is not known before they are fetched.
        license: of the weights.
        gained_db: SI-SDR gained at F0, see `sfi_zoo.hub.figures`; None without scores.
        lost_db: the most SI-SDR lost at any other sampling frequency, native.
        by_source: SI-SDR gained at F0 for each source.
        tracks: how many were scored.
        scored_on: what these are; empty where that is not known.
        speed: seconds of stereo at 44.1 kHz that it separates in one on a CPU thread (`tools/speed_of_models.py`); None unmeasured.
        origin: "sfi_zoo", or where the weights come from on first use.
        about: one line on it; empty where its card says it.
        paper: to cite; empty where its card says it.
    """

    name: str
    task: str
    sources: tuple[str, ...]
    sample_rate: int
    megabytes: float | None
    license: str
    gained_db: float | None = None
    lost_db: float | None = None
    by_source: dict[str, float] = field(default_factory=dict)
    tracks: int = 0
    scored_on: str = ""
    speed: float | None = None
    origin: str = "sfi_zoo"
    about: str = ""
    paper: str = ""

    @property
    def ours(self) -> bool:
        """Whether its weights come with the package."""
        return self.origin == "sfi_zoo"


def catalogue(pattern: str = "*", sources: tuple[str, ...] = (), sort: str = "gained") -> list[Row]:
    """All models that match, ours first, then those of others; each group by task, and sorted within a task.

    Args:
        pattern: of names, as in a shell.
        sources: only models that separate all of these; then "gained" is their gain alone.
        sort: "gained" (most first), "lost" (least first), "speed" (fastest first), "size", "rate" or "name".

    Raises:
        InputError: another `sort`.
    """
    if sort not in SORTS:
        raise InputError(f"--sort must be one of {', '.join(SORTS)}; got {sort!r}")
    folders = sorted(path.parent for path in bundled.BUNDLED.glob("*/config.json"))
    folders += [f.parent for f in sorted(bundled.BUNDLED.glob(f"*/{SOURCE}")) if f.parent not in folders]
    rows = [read_row(folder) for folder in folders if fnmatch.fnmatch(folder.name, pattern)]
    rows = [row for row in rows if set(sources) <= set(row.sources)]

    def place(row: Row) -> tuple[Any, ...]:
        return (not row.ours, row.task, _order(row, sort, sources), row.name)

    return sorted(rows, key=place)


def _order(row: Row, sort: str, sources: tuple[str, ...]) -> float:
    """What a row is sorted by within its task; what is not known comes last."""
    if sort == "gained":
        gains = [row.by_source.get(source, -math.inf) for source in sources]
        gained = sum(gains) / len(gains) if gains else row.gained_db
        return math.inf if gained is None else -gained
    if sort == "speed":
        return math.inf if row.speed is None else -row.speed
    value = {"lost": row.lost_db, "size": row.megabytes, "rate": row.sample_rate}.get(sort, 0)
    return math.inf if value is None else value


def read_row(folder: Path) -> Row:
    """The row of a model's folder.

    Raises:
        InputError: a file in it that cannot be read.
    """
    try:
        scores = _scores(folder) | {"speed": _speed(folder)}
        if (folder / SOURCE).exists():
            they = read_source(folder)
            size = None if they.bytes is None else they.bytes / 1e6
            told = (they.name, they.task, they.sources, they.sample_rate, size, they.license)
            return Row(*told, **scores, origin=they.origin, about=they.about, paper=they.paper)
        config = read_json(folder / "config.json")
        sources = tuple(config["sources"])
        task = next((task for task, names in TASKS.items() if set(names) == set(sources)), "other")
        size = (folder / "model.safetensors").stat().st_size / 1e6
        return Row(folder.name, task, sources, int(config["sample_rate"]), size, _license(folder), **scores)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: cannot be read ({type(error).__name__}: {error})") from None


def _scores(folder: Path) -> dict[str, Any]:
    path = folder / "scores.json"
    if not path.exists():
        return {}
    scores = read_json(path)
    return {
        "gained_db": figures.gained_db(scores),
        "lost_db": figures.lost_db(scores),
        "by_source": figures.gained_by_source(scores),
        "tracks": max((row["tracks"] for row in scores["rows"]), default=0),
        "scored_on": str(scores["data"].get("what", "")),
    }


def _speed(folder: Path) -> float | None:
    path = folder / "speed.json"
    return float(read_json(path)["real_time"]) if path.exists() else None


def _license(folder: Path) -> str:
    """The licence in the head of a model card."""
    card = folder / "README.md"
    said = re.search(r"^license: (\S+)$", card.read_text(encoding="utf-8"), re.M) if card.exists() else None
    return said[1] if said else NOT_STATED
