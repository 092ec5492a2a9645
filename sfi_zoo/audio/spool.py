"""Blocks of samples on disk, for what has to be read once more when all of it is known."""

import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from sfi_zoo.errors import InputError


class Spool:
    """A queue of tensors in a temporary file that goes with the object. In memory the same is a `collections.deque`.

    Args:
        folder: on which disk; None for the usual place of temporary files.
        subject: what the error names when the disk is full.
    """

    def __init__(self, folder: Path | None = None, subject: str = "temporary samples") -> None:
        self._subject = subject
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".sfi-zoo-")  # noqa: SIM115
        self._shapes: deque[tuple[tuple[int, ...], np.dtype]] = deque()
        self._read = 0

    def append(self, block: Tensor) -> None:
        """Puts a block at the end.

        Raises:
            InputError: it cannot be written.
        """
        values = np.ascontiguousarray(block.numpy())
        try:
            self._file.seek(0, 2)
            self._file.write(values.data)
            self._file.flush()
        except OSError as error:
            raise InputError(f"{self._subject}: cannot be written ({error.strerror})") from error
        self._shapes.append((values.shape, values.dtype))

    def popleft(self) -> Tensor:
        """Takes the first block."""
        shape, dtype = self._shapes.popleft()
        self._file.seek(self._read)
        values = np.empty(shape, dtype)
        self._file.readinto(values.data)
        self._read += values.nbytes
        return torch.from_numpy(values)

    def __len__(self) -> int:
        return len(self._shapes)

    def close(self) -> None:
        """Lets go of the file."""
        with suppress(OSError):  # what could not be written is not wanted any more
            self._file.close()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
