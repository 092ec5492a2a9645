"""Stems of tracker modules and of projects of LMMS: a module written here byte by byte, rules that sort, cuts of a project, bad files."""

import os
import struct
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from sfi_zoo import InputError

pytest.importorskip("mido")
pytest.importorskip("scipy")
from tools.music4 import lmms, modules, tracker
from tools.music4.sorting import heard, part_of, report_of

RATE = 32_000
ROW = 6 * 2.5 / 125  # seconds: 6 ticks at a tempo of 125
AMIGA = 7_093_789.2 / 2  # Hz: a period of p plays a sample at AMIGA / p


def installed(library: str) -> bool:
    try:
        return bool(tracker.library()) if library == "libopenmpt" else bool(lmms.shutil.which(library))
    except tracker.BadModule:
        return False


needs_libopenmpt = pytest.mark.skipif(not installed("libopenmpt"), reason="needs libopenmpt0")
needs_lmms = pytest.mark.skipif(not installed("lmms"), reason="needs lmms")


# A module: noise on every fourth row, a low tone of six notes, a high one of eight


def sample(name: str, data: np.ndarray, loops: bool) -> tuple[bytes, bytes]:
    """Head and bytes of a sample of a .mod."""
    loop = (0, len(data) // 2) if loops else (0, 1)
    return struct.pack(">22sHBBHH", name.encode(), len(data) // 2, 0, 64, *loop), data.astype(
        np.int8
    ).tobytes()


LOW = (856, 762, 678, 640, 570, 508)  # periods
HIGH = (428, 381, 339, 320, 285, 254, 226, 214)


def written(names: tuple[str, str, str] = ("", "", ""), orders: int = 4) -> bytes:
    """A ProTracker module of four channels, of which the fourth rests; a pattern has 64 rows."""
    t = np.arange(128) / 128
    noise = 120 * np.random.default_rng(0).uniform(-1, 1, 1000) * np.exp(-np.arange(1000) / 200)
    low = 60 * (np.sin(2 * np.pi * t) + 0.2 * np.sin(4 * np.pi * t))
    high = 60 * np.sin(2 * np.pi * np.arange(16) / 16)
    samples = [sample(names[0], noise, False), sample(names[1], low, True), sample(names[2], high, True)]
    samples += [sample("", np.zeros(0), False)] * 28
    pattern = np.zeros((64, 4, 4), np.uint8)
    for row in range(64):
        for channel, period in enumerate((428, LOW[row // 4 % 6], HIGH[row // 2 % 8])):
            if row % (4, 4, 2)[channel] == 0:
                which = channel + 1
                pattern[row, channel] = (which & 0xF0 | period >> 8, period & 255, (which & 15) << 4, 0)
    head = struct.pack(">20s", b"written by a test") + b"".join(head for head, _ in samples)
    head += bytes([orders, 127]) + bytes(128) + b"M.K."
    return head + pattern.tobytes() + b"".join(data for _, data in samples)


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.square(x).mean() + 1e-12))


@needs_libopenmpt
def test_the_instruments_of_a_module_come_into_their_stems():
    stems, report = tracker.sorted_stems(written(), RATE, 120.0)
    assert [one["part"] for one in report["instruments"]] == ["drums", "bass", "other"]
    assert report["error_db"] < -80 and report["unsorted"] == 0 and report["title"] == "written by a test"
    assert report["duration"] == pytest.approx(4 * 64 * ROW, abs=0.1)
    at = np.arange(len(stems["drums"])) / RATE % (4 * ROW)
    assert level_db(stems["drums"][at < ROW]) > level_db(stems["drums"][at > 2 * ROW]) + 40
    for part, periods, length, rows in (("bass", LOW, 128, 4), ("other", HIGH, 16, 2)):
        for k in (0, 1, 3):  # the note of a row, by the frequency of its sample
            begin = round((k * rows + 0.5) * ROW * RATE)
            spectrum = np.abs(np.fft.rfft(stems[part][begin : begin + 3000] * np.hanning(3000), RATE))
            assert spectrum.argmax() == pytest.approx(AMIGA / periods[k] / length, abs=4)


@needs_libopenmpt
def test_the_middle_of_a_song_is_taken():
    whole, _ = tracker.sorted_stems(written(orders=8), RATE, 120.0)
    middle, report = tracker.sorted_stems(written(orders=8), RATE, 2 * 64 * ROW)
    assert report["duration"] == pytest.approx(2 * 64 * ROW, abs=0.01)
    begin = round(3 * 64 * ROW * RATE)
    drums = whole["drums"][begin : begin + len(middle["drums"])]
    assert level_db(drums - middle["drums"]) < level_db(drums) - 20


@needs_libopenmpt
def test_a_telling_name_counts_more_than_the_sound():
    _, report = tracker.sorted_stems(written(("bass drum", "choir", "")), RATE, 30.0)
    assert [one["part"] for one in report["instruments"]] == ["drums", None, "other"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("songs")
    (place / "package" / "music").mkdir(parents=True)
    (place / "package" / "music" / "song.mod").write_bytes(written())
    (place / "package" / "music" / "SONG.MOD").write_bytes(written(orders=1))
    (place / "bad.xm").write_bytes(b"Extended Module: " + bytes(100))
    (place / "cut.mod").write_bytes(written()[:500])
    (place / "silent.mod").write_bytes(written()[:1084] + bytes(1024 + 2000))
    return place


def run(program: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(program.__file__), *map(str, words)])
    program.main()


@needs_libopenmpt
def test_a_folder_of_modules_becomes_tracks_and_says_what_it_drops(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run(modules, monkeypatch, folder, tmp_path)
    said = capsys.readouterr().out
    assert "REAL - bad dropped: " in said and "no module that libopenmpt can read" in said
    assert "REAL - silent dropped: " in said and "without a note" in said
    assert "REAL - package SONG dropped: 8 s are too short" in said
    track = tmp_path / "train" / "REAL - package song"
    lines = {path.stem: soundfile.read(path, dtype="int16") for path in track.iterdir()}
    assert {rate for _, rate in lines.values()} == {RATE}
    total = sum(lines[part][0].astype(int) for part in ("vocals", "drums", "bass", "other"))
    assert np.array_equal(lines["mixture"][0], total)
    levels = {part: level_db(lines[part][0] / 2**15) for part in ("drums", "bass", "other")}
    assert min(levels.values()) > -45 and max(levels.values()) < -10
    run(modules, monkeypatch, folder, tmp_path)
    assert "REAL - package song was there" in capsys.readouterr().out
    run(modules, monkeypatch, folder, tmp_path / "again")
    for path in track.iterdir():
        assert (tmp_path / "again" / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()


@needs_libopenmpt
@pytest.mark.parametrize(("limit", "value"), [("MEMORY", 2**27), ("LARGEST", 1000)])
def test_a_module_that_wants_too_much_is_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
):
    monkeypatch.setattr(modules, limit, value)
    with pytest.raises(InputError, match=r"song\.mod: "):
        modules.stems_of(folder / "package" / "music" / "song.mod", RATE, 30.0)


def test_a_folder_without_songs_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for program, needed in ((modules, "libopenmpt"), (lmms, "lmms")):
        with pytest.raises(SystemExit) as stopped:
            run(program, monkeypatch, tmp_path, tmp_path / "out")
        said = "no ." if installed(needed) else f"{needed} is not installed: apt-get install"
        assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_songs_of_one_name_are_told_apart(folder: Path):
    (folder / "package" / "song.mod").touch()
    names = [name for name, _ in modules.songs_below(folder, modules.ENDINGS)]
    without = modules.songs_below(folder, modules.ENDINGS, ["[Ss]*.mod"])
    assert [name for name, _ in without] == ["bad", "cut", "package SONG"]
    (folder / "package" / "song.mod").unlink()
    assert sorted(names) == ["bad", "cut", "package SONG", "package song", "package song (2)", "silent"]


# Sorting


def bursts(sound: np.ndarray, every: float = 0.4, times: int = 20) -> np.ndarray:
    line = np.zeros(round(every * times * RATE) + len(sound))
    for k in range(times):
        begin = round(k * every * RATE)
        line[begin : begin + len(sound)] += sound
    return line


def tones(frequencies: list[float], seconds: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.concatenate(
        [np.sin(2 * np.pi * f * t) + 0.3 * np.sin(4 * np.pi * f * t) for f in frequencies * 4]
    )


FALL = np.exp(-np.arange(RATE // 4) / (0.03 * RATE))
NOISE = np.random.default_rng(1).normal(size=RATE // 4) * FALL
KICK = np.sin(2 * np.pi * np.cumsum(40 + 200 * FALL) / RATE) * FALL
LOW_TONES, HIGH_TONES = tones([55, 62, 65, 73]), tones([440, 494, 523, 587])
MELODY = dict.fromkeys((40, 42, 43, 45), 4)


@pytest.mark.parametrize(
    ("name", "notes", "line", "part"),
    [
        ("", {60: 20}, bursts(NOISE), "drums"),
        ("", {60: 20}, bursts(KICK), "drums"),
        ("", MELODY, LOW_TONES, "bass"),
        ("", MELODY, HIGH_TONES, "other"),
        ("", {60: 20}, HIGH_TONES, None),  # one note that sounds like several: a chord or a sample of a song
        ("", MELODY, LOW_TONES + HIGH_TONES, None),
        ("choir", MELODY, HIGH_TONES, None),
        ("Snare 2", {60: 1, 62: 1, 64: 1}, bursts(NOISE), "drums"),
        ("a drum of the sea", dict.fromkeys(range(40, 50), 1), HIGH_TONES, None),
        ("slap bass", MELODY, LOW_TONES, "bass"),
        ("bassoon", MELODY, HIGH_TONES, "other"),
        ("bass", MELODY, bursts(NOISE), None),
        ("bass drum", {60: 20}, bursts(KICK), "drums"),
        ("", MELODY, np.zeros(RATE), None),
    ],
)
def test_instruments_are_sorted_by_name_notes_and_sound(
    name: str, notes: dict[int, int], line: np.ndarray, part: str | None
):
    found, why = part_of(name, notes, heard(line, RATE))
    assert found == part, why


def test_what_is_heard_has_the_values_of_known_sounds():
    tone, noise = heard(tones([440]), RATE), heard(np.random.default_rng(0).normal(size=10 * RATE), RATE)
    assert tone.below_250 < 1e-3 and tone.pitched == pytest.approx(1, abs=0.02) and tone.high_pitch == 1
    assert tone.centroid == pytest.approx((440 + 0.09 * 880) / 1.09, rel=0.01) and tone.flatness < 1e-3
    assert noise.flatness == pytest.approx(
        np.exp(-np.euler_gamma), abs=0.02
    )  # of exponentially distributed power
    assert noise.below_250 == pytest.approx(250 / 16_000, rel=0.2) and noise.pitched < 0.3
    falls = heard(bursts(np.cos(np.arange(RATE // 4)) * FALL), RATE)
    assert falls.decay == pytest.approx(0.03 * np.log(10) * 15 / 20, abs=0.008)  # 15 dB


def test_a_song_is_dropped_for_a_reason():
    def report(**changes: float) -> dict[str, object]:
        instruments = [{"part": part, "energy": 1.0} for part in ("drums", "bass", "other")]
        return {"duration": 60.0, "error_db": -100.0, **report_of(instruments), **changes}

    assert modules.objection(report()) is None
    assert "short" in (modules.objection(report(duration=19.0)) or "")
    assert "not the song" in (modules.objection(report(error_db=-20.0)) or "")
    assert "cannot be sorted" in (modules.objection(report(unsorted=0.3)) or "")
    assert "drums" in (
        modules.objection(report() | {"shares": {"drums": 0, "bass": 0.5, "other": 0.5}}) or ""
    )
    assert "drums" in (modules.objection(report() | {"shares": {"drums": 1, "bass": 0, "other": 0}}) or "")


def test_a_faint_stem_is_raised_and_one_that_is_hardly_there_is_not():
    x = np.sin(np.arange(RATE))
    found = modules.balanced({"drums": x, "bass": 0.1 * x, "other": 1e-4 * x, "none": 0 * x}, RATE)
    assert level_db(found["bass"]) - level_db(x) == pytest.approx(-12, abs=1e-6)
    assert (
        np.array_equal(found["drums"], x)
        and np.array_equal(found["other"], 1e-4 * x)
        and not found["none"].any()
    )


# Projects of LMMS


def project(bpm: int = 120) -> ET.Element:
    """Eight bars: a kick on each beat in the loops, a low line and a high one, both sines."""

    def track(kind: int, name: str, inside: str, instrument: str = "tripleoscillator") -> str:
        inner = f'<instrument name="{instrument}"><{instrument} vol1="0" vol2="0"/></instrument>'
        plugin = f'<instrumenttrack vol="60">{inner}</instrumenttrack>'
        return f'<track type="{kind}" name="{name}" muted="0">{plugin if kind == 0 else ""}{inside}</track>'

    def notes(keys: list[int], step: int, length: int) -> str:
        return "".join(
            f'<note pos="{k * step}" len="{length}" key="{key}" vol="100"/>' for k, key in enumerate(keys)
        )

    kick = track(
        0, "Kick", f'<pattern pos="0" len="192" type="0">{notes([57] * 4, 48, 24)}</pattern>', "kicker"
    )
    loops = f'<bbtrack><trackcontainer type="bbtrackcontainer">{kick}</trackcontainer></bbtrack><bbtco pos="0" len="1536"/>'
    low = f'<pattern pos="0" len="1536" type="1">{notes([21, 24, 26, 28] * 8, 48, 40)}</pattern>'
    high = f'<pattern pos="0" len="768" type="1">{notes([57, 59, 60, 64] * 4, 48, 40)}</pattern>' * 2
    high = high.replace('pos="0" len="768"', 'pos="768" len="768"', 1)
    song = track(1, "Beat", loops) + track(0, "Sub bass", low) + track(0, "Lead", high)
    container = f'<trackcontainer type="song">{song}</trackcontainer>'
    head = (
        f'<head bpm="{bpm}" timesig_numerator="4" timesig_denominator="4" mastervol="100" masterpitch="0"/>'
    )
    return ET.fromstring(
        f'<lmms-project version="1.0" type="song">{head}<song>{container}</song></lmms-project>'
    )


def test_a_project_is_read_plain_and_compressed(tmp_path: Path):
    text = ET.tostring(project())
    for name, data in (("a.mmp", text), ("a.mmpz", len(text).to_bytes(4, "big") + zlib.compress(text))):
        (tmp_path / name).write_bytes(data)
        assert lmms.tempo_of(lmms.read_project(tmp_path / name)) == 120
    bomb = (2**30).to_bytes(4, "big") + zlib.compress(b"<a>" + bytes(2**26))
    for data in (b"", b"<a/>", b"\0\0\0\0junk", text[:200], bomb):
        (tmp_path / "bad.mmpz").write_bytes(data)
        with pytest.raises(InputError, match=r"bad\.mmpz: no project of LMMS that can be read"):
            lmms.read_project(tmp_path / "bad.mmpz")


def test_the_tracks_of_a_project_are_told_apart():
    root = project()
    assert lmms.end_of(root) == 8 * 192
    units = lmms.units_of(lmms.voices_in(root))
    assert {unit: [v.place for v in voices] for unit, voices in units.items()} == {
        "drums": [("loops", 0)],
        "bass": [("song", 1)],
        "song 2": [("song", 2)],
    }
    left = lmms.voices_in(lmms.only(root, {("loops", 0)}))
    assert [voice.name for voice in left] == ["Kick"] and len(lmms.voices_in(root)) == 3


def test_a_cut_moves_clips_and_notes_and_keeps_the_last_value_of_an_automation():
    root = project()
    points = '<time pos="0" value="1"/><time pos="96" value="2"/><time pos="480" value="3"/>'
    automation = (
        f'<track type="5" name="a"><automationpattern pos="0" len="768">{points}</automationpattern></track>'
    )
    root.find("song/trackcontainer").append(ET.fromstring(automation))  # type: ignore[union-attr]
    lmms.cut(root, 384, 1152)
    assert lmms.end_of(root) == 768
    loop = next(root.iter("bbtco"))
    assert (loop.get("pos"), loop.get("len")) == ("0", "768")
    bass = next(t for t in root.iter("track") if t.get("name") == "Sub bass")
    assert [int(note.get("pos", -1)) for note in bass.iter("note")] == [48 * k for k in range(16)]
    found = [(point.get("pos"), point.get("value")) for point in next(root.iter("automationpattern"))]
    assert found == [("0", "2"), ("96", "3")]


def test_what_lmms_said_when_it_failed_is_told(tmp_path, monkeypatch):
    fake = tmp_path / "lmms"
    fake.write_text("#!/bin/sh\necho 'no such plugin: zyn' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError, match="exit status 3: no such plugin: zyn"):
        lmms.played(ET.fromstring("<lmms-project/>"), RATE, 1.0)


@needs_lmms
@pytest.mark.slow
def test_a_project_becomes_stems(tmp_path: Path):
    path = tmp_path / "song.mmp"
    path.write_bytes(ET.tostring(project()))
    stems, report = lmms.stems_of(path, RATE, 120.0)
    assert report["duration"] == 16 and report["beat"] == 0.5 and report["unsorted"] == 0
    assert {one["unit"]: one["part"] for one in report["instruments"]} == {
        "drums": "drums",
        "bass": "bass",
        "song 2": "other",
    }
    assert all(level_db(line) > -60 for line in stems.values())
    assert heard(stems["bass"], RATE).below_250 > 0.5 > heard(stems["other"], RATE).below_250
