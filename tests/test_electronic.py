"""The electronic arrangements: oscillators and effects against formulas, songs, stems, and what is said where something is missing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sfi_zoo import InputError

mido = pytest.importorskip("mido")
pytest.importorskip("scipy")
from tests.musdb_layout import ArrayTrack  # noqa: E402
from tools.music4 import composer, electronic, players  # noqa: E402
from tools.music4 import synthesiser as s  # noqa: E402

ROOT = Path(__file__).parents[1]
RATE = 16000


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.square(x).mean()))


# Sounds


def test_a_saw_has_the_harmonics_of_a_saw_and_folds_little_back():
    frequency, n = 1230.0, RATE  # harmonics at multiples of 1230, images of those above 8 kHz elsewhere
    spectrum = np.abs(np.fft.rfft(s.saw(frequency, n, RATE))) / n * 2
    for k in (1, 2):
        assert spectrum[round(k * frequency)] == pytest.approx(2 / (np.pi * k), rel=0.1)
    naive = np.abs(np.fft.rfft(2 * ((np.arange(1, n + 1) * frequency / RATE) % 1) - 1)) / n * 2
    rest = np.arange(1, len(spectrum)) % round(frequency) != 0
    assert np.square(spectrum[1:][rest]).sum() < 0.1 * np.square(naive[1:][rest]).sum()


def test_a_pulse_of_half_a_turn_has_no_even_harmonics():
    spectrum = np.abs(np.fft.rfft(s.pulse(500.0, RATE, RATE)))
    assert spectrum[1000] < 0.01 * spectrum[500] and spectrum[1500] > 0.25 * spectrum[500]


@pytest.mark.parametrize(("cutoff", "octave"), [(960.0, 960.0), (1920.0, 1920.0)])
def test_a_sweep_that_stands_still_on_an_octave_is_the_fixed_filter(cutoff, octave):
    x = generator().normal(size=4000)
    np.testing.assert_allclose(
        s.swept(x, np.full(4000, cutoff), RATE), s.low_passed(x, octave, RATE), atol=1e-12
    )


def test_a_low_pass_has_its_resonance_at_the_cutoff():
    t = np.arange(2 * RATE) / RATE
    for frequency, gain in ((1000.0, 4.0), (20.0, 1.0)):
        y = s.low_passed(np.sin(2 * np.pi * frequency * t), 1000.0, RATE, resonance=4.0)[RATE:]
        assert y.std() * 2**0.5 == pytest.approx(gain, rel=0.01)


def test_decays_fall_by_e_and_begin_again():
    y = s.decays([0.1, 0.5], 0.1, RATE, RATE)
    assert y[: RATE // 10 - 1].max() == 0 and y[RATE // 10] == 1
    assert y[RATE // 5] == pytest.approx(1 / np.e, rel=1e-3) and y.max() == 1


def test_repeats_come_after_the_delay_and_fall_by_the_feedback():
    x = np.eye(1, RATE)[0]
    y = s.echo(x, 0.1, 0.5, 0.4, RATE)
    assert [y[k * RATE // 10] for k in range(4)] == pytest.approx([1, 0.4, 0.2, 0.1])


def test_a_reverb_adds_its_share_of_energy_after_the_sound():
    x = np.eye(1, 2 * RATE)[0]
    y = s.reverb(x, 1.0, 0.5, generator(), RATE)
    assert np.square(y - x).sum() == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("name", s.DRUMS)
def test_a_hit_is_heard_ends_and_is_the_same_again(name):
    for seed in range(3):
        hit = s.DRUMS[name](generator(seed), RATE)
        assert np.array_equal(hit, s.DRUMS[name](generator(seed), RATE)) and np.isfinite(hit).all()
        assert 0.02 < len(hit) / RATE < 2.6
        tail = hit[-len(hit) // 20 :]
        assert np.abs(hit).max() > 0.01 and np.abs(tail).max() < 0.1 * np.abs(hit).max()


@pytest.mark.parametrize("kind", players.INSTRUMENTS)
def test_an_instrument_plays_its_pitch(kind):
    """The spectrum has its energy at multiples of the frequency: below it, where nothing is played, there is next to none."""
    for colour in ([0.1] * 4, [0.9] * 4):
        x = players.tone(kind, 440.0, RATE, RATE, colour, generator())
        power = np.square(np.abs(np.fft.rfft(x * np.hanning(RATE))))
        assert np.isfinite(x).all() and power[:400].sum() < 0.02 * power.sum()


def test_the_bass_is_one_low_voice_at_the_pitch_of_its_notes():
    notes = [composer.Note(0.0, 0.9, 81, 1.0), composer.Note(1.0, 0.4, 57, 1.0)]  # both an A: 55 Hz here
    for seed in range(12):
        x = players.bass_of(notes, 2 * RATE, RATE, generator(seed))
        power = np.square(np.abs(np.fft.rfft(x[: round(0.9 * RATE)], n=4 * RATE)))
        strongest = np.argmax(power[:1200]) / 4
        assert min(abs(strongest - 27.5 * k) for k in range(1, 11)) < 3, (seed, strongest)
        assert np.abs(x[round(1.9 * RATE) :]).max() < 0.1 * np.abs(x).max()


def test_a_chord_becomes_its_notes_in_turn():
    chord = [composer.Note(1.0, 1.0, pitch, 1.0) for pitch in (64, 60, 67)]
    found = players.arpeggio(chord, 0.25, 2)
    assert [(note.start, note.pitch) for note in found] == [(1.0, 60), (1.25, 64), (1.5, 67), (1.75, 72)]


# Songs


def test_a_drawn_song_keeps_its_grid_and_length():
    for seed in range(10):
        score = composer.composed("x", generator(seed), 30.0)
        assert 20 < score.duration <= 30
        kicks = [note.start for note in score.parts["drums"][9] if note.pitch == 36]
        grid = np.array(kicks) / score.beat * 4
        assert np.abs(grid - np.round(grid)).max() < 0.31  # a swing is at most 0.3 of a step
        for channels in score.parts.values():
            for notes in channels.values():
                assert min(notes).start >= 0 and max(notes).start < score.duration + score.beat


def test_a_midi_file_is_read_in_its_key_and_tempo(tmp_path: Path):
    track = mido.MidiTrack()
    for pitch in (60, 64):  # beats of half a second
        track.append(mido.Message("note_on", note=pitch, velocity=127, time=0))
        track.append(mido.Message("note_off", note=pitch, time=480))
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "a.mid")
    score = electronic.midi_score(tmp_path / "a.mid", generator(1), 60.0)
    (notes,) = score.parts["other"].values()
    tempo = notes[1].start / 0.5
    assert 0.85 < tempo < 1.15 and notes[1].pitch - notes[0].pitch == 4 and -5 <= notes[0].pitch - 60 <= 5
    assert [note.duration for note in notes] == pytest.approx([0.5 * tempo] * 2) and notes[0].level == 1


def singer(name: str) -> ArrayTrack:
    t = np.arange(20 * RATE) / RATE
    return ArrayTrack(name, {"vocals": 0.2 * np.sin(2 * np.pi * 300 * t)[None]}, RATE)


def test_stems_are_the_same_again_and_some_are_silent():
    silent = []
    for seed in range(16):
        score = composer.composed(f"song {seed}", generator(seed), 6.0)
        stems = electronic.stems_of(score, seed, RATE, [singer("PJS - 001")] if seed % 8 == 0 else [])
        assert list(stems) == ["vocals", "drums", "bass", "other"]
        assert {len(x) for x in stems.values()} == {round(score.duration * RATE)}
        assert all(np.isfinite(x).all() for x in stems.values())
        silent.append([part for part, x in stems.items() if not x.any()])
        if seed == 1:
            again = electronic.stems_of(score, seed, RATE, [])
            assert all(np.array_equal(stems[part], again[part]) for part in stems)
            other = electronic.stems_of(score, seed + 1, RATE, [])
            assert any(not np.array_equal(stems[part], other[part]) for part in stems)
    without = [part for parts in silent for part in parts if part != "vocals"]
    assert 0 < len(without) < 16


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools/music4/electronic.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_tracks_add_up_and_are_the_same_again(tmp_path: Path):
    for out in ("one", "two"):
        done = run(tmp_path / out, "--composed", 1, "--seeds", 2, "--limit", 5, "--rate", RATE)
        assert done.returncode == 0, done.stderr
    folders = sorted(p.name for p in (tmp_path / "one" / "train").iterdir())
    assert folders == ["ELEC - composed 000 v0", "ELEC - composed 000 v1"]
    for path in sorted((tmp_path / "one").rglob("*.wav")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    for folder in (tmp_path / "one" / "train").iterdir():
        files = {p.stem: soundfile.read(p, dtype="int16")[0].astype(int) for p in folder.iterdir()}
        mixture = files.pop("mixture")
        assert set(files) == set(electronic.LEVELS) and np.array_equal(mixture, sum(files.values()))
    assert "was there" in run(tmp_path / "one", "--composed", 1, "--limit", 5, "--rate", RATE).stdout


def test_rendered_tracks_and_those_for_validation_do_not_sing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import argparse

    heard: list[str] = []

    def listening(score, seed, rate, voices):
        heard.extend(track.name for track in voices)
        raise InputError("enough")

    for name in ("PJS - 001", "PJS - 079", "MIDI - x v0", "ELEC - y v0"):
        place = tmp_path / "train" / name
        place.mkdir(parents=True)
        soundfile.write(place / "vocals.wav", np.zeros(100), RATE)
    (tmp_path / "mus.yaml").write_text("validation_tracks: [PJS - 079]")
    monkeypatch.setattr(electronic, "stems_of", listening)
    args = argparse.Namespace(out=tmp_path, split="train", voices=tmp_path, rate=RATE, limit=5.0)
    with pytest.raises(InputError, match="enough"):
        electronic.render(("composed 000", None, 0), args)
    assert heard == ["PJS - 001"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--seeds", "1"), "nothing to render: give --songs FOLDER, --composed NUMBER, or both"),
        (("--songs", "nowhere"), r"nowhere: no \*\.mid"),
        (("--composed", "1", "--voices", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, arguments, told):
    import re

    done = run(tmp_path, *arguments)
    assert done.returncode == 2 and re.search(told, done.stderr) and "Traceback" not in done.stderr
