"""Which container and sample format stems get: those of their source, as far as these can hold them."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soundfile

from sfi_zoo.audio.io import AudioInfo
from sfi_zoo.errors import InputError

EXTENSIONS = {
    "WAV": ".wav",
    "WAVEX": ".wav",
    "RF64": ".wav",
    "FLAC": ".flac",
    "OGG": ".ogg",
    "MP3": ".mp3",
    "AIFF": ".aiff",
    "AU": ".au",
    "CAF": ".caf",
    "W64": ".w64",
}
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
# What to write when the container does not know the subtype of the input; PCM_16 for what has no bit depth.
_NEAREST = {
    "PCM_S8": ("PCM_S8", "PCM_U8", "PCM_16"),
    "PCM_U8": ("PCM_U8", "PCM_S8", "PCM_16"),
    "PCM_16": ("PCM_16",),
    "PCM_24": ("PCM_24",),
    "PCM_32": ("PCM_32", "PCM_24"),
    "FLOAT": ("FLOAT", "PCM_24"),
    "DOUBLE": ("DOUBLE", "FLOAT", "PCM_24"),
    "ALAC_20": ("PCM_24",),
    "ALAC_24": ("PCM_24",),
    "ALAC_32": ("PCM_32", "PCM_24"),
    "ULAW": ("ULAW", "PCM_16"),
    "ALAW": ("ALAW", "PCM_16"),
    "VORBIS": ("VORBIS", "PCM_16"),
    "OPUS": ("OPUS", "PCM_16"),
    "MPEG_LAYER_III": ("MPEG_LAYER_III", "PCM_16"),
}
_WAV_LIMIT = 2**32 - 2**16


@dataclass(frozen=True)
class OutputFormat:
    """How stems are written; `note` is one line for the user when it is not how the input was."""

    format: str
    subtype: str
    note: str | None = None

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
) -> OutputFormat:
    """The container and subtype for stems of a file.

    Args:
        info: the file they come from.
        sample_rate: of the stems, in Hz.
        frames: expected samples per channel; a WAV beyond 4 GiB becomes an RF64.
        format: container asked for (wav, flac, ogg, mp3, aiff, au, caf, w64); None keeps that of the input,
            or falls back to wav, with a note, where that cannot hold the stems.
        subtype: sample format asked for, as soundfile names it (PCM_16, PCM_24, FLOAT ...).

    Raises:
        InputError: what was asked for does not exist or cannot hold the stems.
    """
    asked = format.upper() if format else None
    if asked and asked not in EXTENSIONS:
        known = ", ".join(sorted({extension[1:] for extension in EXTENSIONS.values()}))
        raise InputError(f"--format {format}: not one of {known}")
    if subtype and subtype.upper() not in _NEAREST:
        raise InputError(f"--subtype {subtype}: not one of {', '.join(_NEAREST)}")
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
    return OutputFormat(container, found, note)


def _subtype_for(container: str, info: AudioInfo, sample_rate: int, asked: str | None) -> str | None:
    """The first subtype that the container takes, best first; None when it takes none."""
    if container not in EXTENSIONS:
        return None
    if asked:
        candidates: tuple[str, ...] = (asked.upper(),)
    else:
        candidates = (*_NEAREST.get(info.subtype, ("PCM_16",)), soundfile.default_subtype(container))
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
