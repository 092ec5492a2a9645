"""A scoring run over models x tracks x modes x rates, in one process or in many, that goes on where it was stopped."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from sfi_zoo.data.songs import Songs, channels_of
from sfi_zoo.errors import InputError
from sfi_zoo.metrics.registry import METRICS
from sfi_zoo.metrics.scoring.records import RecordsError, RecordWriter, claim, key_of, read_records
from sfi_zoo.metrics.scoring.signals import SharedSignals
from sfi_zoo.metrics.scoring.unit import CONTROLS, Measures, parts_of, records_of
from sfi_zoo.models.adaptation import MODES
from sfi_zoo.models.base import Separator

Load = Callable[[], Separator]
Progress = Callable[[int, int], None]
ROOM = 2**30  # bytes of weights that are kept


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        sample_rates: Hz.
        modes: of "native", "resample" (by soxr), "resample:NAME" (by another resampler), "none".
        controls: measure the controls too, "fixed_masks", "ratio_masks" and "none"; they double a run.
        measures: what of each.
        threads: of the CPU in each process. Sums depend on their number in the last bit: it is part of the settings.
    """

    sample_rates: tuple[float, ...]
    modes: tuple[str, ...] = MODES
    measures: Measures = field(default_factory=Measures)
    threads: int = 1
    controls: bool = False

    def __post_init__(self) -> None:
        for mode in self.modes:
            parts_of(mode)
        if not self.sample_rates:
            raise InputError("no sample rates to score at; give one or more in Hz")
        if self.threads < 1:
            raise InputError(f"{self.threads} threads: give 1 or more")

    @property
    def units(self) -> list[tuple[str, float]]:
        """(mode, F) of every track, those of one rate in a row."""
        modes = dict.fromkeys((*self.modes, *(CONTROLS if self.controls else ())))
        return [(mode, float(rate)) for rate in dict.fromkeys(self.sample_rates) for mode in modes]


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        records: of these models, by all processes, as far as they are; see `records.read_records`.
        left_out: what could not be scored, and why: broken tracks, failed units.
        complete: whether no process has anything left to do.
    """

    records: list[dict[str, Any]]
    left_out: list[str]
    complete: bool


def score(
    models: Mapping[str, Load],
    songs: Songs,
    plan: Plan,
    folder: Path | None = None,
    progress: Progress | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Outcome:
    """Scores models on songs.

    Tracks come one after the other, and all models hear one before the next: it is read or rendered once at each rate. The (track, model)
    pairs are dealt out over processes, each its share in a row, which need not talk to each other: each appends to its own file of the
    folder, and what is on disk already is not measured again, whoever measured it.

    Args:
        models: what loads each, by name.
        songs: the data set.
        plan: modes, rates and measures.
        folder: where the records go; in memory alone when omitted.
        progress: called with (units done, units in all), of this process.
        rank: of this process.
        world_size: number of processes.

    Raises:
        InputError: a folder made with other settings, a model that cannot be loaded or lacks sources, or no track.
        RecordsError: no room for records; those that are there stay, and the same run goes on from them.
    """
    if not songs.names:
        raise InputError("; ".join(songs.problems) or "the data set has no track")
    left_out = list(songs.problems)
    loaded = Loaded(models)
    with _deterministic(plan.threads):
        if folder is not None:
            claim(folder, _settings(loaded, songs, plan))
        known = {key_of(record): record for record in (read_records(folder) if folder is not None else ())}
        pairs = [(track, model) for track in songs.names for model in models]
        pairs = pairs[share(len(pairs), rank, world_size)]
        total = len(pairs) * len(plan.units)
        done = sum((model, track, *unit) in known for track, model in pairs for unit in plan.units)
        if progress:
            progress(done, total)
        with _Sink(folder, rank) as sink:
            for track, own in groupby(pairs, itemgetter(0)):
                shared = SharedSignals(plan.measures.bss)
                for _, name in own:
                    units = [unit for unit in plan.units if (name, track, *unit) not in known]
                    if not units:
                        continue
                    model = loaded[name]
                    clip = songs.clip(track, model.sources, channels_of(model))
                    try:
                        for record in records_of(model, clip, units, plan.measures, shared):
                            sink.append({"model": name} | record)
                            done += 1
                            if progress:
                                progress(done, total)
                    except RecordsError:
                        raise
                    except InputError as error:  # of the track; what fails of a model is in its record
                        left_out.append(f"{name}, {track}: {error}")
    records = sorted(sink.records, key=key_of)
    if folder is not None:  # which may have other models too
        records = [record for record in read_records(folder) if record["model"] in models]
    left_out += [_failure(record) for record in records if "failed" in record]
    everything = len(models) * len(songs.names) * len(plan.units)
    return Outcome(records, left_out, complete=len(records) == everything)


class Loaded:
    """Models by name, in evaluation mode: kept, with the filters they have designed, while there is room; else loaded for every track."""

    def __init__(self, models: Mapping[str, Load], room: int = ROOM) -> None:
        self.models, self.room = models, room
        self._kept: dict[str, Separator] = {}

    def __getitem__(self, name: str) -> Separator:
        if name not in self._kept:
            model = self.models[name]().eval()
            size = sum(x.numel() * x.element_size() for x in model.state_dict().values())
            if size > self.room:
                return model
            self.room -= size
            self._kept[name] = model
        return self._kept[name]


def share(count: int, rank: int, world_size: int) -> slice:
    """Which of so many things are a process's: they are in a row, and their numbers differ by one at most."""
    first, stop = (-(-count * part // world_size) for part in (rank, rank + 1))
    return slice(first, stop)


class _Sink:
    """The records of this process, in its file or in memory."""

    def __init__(self, folder: Path | None, rank: int) -> None:
        self.records: list[dict[str, Any]] = []
        self._writer = RecordWriter(folder, rank) if folder is not None else None

    def append(self, record: dict[str, Any]) -> None:
        if self._writer:
            self._writer.append(record)
        else:
            self.records.append(record)

    def __enter__(self) -> "_Sink":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._writer:
            self._writer.__exit__(*error)


def place_among_processes() -> tuple[int, int, int]:
    """(rank, world size, rank on this machine), as `accelerate launch` and `torchrun` tell it; (0, 1, 0) alone."""
    rank, world, local = (int(os.environ.get(name, d)) for name, d in PLACE)
    return rank, world, local


PLACE = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def _settings(loaded: Loaded, songs: Songs, plan: Plan) -> dict[str, Any]:
    """All that the records depend on."""
    from sfi_zoo import __version__

    return {
        "sfi_zoo": __version__,
        "torch": torch.__version__,
        "models": {name: _digest(loaded[name]) for name in loaded.models},
        "data": songs.description,
        "sample_rates": list(plan.sample_rates),
        "modes": list(plan.modes),
        "controls": plan.controls,
        "measures": asdict(plan.measures) | {"metrics": sorted(METRICS)},
        "threads": plan.threads,
    }


def _digest(model: Separator) -> str:
    """Of the weights and the settings of a model, and of where it computes.

    Raises:
        InputError: it has neither.
    """
    try:
        settings: Any = model.config_dict()
    except AttributeError:  # of a class of one's own
        settings = type(model).__qualname__
        if not model.state_dict():
            raise InputError(
                f"{settings} has no weights that a results folder could know it by: keep the network in it (self.network = network)"
            ) from None
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    place = next(model.parameters(), torch.zeros(())).device.type
    return f"{digest.hexdigest()[:16]} on {place}"


def _failure(record: Mapping[str, Any]) -> str:
    place = f"{record['model']}, {record['track']}, {record['mode']}, {record['sample_rate']:g} Hz"
    return f"{place}: {record['failed']}"


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """The same sums in the same order every time, in full precision."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)
