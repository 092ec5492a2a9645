"""Reading sound files: what a file is, and its samples block by block."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from sfi_zoo.audio import by_ffmpeg
from sfi_zoo.audio.bounds import check_finite
from sfi_zoo.audio.claims import TOLERANCE, Repair, View, chunks_repair
from sfi_zoo.audio.counted import flac_repair, mp3_frames
from sfi_zoo.audio.ogg import is_chained, ogg_note
from sfi_zoo.errors import InputError

# Samples of all channels together in one block: 1 MiB of float32.
_BLOCK_SAMPLES = 2**18
_SIZES_IN_LOG = re.compile(r"^\s*(?:data|SSND|Data [Ss]ize)\s*:\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a sound file says; `frames` is a claim until the samples are read.

    Attributes:
        path: of the file.
        sample_rate: in Hz.
        channels: of them.
        frames: samples per channel.
        format: container, as soundfile names it; "FFMPEG" for what ffmpeg reads.
        subtype: sample format, as soundfile names it, or the codec, as ffmpeg does.
        note: a line for the user where the header is wrong and all that the file holds is read.
        repair: what has to be put right before libsndfile reads it.
        least: samples per channel that are there for certain, where `frames` is a guess.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    note: str | None = None
    repair: Repair | None = field(default=None, repr=False)
    least: int | None = field(default=None, repr=False)

    @property
    def duration(self) -> float:
        """Length in seconds, by the header."""
        return self.frames / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Open a sound file, check that it can be read, and describe it. Reads headers only, of FLAC and MP3 those of frames too, of Ogg all.

    What libsndfile cannot open (m4a, webm, video) is read by ffmpeg, where that is installed.

    Raises:
        InputError: the file is missing, a folder, empty, not audio, truncated, or holds no samples.
    """
    path = Path(path)
    _check_readable(path)
    repair = chunks_repair(path) or flac_repair(path)
    try:
        info, log = _described(path, repair)
    except InputError as error:
        return AudioInfo(path, *by_ffmpeg.probe(path, str(error)))
    if info.format == "MP3" or info.subtype == "MPEG_LAYER_III":
        found = mp3_frames(path, info.frames)
        repair = found.repair
        if repair is not None:
            info, log = _described(path, repair)
        info = replace(info, least=found.least, note=found.missing and f"{path}: {found.missing}")
    if repair is None:
        _check_not_cut(info, log)
    if info.format == "OGG" and is_chained(path):
        raise InputError(
            f"{path}: several streams in a row (a chained Ogg file), of which only the first could be read; join them first: "
            "ffmpeg -i FILE joined.wav"
        )
    if info.frames <= 0:
        raise InputError(f"{path}: holds no samples (a header and nothing else)")
    if info.format == "OGG" and (missing := ogg_note(path)):
        return replace(info, note=f"{path}: {missing}; all {info.duration:.3f} s that it holds are read")
    if repair is None or repair.claimed is None:
        return info
    return replace(info, note=f"{path}: {repair.claimed}; all {info.duration:.3f} s are read")


def _described(path: Path, repair: Repair | None) -> tuple[AudioInfo, str]:
    with _open(path, repair) as sound:
        format = repair.container if repair and repair.container else sound.format
        about = (sound.samplerate, sound.channels, sound.frames, format, sound.subtype)
        return AudioInfo(path, *about, repair=repair), sound.extra_info


