"""Songs as MIDI become stems of the MUSDB layout: another arrangement for every seed.

    python tools/music4/render_midi.py SONGS OUT --seeds 6 --font FluidR3_GM.sf2 --font MuseScore_General_Lite.sf3 --voices MUSIC

SONGS is a folder of .mid files; OUT/train/MIDI - <song> v<seed>/{mixture,vocals,drums,bass,other}.wav are mono, 16 bit, and the mixture is
exactly the sum. Run again, it goes on. The same song, seed and fonts give the same files.

- Parts by channel: 10 is drums; programs 33 to 40 are bass, where there are none the lowest part, if it is low; the rest is other. A song
  may lack drums or bass: that stem is silent, and `arrangements.json` says so.
- A seed draws sound font, key, tempo, drum kit, the sound of the bass with a low-pass and a drive, the programs of the other parts within
  their family, levels, reverb, and which `--limit` seconds of a longer song.
- Vocals are phrases of the training tracks of MUSIC (never of its validation tracks) at speeds of 0.8 to 1.25, with rests; silent without.

Needs: pip install mido; apt-get install fluidsynth, and for the sound fonts fluid-soundfont-gm musescore-general-soundfont-small.
"""

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mido
import numpy as np
import soundfile
from scipy.signal import butter, sosfilt

from sfi_zoo.audio.resample import resample
from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from tools.music4.programs import add_seeds, seeded, told

PARTS = ("drums", "bass", "other")
DRUMS = 9  # the channel
KITS = (0, 0, 8, 16, 24, 25, 32, 40)
BASSES = (
    32,
    33,
    33,
    34,
    34,
    35,
    36,
    37,
    38,
    38,
    39,
    39,
    80,
    81,
    87,
)  # the last three are leads, played an octave down
LEADS, LOW_NOTE = 80, 52
TICKS = 960  # a second
LEVELS = {
    "vocals": -19.0,
    "drums": -20.0,
    "bass": -21.0,
    "other": -20.0,
}  # dB of full scale where they are heard, within 4 dB
BLOCK, HEARD = 0.1, 1e-3  # seconds, and the root mean square from which a block is heard
LARGEST, LONGEST = (
    2**29,
    300,
)  # bytes and seconds of one run of fluidsynth: a note that never ends would be written for ever
FONTS = "Debian has fluid-soundfont-gm, musescore-general-soundfont-small, timgm6mb-soundfont"


@dataclass(frozen=True)
class Song:
    """A MIDI file.

    Attributes:
        name: of the file.
        events: (seconds, message of a channel), in order.
        parts: channel -> drums, bass or other.
    """

    name: str
    events: tuple[tuple[float, mido.Message], ...]
    parts: Mapping[int, str]


@dataclass(frozen=True)
class Arrangement:
    """What a seed draws: times in seconds, `tempo` a factor on durations, `key` in semitones, `levels` in dB, `low_pass` in Hz."""

    font: str
    key: int
    tempo: float
    kit: int
    bass: int | None
    swap: int
    reverb: float
    low_pass: float | None
    drive: float | None
    levels: dict[str, float]
    start: float
    duration: float


def read_song(path: Path) -> Song:
    """Read a MIDI file.

    Raises:
        InputError: it is none, or has no note.
    """
    try:
        messages = list(mido.MidiFile(path, clip=True))
    except (OSError, EOFError, ValueError, KeyError, IndexError, mido.KeySignatureError) as error:
        raise InputError(f"{path}: no MIDI file that can be read ({error})") from None
    now, events = 0.0, []
    programs: defaultdict[int, int] = defaultdict(int)
    heard: defaultdict[int, Counter[int]] = defaultdict(Counter)
    notes: defaultdict[int, list[int]] = defaultdict(list)
    for message in messages:
        now += message.time
        if message.is_meta or not hasattr(message, "channel"):
            continue
        if message.type == "program_change":
            programs[message.channel] = message.program
        if message.type == "note_on" and message.velocity:
            heard[message.channel][programs[message.channel]] += 1
            notes[message.channel].append(message.note)
        events.append((now, message))
    if not heard:
        raise InputError(f"{path}: a MIDI file without a note")
    return Song(path.stem, tuple(events), parts_of(heard, notes))


