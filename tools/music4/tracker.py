"""Tracker modules (.mod, .xm, .it, .s3m, ...): each instrument played alone by libopenmpt, sorted, and summed into stems.

    python tools/music4/tracker.py FILE STEMS.npz --rate 32000 --limit 120

A module is a file of a stranger, read by a library in C: `modules.py` runs this in a process of its own, with limits on memory and time.
STEMS.npz has drums, bass and other, (time,) float32, mono; standard output has what became of each instrument, as JSON.

libopenmpt (1.9 of its API or later) mutes instruments, and plays mono floats without a limiter, so the sum of all instruments alone is the
song: `error_db` says how nearly. Needs: apt-get install libopenmpt0.
"""

import argparse
import ctypes
import json
import sys
from collections import Counter
from collections.abc import Container
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_size_t,
    c_uint8,
    c_void_p,
)
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.music4.sorting import PARTS, heard, part_of, report_of

INTERACTIVE = (
    "set_current_speed",
    "set_current_tempo",
    "set_tempo_factor",
    "get_tempo_factor",
    "set_pitch_factor",
    "get_pitch_factor",
    "set_global_volume",
    "get_global_volume",
    "set_channel_volume",
    "get_channel_volume",
    "set_channel_mute_status",
    "get_channel_mute_status",
    "set_instrument_mute_status",
    "get_instrument_mute_status",
    "play_note",
    "stop_note",
)  # the order of openmpt_module_ext_interface_interactive
INTERPOLATION, RAMPING = 3, 4  # OPENMPT_MODULE_RENDER_*
LINEAR, DEFAULT = 2, -1  # taps; ramps of about 1 ms, else a note that is cut clicks like a drum
NOTE, INSTRUMENT = 0, 1  # OPENMPT_MODULE_COMMAND_*
LAST_NOTE = 120  # higher ones end notes
BLOCK = 8192


class Interactive(ctypes.Structure):
    """The functions with which a program plays along."""

    _fields_ = [(name, c_void_p) for name in INTERACTIVE]


class BadModule(ValueError):
    """No module, or one that cannot be played."""


def library() -> ctypes.CDLL:
    """Libopenmpt, with the types of what is called.

    Raises:
        BadModule: it is not installed.
    """
    try:
        found = ctypes.CDLL("libopenmpt.so.0")
    except OSError:
        raise BadModule("libopenmpt is not installed: apt-get install libopenmpt0") from None
    types: dict[str, tuple[Any, list[Any]]] = {
        "module_ext_create_from_memory": (
            c_void_p,
            [c_char_p, c_size_t, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_int), c_void_p, c_void_p],
        ),
        "module_ext_get_module": (c_void_p, [c_void_p]),
        "module_ext_get_interface": (c_int, [c_void_p, c_char_p, c_void_p, c_size_t]),
        "module_ext_destroy": (None, [c_void_p]),
        "module_read_float_mono": (c_size_t, [c_void_p, c_int32, c_size_t, c_void_p]),
        "module_get_duration_seconds": (c_double, [c_void_p]),
        "module_set_position_seconds": (c_double, [c_void_p, c_double]),
        "module_set_render_param": (c_int, [c_void_p, c_int, c_int32]),
        "module_get_pattern_num_rows": (c_int32, [c_void_p, c_int32]),
        "module_get_order_pattern": (c_int32, [c_void_p, c_int32]),
        "module_get_pattern_row_channel_command": (c_uint8, [c_void_p, c_int32, c_int32, c_int32, c_int]),
        "module_get_metadata": (c_void_p, [c_void_p, c_char_p]),
        "free_string": (None, [c_void_p]),
        "get_string": (c_void_p, [c_char_p]),
    }
    for name in ("instruments", "samples", "channels", "orders"):
        types[f"module_get_num_{name}"] = (c_int32, [c_void_p])
    for name in ("instrument_name", "sample_name"):
        types[f"module_get_{name}"] = (c_void_p, [c_void_p, c_int32])
    for name, (result, arguments) in types.items():
        function = getattr(found, f"openmpt_{name}")
        function.restype, function.argtypes = result, arguments
    return found


@CFUNCTYPE(None, c_char_p, c_void_p)
def _quiet(_: bytes, __: int) -> None:
    """A log that drops what it is told."""


