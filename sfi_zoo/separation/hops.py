"""Work on a stream in pieces of whole hops with context on both sides, on a grid that begins with the signal: blocks do not show."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor


def in_hops(
    pairs: Iterable[tuple[Tensor, Tensor]],
    hop: int,
    around: int,
    piece: int,
    work: Callable[[Tensor], Tensor],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Applies `work` to a signal, piece by piece.

    Args:
        pairs: (sources, channels, n) and the mixture, (channels, n), in order.
        hop: in samples.
        around: hops of context that `work` needs on either side; beyond the ends of the signal it is given silence.
        piece: hops that it is given at once, at most.
        work: (sources + 1, channels, around + m + around hops), the mixture last -> (sources + 1, channels, m hops).

    Yields:
        The same samples as came, worked on, in blocks of other lengths.
    """
    context, size = around * hop, (piece + 2 * around) * hop
    buffer = torch.empty(0)
    filled = context  # silence before the signal
    taken = given = 0
    for stems, mixture in pairs:
        if not taken:
            buffer = stems.new_zeros(len(stems) + 1, *mixture.shape[:-1], size)
        taken += mixture.shape[-1]
        for first in _parts(mixture.shape[-1], size - filled, size - 2 * context):
            last = min(mixture.shape[-1], first + size - filled)
            place = slice(filled, filled + last - first)
            buffer[:-1, ..., place], buffer[-1, ..., place] = stems[..., first:last], mixture[..., first:last]
            filled = place.stop
            if filled == size:
                done = work(buffer)
                yield done[:-1], done[-1]
                given += done.shape[-1]
                buffer[..., : 2 * context] = buffer[..., -2 * context :].clone()
                filled = 2 * context
    while given < taken:
        hops = min(piece, -(-(taken - given) // hop))
        buffer[..., filled:] = 0
        done = work(buffer[..., : (hops + 2 * around) * hop])[..., : taken - given]
        yield done[:-1], done[-1]
        given += done.shape[-1]
        buffer = torch.nn.functional.pad(buffer[..., hops * hop :], (0, hops * hop))
        filled = max(0, filled - hops * hop)


def _parts(length: int, first: int, others: int) -> range | list[int]:
    """Where the parts of a block begin that fill the buffer: the first one is as long as its room."""
    return [0, *range(first, length, others)] if length else []
