"""What a model is scored on: tracks that can be had at any sampling frequency."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sfi_zoo.data.layout import MIXTURE
from sfi_zoo.errors import InputError

ACCOMPANIMENT = ("accompaniment", "instrumental", "no_vocals")  # names of all that a model does not name


@dataclass(frozen=True)
class Clip:
    """One track, as one model hears it.

    Attributes:
        name: of the track.
        at: sampling frequency in Hz -> mixture (channels, time) and references (sources, channels, time), float32.
    """

    name: str
    at: Callable[[float], tuple[Tensor, Tensor]]


class Songs(Protocol):
    """A data set."""

    @property
    def description(self) -> dict[str, Any]:
        """What the data set is, for the manifest of a run."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the data set, and was therefore left out."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the tracks, in order."""

    def clip(self, name: str, sources: Sequence[str], channels: int) -> Clip:
        """A track as a model with these sources and this number of channels hears it."""


def references(stems: Mapping[str, Tensor], sources: Sequence[str], where: str) -> list[Tensor]:
    """The stems that a model gives, in its order. A source of `ACCOMPANIMENT` that has no stem is the sum of those that are left.

    Args:
        stems: name -> (channels, time); a mixture among them is no part of the accompaniment.
        sources: of the model.
        where: the stems come from, for the message.

    Raises:
        InputError: a source for which there is no stem.
    """
    left = [stem for name, stem in stems.items() if name not in (MIXTURE, *sources)]
    missing = [name for name in sources if name not in stems]
    if missing and missing[0] in ACCOMPANIMENT and len(missing) == 1 < len(sources) and left:
        summed = {missing[0]: torch.stack(left).sum(0)}
        return [stems[name] if name in stems else summed[name] for name in sources]
    if missing:
        raise InputError(
            f"{where}: has no {', '.join(missing)}; it has {', '.join(sorted(stems)) or 'nothing'}"
        )
    return [stems[name] for name in sources]


class SyntheticSongs:
    """Songs from a formula, rendered exactly at each rate: no resampler in the loop.

    Args:
        count: how many.
        duration: of each in seconds.
    """

    problems: Sequence[str] = ()

    def __init__(self, count: int = 3, duration: float = 8.0) -> None:
        if count < 1:
            raise InputError(f"synthetic songs: {count} of them; give 1 or more")
        self.duration, self.names = duration, [f"synthetic {seed}" for seed in range(count)]

    @property
    def description(self) -> dict[str, Any]:
        """Number and length of the songs."""
        return {"kind": "synthetic", "tracks": len(self.names), "seconds": self.duration}

    def clip(self, name: str, sources: Sequence[str], channels: int) -> Clip:
        """One song.

        Raises:
            InputError: a source the songs do not have.
        """
        from sfi_zoo.data.synthetic import PANS, song

        references(dict.fromkeys(PANS, torch.zeros(1)), sources, name)
        seed = self.names.index(name)

        def at(rate: float) -> tuple[Tensor, Tensor]:
            rendered = song(seed, self.duration, rate, channels)
            stems = {name: torch.from_numpy(stem).float() for name, stem in rendered.items()}
            return torch.stack(list(stems.values())).sum(0), torch.stack(
                references(stems, sources, self.names[seed])
            )

        return Clip(name, at)


def channels_of(model: Any) -> int:
    """How many channels a model hears together: of most models 1."""
    return int(getattr(getattr(model, "config", None), "channels", 1))
