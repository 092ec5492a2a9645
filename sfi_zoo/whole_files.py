"""Files that appear whole or not at all, whatever ends the program and whoever else writes there.

What is not finished lies in a draft: a folder `.sfi-zoo-<random>.partial` on the same disk, locked as long as its process lives. Who next
makes a draft in the same place, or sweeps it, removes those that nobody holds. Several files that belong together are listed in their
draft before the first of them is put in its place: a sweep finishes what a kill has cut short. Drafts of other users are left alone.
"""

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from sfi_zoo.interruption import uninterrupted

NAME = re.compile(r"\.sfi-zoo-[0-9a-f]{12}\.partial")
MOVES = "moves.json"
MOST_MOVES_BYTES = 2**24
_swept: set[str] = set()


class Draft:
    """A folder for what is not finished; it goes with all that is still in it when the block ends.

    Args:
        beside: the folder it lies in, on the disk of what it is for.

    Attributes:
        path: the folder; there is none before the `with` statement.
    """

    def __init__(self, beside: Path) -> None:
        self.path = self._new_path(beside)
        self._lock: int | None = None

    @staticmethod
    def _new_path(beside: Path) -> Path:
        return beside / f".sfi-zoo-{uuid.uuid4().hex[:12]}.partial"

    def __enter__(self) -> Path:
        """Make it; the first of a process in a place sweeps the place."""
        place = os.fspath(self.path.parent.absolute())
        if place not in _swept:
            _swept.add(place)
            sweep(self.path.parent)
        try:
            while True:
                self.path.mkdir(mode=0o700)
                self._lock = _locked(self.path, wait=True)
                if self.path.exists():
                    return self.path
                self._unlock()  # somebody swept between the two lines
                self.path = self._new_path(self.path.parent)
        except BaseException:
            # an interruption after the folder was made: the block is never entered, so never left
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove it."""
        with uninterrupted():
            shutil.rmtree(self.path, ignore_errors=True)
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def temporary() -> Draft:
    """A draft among the temporary files of the system: nothing of it stays, and what killed processes left there goes."""
    return Draft(Path(tempfile.gettempdir()))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write: it takes the place of `path` when the block ends, and goes when it raises."""
    with Draft(path.parent) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


def write_text(path: Path, text: str) -> None:
    """Like `Path.write_text` in UTF-8, whole or not at all; names of files need not be Unicode, and are escaped then."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def publish(draft: Path, moves: Sequence[tuple[Path, Path]]) -> None:
    """Puts files and folders that belong together in their places: all of them, also where a kill comes between two.

    A folder appears by one rename; into one that is there its files go one by one, and take the place of those of the same names.

    Args:
        draft: of a `Draft`.
        moves: (finished, its place): the first within the draft, the second beside it or in a folder there.

    Raises:
        OSError: they cannot be moved.
    """
    with uninterrupted():
        listed = [
            (str(source.relative_to(draft)), os.path.relpath(target, draft.parent))
            for source, target in moves
        ]
        unfinished = draft / f"{MOVES}.new"
        unfinished.write_text(json.dumps(listed), encoding="utf-8")
        unfinished.replace(draft / MOVES)
        for source, target in moves:
            _move(source, target)


def _move(source: Path, target: Path) -> None:
    if not source.is_dir():
        source.replace(target)
        return
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for part in sorted(source.iterdir()):
            part.replace(target / part.name)


def sweep(folder: Path) -> None:
    """Finishes what killed processes were about to put in its place, and removes what they have left in a folder.

    Where the system has no locks, nothing is swept.
    """
    with suppress(OSError):
        for path in [folder / entry.name for entry in os.scandir(folder) if _is_own_draft(entry)]:
            lock = _locked(path, wait=False)
            if lock is not None:
                with uninterrupted():
                    _finish(path)
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(lock)


def _is_own_draft(entry: "os.DirEntry[str]") -> bool:
    if not NAME.fullmatch(entry.name):
        return False
    return not hasattr(os, "geteuid") or entry.stat(follow_symlinks=False).st_uid == os.geteuid()


def _finish(draft: Path) -> None:
    """The rest of the moves of a killed process; none that leads out of the folder."""
    base = draft.parent.resolve()
    with suppress(OSError, ValueError, TypeError, RecursionError):
        if (draft / MOVES).stat().st_size > MOST_MOVES_BYTES:
            return
        for moved, place in json.loads((draft / MOVES).read_text(encoding="utf-8")):
            source, target = draft / moved, draft.parent / place
            changed = (target if source.is_dir() else target.parent).resolve()
            if draft.resolve() not in (source.parent.resolve(), *source.parent.resolve().parents):
                return
            if base not in (changed, *changed.parents):
                return
            if source.exists():
                _move(source, target)


def _locked(folder: Path, *, wait: bool) -> int | None:
    """A descriptor with the lock of a folder; None where it is held, or cannot be had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """A folder and its parents, made where they are not there; those go again, if nothing is in them, when the block raises."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with uninterrupted(), suppress(OSError):
            for place in missing:
                place.rmdir()
        raise
