"""Wording of messages: long lists shortened, errors of other libraries in one line, Markdown tables."""

import re
from collections.abc import Iterable

SHOWN = 8
_MARKS = re.compile(
    r"\\(?=[!-/:-@[-`{-~]|$)"  # what stands after it would lose its meaning, or the line would break
    r"|[`*~|]|!(?=\[)|\](?=[\[(:])"
    r"|(?<![^\W_])_|_(?![^\W_])"  # one underscore within a word marks nothing
)


def shortened(names: list[str]) -> str:
    """The first few items, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def first_line(error: BaseException) -> str:
    """The message of an error, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[object]], numbers: bool = False) -> str:
    """A Markdown table; with `numbers` all columns but the first are set to the right."""
    header = list(header)
    rule = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(map(markdown_row, [header, rule, *rows]))


def markdown_row(cells: Iterable[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(markdown_text(str(cell)) for cell in cells) + " |"


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is, in one line: no HTML, no emphasis, no link, no end of a table's cell, whatever a name holds."""
    line = "".join(
        x if x.isprintable() else x.encode("unicode_escape").decode() for x in " ".join(text.split())
    )
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        line = line.replace(character, entity)
    return _MARKS.sub(r"\\\g<0>", line)
