"""The part of a stream that is still needed."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sfi_zoo.audio.bounds import check_finite


class Buffer:
    """A window on a stream, addressed by position in the whole stream.

    Args:
        blocks: (channels, n) pieces in order, read only when they are needed.
        channels: of every block.
        sample_rate: in Hz; only error messages need it.

    Attributes:
        start: position of the first sample held.
        end: position after the last one read.

    Raises:
        InputError: while reading, a sample that is not finite.
    """

    def __init__(self, blocks: Iterable[Tensor], channels: int, sample_rate: float) -> None:
        self._blocks = iter(blocks)
        self._sample_rate = sample_rate
        self._pieces = [torch.empty(channels, 0)]
        self.start = 0
        self.end = 0

    def reaches(self, position: int) -> bool:
        """Read on to `position`; False when the stream ends before it."""
        while self.end < position:
            block = next(self._blocks, None)
            if block is None:
                return False
            check_finite(block, self._sample_rate, self.end)
            self._pieces.append(block)
            self.end += block.shape[-1]
        return True

    def get(self, start: int, end: int) -> Tensor:
        """(channels, end - start)."""
        self._pieces = [torch.cat(self._pieces[self._pieces[0].shape[-1] == 0 :], -1)]
        return self._pieces[0][:, start - self.start : end - self.start]

    def forget_before(self, position: int) -> None:
        """Drop everything before `position`."""
        if position > self.start:
            self._pieces = [self._pieces[0][:, position - self.start :].clone()]
            self.start = position
