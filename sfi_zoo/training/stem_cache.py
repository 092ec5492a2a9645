"""Tracks decoded once: each stem in a memory-mapped file of 16-bit samples, at the training rate and channel count.

A file is named after where its stem comes from, and says of which version of it (size, time) it was made: where that is no longer so,
or the file is anything else, it is made again. Processes may fill and read one cache at the same time.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from sfi_zoo.audio.resample import resampled_length
from sfi_zoo.data.tracks import Track, whole_tracks
from sfi_zoo.errors import InputError
from sfi_zoo.training.excerpts import read_excerpt
from sfi_zoo.whole_files import replacing

_FORMAT = 1  # part of the stamp: a change of what is written makes old files stale
_THREADS = 4  # decoding and resampling leave the interpreter's lock
_FINEST = 30  # the smallest step, that of a nearly silent stem, is 2^-30


@dataclass(frozen=True)
class CachedTrack:
    """A track in the cache, see `sfi_zoo.data.tracks.Track`."""

    name: str
    sample_rate: float
    frames: int
    files: Mapping[str, Path]

    def file(self, source: str) -> Path:
        """The one in the cache."""
        return self.files[source]

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """See `Track`. The file is opened anew, in any process: that takes 0.03 ms."""
        try:
            with safe_open(self.files[source], "numpy") as file:
                samples = file.get_slice("samples")[:, start:stop]
                return torch.from_numpy(samples * np.float32(file.metadata()["step"]))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.files[source]}: gone from the cache or damaged ({error})") from None


def cached_tracks(
    tracks: Sequence[Track],
    sources: Sequence[str],
    sample_rate: float,
    channels: int,
    folder: str | Path,
    on_broken: str = "refuse",
    report: Callable[[int, int], None] | None = None,
) -> tuple[list[Track], list[str]]:
    """The same tracks, read from a cache that is filled where need be.

    Args:
        tracks: of `training_tracks`.
        sources: the stems that are needed.
        sample_rate: training rate in Hz.
        channels: 1 (mixed down) or more.
        folder: of the cache; made if it is not there.
        on_broken: "refuse", or "skip" tracks in which damage is found when they are decoded.
        report: told how many tracks are done, of how many.

    Returns:
        The tracks, in the same order, and what was skipped and why, one line each.

    Raises:
        InputError: a broken track that is refused, or none that is whole; a folder that cannot be written.
    """
    place = Path(folder).expanduser().resolve()

    def fill(track: Track) -> Track | InputError:
        length = resampled_length(track.frames, track.sample_rate, sample_rate)
        files = {}
        for source in sources:
            files[source], stamp = _target(place, track.file(source), source, sample_rate, channels)
            if not _is_fresh(files[source], stamp, (channels, length)):
                try:
                    samples = read_excerpt(track, source, 0, length, sample_rate, channels)
                except InputError as error:
                    return error
                _write(files[source], stamp, samples.numpy())
        return CachedTrack(track.name, sample_rate, length, files)

    # In random order: processes that fill one cache at the same time share the work.
    order = np.random.default_rng().permutation(len(tracks)).tolist()
    results: dict[int, Track | InputError] = {}
    try:
        place.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_THREADS) as pool:
            for i, result in zip(order, pool.map(fill, (tracks[i] for i in order)), strict=True):
                results[i] = result
                if report is not None:
                    report(len(results), len(tracks))
    except (OSError, SafetensorError) as error:  # of safetensors where the disk is full
        raise InputError(f"{place}: the cache cannot be made ({error})") from None
    return whole_tracks((results[i] for i in range(len(tracks))), on_broken)


def _target(folder: Path, path: Path, source: str, sample_rate: float, channels: int) -> tuple[Path, str]:
    """The file of a stem, and the stamp it must have."""
    origin: dict[str, Any] = {
        "path": str(path.resolve()),
        "source": source,
        "sample_rate": float(sample_rate),
        "channels": channels,
    }
    state = path.stat()
    name = hashlib.sha256(json.dumps(origin).encode()).hexdigest()[:32]
    stamp = origin | {"format": _FORMAT, "size": state.st_size, "modified": state.st_mtime_ns}
    return folder / f"{name}.safetensors", json.dumps(stamp)


def _is_fresh(path: Path, stamp: str, shape: tuple[int, int]) -> bool:
    try:
        with safe_open(path, "numpy") as file:
            ours = (file.metadata() or {}).get("stamp") == stamp
            return ours and tuple(file.get_slice("samples").get_shape()) == shape
    except (SafetensorError, OSError):
        return False


def _write(path: Path, stamp: str, signal: np.ndarray) -> None:
    """16-bit samples in steps of the smallest power of 1/2 that holds the peak: what comes from 16 bits is kept exactly."""
    peak = max(float(signal.max()), float(-signal.min()) * (2**15 - 1) / 2**15)
    bits = min(math.floor(math.log2((2**15 - 1) / peak)), _FINEST) if peak > 0 else 15
    samples = np.round(signal * np.float32(2.0**bits)).astype(np.int16)
    with replacing(path) as draft:
        save_file({"samples": samples}, draft, metadata={"stamp": stamp, "step": repr(2.0**-bits)})
