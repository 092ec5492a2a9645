"""Scores in model cards: the results that the Hub reads, and a table for people, both from `scores.json`."""

from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub import expectations
from sfi_zoo.hub.figures import gained_db
from sfi_zoo.hub.folder import CARD
from sfi_zoo.hub.results import SCORES, fill_model_index
from sfi_zoo.metrics.reporting.looks import decibels_shown
from sfi_zoo.metrics.reporting.report import COLUMNS, LEGEND, scores_cells
from sfi_zoo.strict_json import read_json
from sfi_zoo.whole_files import replacing
from sfi_zoo.wording import markdown_table, markdown_text

BEGIN, END = "<!-- scores: from scores.json by `sfi-zoo report --cards` -->", "<!-- end of scores -->"


def update_card(folder: Path) -> Path:
    """Puts the scores of a model's folder into its card: the `model-index` of the head, and a table between two HTML comments; and
    what to expect of it, where the card says so.

    A card without these comments gets the table at its end. All else in it stays as it is, byte for byte.

    Args:
        folder: with README.md and scores.json.

    Returns:
        The card.

    Raises:
        InputError: a card or scores that are not there or cannot be read, or one of the two comments without the other.
    """
    card = folder / CARD
    try:
        scores = read_json(folder / SCORES)
        table, (name, title) = scores_table(scores), _dataset(scores["data"])
        with_table(card.read_bytes(), table)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: {SCORES} or {CARD} cannot be read ({error!r})") from None
    fill_model_index(folder, name, title)
    with replacing(card) as draft:
        draft.write_bytes(with_table(card.read_bytes(), table))
    if expectations.BEGIN in card.read_text(encoding="utf-8"):
        expectations.update_card(folder)
    return card


def scores_table(scores: dict[str, Any]) -> str:
    """What was measured on what, and a row for each mode and rate, in Markdown.

    Args:
        scores: the content of a `scores.json`, see `sfi_zoo.metrics.reporting.report.write_scores`.
    """
    rows = [scores_cells(row) for row in scores["rows"]]
    gained = scores["improvement_at_trained_rate_db"]
    by_source = ", ".join(f"{markdown_text(source)} {decibels_shown(x)}" for source, x in gained.items())
    tracks = max(row["tracks"] for row in scores["rows"])
    mean = gained_db(scores)
    at_trained = (
        "Not scored at F0 natively: no gain there."
        if mean is None
        else f"SI-SDR gained at F0 in dB: {decibels_shown(mean)}, the mean of {by_source}."
    )
    heading = f"{tracks} tracks of {markdown_text(_dataset(scores['data'])[1])}. {at_trained}"
    return "\n\n".join((heading, LEGEND, markdown_table(COLUMNS, rows)))


def with_table(card: bytes, table: str) -> bytes:
    """The card with another table between its comments, or one at its end.

    Raises:
        InputError: one of the comments is missing, or comes twice.
    """
    begin, end = BEGIN.encode(), END.encode()
    block = b"\n".join((begin, table.encode(), end))
    if begin not in card and end not in card:
        return card.rstrip(b"\r\n") + b"\n\n## Scores\n\n" + block + b"\n"
    if card.count(begin) != 1 or card.count(end) != 1 or card.index(end) < card.index(begin):
        raise InputError(f"a card needs {BEGIN} and, after it, {END}, each once")
    return card[: card.index(begin)] + block + card[card.index(end) + len(end) :]


def _dataset(data: dict[str, Any]) -> tuple[str, str]:
    """Short name, and a name for people."""
    name = Path(data["path"]).name if "path" in data else str(data["kind"])
    return name, str(data.get("what", name))
