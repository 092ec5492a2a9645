"""Whether an Ogg file is whole, by its pages (RFC 3533): libsndfile passes over a page that is damaged or missing without a word.

Each page has a check sum and a number, the last one of a stream has a flag.
"""

import mmap
import re
import zlib
from pathlib import Path

from sfi_zoo.errors import InputError

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST, _LAST = 2, 4
_CODECS = (b"vorb", b"Opus", b"Spee", b"FLAC", b"\x7fFLA")


def ogg_note(path: Path) -> str | None:
    """What is wrong with an Ogg file all of whose pages are whole: no last page; None where nothing is.

    Raises:
        InputError: a page of its first stream is damaged, not whole, or missing.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place, stream, number, begun, last = 0, b"", -1, False, False
        while not last and place < len(data):
            length = _page_length(data, place)
            page = data[place : place + (length or 0)]
            if length is None or len(page) < length:
                raise InputError(f"{path}: damaged or truncated, no whole Ogg page at byte {place}")
            if _check_sum(page) != int.from_bytes(page[22:26], "little"):
                raise InputError(f"{path}: damaged, the Ogg page at byte {place} has a wrong check sum")
            place += length
            stream = stream or page[14:18]
            if page[14:18] != stream:  # several at once, video for one
                continue
            found = int.from_bytes(page[18:22], "little")
            if begun and found != number + 1:  # what is cut out of a broadcast has a gap behind its headers
                raise InputError(f"{path}: damaged, Ogg pages {number + 1} to {found - 1} are missing")
            number, last = found, bool(page[5] & _LAST)
            begun = begun or page[6:14] != bytes(8)
    return None if last else "its last page is missing, it may have been cut"


def is_chained(path: Path) -> bool:
    """Whether another stream begins in an Ogg file after the samples of the first have begun."""
    first = re.compile(rb"OggS\x00\x02")
    later = re.compile(rb"OggS\x00[\x00\x01\x04\x05]")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begun = later.search(data)
        while begun is not None:
            found = first.search(data, begun.end())
            if found is None:
                return False
            if data[found.start() + 28 : found.start() + 36].lstrip(b"\x01")[:4] in _CODECS:
                return True
            begun = found
        return False


def _page_length(data: mmap.mmap, place: int) -> int | None:
    """Bytes of the page at a place, None where none begins."""
    head = data[place : place + 27]
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    return 27 + head[26] + sum(data[place + 27 : place + 27 + head[26]])


def _check_sum(page: bytes) -> int:
    """Of the polynomial 0x04c11db7, from 0, highest bit first; zlib's is that of reversed bits, from and to the complement."""
    blank = page[:22] + bytes(4) + page[26:]
    reversed_sum = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reversed_sum:032b}"[::-1], 2)
