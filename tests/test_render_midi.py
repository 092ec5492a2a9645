"""The renderer of MIDI songs: parts, arrangements, files; and what it says where something is missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sfi_zoo import InputError

mido = pytest.importorskip("mido")
pytest.importorskip("scipy")
from tools.music4 import render_midi as r  # noqa: E402

TOOL = Path(r.__file__)
ROOT = TOOL.parents[2]
RATE = 8000
FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
with_synth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not FONT.exists(), reason="needs fluidsynth and timgm6mb-soundfont"
)


def midi(path: Path, channels: dict[int, tuple[int, int]], pedal: bool = False, length: float = 2.0) -> Path:
    """channel -> (program, note): a note on each beat, half a second; the last is never released."""
    song = mido.MidiFile(type=1, ticks_per_beat=480)
    for channel, (program, note) in channels.items():
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        if pedal:
            track.append(mido.Message("control_change", channel=channel, control=64, value=127))
        for _ in range(round(2 * length)):
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=100, time=0))
            track.append(mido.Message("note_off", channel=channel, note=note, time=480))
        track.append(mido.Message("note_on", channel=channel, note=note, velocity=100, time=0))
        song.tracks.append(track)
    song.save(path)
    return path


BAND = {9: (0, 38), 0: (33, 40), 1: (24, 64)}  # drums, finger bass, guitar


def burst(file: "mido.MidiFile", font: str, rate: int, reverb: float) -> np.ndarray:
    """In place of fluidsynth: a sine while notes sound, so that tests run without it."""
    now, on, edges = 0.0, 0, [0.0]
    for message in file:
        now += message.time
        edges.append(now)
        on += message.type == "note_on"
    t = np.arange(round(now * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * 220 * t) * bool(on)


def run(*arguments: object, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    import os

    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"PATH": path} if path is not None else {})
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("channels", "parts"),
    [
        (BAND, {9: "drums", 0: "bass", 1: "other"}),
        ({1: (24, 64), 2: (0, 36)}, {1: "other", 2: "bass"}),  # no bass program: the lowest part
        ({1: (24, 64), 2: (0, 60)}, {1: "other", 2: "other"}),  # none is low
        ({9: (33, 36)}, {9: "drums"}),
    ],
)
def test_parts_follow_channels_and_programs(tmp_path: Path, channels, parts):
    assert r.read_song(midi(tmp_path / "a.mid", channels)).parts == parts


def test_every_note_and_pedal_ends_with_the_song(tmp_path: Path):
    """The end of each channel is pedal up, notes off, sound off, whatever the file leaves sounding; and nothing comes later."""
    song = r.read_song(midi(tmp_path / "a.mid", BAND, pedal=True))
    plan = r.draw(song, 3, ["x"], 150.0)
    for part, channel in (("drums", 9), ("bass", 0), ("other", 1)):
        messages = list(r.arranged(song, part, plan))
        assert {m.channel for m in messages if not m.is_meta} == {channel}
        last = [m for m in messages if not m.is_meta][-3:]
        assert [(m.control, m.value) for m in last] == [(64, 0), (123, 0), (120, 0)]
        assert sum(m.time for m in messages) == pytest.approx(plan.duration, abs=1e-3)


def test_key_tempo_and_octave_are_those_of_the_plan(tmp_path: Path):
    from dataclasses import replace

    song = r.read_song(midi(tmp_path / "a.mid", BAND | {0: (33, 60)}))
    plan = replace(r.draw(song, 0, ["x"], 150.0), key=3, tempo=2.0, bass=80, start=0.0, duration=6.0)
    notes, now = [], 0.0
    for message in r.arranged(song, "bass", plan):
        now += message.time
        if message.type == "note_on":
            notes.append((round(now, 3), message.note))
    assert notes == [(beat * 1.0, 60 + 3 - 12) for beat in range(5)]  # beats of half a second, twice as long
    assert all(m.note == 38 for m in r.arranged(song, "drums", plan) if m.type == "note_on")


def test_a_longer_song_gives_a_window_of_it(tmp_path: Path):
    song = r.read_song(midi(tmp_path / "a.mid", BAND, length=20.0))
    plans = [r.draw(song, seed, ["x"], 5.0) for seed in range(8)]
    assert {plan.duration for plan in plans} == {5.0} and len({plan.start for plan in plans}) == 8
    for plan in plans:
        assert 0 <= plan.start <= 20 * plan.tempo - 4.9
        assert sum(m.time for m in r.arranged(song, "bass", plan)) == pytest.approx(5.0, abs=1e-3)


def test_a_seed_draws_the_same_again_and_another_draws_another(tmp_path: Path):
    song = r.read_song(midi(tmp_path / "a.mid", BAND))
    assert (
        r.draw(song, 1, ["x", "y"], 9.0)
        == r.draw(song, 1, ["x", "y"], 9.0)
        != r.draw(song, 2, ["x", "y"], 9.0)
    )


def test_stems_add_up_and_have_their_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(r, "synthesised", burst)
    song = r.read_song(midi(tmp_path / "a.mid", BAND))
    plan = r.draw(song, 5, ["x"], 150.0)
    stems = r.stems_of(song, plan, RATE, (), 5)
    for part in ("drums", "other"):
        level = 10 * np.log10(np.square(stems[part]).mean())
        assert level == pytest.approx(plan.levels[part], abs=0.5)
    r.write_track(tmp_path / "out" / "t", stems, RATE)
    files = {p.stem: soundfile.read(p, dtype="int16") for p in (tmp_path / "out" / "t").iterdir()}
    assert {rate for _, rate in files.values()} == {RATE} and len(files) == 5
    stems16 = sum(x.astype(int) for name, (x, _) in files.items() if name != "mixture")
    assert np.array_equal(files["mixture"][0], stems16) and stems16.any()
    assert not files["vocals"][0].any()


def test_loud_stems_do_not_clip(tmp_path: Path):
    loud = {part: np.full(800, 3.0) for part in ("vocals", *r.PARTS)}
    r.write_track(tmp_path / "t", loud, RATE)
    mixture = soundfile.read(tmp_path / "t" / "mixture.wav", dtype="int16")[0]
    assert abs(int(mixture.max()) - 0.9 * 2**15) < 10


@pytest.mark.parametrize("missing", ["drums", "bass"])
def test_a_song_without_a_part_has_a_silent_stem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
):
    monkeypatch.setattr(r, "synthesised", burst)
    channels = {9: (0, 38), 1: (24, 64)} if missing == "bass" else {0: (33, 40), 1: (24, 64)}
    song = r.read_song(midi(tmp_path / "a.mid", channels))
    stems = r.stems_of(song, r.draw(song, 0, ["x"], 150.0), RATE, (), 0)
    assert [part for part, x in stems.items() if not x.any()] == ["vocals", missing] or missing == "drums"
    assert not stems[missing].any() and stems["other"].any()
    assert len({len(x) for x in stems.values()}) == 1


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object, **options: object) -> None:
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(InputError, match="is the disk full"):
        r.write_track(tmp_path / "t", {part: np.ones(8) for part in ("vocals", *r.PARTS)}, RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no MIDI", b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0"])
def test_what_is_no_song_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.mid").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mid: (no MIDI file|a MIDI file without a note)"):
        r.read_song(tmp_path / "a.mid")


def font(
    path: Path, kinds: tuple[bytes, ...] = (b"INFO", b"sdta", b"pdta"), cut: int = 0, odd: bytes | None = None
) -> Path:
    """The frame of a sound font: three lists with nothing in them; of odd length, and what comes after each."""
    length = 8 if odd is None else 9
    after = bytes(length - 4) + (odd or b"")
    body = b"sfbk" + b"".join(b"LIST" + length.to_bytes(4, "little") + kind + after for kind in kinds)
    whole = b"RIFF" + len(body).to_bytes(4, "little") + body
    path.write_bytes(whole[: len(whole) - cut])
    return path


def test_a_sound_font_that_is_absent_or_none_is_told_with_the_package(tmp_path: Path):
    r.check_font(str(font(tmp_path / "whole.sf2")))
    r.check_font(str(font(tmp_path / "padded.sf2", odd=b"\0")))
    r.check_font(str(font(tmp_path / "MuseScore.sf3", odd=b"")))
    (tmp_path / "wave.sf2").write_bytes(b"RIFF....WAVE")
    for path, told in (
        (tmp_path / "absent.sf2", "no sound font there"),
        (tmp_path / "wave.sf2", r"no sound font \("),
        (font(tmp_path / "part.sf2", (b"INFO", b"sdta")), r"no sound font \("),
        (font(tmp_path / "cut.sf2", cut=4), r"no sound font \("),
        (tmp_path, "no sound font there"),
    ):
        with pytest.raises(InputError, match=f"{told}.*fluid-soundfont-gm"):
            r.check_font(str(path))


def test_a_renderer_that_is_not_installed_is_told_with_the_package(tmp_path: Path):
    midi(tmp_path / "a.mid", BAND)
    done = run(tmp_path, tmp_path / "out", "--font", font(tmp_path / "f.sf2"), path="")
    assert done.returncode == 2 and "apt-get install fluidsynth" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_a_renderer_that_runs_for_ever_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fluidsynth").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "fluidsynth").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(r, "LONGEST", 0.2)
    song = r.read_song(midi(tmp_path / "a.mid", BAND))
    with pytest.raises(InputError, match=r"more than 0\.2 s with x\.sf2"):
        r.synthesised(r.arranged(song, "bass", r.draw(song, 0, ["x"], 9.0)), "x.sf2", RATE, 0.0)


def test_a_renderer_that_fails_is_told_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fluidsynth").write_text("#!/bin/sh\necho no memory >&2\nexit 1\n")
    (tmp_path / "fluidsynth").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    song = r.read_song(midi(tmp_path / "a.mid", BAND))
    with pytest.raises(InputError, match=r"fluidsynth failed with x\.sf2: no memory"):
        r.synthesised(r.arranged(song, "bass", r.draw(song, 0, ["x"], 9.0)), "x.sf2", RATE, 0.0)


@with_synth
@pytest.mark.slow
def test_a_song_is_rendered_the_same_again(tmp_path: Path):
    midi(tmp_path / "a.mid", BAND, pedal=True)
    for out in ("one", "two"):
        done = run(tmp_path, tmp_path / out, "--font", FONT, "--rate", RATE, "--seeds", "2")
        assert done.returncode == 0, done.stderr
    tracks = sorted(p.name for p in (tmp_path / "one" / "train").iterdir())
    assert tracks == ["MIDI - a v0", "MIDI - a v1"]
    for path in sorted((tmp_path / "one" / "train").rglob("*.wav")):
        again = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == again.read_bytes()
    for part in r.PARTS:
        x, _ = soundfile.read(tmp_path / "one" / "train" / "MIDI - a v0" / f"{part}.wav")
        assert np.square(x).mean() > 1e-5 and 1.5 < len(x) / RATE < 5
    drawn = json.loads((tmp_path / "one" / "arrangements.json").read_text())
    assert drawn["MIDI - a v0"]["silent"] == ["vocals"]
    assert "was there" in run(tmp_path, tmp_path / "one", "--font", FONT, "--rate", RATE).stdout
