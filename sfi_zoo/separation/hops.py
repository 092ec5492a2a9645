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
    context = around * hop
    buffer: Tensor | None = None
    taken = given = 0
    for stems, mixture in pairs:
        signals = torch.cat([stems, mixture.to(stems)[None]])
        taken += signals.shape[-1]
        if buffer is None:
            buffer = signals.new_zeros(*signals.shape[:2], context)
        buffer = torch.cat([buffer, signals], -1)
        while (ready := min(piece, buffer.shape[-1] // hop - 2 * around)) >= piece:
            done = work(buffer[..., : (ready + 2 * around) * hop])
            yield done[:-1], done[-1]
            given += done.shape[-1]
            buffer = buffer[..., ready * hop :]
    if buffer is None:
        return
    while given < taken:
        hops = min(piece, -(-(taken - given) // hop))
        missing = max(0, (hops + 2 * around) * hop - buffer.shape[-1])
        part = torch.nn.functional.pad(buffer, (0, missing))[..., : (hops + 2 * around) * hop]
        done = work(part)[..., : taken - given]
        yield done[:-1], done[-1]
        given += done.shape[-1]
        buffer = buffer[..., hops * hop :]
