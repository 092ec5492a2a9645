"""How a signal of any length is separated: the options that waveforms, streams, files and the command line share."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfi_zoo.errors import InputError

if TYPE_CHECKING:
    import torch

CHUNK_SECONDS = 12.0
LEAST_CHUNK = 0.1
OVERLAP_SECONDS = 1.5
CONSISTENCIES = ("equal", "energy")
ABOVE = ("masks", "equal", "none")
DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True)
class SeparationOptions:
    """How to separate; the arguments of `Separator.separate` by the same names.

    Attributes:
        chunk_seconds: length of a chunk; memory grows with it.
        overlap_seconds: what two neighbours share, at most half a chunk; None for 1.5, but no more than a quarter of a chunk.
        batch_size: chunks that run at once; memory grows with it.
        device: where to run; None for where the model is. The model itself is not moved.
        dtype: precision, see `Runner`; None for that of the model.
        consistency: "equal" or "energy": the stems sum to the mixture, see `sfi_zoo.separation.consistency` for this and the next two.
        rescale: a gain for each stem and channel, by least squares onto the mixture.
        two_stems: a source: the result is that one and the sum of the others.
        above: who gets what lies above the model's band: "masks", "equal" or "none", see `sfi_zoo.separation.above`.
        ceiling: where the stems together are louder than the mixture, they are turned down to it, see `sfi_zoo.separation.ceiling`.
        shifts: the mean of so many estimates, of signals delayed by parts of a frame; costs that many times as much.

    Raises:
        InputError: a value out of range. Device, dtype and the source of `two_stems` are checked when there is a model.
    """

    chunk_seconds: float = CHUNK_SECONDS
    overlap_seconds: float | None = None
    batch_size: int = 1
    device: "torch.device | str | None" = None
    dtype: "torch.dtype | str | None" = None
    consistency: str | None = None
    rescale: bool = False
    two_stems: str | None = None
    above: str = "masks"
    ceiling: bool = False
    shifts: int = 1

    def __post_init__(self) -> None:
        """Checks what needs no model."""
        if not (math.isfinite(self.chunk_seconds) and self.chunk_seconds >= LEAST_CHUNK):
            raise InputError(
                f"chunk_seconds is {self.chunk_seconds}; it must be a number of at least {LEAST_CHUNK}"
            )
        if not 0 <= self.overlap <= self.chunk_seconds / 2:
            raise InputError(
                f"overlap_seconds is {self.overlap}; it must lie in 0..{self.chunk_seconds / 2:g} (half a chunk)"
            )
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; it must be a whole number, 1 or more")
        if self.consistency not in (None, *CONSISTENCIES):
            raise InputError(f"consistency must be one of {', '.join(CONSISTENCIES)}; got {self.consistency}")
        if not isinstance(self.shifts, int) or self.shifts < 1:
            raise InputError(f"shifts is {self.shifts}; it must be a whole number, 1 or more")
        if self.above not in ABOVE:
            raise InputError(f"above must be one of {', '.join(ABOVE)}; got {self.above}")

    @property
    def overlap(self) -> float:
        """`overlap_seconds`, or its default where it is None."""
        asked = self.overlap_seconds
        return min(OVERLAP_SECONDS, self.chunk_seconds / 4) if asked is None else asked


DEFAULTS = SeparationOptions()
# of files, on the command line and on the page: nothing is missing, and nothing added
FILE_DEFAULTS = SeparationOptions(consistency="energy", ceiling=True)