class Module:
    """A module that is open; `with Module(data) as module`.

    Attributes:
        names: of the instruments, or of the samples where there are no instruments.
        duration: seconds.
    """

    def __init__(self, data: bytes) -> None:
        self._lib = library()
        log = ctypes.cast(_quiet, c_void_p)
        self._ext = self._lib.openmpt_module_ext_create_from_memory(
            data, len(data), log, None, None, None, None, None, None
        )
        if not self._ext:
            raise BadModule("no module that libopenmpt can read")
        self._module = self._lib.openmpt_module_ext_get_module(self._ext)
        interactive = Interactive()
        known = self._lib.openmpt_module_ext_get_interface(
            self._ext, b"interactive", ctypes.byref(interactive), ctypes.sizeof(interactive)
        )
        if not known:
            raise BadModule("this libopenmpt cannot mute instruments")
        self._mute = CFUNCTYPE(c_int, c_void_p, c_int32, c_int)(interactive.set_instrument_mute_status)
        count = self._number("instruments")
        kind = "instrument" if count else "sample"
        name_of = getattr(self._lib, f"openmpt_module_get_{kind}_name")
        self.names = [self._text(name_of(self._module, k)) for k in range(count or self._number("samples"))]
        self.duration = float(self._lib.openmpt_module_get_duration_seconds(self._module))

    def __enter__(self) -> "Module":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._lib.openmpt_module_ext_destroy(self._ext)

    def _number(self, of: str) -> int:
        return int(getattr(self._lib, f"openmpt_module_get_num_{of}")(self._module))

    def _text(self, string: int | None) -> str:
        if not string:
            return ""
        found = ctypes.string_at(string).decode("utf-8", "replace")
        self._lib.openmpt_free_string(string)
        return found

    def metadata(self, key: str) -> str:
        """What it says of itself, such as its title, artist, type or message_raw."""
        return self._text(self._lib.openmpt_module_get_metadata(self._module, key.encode()))

    def notes(self) -> dict[int, Counter[int]]:
        """Instrument -> note -> how often it stands in the patterns that are played, each as often as it is played."""
        lib, module, channels = self._lib, self._module, self._number("channels")
        played = Counter(
            lib.openmpt_module_get_order_pattern(module, k) for k in range(self._number("orders"))
        )
        found: dict[int, Counter[int]] = {}
        for pattern, times in played.items():
            last = [0] * channels
            for row in range(max(0, lib.openmpt_module_get_pattern_num_rows(module, pattern))):
                for channel in range(channels):
                    place = (module, pattern, row, channel)
                    if which := lib.openmpt_module_get_pattern_row_channel_command(*place, INSTRUMENT):
                        last[channel] = which
                    note = lib.openmpt_module_get_pattern_row_channel_command(*place, NOTE)
                    if 1 <= note <= LAST_NOTE and last[channel]:
                        found.setdefault(last[channel] - 1, Counter())[note] += times
        return found

    def play(self, heard: Container[int], start: float, seconds: float, rate: int) -> np.ndarray:
        """The instruments that are named, from `start` on: (time,) float32, shorter where the song ends."""
        self._lib.openmpt_module_set_render_param(self._module, INTERPOLATION, LINEAR)
        self._lib.openmpt_module_set_render_param(self._module, RAMPING, DEFAULT)
        for which in range(len(self.names)):
            self._mute(self._ext, which, int(which not in heard))
        self._lib.openmpt_module_set_position_seconds(self._module, start)
        line, done = np.zeros(round(seconds * rate), np.float32), 0
        while done < len(line):
            room = min(BLOCK, len(line) - done)
            read = self._lib.openmpt_module_read_float_mono(
                self._module, rate, room, line.ctypes.data + 4 * done
            )
            if not read:
                break
            done += read
        return line[:done]


def sorted_stems(data: bytes, rate: int, limit: float) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Stems of the middle of a module, and what became of its instruments.

    Args:
        data: the file.
        rate: Hz.
        limit: seconds at most.

    Returns:
        Drums, bass and other, (time,) float32, of one length; and title, artist, error_db (of the sum of the instruments alone against the
        song), unsorted (share of the energy that is left out), instruments.

    Raises:
        BadModule: no module; one without notes.
    """
    with Module(data) as module:
        notes = module.notes()
        seconds = min(limit, module.duration)
        start = (module.duration - seconds) / 2
        song = module.play(range(len(module.names)), start, seconds, rate)
        about = {key: module.metadata(key) for key in ("title", "artist", "type")}
        names = module.names
    if not song.any() or not notes:
        raise BadModule("a module without a note that sounds")
    stems = {part: np.zeros_like(song) for part in PARTS}
    rest, instruments = song.astype(np.float64), list[dict[str, Any]]()
    for which in sorted(set(notes) & set(range(len(names)))):
        with Module(data) as module:  # anew: what sounds on from the last time must not be heard
            line = np.zeros_like(song)
            played = module.play({which}, start, seconds, rate)[: len(song)]
            line[: len(played)] = played
        sound = heard(line, rate)
        part, why = part_of(names[which], notes[which], sound)
        rest -= line
        if part:
            stems[part] += line
        instruments.append({"name": names[which], "part": part, "why": why, "energy": sound.energy})
    error = 10 * np.log10((rest @ rest + 1e-12) / (np.square(song.astype(np.float64)).sum() + 1e-12))
    report = about | {"duration": round(len(song) / rate, 2), "error_db": round(float(error), 1)}
    return stems, report | report_of(instruments)


def main() -> int:
    """Stems of one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("stems", type=Path)
    parser.add_argument("--rate", type=int, default=32_000)
    parser.add_argument(
        "--limit", type=float, default=120.0, help="seconds of the song at most, of its middle"
    )
    args = parser.parse_args()
    try:
        stems, report = sorted_stems(args.file.read_bytes(), args.rate, args.limit)
        with args.stems.open("wb") as file:
            np.savez(file, drums=stems["drums"], bass=stems["bass"], other=stems["other"])
    except (BadModule, OSError) as error:
        print(f"{args.file}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
