"""What the header of a sound file claims, against what the file holds.

Programs that stream write a header before they know the length, and leave a placeholder; 32 bits of a size wrap at 4 GiB; a recorder
that dies leaves the size of its last update. libsndfile takes a header at its word, or the end of the file where that comes first. Here
the bytes are looked at: where samples go on beyond the claim, a corrected header is made, and libsndfile reads through a `View` of the
file that has it.
"""

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from sfi_zoo.errors import InputError

# Bytes by which a header may be wrong (off by one, no pad byte) before it counts as wrong.
TOLERANCE = 64
_MOST_CHUNKS = 4096
_CHUNKS = b"LIST id3  ID3  bext cue  smpl PEAK fact JUNK junk FLLR iXML axml chna _PMX PAD  afsp acid inst DISP minf elm1"
_CHUNKS += b" umid levl plst note AFAn ANNO NAME AUTH (c)  COMT MARK INST APPL MIDI FVER CHAN basc trns cate"
_KNOWN = frozenset(_CHUNKS[place : place + 4] for place in range(0, len(_CHUNKS), 5))
_NAMES = re.compile(b"|".join(map(re.escape, sorted(_KNOWN))))
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # all chunks of a W64 file end so, but the first
_UNKNOWN32 = 2**32 - 1
_PCM = (1, 3, 0xFFFE)  # tags of whole numbers, floats, and either with more said of them


@dataclass(frozen=True)
class Repair:
    """A file as it should be: other bytes at its head, then a part of the file itself.

    Attributes:
        head: bytes in place of those before `start`.
        start: where the file goes on.
        stop: where it ends.
        claimed: what the header says wrong, in words; None for nothing.
        container: what libsndfile would call the file, where the repaired one is another.
    """

    head: bytes
    start: int
    stop: int
    claimed: str | None
    container: str | None = None


class View(io.RawIOBase):
    """A repaired file, for libsndfile to read. It closes the file."""

    def __init__(self, file: BinaryIO, repair: Repair) -> None:
        self._file, self._repair, self._place = file, repair, 0
        self._length = len(repair.head) + max(0, repair.stop - repair.start)

    def readinto(self, buffer: object) -> int:
        """See `io.RawIOBase`."""
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        wanted = min(len(into), max(0, self._length - self._place))
        done = 0
        if self._place < len(self._repair.head):
            part = self._repair.head[self._place : self._place + wanted]
            into[: len(part)] = part
            done = len(part)
        if done < wanted:
            self._file.seek(self._repair.start + self._place + done - len(self._repair.head))
            part = self._file.read(wanted - done)
            into[done : done + len(part)] = part
            done += len(part)
        self._place += done
        return done

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._place

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def close(self) -> None:
        """Closes the file too."""
        self._file.close()
        super().close()


@dataclass(frozen=True)
class _Data:
    """The chunk with the samples.

    Attributes:
        start: its first byte.
        claimed: its length by the header, 0 for a placeholder.
        block: bytes of a frame.
        rest: whether what follows at a place in the file is no samples.
        corrected: the repair for a length.
        end: finds where samples end that nothing says the length of; None for the end of the file.
    """

    start: int
    claimed: int
    block: int
    rest: Callable[[int], bool]
    corrected: Callable[[int], Repair]
    end: Callable[[], int] | None = None


