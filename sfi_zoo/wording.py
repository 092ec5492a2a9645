"""How this package names many things in a message, quotes another library, and sets a Markdown table."""

from collections.abc import Iterable

SHOWN = 8


def shortened(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[object]], numbers: bool = False) -> str:
    """A Markdown table; with `numbers` all columns but the first are set to the right."""
    header = list(header)
    rule = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(map(markdown_row, [header, rule, *rows]))


def markdown_row(cells: Iterable[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
