"""The points of a process: where it changes the disk."""

import os
import pathlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CODE = 9  # of a process that was killed
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Points:
    """Counts the points of a process, and ends it at one.

    Args:
        folder: only what changes below it counts.
        at: the point, from 1 on; 0 for none.
    """

    def __init__(self, folder: Path, at: int) -> None:
        self.folder, self.at, self.count = folder, at, 0
        self._pid = os.getpid()
        sys.addaudithook(self._hear)
        self._wrap_writes()

    def reach(self) -> None:
        """A point."""
        if os.getpid() == self._pid:
            self.count += 1
            if self.count == self.at:
                os._exit(CODE)

    def _inside(self, path: Any) -> bool:
        return isinstance(path, str | bytes | os.PathLike) and Path(
            os.fsdecode(path)
        ).absolute().is_relative_to(self.folder)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (opened or event in CHANGES) and self._inside(arguments[0]):
            self.reach()

    def _wrap_writes(self) -> None:
        """Points before, within and after writes that raise no audit event."""
        import safetensors.numpy
        import safetensors.torch
        import soundfile

        write, fsync = os.write, os.fsync

        def write_in_two(file: int, data: Any) -> int:
            half = len(data) // 2
            self.reach()
            done = write(file, data[:half])
            self.reach()
            return done + write(file, data[half:])

        def write_file_in_two(path: Path, data: bytes) -> int:
            with path.open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                self.reach()
                file.write(data[len(data) // 2 :])
            self.reach()
            return len(data)

        def write_text(
            path: Path,
            data: str,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> int:
            return write_file_in_two(path, data.encode(encoding or "utf-8", errors or "strict"))

        os.write = write_in_two
        os.fsync = self._around(fsync)
        pathlib.Path.write_bytes = write_file_in_two  # type: ignore[assignment,method-assign]
        pathlib.Path.write_text = write_text  # type: ignore[assignment,method-assign]
        for module in (safetensors.torch, safetensors.numpy):
            module.serialize_file = self._torn(module.serialize_file)
        soundfile.SoundFile.write = self._around(soundfile.SoundFile.write)
        soundfile.SoundFile.close = self._around(soundfile.SoundFile.close)

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.reach()
            result = function(*args, **kwargs)
            self.reach()
            return result

        return wrapped

    def _torn(self, serialize: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(tensors: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            self.reach()
            result = serialize(tensors, path, *args, **kwargs)
            if self.count + 1 == self.at:
                os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
            self.reach()
            self.reach()
            return result

        return wrapped
