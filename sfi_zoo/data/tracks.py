"""Tracks to train on: which ones a folder of the MUSDB layout has, and any part of a stem of theirs at the file's own rate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from sfi_zoo.audio.io import AudioInfo, probe, read_part
from sfi_zoo.data.layout import (
    SETUP,
    STEM_IDS,
    STEM_MP4,
    check_agree,
    import_musdb,
    sound_files,
    stem_mp4_files,
    track_folders,
    validation_names,
)
from sfi_zoo.errors import InputError
from sfi_zoo.wording import shortened

SPLITS = ("train", "valid", "test")
MOST_LISTED = 1000  # entries of a folder that a message counts
_TAIL = 1024  # samples at the end of a file that are read once: a cut FLAC or Ogg file has a good header
_MP4_SLACK = 4096  # samples that a stem may lack at the end of what was asked for: ffmpeg counts in seconds, AAC in blocks


class Track(Protocol):
    """One track with its stems."""

    @property
    def name(self) -> str:
        """The name of the track, for messages."""

    @property
    def sample_rate(self) -> float:
        """In Hz, of all stems."""

    @property
    def frames(self) -> int:
        """Samples per channel, of all stems."""

    def file(self, source: str) -> Path:
        """Where a stem comes from."""

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """Samples `start` ... `stop` - 1 of a stem, 0 <= start < stop <= frames: (channels, stop - start) float32.

        Raises:
            InputError: the file is damaged there.
        """


@dataclass(frozen=True)
class FileTrack:
    """A sound file for each stem."""

    name: str
    sample_rate: float
    frames: int
    infos: Mapping[str, AudioInfo]

    def file(self, source: str) -> Path:
        """See `Track`."""
        return self.infos[source].path

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """See `Track`."""
        return read_part(self.infos[source], start, stop)


@dataclass(frozen=True)
class StemTrack:
    """A stem.mp4 file, by `musdb`. ffmpeg is started for every part that is read: better cached."""

    name: str
    sample_rate: float
    frames: int
    track: Any

    def file(self, source: str) -> Path:
        """See `Track`; one file has all stems."""
        return Path(self.track.path)

    def read(self, source: str, start: int, stop: int) -> Tensor:
        """See `Track`."""
        path, begin = self.track.path, start / self.sample_rate
        try:  # (time, channels)
            audio = self.track.load_audio(path, STEM_IDS[source], begin, (stop - start) / self.sample_rate)
        except Exception as error:  # ffmpeg, of which stempeg hands on what it says
            raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
        lacking = stop - start - len(audio)
        if lacking > _MP4_SLACK:
            end = begin + len(audio) / self.sample_rate
            raise InputError(f"{path}: damaged or truncated, {source} ends at {end:.3f} s")
        return pad(torch.from_numpy(audio.T).float(), (0, lacking))  # a negative pad cuts


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
    if split not in SPLITS or on_broken not in ("refuse", "skip"):
        raise InputError(
            f"split = {split!r}, on_broken = {on_broken!r}: give one of {', '.join(SPLITS)}, and refuse or skip"
        )
    found = check_split(folder, split, sources)
    return whole_tracks((_checked(path, sources) for path in found), on_broken)


def check_split(folder: str | Path, split: str, sources: Sequence[str]) -> list[Path]:
    """Where the tracks of a split are; no file is opened. The arguments are those of `training_tracks`.

    Raises:
        InputError: no such folder, another layout, no tracks in it, or a stem that is named twice.
    """
    root = Path(folder).expanduser()
    if not sources or len(set(sources)) < len(sources):
        raise InputError(f"sources = {list(sources)}: name each stem once")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one with train/<track>/{sources[0]}.wav, ... in it")
    return _found(root, split, sources)


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


def _found(root: Path, split: str, sources: Sequence[str]) -> list[Path]:
    """Folders or stem.mp4 files of the split. What the setup file keeps for validation is never trained on, also beside a folder valid/."""
    apart = split != "test" and (root / "valid").is_dir()
    kept = validation_names(root) if split != "test" and (not apart or (root / SETUP).exists()) else ()
    path = root / ("train" if split == "valid" and not apart else split)
    if not path.is_dir():
        wanted = f"{path}/<track>/" + ", ".join(f"{source}.wav" for source in sources)
        raise InputError(f"{root}: has no folder {path.name}; wanted are {wanted}; it holds {_content(root)}")
    found = _tracks_of(path) if path.name == split else {}
    if split == "train":
        found = {name: track for name, track in found.items() if name not in kept}
    if split == "valid" and kept and (root / "train").is_dir():
        found = {name: track for name, track in _tracks_of(root / "train").items() if name in kept} | found
    if not found:
        how = f"; name them in {SETUP} (validation_tracks), or put them into valid/"
        raise InputError(
            f"{path}: has no tracks for {split!r}{how if split == 'valid' and not apart else ''}"
        )
    return [found[name] for name in sorted(found)]


def _tracks_of(folder: Path) -> dict[str, Path]:
    return stem_mp4_files(folder) or track_folders(folder)


def _content(folder: Path) -> str:
    """What a folder holds, for a message."""
    entries = islice(folder.iterdir(), MOST_LISTED)
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
    return shortened(names) or "nothing"


def _checked(path: Path, sources: Sequence[str]) -> Track | InputError:
    """A track all of whose files can be read, or what is wrong."""
    in_one = path.name.endswith(STEM_MP4)
    there: Mapping[str, Any] = STEM_IDS if in_one else sound_files(path)
    missing = [source for source in sources if source not in there]
    if missing:
        has = ", ".join(sorted(there)) or "nothing"
        return InputError(f"{path}: has no {', '.join(missing)}; it has {has}")
    try:
        return _stem_track(path) if in_one else _file_track(path.name, [there[s] for s in sources], sources)
    except InputError as error:
        return error


def _file_track(name: str, files: Sequence[Path], sources: Sequence[str]) -> FileTrack:
    infos = [probe(file) for file in files]
    check_agree(infos)
    for info in infos:
        read_part(info, max(0, info.frames - _TAIL), info.frames)
    return FileTrack(name, infos[0].sample_rate, infos[0].frames, dict(zip(sources, infos, strict=True)))


def _stem_track(path: Path) -> StemTrack:
    musdb = import_musdb(path)
    try:
        track = musdb.MultiTrack(path=str(path), name=path.name.removesuffix(STEM_MP4), stem_id=0)
    except Exception as error:  # of ffprobe
        raise InputError(f"{path}: not a file that ffmpeg reads ({' '.join(str(error).split())})") from error
    return StemTrack(track.name, float(track.rate), int(track.samples), track)
