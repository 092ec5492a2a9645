"""Tracks to train on: which ones a folder of the MUSDB layout has, and any part of a stem of theirs at the file's own rate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from sfi_zoo.audio.io import AudioInfo, probe, read_part
from sfi_zoo.data.layout import (
    SETUP,
    check_agree,
    musdb_tracks,
    sound_files,
    track_folders,
    validation_names,
)
from sfi_zoo.errors import InputError

SPLITS = ("train", "valid", "test")
STEM_MP4 = ".stem.mp4"
_TAIL = 1024  # samples at the end of a file that are read once: a cut FLAC or Ogg file has a good header


class Track(Protocol):
    """One track with its stems.

    Attributes:
        name: for messages.
        sample_rate: in Hz.
        frames: samples per channel.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def sample_rate(self) -> float: ...  # noqa: D102
    @property
    def frames(self) -> int: ...  # noqa: D102

    def file(self, source: str) -> Path:
        """Where a source comes from."""

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """Samples `start` ... `stop` - 1 of a source, 0 <= start < stop <= frames: (channels, stop - start) float32.

        Raises:
            InputError: the file is damaged there.
        """


@dataclass(frozen=True)
class FileTrack:
    """A sound file for each source."""

    name: str
    infos: Mapping[str, AudioInfo]

    @property
    def sample_rate(self) -> float:
        """Of all files."""
        return next(iter(self.infos.values())).sample_rate

    @property
    def frames(self) -> int:
        """Of all files."""
        return next(iter(self.infos.values())).frames

    def file(self, source: str) -> Path:
        """See `Track`."""
        return self.infos[source].path

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """See `Track`."""
        return read_part(self.infos[source], start, stop)


@dataclass(frozen=True)
class StemTrack:
    """A stem.mp4 file, through `musdb`. ffmpeg is started for every part that is read: better cached."""

    track: Any

    @property
    def name(self) -> str:
        """As musdb has it."""
        return str(self.track.name)

    @property
    def sample_rate(self) -> float:
        """Of the mixture."""
        return float(self.track.rate)

    @property
    def frames(self) -> int:
        """Of the mixture; a stem that decodes to a few samples more or less is cut or filled with zeros."""
        return int(self.track.samples)

    def file(self, source: str) -> Path:
        """See `Track`."""
        return Path(self.track.path)

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """See `Track`."""
        stem, rate = self.track.sources[source], self.sample_rate
        try:  # (time, channels)
            audio = self.track.load_audio(stem.path, stem.stem_id, start / rate, (stop - start) / rate)
        except Exception as error:  # ffmpeg, of which stempeg hands on what it says
            raise InputError(f"{self.track.path}: cannot be read ({' '.join(str(error).split())})") from error
        samples = torch.zeros(audio.shape[1], stop - start)
        samples[:, : len(audio)] = torch.from_numpy(audio[: stop - start].T)
        return samples


def training_tracks(
    folder: str | Path, split: str, sources: Sequence[str], on_broken: str = "refuse"
) -> tuple[list[Track], list[str]]:
    """The tracks of a split; headers, lengths and ends of all files are checked once.

    Args:
        folder: of the MUSDB layout, see `sfi_zoo.data.layout`.
        split: "train" (without the validation tracks), "valid" or "test".
        sources: the stems that are needed.
        on_broken: "refuse", or "skip" tracks that lack a stem or have a damaged file, or files that differ in rate or length.

    Returns:
        The tracks, sorted by name, and what was skipped and why, one line each.

    Raises:
        InputError: no such folder, no tracks in it, a broken track where they are refused, or none that is whole.
    """
    root = Path(folder).expanduser()
    if split not in SPLITS or on_broken not in ("refuse", "skip"):
        raise InputError(
            f"split = {split!r}, on_broken = {on_broken!r}: give one of {', '.join(SPLITS)}, and refuse or skip"
        )
    if not sources or len(set(sources)) < len(sources):
        raise InputError(f"sources = {list(sources)}: name each stem once")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one with train/<track>/{sources[0]}.wav, ... in it")
    return whole_tracks((_checked(found, sources) for found in _found(root, split)), on_broken)


def whole_tracks(candidates: Iterable[Track | InputError], on_broken: str) -> tuple[list[Track], list[str]]:
    """The tracks that are whole, and what is wrong with the others, one line each.

    Raises:
        InputError: with "refuse" the first that is broken, with "skip" there is no whole one.
    """
    tracks: list[Track] = []
    problems: list[str] = []
    for candidate in candidates:
        if not isinstance(candidate, InputError):
            tracks.append(candidate)
        elif on_broken == "refuse":
            raise InputError(f'{candidate}; mend it, or skip broken tracks (on_broken = "skip")')
        else:
            problems.append(str(candidate))
    if not tracks:
        raise InputError(f"no track is whole; {problems[0] if problems else 'there are none'}")
    return tracks, problems


def _found(root: Path, split: str) -> list[Any]:
    """Folders, or objects of musdb, of the split."""
    own_folder = (root / split).is_dir()
    subset = split if own_folder or split != "valid" else "train"
    path = root / subset
    if not path.is_dir():
        raise InputError(f"{root}: has no folder {subset}; <track>/<source>.wav are looked for in it")
    in_stems = any(path.glob(f"*{STEM_MP4}"))
    found = musdb_tracks(root, subset) if in_stems else track_folders(path)
    names = set(found)
    # A `valid` folder holds the validation tracks; without it they are in `train`.
    if subset == "train" and not (root / "valid").is_dir():
        kept = set(validation_names(root))
        names = names & kept if split == "valid" else names - kept
    if not names:
        how = (
            f"; name them in {SETUP} (validation_tracks), or put them into valid/" if split == "valid" else ""
        )
        raise InputError(f"{path}: has no tracks for {split!r}{how}")
    return [found[name] for name in sorted(names)]


def _checked(found: Any, sources: Sequence[str]) -> Track | InputError:
    """A track all of whose files can be read, or what is wrong."""
    is_folder = isinstance(found, Path)
    there: Mapping[str, Any] = sound_files(found) if is_folder else found.sources
    missing = [source for source in sources if source not in there]
    if missing:
        has = ", ".join(sorted(there)) or "nothing"
        return InputError(f"{found if is_folder else found.path}: has no {', '.join(missing)}; it has {has}")
    if not is_folder:
        return StemTrack(found)
    try:
        infos = {source: probe(there[source]) for source in sources}
        check_agree(list(infos.values()))
        for info in infos.values():
            read_part(info, max(0, info.frames - _TAIL), info.frames)
    except InputError as error:
        return error
    return FileTrack(found.name, infos)