def read_blocks(info: AudioInfo, block_frames: int | None = None) -> Iterator[torch.Tensor]:
    """The samples of a file in order, as float32 blocks of shape (channels, n), full scale at 1.

    Memory is bounded by the block, whatever length the header claims.

    Args:
        info: from `probe`.
        block_frames: samples per channel in a block.

    Raises:
        InputError: a sample is not finite, or the file ends or breaks before the length in its header.
    """
    size = block_frames or max(1024, _BLOCK_SAMPLES // info.channels)
    position = 0
    if info.format == by_ffmpeg.FORMAT:
        yield from _checked(by_ffmpeg.blocks(info.path, info.channels, size), info)
        return
    with _open(info.path, info.repair) as sound:
        while True:
            try:
                block = sound.read(size, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise _broken_at(info, position) from error
            if not len(block):
                break
            samples = torch.from_numpy(np.ascontiguousarray(block.T))
            check_finite(samples, info.sample_rate, position, str(info.path))
            position += len(block)
            yield samples
    # The length of an MP3 without a size header is an estimate: shorter is ordinary.
    if position == 0 or position < (info.frames if info.least is None else info.least):
        raise _broken_at(info, position)


def read_part(info: AudioInfo, start: int, stop: int) -> torch.Tensor:
    """The samples `start` ... `stop` - 1 of a file, (channels, stop - start) float32.

    Args:
        info: from `probe`.
        start: 0 or more.
        stop: at most `info.frames`.

    Raises:
        InputError: a sample is not finite, or the file ends or breaks before `stop`.
    """
    if info.format == by_ffmpeg.FORMAT:
        part = by_ffmpeg.part(info.path, info.channels, start, stop)
        if part.shape[-1] < stop - start:
            raise _broken_at(info, start + part.shape[-1])
        return next(_checked(iter([part]), info, start))
    with _open(info.path, info.repair) as sound:
        try:
            sound.seek(start)
            block = sound.read(stop - start, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise _broken_at(info, start) from error
    if len(block) < stop - start:
        raise _broken_at(info, start + len(block))
    samples = torch.from_numpy(np.ascontiguousarray(block.T))
    if not math.isfinite(samples.sum()):  # ten times faster than looking at each
        check_finite(samples, info.sample_rate, start, str(info.path))
    return samples


def read(path: str | Path) -> tuple[torch.Tensor, int]:
    """A whole file: (channels, time) float32 and its sample rate in Hz. Raises `InputError` like `probe`."""
    info = probe(path)
    return torch.cat(list(read_blocks(info)), -1), info.sample_rate


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a sound file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not first:
        raise InputError(f"{path}: is an empty file")


def _checked(blocks: Iterator[torch.Tensor], info: AudioInfo, position: int = 0) -> Iterator[torch.Tensor]:
    for block in blocks:
        check_finite(block, info.sample_rate, position, str(info.path))
        position += block.shape[-1]
        yield block


@contextmanager
def _open(path: Path, repair: Repair | None = None) -> Iterator[soundfile.SoundFile]:
    view = None if repair is None else View(path.open("rb"), repair)
    try:
        with _opened(path, str(path) if view is None else view) as sound:
            yield sound
    finally:
        if view is not None:
            view.close()


def _opened(path: Path, source: str | View) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        if "SF_INFO" in str(error):
            raise InputError(
                f"{path}: its header contradicts itself, or claims an impossible sample rate, 0 Hz or so"
            ) from error
        reason = error.error_string.strip(" .\n") or "damaged"
        if "not exist" in reason:  # said of any text that is named .mp3; that the file exists is known here
            reason = "Format not recognised"
        raise InputError(f"{path}: not a sound file that can be read ({reason})") from error
    except UnicodeError as error:
        raise InputError(f"{path}: its name is not valid text, rename it") from error
    except (TypeError, RuntimeError) as error:  # .raw: the caller must know its format
        raise InputError(f"{path}: not a sound file that can be read (no header)") from error


def _check_not_cut(info: AudioInfo, log: str) -> None:
    """Of other containers than those of `sfi_zoo.audio.claims`: libsndfile takes what is there without a word, but logs the claim."""
    claimed = max(map(int, _SIZES_IN_LOG.findall(log)), default=0)
    present = info.path.stat().st_size
    if claimed - present > TOLERANCE and info.note is None and not _is_placeholder(claimed):
        sizes = f"the header claims {claimed} bytes of samples, the file has {present} bytes"
        raise InputError(f"{info.path}: truncated, {sizes}")


def _is_placeholder(size: int) -> bool:
    """Programs that stream, and so cannot know the size, write the largest one of 32 bits or nearly that."""
    return any(0 <= largest - size < 2**12 for largest in (2**31 - 1, 2**32 - 1))


def _broken_at(info: AudioInfo, position: int) -> InputError:
    return InputError(
        f"{info.path}: damaged or truncated, samples end at {position / info.sample_rate:.3f} s"
        f" of {info.duration:.3f} s"
    )
