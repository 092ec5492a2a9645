"""The code blocks of a page, and running them as its reader would: from top to bottom, in one folder.

- ```python runs, all blocks of a page in one namespace;
- ```python title="x.py", ```toml title="x.toml": becomes a file of that name;
- ```bash runs its lines `sfi-zoo ...`; other commands are not run, so a block that has one must say so:
- a block whose first line is `# not run in the tests: WHY` is left alone. There are few.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sfi_zoo import cli

DOCS = Path(__file__).parent.parent / "docs"
NOT_RUN = "# not run in the tests:"
FENCE = re.compile(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is the content of (or None), and what it says."""

    language: str
    file: str | None
    text: str

    @property
    def runs(self) -> bool:
        return not self.text.startswith(NOT_RUN)


def blocks_of(page: Path) -> list[Block]:
    return [Block(*match) for match in FENCE.findall(page.read_text(encoding="utf-8"))]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each line of a shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def run_page(page: Path, folder: Path) -> dict[str, object]:
    """Runs the blocks of a page in a folder, which is the current one; returns the names that they define."""
    names: dict[str, object] = {"__name__": page.stem}
    for block in filter(lambda block: block.runs, blocks_of(page)):
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), names)
        elif block.language == "bash":
            for program, *arguments in commands(block):
                assert program == "sfi-zoo", f"{page.name}: {program} cannot be run here; say so in the block"
                assert cli.main(arguments) == 0, f"{page.name}: {program} {shlex.join(arguments)}"
        else:
            assert block.language == "text", f"{page.name}: a block of {block.language} has no title"
    return names
