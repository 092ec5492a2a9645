"""What there is in a sound up to its Nyquist frequency: levels over time and frequency, of a song and its stems."""

import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from sfi_zoo.audio.io import probe, read_blocks

WINDOW_SECONDS = 0.05  # about: rounded to a power of two in samples
COLUMNS = 500  # at most
FLOOR_DB = -90.0


@dataclass(frozen=True)
class Spectrogram:
    """Levels over time and frequency, of the mean of all channels.

    Attributes:
        decibels: (bins, columns); 0 dB is a sine of full scale; no less than `FLOOR_DB`.
        sample_rate: in Hz; the bins lie evenly from 0 to half of it.
        seconds: length; the columns share it.
        silent: no sample differs from zero.
    """

    decibels: Tensor
    sample_rate: int
    seconds: float
    silent: bool


def spectrogram(path: Path) -> Spectrogram:
    """Of a sound file, in memory that does not grow with its length: a column is the mean power of its windows.

    Raises:
        InputError: the file cannot be read.
    """
    info = probe(path)
    size = 2 ** round(math.log2(WINDOW_SECONDS * info.sample_rate))
    hop = size // 4
    window = torch.hann_window(size)
    columns = max(1, min(COLUMNS, info.frames // hop))
    power, count = torch.zeros(size // 2 + 1, columns), torch.zeros(columns)
    margin = torch.zeros(1, size // 2)  # so that the middle of window k is at sample k hop
    rest, done = margin[0], 0
    for block in chain(read_blocks(info), [margin]):
        mono = torch.cat([rest, block.mean(0)])
        if len(mono) >= size:
            bins = torch.stft(mono, size, hop, window=window, center=False, return_complex=True)
            middles = hop * torch.arange(done, done + bins.shape[-1])
            place = (middles * columns // info.frames).clamp(max=columns - 1)
            power.index_add_(1, place, (2 * bins.abs() / window.sum()) ** 2)
            count.index_add_(0, place, torch.ones(len(place)))
            done += len(middles)
            mono = mono[hop * len(middles) :]
        rest = mono
    decibels = 10 * (power / count.clamp(min=1)).clamp(min=10 ** (FLOOR_DB / 10)).log10()
    return Spectrogram(decibels, info.sample_rate, info.duration, not power.any())
