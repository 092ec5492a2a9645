"""Which container and sample format stems get: those of their source, as far as these can hold them."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import soundfile

from sfi_zoo.audio.containers import BITS, EXTENSIONS, NEAREST, check_format
from sfi_zoo.audio.io import AudioInfo
from sfi_zoo.errors import InputError

# what loses something each time it is written: stems of such files are written as wav
LOSSY = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "VORBIS", "OPUS"})
_WAV_LIMIT = 2**32 - 2**16


@dataclass(frozen=True)
class OutputFormat:
    """How stems are written.

    Attributes:
        format: container.
        subtype: sample format.
        note: one line for the user when it is not how the input was.
        bitrate: of an mp3, as libsndfile counts: 0 for the highest that the sample rate allows, 1 for the lowest.
    """

    format: str
    subtype: str
    note: str | None = None
    bitrate: float | None = None

    @property
    def encoding(self) -> dict[str, Any]:
        """Arguments of `soundfile.SoundFile` beside format and subtype."""
        return {} if self.bitrate is None else {"bitrate_mode": "CONSTANT", "compression_level": self.bitrate}

    @property
    def extension(self) -> str:
        """With its dot."""
        return EXTENSIONS[self.format]


def choose_format(
    info: AudioInfo,
    sample_rate: int,
    frames: int,
    format: str | None = None,
    subtype: str | None = None,
    mp3_bitrate: int | None = None,
) -> OutputFormat:
    """The container and subtype for stems of a file.

    Args:
        info: the file they come from.
        sample_rate: of the stems, in Hz.
        frames: expected samples per channel; a WAV beyond 4 GiB becomes an RF64.
        format: container asked for (wav, flac, ogg, mp3, aiff, au, caf, w64); None keeps that of the input,
            or falls back to wav, with a note, where that cannot hold the stems.
        subtype: sample format asked for, as soundfile names it (PCM_16, PCM_24, FLOAT ...).
        mp3_bitrate: kbit/s of an mp3.

    Raises:
        InputError: what was asked for does not exist or cannot hold the stems.
    """
    check_format(format, subtype)
    asked = format.upper() if format else None
    container = asked or info.format
    found = _subtype_for(container, info, sample_rate, subtype)
    if found is None and asked is None and not subtype:
        container, found = "WAV", _subtype_for("WAV", info, sample_rate, None)
    if found is None:
        what = f"{container}{' ' + subtype.upper() if subtype else ''}".lower()
        signal = f"{sample_rate} Hz with {info.channels} channels"
        raise InputError(f"{info.path}: {what} cannot hold {signal}; try --format wav")
    note = None
    if asked is None and container != info.format:
        why = (
            f"{info.format.lower()} cannot hold the stems, they are"
            if info.format != "FFMPEG"
            else "read by ffmpeg; the stems are"
        )
        note = f"{info.path}: {why} written as wav {found}"
    elif container in {"WAV", "WAVEX"} and frames * info.channels * _bytes(found) > _WAV_LIMIT:
        container, note = "RF64", f"{info.path}: the stems are larger than 4 GiB, written as RF64"
    return OutputFormat(container, found, note, _mp3_level(mp3_bitrate, container, sample_rate))


def _mp3_level(kbits: int | None, container: str, sample_rate: int) -> float | None:
    """libsndfile takes a place between the bit rates of MPEG-1 (32 kHz and up), MPEG-2, or MPEG-2.5 (below 16 kHz)."""
    if kbits is None or container != "MP3":
        return None
    lowest, highest = (32, 320) if sample_rate >= 32000 else (8, 160) if sample_rate >= 16000 else (8, 64)
    if not lowest <= kbits <= highest:
        raise InputError(f"--mp3-bitrate {kbits}: at {sample_rate} Hz it is {lowest} to {highest} kbit/s")
    return (highest - kbits) / (highest - lowest)


def _subtype_for(container: str, info: AudioInfo, sample_rate: int, asked: str | None) -> str | None:
    """The first subtype that the container takes, best first; None when it takes none."""
    if container not in EXTENSIONS:
        return None
    if asked:
        candidates: tuple[str, ...] = (asked.upper(),)
    else:
        candidates = (*NEAREST.get(info.subtype, ("PCM_16",)), soundfile.default_subtype(container))
    return next((name for name in candidates if can_write(container, name, sample_rate, info.channels)), None)


@lru_cache(maxsize=256)
def can_write(container: str, subtype: str, sample_rate: int, channels: int) -> bool:
    """Ask the encoder itself, with a file in memory: its limits are in no table."""
    try:
        memory = io.BytesIO()
        with soundfile.SoundFile(memory, "w", sample_rate, channels, subtype, format=container) as sound:
            sound.write(np.zeros((16, channels), np.float32))
    except (soundfile.SoundFileError, ValueError, TypeError):
        return False
    return True


def _bytes(subtype: str) -> int:
    return {"DOUBLE": 8, "FLOAT": 4}.get(subtype, BITS.get(subtype, 8) // 8)
