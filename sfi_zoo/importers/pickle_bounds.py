"""What reading a pickle may cost: steps, lengths and keys are bounded before anything is done.

A pickle of a model has some ten thousand steps, short texts, and texts or numbers as keys. A hostile one has other ways to cost time: a
list that is copied in every step, keys whose hashes collide or that are hashed through nested tuples, numbers of a million digits.
"""

import codecs
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

from sfi_zoo.errors import InputError
from sfi_zoo.importers.stand_ins import Inert

STEPS = 300_000  # opcodes of a pickle, and items that one goes through; a tensor takes some 35
LONG = 2**16  # bytes; a longer text can only be the bytes of an array
TEXTS = 2**24  # bytes of all texts that are not longer
LINE = 1024  # bytes
DIGITS = 40
KEY = 1024  # characters
LARGEST_KEY = 2**61 - 2  # whole numbers beyond have the hashes of others
DIRECTORY = 2**22  # bytes of an archive's list of entries, 50,000 of them
_BLOCK = 2**20


class Budget:
    """Steps that are left."""

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps

    def spend(self, steps: int = 1) -> None:
        """Takes some.

        Raises:
            InputError: there are none left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise InputError("it takes more steps to read than any checkpoint needs")

    def spend_on(self, values: Iterable[Any]) -> None:
        """Takes one for each item of what is copied."""
        for value in values:
            if isinstance(value, (list, tuple, dict, set)):
                self.spend(len(value))
                if isinstance(value, tuple):  # the state of an object: (dict, dict)
                    self.spend(sum(len(part) for part in value if isinstance(part, (list, dict, set))))
            elif isinstance(value, str):
                self.spend(len(value) // 64)


class LongText:
    """A long text whose characters are bytes (latin1)."""

    __slots__ = ("latin1",)

    def __init__(self, latin1: bytearray) -> None:
        self.latin1 = latin1


class Source:
    """The bytes of a pickle, as `pickle._Unpickler` reads them.

    Args:
        file: at its beginning.
        length: how many bytes there are.
        budget: each opcode takes a step.
    """

    def __init__(self, file: BinaryIO, length: int, budget: Budget) -> None:
        self._file, self._left, self._budget = file, length, budget
        self._texts = TEXTS

    def read(self, length: int) -> bytes:
        """Read this number of bytes.

        Raises:
            EOFError: fewer bytes are left.
        """
        if length == 1:  # an opcode, or the one byte behind it
            self._budget.spend()
        self._take(length)
        return self._file.read(length)

    def readline(self) -> bytes:
        """To the end of a line, of a pickle of protocol 0: a name, or a number."""
        line = self._file.readline(min(LINE, self._left) + 1)
        self._take(len(line))
        if len(line) > LINE:
            raise InputError(f"it has a line of more than {LINE} characters")
        if len(line) > DIGITS and line.strip(b"-+.L\r\n").isdigit():
            raise InputError(f"it has a number of more than {DIGITS} digits")
        return line

    def text(self, length: int) -> Any:
        """Read a text of this number of bytes; a long one holds the bytes of an array, in latin1."""
        if length <= LONG:
            self._texts -= length
            if self._texts < 0:
                raise InputError(f"its texts have more than {TEXTS} bytes")
            self._take(length)
            return str(self._file.read(length), "utf-8", "surrogatepass")
        self._take(length)
        decoder, latin1, end = codecs.getincrementaldecoder("utf-8")(), bytearray(length), 0
        for start in range(0, length, _BLOCK):
            size = min(_BLOCK, length - start)
            part = decoder.decode(self._file.read(size), start + size == length).encode("latin1")
            latin1[end : end + len(part)] = part
            end += len(part)
        del latin1[end:]
        return LongText(latin1)

    def data(self, length: int) -> bytes | bytearray:
        """So many bytes of an array."""
        self._take(length)
        if length <= LONG:
            return self._file.read(length)
        content = bytearray(length)
        self._file.readinto(content)  # type: ignore[attr-defined]
        return content

    def _take(self, length: int) -> None:
        if not 0 <= length <= self._left:
            raise EOFError("it ends too early")
        self._left -= length


def check_key(key: Any) -> None:
    """Refuses keys that take long to hash, or that can be made to collide.

    Raises:
        InputError: no short text, number, or object of its own.
    """
    if isinstance(key, (str, bytes)):
        good = len(key) <= KEY
    elif isinstance(key, int):
        good = -LARGEST_KEY <= key <= LARGEST_KEY
    else:
        good = key is None or isinstance(key, Inert)  # that has the hash of an object
    if not good:
        raise InputError(f"it has a key of a kind that no checkpoint has ({type(key).__name__})")


def check_archive(file: BinaryIO, size: int) -> None:
    """Refuses a zip file with a list of entries that takes long to read; the file is at its beginning again.

    Raises:
        InputError: the list is too long.
    """
    first = max(0, size - 2**16 - 2**10)
    file.seek(first)
    end = file.read()
    found, place = list[int](), len(end)
    for _ in range(8):
        place = end.rfind(b"PK\x05\x06", 0, place)
        if place < 0:
            break
        (length,) = struct.unpack("<I", end[place + 12 : place + 16].ljust(4, b"\0"))
        if end[max(0, place - 20) : place].startswith(
            b"PK\x06\x07"
        ):  # zip64: right before, or where this says
            (at,) = struct.unpack("<Q", end[place - 12 : place - 4])
            for record in (first + place - 76, at):
                file.seek(min(max(0, record), size))
                found += struct.unpack("<Q", file.read(56)[40:48].ljust(8, b"\0"))
            length = 0 if length == 2**32 - 1 else length
        found.append(length)
    file.seek(0)
    if any(length > DIRECTORY for length in found if length <= size):
        raise InputError("its list of entries is longer than that of any checkpoint")
