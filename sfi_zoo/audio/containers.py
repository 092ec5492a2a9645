"""Containers and sample formats, by the names that soundfile has for them; nothing is imported for this."""

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
NEAREST = {
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


def check_format(format: str | None, subtype: str | None) -> None:
    """Refuse unknown names of containers and sample formats.

    Raises:
        InputError: a name is unknown.
    """
    if format and format.upper() not in EXTENSIONS:
        known = ", ".join(sorted({extension[1:] for extension in EXTENSIONS.values()}))
        raise InputError(f"--format {format}: not one of {known}")
    if subtype and subtype.upper() not in NEAREST:
        raise InputError(f"--subtype {subtype}: not one of {', '.join(NEAREST)}")