def parts_of(heard: Mapping[int, Counter[int]], notes: Mapping[int, Sequence[int]]) -> dict[int, str]:
    """Channel -> part, from how many notes each program of a channel plays, and which."""

    def is_bass(programs: Counter[int]) -> bool:
        return sum(n for p, n in programs.items() if 32 <= p < 40) > programs.total() / 2

    parts = {c: "drums" if c == DRUMS else "bass" if is_bass(p) else "other" for c, p in heard.items()}
    if "bass" not in parts.values():
        middles = {c: float(np.median(notes[c])) for c, part in parts.items() if part == "other"}
        lowest = min(middles, key=lambda c: (middles[c], c), default=None)
        if lowest is not None and middles[lowest] < LOW_NOTE:
            parts[lowest] = "bass"
    return parts


def draw(song: Song, seed: int, fonts: Sequence[str], limit: float) -> Arrangement:
    """What this seed draws for a song: a pure function of both."""
    rng = generator_of(song.name, seed, 0)
    tempo = float(rng.uniform(0.88, 1.14))
    whole = song.events[-1][0] * tempo
    duration = min(whole + 1.0, limit)
    return Arrangement(
        font=fonts[int(rng.integers(len(fonts)))],
        key=int(rng.integers(-4, 5)),
        tempo=tempo,
        kit=int(rng.choice(KITS)),
        bass=None if rng.random() < 0.3 else int(rng.choice(BASSES)),
        swap=int(rng.integers(0, 4)),
        reverb=float(rng.choice([0.0, 0.0, 0.15, 0.3])),
        low_pass=float(rng.uniform(500, 4000)) if rng.random() < 0.5 else None,
        drive=float(10 ** rng.uniform(0.3, 1.2)) if rng.random() < 0.4 else None,
        levels={part: level + float(rng.uniform(-4, 4)) for part, level in LEVELS.items()},
        start=float(rng.uniform(0, max(0.0, whole - duration))),
        duration=float(duration),
    )


def arranged(song: Song, part: str, plan: Arrangement) -> mido.MidiFile:
    """One part as MIDI; every note and pedal is released at the end, for what is not sounds, and is written, for ever."""
    track, last = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)]), 0

    def add(message: mido.Message, seconds: float) -> None:
        nonlocal last
        tick = max(last, round(seconds * TICKS))
        track.append(message.copy(time=tick - last))
        last = tick

    channels = [channel for channel, own in song.parts.items() if own == part]
    program = plan.kit if part == "drums" else plan.bass if part == "bass" else None
    if program is not None:
        for channel in channels:
            add(mido.Message("program_change", channel=channel, program=program), 0.0)
    for seconds, message in song.events:
        now = seconds * plan.tempo - plan.start
        inside = now < plan.duration and (now >= 0 or not message.type.startswith("note"))
        if (
            message.channel in channels
            and inside
            and not (message.type == "program_change" and program is not None)
        ):
            add(_changed(message, part, plan), max(0.0, now))
    for channel in channels:
        for control in (64, 123, 120):  # pedal up, all notes off, all sound off
            add(mido.Message("control_change", channel=channel, control=control, value=0), plan.duration)
    found = mido.MidiFile(type=0, ticks_per_beat=TICKS // 2)
    found.tracks.append(track)
    return found


def _changed(message: mido.Message, part: str, plan: Arrangement) -> mido.Message:
    """A message in the key and with the programs of an arrangement."""
    if message.type == "program_change" and part == "other" and plan.swap:
        family, which = divmod(message.program, 8)
        return message.copy(program=8 * family + (which + plan.swap * (1 + message.channel)) % 8)
    if message.type in ("note_on", "note_off") and part != "drums":
        down = 12 if part == "bass" and (plan.bass or 0) >= LEADS and message.note > LOW_NOTE else 0
        return message.copy(note=min(max(message.note + plan.key - down, 0), 127))
    return message


def synthesised(midi: mido.MidiFile, font: str, rate: int, reverb: float) -> np.ndarray:
    """What fluidsynth makes of it, (time,) mono.

    Raises:
        InputError: fluidsynth is not installed or fails, or writes for ever.
    """
    with tempfile.TemporaryDirectory() as place:
        notes, sound = f"{place}/part.mid", f"{place}/part.wav"
        midi.save(notes)
        switches = {
            "synth.reverb.active": int(reverb > 0),
            "synth.reverb.level": max(reverb, 0.01),
            "synth.chorus.active": 0,
            "synth.polyphony": 512,
        }
        command = ["fluidsynth", "-ni", "-q", "-g", "0.6", "-r", str(rate), "-O", "float", "-T", "wav"]
        command += [word for key, value in switches.items() for word in ("-o", f"{key}={value}")]
        try:
            done = subprocess.run(
                [*command, "-F", sound, font, notes],
                capture_output=True,
                check=False,
                text=True,
                errors="replace",
                timeout=LONGEST,
                preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (LARGEST, LARGEST)),
            )
        except FileNotFoundError:
            raise InputError("fluidsynth is not installed: apt-get install fluidsynth") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"fluidsynth took more than {LONGEST} s with {font}, and was stopped") from None
        if done.returncode or not Path(sound).exists():
            said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise InputError(f"fluidsynth failed with {font}: {said}")
        return soundfile.read(sound, dtype="float64", always_2d=True)[0].mean(1)