def chunks_repair(path: Path) -> Repair | None:
    """The repair of a WAV, RF64, BW64, AIFF, AU, W64 or CAF file whose length is wrong; None where it is right, or another format.

    Raises:
        InputError: samples that the header claims are missing.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        head = file.read(40)
        find = next((find for magic, find in _FINDERS.items() if head.startswith(magic)), None)
        try:
            data = find(file, size) if find else None
        except struct.error:  # a header that ends too early: libsndfile will say so
            return None
        return _judged(path, data, size, head) if data else None


def _judged(path: Path, data: _Data, size: int, head: bytes) -> Repair | None:
    present = size - data.start
    if present <= 0:
        return None
    placeholder = _is_placeholder(data.claimed, data.block)
    if data.claimed - present > TOLERANCE and not placeholder:
        sizes = f"the header claims {data.claimed} bytes of samples, the file has {present} bytes"
        raise InputError(f"{path}: truncated, {sizes}")
    length = present
    if data.claimed <= present:
        if (present - data.claimed <= TOLERANCE and data.claimed) or data.rest(data.start + data.claimed):
            # as it should be; but libsndfile knows no BW64
            known = not head.startswith(b"BW64") or not data.claimed
            return None if known else replace(data.corrected(data.claimed), claimed=None)
        for wraps in range(1, present // 2**32 + 1):  # with chunks behind the samples
            end = data.claimed + wraps * 2**32
            if end <= present and data.rest(data.start + end):
                length = end
    if length == present and data.end:
        length = data.end() - data.start
    return data.corrected(length // data.block * data.block)


def _is_placeholder(size: int, block: int) -> bool:
    """None, the largest of 31, 32, 63 or 64 bits or nearly that: sox rounds 0x7ffff000 down to whole frames, arecord writes 2^31."""
    near = 2**12 + max(block, TOLERANCE)
    return size == 0 or any(-1 <= limit - 1 - size < near for limit in (2**31, 2**32, 2**63, 2**64))


def _riff(file: BinaryIO, size: int) -> _Data | None:
    file.seek(0)
    tag, _, form = struct.unpack("<4sI4s", file.read(12))
    order = ">" if tag == b"RIFX" else "<"
    if form != b"WAVE":
        return None
    found = _chunks(file, 12, size, order)
    if b"data" not in found or b"fmt " not in found:
        return None
    (start, claimed), (place, length) = found[b"data"], found[b"fmt "]
    file.seek(place)
    form_chunk = file.read(min(length, 2**10))
    kind, channels, _, _, block, bits = struct.unpack_from(order + "HHIIHH", form_chunk)
    least = channels * -(-bits // 8)
    if kind in _PCM and block not in (least, 4 * channels):  # 24 bits may lie in 4 bytes
        block = least
    wide = tag in (b"RF64", b"BW64")
    if wide and claimed == _UNKNOWN32:
        claimed = 0
        if b"ds64" in found and found[b"ds64"][1] >= 24:
            file.seek(found[b"ds64"][0])
            claimed = struct.unpack("<QQQ", file.read(24))[1]
    before = _head(file, start)

    def corrected(length: int) -> Repair:
        said = _claim(claimed, length)
        if wide or length >= 2**32 - 2**12:
            head = _rf64_head(form_chunk, length, block)
            return Repair(head, start, start + length, said, "WAV" if not wide else "RF64")
        head = before[:4] + struct.pack(order + "I", start - 8 + length) + before[8:-4]
        return Repair(head + struct.pack(order + "I", length), start, start + length, said)

    return _Data(
        start,
        claimed,
        max(1, block),
        lambda place: _is_rest(file, place, size, order),
        corrected,
        lambda: _end(file, start, size, order),
    )


def _rf64_head(form_chunk: bytes, length: int, block: int) -> bytes:
    """RIFF with 64-bit sizes."""
    form = b"fmt " + struct.pack("<I", len(form_chunk)) + form_chunk + bytes(len(form_chunk) % 2)
    sizes = struct.pack("<QQQI", 4 + 36 + len(form) + 8 + length, length, length // max(1, block), 0)
    head = b"RF64" + struct.pack("<I", _UNKNOWN32) + b"WAVEds64" + struct.pack("<I", len(sizes)) + sizes
    return head + form + b"data" + struct.pack("<I", _UNKNOWN32)


def _aiff(file: BinaryIO, size: int) -> _Data | None:
    file.seek(8)
    if file.read(4) not in (b"AIFF", b"AIFC"):
        return None
    found = _chunks(file, 12, size, ">")
    if b"SSND" not in found or b"COMM" not in found:
        return None
    (place, claimed), (common, _) = found[b"SSND"], found[b"COMM"]
    file.seek(common)
    channels, _, bits = struct.unpack(">HIH", file.read(8))
    start, block = place + 8, max(1, channels * -(-bits // 8))
    before = _head(file, start)

    def corrected(length: int) -> Repair:
        head = bytearray(before)
        fits = length + 8 < 2**32
        struct.pack_into(">I", head, place - 4, length + 8 if fits else _UNKNOWN32)
        if common < start:
            struct.pack_into(">I", head, common + 2, min(length // block, _UNKNOWN32))
        return Repair(bytes(head), start, start + length, _claim(max(0, claimed - 8), length))

    return _Data(
        start,
        max(0, claimed - 8),
        block,
        lambda place: _is_rest(file, place, size, ">"),
        corrected,
        lambda: _end(file, start, size, ">"),
    )


def _au(file: BinaryIO, size: int) -> _Data | None:
    file.seek(0)
    order = ">" if file.read(4) == b".snd" else "<"
    start, claimed, kind, _, channels = struct.unpack(order + "5I", file.read(20))
    if not 24 <= start < size:
        return None
    width = {1: 1, 27: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8}.get(kind, 1)
    before = _head(file, start)

    def corrected(length: int) -> Repair:
        head = before[:8] + struct.pack(order + "I", min(length, _UNKNOWN32)) + before[12:]
        return Repair(head, start, start + length, _claim(claimed, length))

    block = min(max(1, channels), 1024) * width
    return _Data(start, claimed, block, lambda place: _is_tag(file, place, size), corrected)


def _w64(file: BinaryIO, size: int) -> _Data | None:
    place, block = 40, 1
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        guid, length = struct.unpack("<16sQ", file.read(24))
        if guid == b"fmt " + _GUID:
            (block,) = struct.unpack_from("<H", file.read(16), 12)
        if guid == b"data" + _GUID:
            break
        place += max(24, -(-length // 8) * 8)
        if place >= size:
            return None
    else:
        return None
    start, claimed = place + 24, max(0, length - 24)
    before = _head(file, start)

    def corrected(length: int) -> Repair:
        head = before[:16] + struct.pack("<Q", start + length) + before[24:-8]
        return Repair(head + struct.pack("<Q", length + 24), start, start + length, _claim(claimed, length))

    def rest(place: int) -> bool:
        file.seek(-(-place // 8) * 8 + 4)
        return file.read(12) == _GUID or _is_tag(file, place, size)

    return _Data(start, claimed, max(1, block), rest, corrected)


def _caf(file: BinaryIO, size: int) -> _Data | None:
    place, block = 8, 1
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        kind, length = struct.unpack(">4sq", file.read(12))
        if kind == b"desc":
            block = struct.unpack_from(">I", file.read(32), 16)[0]
        if kind == b"data":
            break
        if length < 0 or place + 12 + length >= size:
            return None
        place += 12 + length
    else:
        return None
    start, claimed = place + 16, max(0, length - 4)
    before = _head(file, start)
    if not block:  # packets of any size: how many is said elsewhere
        return None

    def corrected(length: int) -> Repair:
        head = before[:-12] + struct.pack(">q", length + 4) + before[-4:]
        return Repair(head, start, start + length, _claim(claimed, length))

    def rest(place: int) -> bool:
        file.seek(place)
        entry = file.read(12)
        if len(entry) == 12 and _printable(entry[:4]):
            length = struct.unpack(">q", entry[4:])[0]
            if 0 <= length <= size - place:
                return True
        return _is_tag(file, place, size)

    return _Data(start, claimed, block, rest, corrected)


_FINDERS: dict[bytes, Callable[[BinaryIO, int], _Data | None]] = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), _riff),
    b"FORM": _aiff,
    **dict.fromkeys((b".snd", b"dns."), _au),
    b"riff\x2e\x91\xcf\x11": _w64,
    b"caff": _caf,
}


def _chunks(file: BinaryIO, place: int, size: int, order: str) -> dict[bytes, tuple[int, int]]:
    """Place and length of each chunk up to that with the samples; the length of the last may be wrong."""
    found: dict[bytes, tuple[int, int]] = {}
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        entry = file.read(8)
        if len(entry) < 8:
            break
        name, length = struct.unpack(order + "4sI", entry)
        found.setdefault(name, (place + 8, length))
        if name == b"data" or (name == b"SSND" and b"COMM" in found):
            break
        place += 8 + length + length % 2
    return found


def _head(file: BinaryIO, stop: int) -> bytes:
    file.seek(0)
    return file.read(min(stop, 2**26))


def _is_rest(file: BinaryIO, place: int, size: int, order: str) -> bool:
    """Whether chunks follow, up to the end of the file, or what others put behind a file; a pad byte may be there, or not."""
    return any(_is_chain(file, at, size, order) or _is_tag(file, at, size) for at in (place, place + 1))


def _is_chain(file: BinaryIO, place: int, size: int, order: str) -> bool:
    for number in range(_MOST_CHUNKS):
        if size - place < 8:
            return number > 0
        file.seek(place)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if number == 0 and name in _KNOWN:
            return True
        if not _printable(name) or place + 8 + length > size:
            return False
        place += 8 + length + length % 2
    return True


def _end(file: BinaryIO, start: int, size: int, order: str) -> int:
    """Where chunks of known names begin, of at most 64 KiB, that end where the file does; the end of the file without any."""
    begin = max(start, size - 2**16)
    file.seek(begin)
    data = file.read(2**16)
    for found in _NAMES.finditer(data):
        place = found.start()
        while len(data) - place >= 8:
            name, length = struct.unpack_from(order + "4sI", data, place)
            if not _printable(name):
                break
            place += 8 + length + length % 2
        if place - len(data) in (0, 1):  # the last pad byte may be missing
            return begin + found.start()
    return size


def _is_tag(file: BinaryIO, place: int, size: int) -> bool:
    """A tag of another format, or a few zeros."""
    file.seek(place)
    found = file.read(2**16 + 1)
    return found.startswith(_TAGS) or (len(found) <= 2**16 and not found.strip(b"\0"))


def _printable(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def _claim(claimed: int, length: int) -> str:
    return f"its header claims {claimed} bytes of samples, it holds {length}"
