"""Blocks of samples on disk, for signals that are read a second time once all of them is known."""

import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from sfi_zoo.errors import InputError

_FILE_BYTES = 2**27  # how much of it waits in one file


class Spool:
    """A queue of tensors in temporary files that go as they are read, or with the object. In memory the same is a `collections.deque`.

    Args:
        folder: on which disk; None for the usual place of temporary files.
        subject: what the error names when the disk is full.
    """

    def __init__(self, folder: Path | None = None, subject: str = "temporary samples") -> None:
        self._subject, self._folder = subject, folder
        self._files = deque([self._new_file()])
        self._blocks: deque[tuple[tuple[int, ...], np.dtype, bool]] = deque()
        self._read = 0

    def _new_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder, prefix=".sfi-zoo-")

    def append(self, block: Tensor) -> None:
        """Puts a block at the end.

        Raises:
            InputError: it cannot be written.
        """
        values = np.ascontiguousarray(block.numpy())
        try:
            file = self._files[-1]
            begins = file.seek(0, 2) >= _FILE_BYTES
            if begins:
                file = self._new_file()
                self._files.append(file)
            file.write(values.data)
            file.flush()
        except OSError as error:
            raise InputError(f"{self._subject}: cannot be written ({error.strerror})") from error
        self._blocks.append((values.shape, values.dtype, begins))

    def popleft(self) -> Tensor:
        """Takes the first block."""
        shape, dtype, begins = self._blocks.popleft()
        if begins:
            self._files.popleft().close()
            self._read = 0
        self._files[0].seek(self._read)
        values = np.empty(shape, dtype)
        self._files[0].readinto(values.data)  # type: ignore[attr-defined]
        self._read += values.nbytes
        return torch.from_numpy(values)

    def __len__(self) -> int:
        return len(self._blocks)

    def close(self) -> None:
        """Closes the files, which are then gone."""
        for file in self._files:
            with suppress(OSError):  # what could not be written is not wanted any more
                file.close()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
