"""The signals of a track at each rate, and ratios against them: had once, shared by all models and modes of a run."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.data.songs import Clip, channels_of
from sfi_zoo.metrics.sdr import bsseval, ratios_of
from sfi_zoo.models.base import Separator

ROOM = 2**29  # bytes of signals that are kept of a track
SILENT = 1e-8  # mean square, -80 dB: silent references have no SDR
LIMIT_DB = 100.0  # of a ratio in dB in a record: JSON knows no infinity
BLOCK = 8192  # samples in float64 that stay in the cache
LOCAL_SECONDS = 1.0  # of the middle of a track; a local error grows with the length of a clip
Ratios = dict[str, list[float | None]]  # "si_sdr", "sdr" ... -> dB per source


@dataclass(frozen=True)
class Signals:
    """A track at one rate, as models of one kind hear it.

    Attributes:
        mixture: (channels, time).
        references: (sources, channels, time).
        rate: F in Hz.
        bss: BSSEval v4 is among the ratios.
    """

    mixture: Tensor
    references: Tensor
    rate: float
    bss: bool = False

    @cached_property
    def _of_mixture(self) -> Tensor:
        """Inner products of references and mixture: (sources, 2, 2) float64."""
        return _inner_products(self.references, self.mixture[None].expand_as(self.references))

    @cached_property
    def heard(self) -> list[bool]:
        """For each source whether it is more than silence."""
        return (self._of_mixture[:, 0, 0] > SILENT * self.references[0].numel()).tolist()

    @cached_property
    def of_mixture(self) -> Ratios:
        """The ratios of the mixture, as an estimate of each source."""
        return self._ratios(self._of_mixture, 1, self.mixture[None].expand_as(self.references))

    def ratios(self, *estimates: Tensor) -> list[Ratios]:
        """SI-SDR, SDR and, with `bss`, those of BSSEval of each (sources, channels, time); None where the reference is silent."""
        products = _inner_products(self.references, *estimates)
        return [self._ratios(products, i, x) for i, x in enumerate(estimates, 1)]

    def _ratios(self, products: Tensor, i: int, estimates: Tensor) -> Ratios:
        ratios = ratios_of(products[:, 0, i], products[:, 0, 0], products[:, i, i])
        values = {name: ratio.tolist() for name, ratio in ratios.items()}
        if self.bss:
            values |= self._bss(estimates)
        return {
            kind: [_limited(x) if h else None for x, h in zip(row, self.heard, strict=True)]
            for kind, row in values.items()
        }

    def _bss(self, estimates: Tensor) -> dict[str, list[float]]:
        """Of the sources that are heard: a silent reference has no filter, and interferes with nothing."""
        if not any(self.heard):
            return {f"bss_{name}": [math.nan] * len(self.heard) for name in ("sdr", "isr", "sir", "sar")}
        values = bsseval(estimates[self.heard], self.references[self.heard], self.rate)
        spread = {}
        for name, some in values.items():
            each = iter(some)
            spread[f"bss_{name}"] = [next(each) if h else math.nan for h in self.heard]
        return spread

    def middle(self) -> Tensor:
        """(1, channels, time): `LOCAL_SECONDS` of the mixture."""
        length = round(LOCAL_SECONDS * self.rate)
        start = max(0, (self.mixture.shape[-1] - length) // 2)
        return self.mixture[None, :, start : start + length]


class SharedSignals:
    """Keeps the signals of a track, which cost about as much to read or render as a small model to run, while there is room.

    What comes when the room is taken is made anew for each model: none is thrown out, since all models take the rates in one order.

    Args:
        bss: BSSEval v4 is among the ratios.
        room: in bytes.
    """

    def __init__(self, bss: bool = False, room: int = ROOM) -> None:
        self.bss, self.room = bss, room
        self._kept: dict[Any, Signals] = {}

    def at(self, clip: Clip, model: Separator, rate: float) -> Signals:
        """The clip at a rate, where and in the precision that the model computes.

        Raises:
            InputError: the track cannot be read.
        """
        place = next(model.parameters(), torch.zeros(()))
        key = (tuple(model.sources), channels_of(model), float(rate), place.device, place.dtype)
        if key not in self._kept:
            mixture, references = (x.to(place) for x in clip.at(rate))
            signals = Signals(mixture, references, float(rate), self.bss)
            size = sum(x.numel() * x.element_size() for x in (mixture, references))
            if size > self.room:
                return signals
            self.room -= size
            self._kept[key] = signals
        return self._kept[key]


def _inner_products(*signals: Tensor) -> Tensor:
    """Of each two in float64: n times (rows, channels, time) -> (rows, n, n). Nothing as long as a signal is stored."""
    flat = [x.flatten(1) for x in signals]
    products = flat[0].new_zeros(len(flat[0]), len(flat), len(flat), dtype=torch.float64)
    room = flat[0].new_empty(len(flat[0]), len(flat), BLOCK, dtype=torch.float64)
    for some in zip(*(x.split(BLOCK, 1) for x in flat), strict=True):
        block = room[..., : some[0].shape[1]]
        for i, x in enumerate(some):
            block[:, i] = x
        products += block @ block.mT
    return products


def _limited(decibels: float) -> float:
    """Within +-`LIMIT_DB`; an estimate that is silent, which has no SI-SDR, is at the lower end."""
    return -LIMIT_DB if math.isnan(decibels) else max(-LIMIT_DB, min(LIMIT_DB, decibels))
