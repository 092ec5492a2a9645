"""How many samples a FLAC or MP3 file holds, by its frames, against what its header claims.

The encoder of a stream leaves 0 in a FLAC's header. An MP3 has a header with the number of its frames (Xing) or none; then libsndfile
guesses from the bits per second of the first frame, and gives no more samples than it has guessed.
"""

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from sfi_zoo.audio.claims import Repair
from sfi_zoo.errors import InputError

_STREAMINFO = 34
_SECOND_FLAC = b"fLaC\x00\x00\x00\x22"
_MP3_SLACK = 4  # frames that a decoder leaves out at both ends
_RATES = {"3": (44100, 48000, 32000), "2": (22050, 24000, 16000), "0": (11025, 12000, 8000)}
_BITS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_BITS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)


def flac_repair(path: Path) -> Repair | None:
    """The repair of a FLAC whose header claims fewer samples than there are, or none; None where it is right, or for other files.

    Raises:
        InputError: another FLAC file follows in it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = _after_id3(file.read(10))
        file.seek(begin)
        if file.read(4) != b"fLaC":
            return None
        entry, about = file.read(4), file.read(_STREAMINFO)
        if len(about) < _STREAMINFO or entry[0] & 0x7F:
            return None
        packed = int.from_bytes(about[10:18], "big")
        channels, bits, claimed = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1, packed & (2**36 - 1)
        largest_block = int.from_bytes(about[2:4], "big")
        last = entry[0] & 0x80
        while not last:  # to the first frame
            entry = file.read(4)
            if len(entry) < 4:
                return None
            last = entry[0] & 0x80
            file.seek(int.from_bytes(entry[1:], "big"), 1)
        frames, sync = file.tell(), file.read(4)
        if len(sync) < 4 or sync[0] != 0xFF or sync[1] & 0xFE != 0xF8:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(_SECOND_FLAC, frames) >= 0:
                raise InputError(
                    f"{path}: several FLAC files in a row, of which only the first could be read; join them first: "
                    "ffmpeg -i FILE joined.wav"
                )
        reach = 3 * (largest_block * channels * (bits // 8 + 1) + 64) + 2**12  # two frames and a tag at least
        file.seek(max(frames, size - reach))
        held = _samples_until(file.read(reach), sync, largest_block)
        if held is None or held <= claimed:
            return None
        file.seek(0)
        head = file.read(begin + 8) + about[:10]
    packed = packed >> 36 << 36 | held
    return Repair(
        head + packed.to_bytes(8, "big"),
        begin + 26,
        size,
        f"its header claims {claimed} samples, it holds {held}",
    )


def _samples_until(data: bytes, sync: bytes, largest_block: int) -> int | None:
    """Where the last frame in the data ends, in samples: the frame before it has to end where it begins."""
    pattern = re.escape(sync[:2]) + b"[\x10-\xff]"
    end = previous = None
    for match in re.finditer(b"(?=" + pattern + b")", data, re.DOTALL):
        header = _frame_header(data, match.start(), sync, largest_block)
        if header is None:
            continue
        start, length = header
        if start in (0, previous):
            end = start + length
        previous = start + length
    return end


def _frame_header(data: bytes, place: int, sync: bytes, largest_block: int) -> tuple[int, int] | None:
    """First sample and number of samples of a frame whose header has the right check sum."""
    code, kind = data[place + 2 : place + 3], data[place + 3 : place + 4]
    if not kind or code[0] & 15 != sync[2] & 15 or kind[0] & 0x0F != sync[3] & 0x0F:
        return None
    first = data[place + 4 : place + 5]
    if not first:
        return None
    extra = 0 if first[0] < 0x80 else 8 - (first[0] ^ 0xFF).bit_length() - 1
    if extra < 0 or extra > 6 or 0x80 <= first[0] < 0xC0:
        return None
    number = first[0] if not extra else first[0] & (0x3F >> extra)
    at = place + 5
    for byte in data[at : at + extra]:
        number = number << 6 | byte & 0x3F
    at += extra
    size = code[0] >> 4
    if size == 1:
        block = 192
    elif size in (6, 7):
        block, at = int.from_bytes(data[at : at + size - 5], "big") + 1, at + size - 5
    else:
        block = 576 << size - 2 if size < 6 else 256 << size - 8
    rate = code[0] & 15
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if at >= len(data) or _crc8(data[place:at]) != data[at]:
        return None
    return (number, block) if sync[1] & 1 else (number * largest_block, block)


def _crc8(data: bytes) -> int:
    """Of the polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


