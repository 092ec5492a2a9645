"""A results folder: `manifest.json` says what was measured, `records-<rank>.jsonl` hold one record in a line each.

A record is appended in one write that ends with its newline, so that a kill leaves at most one line without an end. That line is no record:
readers pass over it, and the next writer cuts it off and measures its unit again.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring.checks import check_manifest, check_record, flat, layout
from sfi_zoo.strict_json import parsed
from sfi_zoo.whole_files import sweep, write_text

MANIFEST = "manifest.json"
LONGEST = 2**20  # bytes of a line
MODELS = "models."  # their part of the settings, by name
Key = tuple[str, str, str, float]  # model, track, mode, sample rate


def key_of(record: Mapping[str, Any]) -> Key:
    """What a record is of; there is one of each."""
    return record["model"], record["track"], record["mode"], float(record["sample_rate"])


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of all processes, each once, in an order that does not depend on who wrote them.

    Raises:
        InputError: no results folder, or a line that is damaged.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: no results of `sfi-zoo score` ({MANIFEST} is missing)")
    found: dict[Key, dict[str, Any]] = {}
    common: dict[tuple[str, str], Any] = {}
    for path in sorted(folder.glob("records-*.jsonl")):
        for number, line in enumerate(_lines(path), 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError(f"longer than {LONGEST} bytes")
                record = parsed(line)
                check_record(record)
                for name, value in layout(record).items():
                    if common.setdefault((record["model"], name), value) != value:
                        raise ValueError(f"{name} is not as in the first record of {record['model']}")
            except ValueError as error:
                reason = f"line {number} is damaged ({error}); delete it to have it measured again"
                raise InputError(f"{path}: {reason}") from error
            found.setdefault(key_of(record), record)
    return [found[key] for key in sorted(found)]


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines; of one that is too long, its beginning."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST):
            if line.endswith(b"\n") or len(line) == LONGEST:
                yield line


class RecordsError(InputError):
    """Records cannot be written: there is no point in measuring any more."""


class RecordWriter:
    """Appends to the file of one process, which is its own while it is open.

    Raises:
        InputError: another process writes it, or there is no room.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.path = folder / f"records-{rank}.jsonl"
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            _lock(self._file, self.path)
            self._cut_torn_line()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record, and returns when it is on disk.

        Raises:
            RecordsError: there is no room.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            reason = (
                f"{self.path}: {error.strerror}; nothing measured so far is lost: make room and run it again"
            )
            raise RecordsError(reason) from error

    def _cut_torn_line(self) -> None:
        size = os.lseek(self._file, 0, os.SEEK_END)
        end, block = size, b""
        while end > 0 and b"\n" not in block:
            start = max(0, end - 2**16)
            block = os.pread(self._file, end - start, start)
            keep = start + block.rfind(b"\n") + 1 if b"\n" in block else start
            end = start
        if size and keep < size:
            os.ftruncate(self._file, keep)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def _lock(file: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: nothing keeps two runs apart
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{path}: another run is writing it") from error


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder one of these settings, or checks that it is; models that it has not yet join it.

    Raises:
        InputError: it was made with other settings, or with another model of the same name; the message says which.
    """
    settings = json.loads(json.dumps(settings))
    path = folder / MANIFEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with _alone(folder):
            if not path.exists():
                if any(folder.glob("records-*.jsonl")):
                    raise InputError(f"{folder}: has records but no {MANIFEST}; choose another folder")
                write_text(path, json.dumps(settings, indent=1) + "\n")
            made_with = read_manifest(folder)
            there, here = flat(made_with), flat(settings)
            differing = [
                name
                for name in dict.fromkeys((*there, *here))
                if there.get(name) != here.get(name)
                and not (name.startswith(MODELS) and (name not in there or name not in here))
            ]
            if differing:
                shown = "; ".join(
                    f"{name} {there.get(name)} there, {here.get(name)} now" for name in differing
                )
                raise InputError(f"{folder}: made with other settings ({shown}); choose another folder")
            models = made_with["models"] | settings["models"]
            if models != made_with["models"]:
                write_text(path, json.dumps(made_with | {"models": models}, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Other processes wait at the same place."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing keeps two runs apart
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The settings of a results folder.

    Raises:
        InputError: there is none that can be read.
    """
    try:
        settings: dict[str, Any] = parsed((folder / MANIFEST).read_bytes())
        check_manifest(settings)
    except (OSError, ValueError) as error:
        reason = f"{MANIFEST} cannot be read: {error}"
        raise InputError(f"{folder}: no results of `sfi-zoo score` ({reason})") from error
    return settings