def check_font(path: str) -> None:
    """Raises InputError for a sound font that is absent, or is none."""
    try:
        with Path(path).open("rb") as file:
            head, lists, size = file.read(12), set(), Path(path).stat().st_size
            while head[:4] == b"RIFF" and head[8:] == b"sfbk" and len(chunk := file.read(12)) == 12:
                length = int.from_bytes(chunk[4:8], "little")
                if file.tell() - 4 + length > size:  # cut
                    break
                lists.add(chunk[8:])
                file.seek(length - 4, 1)
                if length % 2 and file.peek(1)[:1] == b"\0":  # RIFF pads odd lengths, MuseScore's .sf3 do not
                    file.seek(1, 1)
    except OSError as error:
        raise InputError(f"{path}: no sound font there ({error.strerror}); {FONTS}") from None
    if not {b"INFO", b"sdta", b"pdta"} <= lists:  # fluidsynth says so, and goes on for ever
        raise InputError(f"{path}: no sound font (.sf2, .sf3), or a part of one; {FONTS}")


def sung(length: int, rate: int, voices: Sequence[Track], rng: np.random.Generator) -> np.ndarray:
    """Phrases of 3 to 12 s, rests of up to 3 s between, all at one speed: (length,); silent without voices."""
    line = np.zeros(length)
    speed, place, misses = float(rng.uniform(0.8, 1.25)), int(rng.uniform(0, 4) * rate), 0
    while voices and place < length and misses < 100:
        track = voices[int(rng.integers(len(voices)))]
        frames = min(track.frames, int(rng.uniform(3, 12) * track.sample_rate))
        first = int(rng.integers(0, track.frames - frames + 1))
        phrase = resample(
            track.read("vocals", first, first + frames).mean(0), track.sample_rate * speed, rate
        ).numpy()
        if math.sqrt(np.square(phrase).mean()) < HEARD:
            misses += 1
            continue
        fade = np.linspace(0, 1, min(len(phrase), rate // 50))
        phrase[: len(fade)] *= fade
        phrase[len(phrase) - len(fade) :] *= fade[::-1]
        kept = min(len(phrase), length - place)
        line[place : place + kept] += phrase[:kept]
        place += len(phrase) + int(rng.uniform(0, 3) * rate)
    return line


def levelled(stem: np.ndarray, rate: int, level: float) -> np.ndarray:
    """Scaled so that the blocks in which it is heard have this level in dB; a stem that is never heard is silent."""
    size = round(BLOCK * rate)
    blocks = stem[: len(stem) // size * size].reshape(-1, size)
    loud = blocks[np.square(blocks).mean(1) > HEARD**2]
    return stem * (10 ** (level / 20) / math.sqrt(np.square(loud).mean())) if len(loud) else 0 * stem


def stems_of(
    song: Song, plan: Arrangement, rate: int, voices: Sequence[Track], seed: int
) -> dict[str, np.ndarray]:
    """The stems at their levels, of one length."""
    found = {
        part: synthesised(arranged(song, part, plan), plan.font, rate, plan.reverb)
        if part in song.parts.values()
        else np.zeros(0)
        for part in PARTS
    }
    length = min(max(map(len, found.values())), round(plan.duration * rate))
    found = {part: np.pad(x[:length], (0, max(0, length - len(x)))) for part, x in found.items()}
    bass = found["bass"]
    if plan.low_pass:
        bass = sosfilt(butter(2, min(plan.low_pass, 0.45 * rate), "low", fs=rate, output="sos"), bass)
    peak = np.abs(bass).max(initial=0.0)
    if plan.drive and peak > 0:
        bass = np.tanh(plan.drive * bass / peak) * peak
    vocals = sung(length, rate, voices, generator_of(song.name, seed, 1))
    found = {"vocals": vocals, **found, "bass": bass}
    return {part: levelled(x, rate, plan.levels[part]) for part, x in found.items()}


def write_track(folder: Path, stems: Mapping[str, np.ndarray], rate: int) -> None:
    """Five files, all of them or none; the mixture is exactly the sum of the stems. Where anything would clip, all are lowered together."""
    peak = max(np.abs(x).max(initial=0.0) for x in (*stems.values(), sum(stems.values())))
    factor = (2**15 - 4) * min(1.0, 0.9 / max(float(peak), 1e-9))
    samples = {part: np.round(x * factor).astype(np.int16) for part, x in stems.items()}
    samples["mixture"] = np.sum(list(samples.values()), axis=0, dtype=np.int16)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".partial", dir=folder.parent))
    try:
        for part, x in samples.items():
            soundfile.write(draft / f"{part}.wav", x, rate, subtype="PCM_16")
        draft.chmod(0o755)
        draft.rename(folder)
    except (OSError, RuntimeError) as error:  # soundfile's is a RuntimeError, also where the disk is full
        raise InputError(f"{folder}: cannot be written ({error}); is the disk full?") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def render(job: tuple[Path, int], args: argparse.Namespace) -> tuple[str, dict[str, Any] | None]:
    """One track of a song and a seed: its name, and what was drawn; None where it was there before."""
    path, seed = job
    name = f"MIDI - {path.stem} v{seed}"
    folder = args.out / args.split / name
    if folder.exists():
        return name, None
    song = read_song(path)
    plan = draw(song, seed, args.font, args.limit)
    voices = training_tracks(args.voices, "train", ("vocals",))[0] if args.voices else ()
    stems = stems_of(song, plan, args.rate, voices, seed)
    write_track(folder, stems, args.rate)
    silent = [part for part, x in stems.items() if not x.any()]
    lost = [part for part in silent if part in song.parts.values()]  # has notes, and the font plays none
    return name, asdict(plan) | {"silent": silent, "has_notes_but_is_silent": lost}


def generator_of(name: str, seed: int, use: int) -> np.random.Generator:
    """Random numbers of a song and a seed, others for every use."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed, use])


def add_options(parser: argparse.ArgumentParser, limit: float) -> None:
    """What every renderer of songs takes; `limit` is in seconds."""
    add_seeds(parser)
    parser.add_argument("--split", default="train")
    parser.add_argument("--voices", type=Path, help="folder of the MUSDB layout whose training tracks sing")
    parser.add_argument("--rate", type=int, default=32_000)
    parser.add_argument("--limit", type=float, default=limit, help="seconds of a song at most")


def main() -> None:
    """All songs, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--font", action="append", required=True, help="a sound font; give several to draw from"
    )
    parser.add_argument("--only", default="*", help="songs whose names match this shell pattern")
    add_options(parser, limit=150.0)
    args = parser.parse_args()
    record = args.out / "arrangements.json"
    with told(parser):
        for font in args.font:
            check_font(font)
        if shutil.which("fluidsynth") is None:
            raise InputError("fluidsynth is not installed: apt-get install fluidsynth")
        paths = sorted(args.songs.glob(f"{args.only}.mid"))
        if not paths:
            raise InputError(f"{args.songs}: no {args.only}.mid")
        drawn = json.loads(record.read_text()) if record.exists() else {}
        with ProcessPoolExecutor(args.jobs) as pool:
            for name, plan in pool.map(partial(render, args=args), seeded(paths, args)):
                print(name, "was there" if plan is None else "", flush=True)
                if plan is not None:
                    drawn[name] = plan
                    record.write_text(json.dumps(drawn, indent=1) + "\n")
                    for part in plan["has_notes_but_is_silent"]:
                        print(
                            f"note: {name}: {part} has notes, and {plan['font']} plays none of them",
                            file=sys.stderr,
                        )


if __name__ == "__main__":
    main()