@dataclass(frozen=True)
class Mp3:
    """What a walk over the frames of an MP3 found.

    Attributes:
        repair: what has to be put right before libsndfile reads all of it.
        least: samples per channel that a decoder finds at least.
        missing: in words, that the header claims frames which are not there; None where they are.
    """

    repair: Repair | None = None
    least: int = 0
    missing: str | None = None


def mp3_frames(path: Path, frames: int) -> Mp3:
    """What an MP3 (layer III) holds; nothing is found in another file.

    One that holds more than libsndfile takes it to gets a Xing header before its first frame, with the number of frames that are there.

    Args:
        path: the file.
        frames: samples per channel, by libsndfile.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = _after_id3(file.read(10))
        if begin >= size:
            return Mp3()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            length = _mp3_frame(data, begin)
            if length is None or _mp3_frame(data, begin + length) is None:
                return Mp3()
            header, tag = data[begin : begin + 4], data[begin : begin + min(length, 256)]
            place = max(tag.find(b"Xing"), tag.find(b"Info"))
            held, cut = _mp3_count(data, begin)
            held -= place >= 0
    claimed = None
    if 0 <= place <= len(tag) - 12:
        flags, count = struct.unpack(">II", tag[place + 4 : place + 12])
        claimed = count if flags & 1 else None
    missing = None
    if claimed is not None and held < claimed - (not cut):  # some count the frame with the claim too
        missing = f"its header claims {claimed} frames of MP3, it holds {held}"
    version = header[1] >> 3 & 3
    samples = 1152 if version == 3 else 576
    least = max(0, held - _MP3_SLACK) * samples
    if held * samples <= frames or (claimed is not None and held <= claimed + 1):
        return Mp3(None, least, missing)
    # the same kind of frame, without a check sum and with room enough
    header = bytes([0xFF, header[1] | 1, header[2] & 0x0D | 0xE0, header[3]])
    made = bytearray(_mp3_length(header) or 0)
    made[:4] = header
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    made[4 + side : 16 + side] = b"Xing" + struct.pack(">II", 1, held)
    start = begin + length if place >= 0 else begin
    said = "its header claims " + ("no length" if claimed is None else f"{claimed} frames of MP3")
    said += f", it holds {held}{' frames' * (claimed is None)}"
    return Mp3(Repair(bytes(made), start, size, said), least)


def _mp3_count(data: mmap.mmap, place: int) -> tuple[int, bool]:
    """Frames in a row from here, and whether the last is cut; what is between two of them (a second file's tag) is passed over."""
    count, size = 0, len(data)
    while place < size:
        length = _mp3_frame(data, place)
        if length is None:
            if data[place : place + 3] == b"ID3":
                place += _after_id3(data[place : place + 10])
                continue
            place = _next_mp3_frame(data, place + 1)
            continue
        count += place + length <= size
        place += length
    return count, place > size


def _next_mp3_frame(data: mmap.mmap, place: int) -> int:
    """The next place where two frames follow each other, or the end."""
    for _ in range(2**16):
        place = data.find(b"\xff", place)
        if place < 0:
            break
        length = _mp3_frame(data, place)
        if length is not None and _mp3_frame(data, place + length) is not None:
            return place
        place += 1
    return len(data)


def _mp3_frame(data: mmap.mmap, place: int) -> int | None:
    """Bytes of the frame at a place, None where there is none."""
    return _mp3_length(data[place : place + 4])


def _mp3_length(header: bytes) -> int | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # layer III
        return None
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    bits = (_BITS_V1 if version == 3 else _BITS_V2)[header[2] >> 4]
    if version == 1 or rate == 3 or not bits:
        return None
    return (144 if version == 3 else 72) * bits * 1000 // _RATES[str(version)][rate] + (header[2] >> 1 & 1)


def _after_id3(head: bytes) -> int:
    """Where an ID3v2 tag ends, 0 without one."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    a, b, c, d = head[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d)
