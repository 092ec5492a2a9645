"""Files that appear whole or not at all, whatever ends the program and whoever else writes there."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sfi_zoo.interruption import uninterrupted


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path`: the file written under it takes its place when the block ends, and goes when it raises."""
    draft = path.with_name(f".{uuid.uuid4().hex[:12]}.partial{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        with uninterrupted():
            draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Like `Path.write_text` in UTF-8, whole or not at all; names of files need not be Unicode, and are escaped then."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def put_in_place(finished: Path, folder: Path, names: Iterable[str]) -> None:
    """Moves a folder of finished files to its place: at once, or file by file into the folder that is there.

    Args:
        finished: the folder, on the same disk.
        folder: where it belongs.
        names: of the files to take.

    Raises:
        OSError: they cannot be moved.
    """
    with uninterrupted():
        if not folder.exists():
            try:
                finished.rename(folder)
                return
            except OSError:
                if not folder.is_dir():  # else another process has made it in the meantime
                    raise
        for name in names:
            (finished / name).replace(folder / name)
