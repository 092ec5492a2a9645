"""Folders of songs with stems, in the layout of MUSDB18-HQ: `test/<track>/{mixture,vocals,drums,bass,other}.wav`; and MUSDB18 itself.

Files are read by soundfile: wav, flac, ogg ... The stem.mp4 files of MUSDB18 are read by the `musdb` package, which needs ffmpeg.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.audio.io import probe, read
from sfi_zoo.audio.resample import resample
from sfi_zoo.data.layout import (
    MIXTURE,
    as_channels,
    check_agree,
    musdb_tracks,
    sound_files,
    stem_mp4_files,
    track_folders,
)
from sfi_zoo.data.songs import Clip, references
from sfi_zoo.errors import InputError


class MusdbFolder:
    """A data set of `sfi_zoo.metrics.scoring`; one track is in memory at a time.

    A track is left out, and named in `problems`, where a file cannot be opened or files differ in rate or length. Damage further inside
    a file comes out when it is read, as an `InputError`. The mixture is its file where there is one, else the sum of the stems.

    Args:
        path: with the folder of the subset, or that folder itself.
        subset: "test" or "train".
        tracks: so many at most, the first by name; all when omitted.
        seconds: so many from the middle of each track; the whole when omitted.

    Attributes:
        names: of the tracks.
        problems: what was left out, and why.
        notes: of files whose header is wrong, but that are read whole.

    Raises:
        InputError: no folder, no tracks in it, or stem.mp4 files without what reads them.
    """

    def __init__(
        self, path: Path, subset: str = "test", tracks: int | None = None, seconds: float | None = None
    ) -> None:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; give one with {subset}/<track>/vocals.wav, ... in it")
        if (tracks is not None and tracks < 1) or (seconds is not None and not seconds > 0):
            raise InputError(f"tracks = {tracks}, seconds = {seconds}: give numbers above 0")
        self.path, self.seconds = path, seconds
        folder = path / subset if (path / subset).is_dir() else path
        self._musdb = musdb_tracks(path, subset) if stem_mp4_files(folder) else {}
        self._folders = {} if self._musdb else track_folders(folder)
        found = list(self._musdb or self._folders)[:tracks]
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.names = [name for name in found if self._is_whole(name)]
        if not found:
            raise InputError(
                f"{folder}: has no tracks; <track>/vocals.wav, <track>/drums.wav ... are looked for"
            )
        self._read: tuple[str, dict[str, Tensor], float] | None = None

    @property
    def description(self) -> dict[str, Any]:
        """Where the data set is, and how much of it is used."""
        count = len(self.names) + len(self.problems)
        return {"kind": "folder", "path": str(self.path.resolve()), "tracks": count, "seconds": self.seconds}

    def clip(self, name: str, sources: Sequence[str], channels: int) -> Clip:
        """A track; channels are averaged for a model that hears one, a mono file is heard in all.

        Raises:
            InputError: a source for which there is no file, or (at a rate) a file that is damaged.
        """

        def at(rate: float) -> tuple[Tensor, Tensor]:
            stems, file_rate = self._stems(name)
            heard = {stem: as_channels(x, channels) for stem, x in stems.items()}
            wanted = references(heard, sources, str(self._folders.get(name, name)))
            if MIXTURE not in heard:
                heard[MIXTURE] = torch.stack(list(heard.values())).sum(0)
            signals = torch.stack([heard[MIXTURE], *wanted])
            signals = resample(self._excerpt(signals, file_rate), file_rate, rate)
            return signals[0], signals[1:]

        return Clip(name, at)

    def _excerpt(self, signals: Tensor, rate: float) -> Tensor:
        if self.seconds is None:
            return signals
        length = round(self.seconds * rate)
        start = max(0, (signals.shape[-1] - length) // 2)
        return signals[..., start : start + length]

    def _stems(self, name: str) -> tuple[dict[str, Tensor], float]:
        if self._read is None or self._read[0] != name:
            if self._musdb:
                stems, rate = _musdb_stems(self._musdb[name])
            else:
                signals = {stem: read(path) for stem, path in sound_files(self._folders[name]).items()}
                rate = next(iter(signals.values()))[1]
                stems = {stem: signal for stem, (signal, _) in signals.items()}
            self._read = (name, stems, rate)
        return self._read[1:]

    def _is_whole(self, name: str) -> bool:
        """Whether all headers of a track can be read and agree. If not, that is noted."""
        if self._musdb:
            return True
        try:
            infos = [probe(path) for path in sound_files(self._folders[name]).values()]
            if not infos:
                raise InputError(f"{self._folders[name]}: has no sound files")
            check_agree(infos)
            self.notes += [info.note for info in infos if info.note]
        except InputError as error:
            self.problems.append(str(error))
            return False
        return True


def _musdb_stems(track: Any) -> tuple[dict[str, Tensor], float]:
    """Of a track of `musdb`: (time, channels) arrays."""
    try:
        arrays = {MIXTURE: track.audio} | {name: source.audio for name, source in track.sources.items()}
    except Exception as error:  # ffmpeg, of which stempeg hands on what it says
        raise InputError(f"{track.path}: cannot be read ({error})") from error
    return {name: torch.from_numpy(x.T).float() for name, x in arrays.items()}, float(track.rate)
