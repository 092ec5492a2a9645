"""Projects of LMMS become stems of the MUSDB layout: songs of real producers, with vocals of ours.

    python tools/music4/lmms.py /usr/share/lmms/projects OUT --voices MUSIC

FOLDER is searched for .mmp and .mmpz; OUT/train/REAL - <folder> <song>/{mixture,vocals,drums,bass,other}.wav are mono, 16 bit, and the
mixture is exactly the sum. What modules.py says of vocals, balance, dropped songs and going on holds here, too.

- Tracks that play samples of drums, or are named so, are rendered together; so are those named bass. Each of the rest is rendered alone
  and sorted by its sound (sorting.py), if `lmms_parts.json` does not say what it is: that file was made by hand for the songs of Debian.
- Only the middle `--limit` seconds of a longer song are rendered: clips before are cut away, automation keeps its last value.
- Mixer channels keep their effects. A compressor on the master acts on each stem alone, and a side chain whose trigger is in another stem
  does nothing, so this is not quite the producer's mix; it is the exact sum of its stems.
- Effects and oscillators start at random phases: two renders of the same project differ a little.

Needs: apt-get install lmms; pip install mido python-stretch.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sfi_zoo.audio.resample import resample
from sfi_zoo.errors import InputError
from tools.music4.modules import SECONDS, limited, run
from tools.music4.sorting import BASS, DRUMS, PARTS, heard, part_of, report_of

ENDINGS = (".mmp", ".mmpz")
LARGEST = 2**26  # bytes of a project
RATE = 44_100  # Hz, the lowest that lmms renders
BAR, BEAT = 192, 48  # ticks
SOUND, LOOPS, SAMPLES, AUTOMATION = (
    "0",
    "1",
    "2",
    ("5", "6"),
)  # types of tracks; those of loops share one set of instruments
CLIPS = ("pattern", "bbtco", "sampletco")
BY_HAND = Path(__file__).with_name("lmms_parts.json")
DRUM_SAMPLES = re.compile(r"(^|/)(drums|drumsynth|beats)/(?!.*(instrument/|misc_fx|effects|zap|fx/))")


@dataclass(frozen=True)
class Voice:
    """A track that sounds: its place is ("song" or "loops", index), `keys` are those of its notes, with how often."""

    place: tuple[str, int]
    name: str
    plugin: str
    sample: str
    keys: Mapping[int, int]


def read_project(path: Path) -> ET.Element:
    """The XML of a project.

    Raises:
        InputError: it is none.
    """
    try:
        data = path.read_bytes()
        if not data.lstrip().startswith(b"<"):  # Qt's qCompress: four bytes of length, then zlib
            data = zlib.decompressobj().decompress(data[4:], LARGEST)
        root = ET.fromstring(data)
        if root.find("song/trackcontainer") is None or root.find("head") is None:
            raise ValueError("no song in it")
    except (OSError, ValueError, zlib.error, ET.ParseError) as error:
        raise InputError(f"{path}: no project of LMMS that can be read ({error})") from None
    return root


def _number(element: ET.Element, key: str) -> int:
    try:
        return int(float(element.get(key, 0)))
    except (ValueError, OverflowError):
        return 0


def _tracks(root: ET.Element) -> list[ET.Element]:
    return root.findall("song/trackcontainer/track")


def tempo_of(root: ET.Element) -> float:
    """Beats in a minute."""
    found = root.find("head")
    value = (
        None if found is None else found.get("bpm") or getattr(found.find("bpm"), "attrib", {}).get("value")
    )
    return min(max(float(value or 140), 10.0), 999.0)


def end_of(root: ET.Element) -> int:
    """Ticks until the last clip of a track that is not muted ends."""
    end = 0
    for track in _tracks(root):
        for clip in track:
            if clip.tag in CLIPS and "1" not in (track.get("muted"), clip.get("muted")):
                notes = [_number(note, "pos") + max(1, _number(note, "len")) for note in clip.findall("note")]
                if notes or clip.tag != "pattern":
                    end = max(end, _number(clip, "pos") + max(_number(clip, "len"), BAR, *notes))
    return end


def cut(root: ET.Element, start: int, end: int) -> None:
    """Leave what is between two ticks, and move it to the beginning."""
    for track in _tracks(root):
        for clip in list(track):
            change = (
                _cut_clip
                if clip.tag in CLIPS
                else _cut_automation
                if clip.tag == "automationpattern"
                else None
            )
            if change is not None and not change(clip, start, end):
                track.remove(clip)


def _cut_clip(clip: ET.Element, start: int, end: int) -> bool:
    """Cut a clip; False where nothing of it is left."""
    first, length = _number(clip, "pos") - start, _number(clip, "len")
    if clip.tag == "pattern":
        for note in clip.findall("note"):
            if not 0 <= first + _number(note, "pos") < end - start:
                clip.remove(note)
            elif first < 0:
                note.set("pos", str(first + _number(note, "pos")))
    elif first >= end - start or first + length <= 0 or (clip.tag == "sampletco" and first < 0):
        return False  # a sample that is cut at its beginning would start anew
    length = min(length, end - start - first) + min(0, first)
    clip.set("pos", str(max(0, first)))
    clip.set("len", str(max(BAR, length) if clip.tag == "pattern" else length))
    return clip.tag != "pattern" or clip.find("note") is not None


def _cut_automation(clip: ET.Element, start: int, end: int) -> bool:
    """Cut an automation, whose last value before the start stays."""
    first, kept = _number(clip, "pos") - start, None
    for point in sorted(clip.findall("time"), key=lambda point: _number(point, "pos")):
        place = first + _number(point, "pos")
        if place <= 0 and first < 0:
            if kept is not None:
                clip.remove(kept)
            kept = point
        if first < 0:
            point.set("pos", str(max(0, place)))
    clip.set("pos", str(max(0, first)))
    return first < end - start


def voices_in(root: ET.Element) -> list[Voice]:
    """Every track that has notes or samples, and is not muted."""
    found, loops = [], False
    for index, track in enumerate(_tracks(root)):
        if track.get("type") == LOOPS and not loops:  # the first has the instruments of all
            inner = track.findall("bbtrack/trackcontainer/track")
            loops = bool(inner)
            found += [_voice(one, ("loops", k)) for k, one in enumerate(inner)]
        else:
            found.append(_voice(track, ("song", index)))
    return [voice for voice in found if voice is not None]


def _voice(track: ET.Element, place: tuple[str, int]) -> Voice | None:
    if track.get("muted") == "1" or track.get("type") not in (SOUND, SAMPLES):
        return None
    name = track.get("name", "")
    if track.get("type") == SAMPLES:
        files = [clip.get("src") for clip in track.findall("sampletco") if clip.get("src")]
        return Voice(place, name, "sample", files[0] or "", {0: len(files)}) if files else None
    patterns = [pattern for pattern in track.findall("pattern") if pattern.get("muted") != "1"]
    keys = Counter(_number(note, "key") for pattern in patterns for note in pattern.findall("note"))
    plugin = track.find("instrumenttrack/instrument")
    if not keys or plugin is None:
        return None
    sample = next((one.get("src", "") for one in plugin if one.get("src")), "")
    return Voice(place, name, plugin.get("name", ""), sample, keys)


def only(root: ET.Element, places: Collection[tuple[str, int]]) -> ET.Element:
    """A copy in which only these voices are left."""
    root = copy.deepcopy(root)
    container = root.find("song/trackcontainer")
    assert container is not None
    for index, track in enumerate(container.findall("track")):
        track.set("solo", "0")
        inner = track.find("bbtrack/trackcontainer")
        if inner is not None:
            for k, one in enumerate(inner.findall("track")):
                one.set("solo", "0")
                if ("loops", k) not in places:
                    inner.remove(one)
        elif track.get("type") in (SOUND, SAMPLES) and ("song", index) not in places:
            container.remove(track)
    return root


def played(root: ET.Element, rate: int, seconds: float) -> np.ndarray:
    """What lmms makes of a project: (time,) mono.

    Raises:
        InputError: lmms is not installed, fails, or takes too much time or memory.
    """
    with tempfile.TemporaryDirectory() as place:
        project, sound = Path(place, "part.mmp"), Path(place, "part.wav")
        project.write_bytes(b'<?xml version="1.0"?>\n<!DOCTYPE lmms-project>\n' + ET.tostring(root))
        try:
            done = subprocess.run(
                [
                    "lmms",
                    "--allowroot",
                    "render",
                    project,
                    "-o",
                    sound,
                    "-s",
                    str(RATE),
                    "-a",
                    "-x",
                    "1",
                    "-i",
                    "linear",
                ],
                env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "HOME": place},
                cwd=place,
                capture_output=True,
                check=False,
                timeout=4 * SECONDS,
                preexec_fn=limited,
            )
        except FileNotFoundError:
            raise InputError("lmms is not installed: apt-get install lmms") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"lmms took more than {4 * SECONDS} s, and was stopped") from None
        if done.returncode or not sound.exists():
            said = done.stderr.decode(errors="replace").split("\n")
            words = " ".join(" ".join(said[-6:]).split())[-300:]
            raise InputError(f"lmms failed, exit status {done.returncode}: {words or 'without a word'}")
        line = np.nan_to_num(soundfile.read(sound, dtype="float64", always_2d=True)[0].mean(1))
    return np.asarray(resample(line, RATE, rate))[: round(seconds * rate)]


def units_of(voices: list[Voice]) -> dict[str, list[Voice]]:
    """What is rendered together: the drums, what is named bass, and each of the rest alone, by its place."""
    units: dict[str, list[Voice]] = {"drums": [], "bass": []}
    for voice in voices:
        few = len(voice.keys) <= 3
        if (few and DRUM_SAMPLES.search(voice.sample.lower())) or (
            len(voice.keys) <= 2 and DRUMS.search(voice.name)
        ):
            units["drums"].append(voice)
        elif BASS.search(voice.name) or "bass" in voice.sample.lower():
            units["bass"].append(voice)
        else:
            units[" ".join(map(str, voice.place))] = [voice]
    return {unit: members for unit, members in units.items() if members}


def sorted_unit(
    unit: str, voice: Voice, line: np.ndarray, rate: int, by_hand: Mapping[str, str]
) -> tuple[str | None, str]:
    """The stem of a unit, or None, and why. A synthesiser is never taken for a drum, and what is not low in it is other."""
    if unit in by_hand or unit in PARTS:
        return by_hand.get(unit, unit) or None, "by hand" if unit in by_hand else "name"
    sound = heard(line, rate)
    part, why = part_of(voice.name, voice.keys, sound)
    if part == "drums":
        return None, "sounds like drums"
    if (
        part is None
        and "voice" not in why
        and sound.below_250 < 0.3
        and (len(voice.keys) >= 3 or sound.pitched > 0.8)
    ):
        return "other", "an instrument that is not low"
    return part, why


def stems_of(path: Path, rate: int, limit: float) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The stems of a project, without vocals, and a report as modules.py has it."""
    root = read_project(path)
    tempo, start, end = tempo_of(root), 0, end_of(root)
    ticks = int(limit * tempo / 60 * BEAT)
    if end > ticks:
        start = (end - ticks) // 2 // (4 * BAR) * 4 * BAR
        end = start + ticks
    cut(root, start, end)
    seconds = (end - start) / BEAT * 60 / tempo
    by_hand = json.loads(BY_HAND.read_text()).get(path.stem, {})
    stems = {part: np.zeros(round(seconds * rate)) for part in PARTS}
    instruments: list[dict[str, Any]] = []
    for unit, members in units_of(voices_in(root)).items():
        line = played(only(root, {voice.place for voice in members}), rate, seconds)
        part, why = sorted_unit(unit, members[0], line, rate, by_hand)
        if part:
            stems[part][: len(line)] += line
        names = [voice.name for voice in members]
        instruments.append(
            {"unit": unit, "names": names, "part": part, "why": why, "energy": float(line @ line)}
        )
    report = {"duration": round(seconds, 2), "beat": 60 / tempo}
    return stems, report | report_of(instruments)


def needs_lmms() -> None:
    """Raises InputError where lmms is not installed."""
    if shutil.which("lmms") is None:
        raise InputError("lmms is not installed: apt-get install lmms")


def main() -> None:
    """All projects of a folder."""
    run(__doc__, ENDINGS, stems_of, needs_lmms)


if __name__ == "__main__":
    main()
