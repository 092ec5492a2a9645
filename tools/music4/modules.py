"""Tracker modules become stems of the MUSDB layout: the drums, basses and the rest of real songs, with vocals of ours.

    python tools/music4/modules.py FOLDER OUT --voices MUSIC

FOLDER is searched for .mod, .xm, .it, .s3m, .stm and .mtm, also below it; in OUT/train/REAL - <folder> <song> mixture, vocals, drums, bass
and other are mono, 16 bit, and the mixture is exactly the sum. Run again, it goes on. The same file, seed and voices give the same tracks.

- libopenmpt plays every instrument alone (tracker.py), `sorting.py` decides by names, notes and sound whether it is drums, bass or other.
  An instrument that it cannot sort is left out: the mixture lacks it, but no stem holds what it should not.
- A song is dropped, and `real.json` says why: more than a quarter of its energy is left out; hardly any drums; neither bass nor other;
  under 20 s; the sum of the instruments alone is not the song (an error above -30 dB); no module.
- Of a longer song the middle `--limit` seconds. The balance of the song stays, but a stem that is heard is at most 12 dB below the loudest.
- Vocals are phrases of the training tracks of MUSIC that are not rendered, produced as electronic.py does it; 15 % of the songs have none.
- A file of a stranger: a process of its own with limits on memory, on what it writes, and on time.

Needs: apt-get install libopenmpt0; pip install mido python-stretch.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from tools.music4.electronic import RENDERED
from tools.music4.players import vocals_of
from tools.music4.programs import seeded, told
from tools.music4.render_midi import BLOCK, add_options, generator_of, levelled, write_track
from tools.music4.sorting import PARTS

ENDINGS = (".mod", ".xm", ".it", ".s3m", ".stm", ".mtm")
MEMORY, LARGEST, SECONDS = 2**31, 2**29, 300  # bytes, bytes and seconds of one module
WITHOUT_VOCALS = 0.15  # of the songs
LEVEL = -15.0  # dB of full scale of all but the vocals, where it is heard
VOCALS = (-23.0, -15.0)  # the same of the vocals
BEAT = 0.5  # seconds, of echoes of the vocals, where the song does not say
QUIETEST = 12.0  # dB that a stem may be below the loudest
UNSORTED, ERROR = 0.25, -30.0  # at most: share of the energy, and dB
DRUMS, BASS, OTHER, SHORTEST = (
    0.02,
    0.005,
    0.02,
    20.0,
)  # at least: shares of the energy; one of the middle two; seconds
TRACKER = Path(__file__).with_name("tracker.py")


def limited() -> None:
    """Limits on memory, on what is written and on time for the process that calls it, and for what it runs."""
    for what, most in (("AS", MEMORY), ("FSIZE", LARGEST), ("CPU", SECONDS)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most, most))


def stems_of(path: Path, rate: int, limit: float) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The stems of a module, without vocals, and the report of tracker.py.

    Raises:
        InputError: libopenmpt is not installed, the file is no module, or takes too much time or memory.
    """
    with tempfile.TemporaryDirectory() as place:
        stems = Path(place, "stems.npz")
        options = [f"--rate={rate}", f"--limit={limit}"]
        try:
            done = subprocess.run(
                [sys.executable, TRACKER, *options, "--", path.absolute(), stems],
                capture_output=True,
                check=False,
                text=True,
                errors="replace",
                timeout=4 * SECONDS,
                preexec_fn=limited,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"{path}: took more than {4 * SECONDS} s, and was stopped") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"{path}: stopped with status {done.returncode}"])[
                -1
            ]
            raise InputError(said if str(path) in said else f"{path}: {said}")
        with np.load(stems) as found:
            return {part: found[part].astype(np.float64) for part in PARTS}, json.loads(done.stdout)


def objection(report: Mapping[str, Any]) -> str | None:
    """Why a song is dropped; None where it is good."""
    shares = report["shares"]
    if report["duration"] < SHORTEST:
        return f"{report['duration']:.0f} s are too short"
    if report.get("error_db", ERROR) > ERROR:
        return f"the sum of the instruments alone is not the song: {report['error_db']:.0f} dB"
    if report["unsorted"] > UNSORTED:
        return f"{100 * report['unsorted']:.0f} % of the energy is of instruments that cannot be sorted"
    if shares["drums"] < DRUMS:
        return "hardly any drums"
    return None if shares["bass"] >= BASS or shares["other"] >= OTHER else "hardly anything but drums"


def with_vocals(
    name: str,
    stems: Mapping[str, np.ndarray],
    rate: int,
    voices: Sequence[Track],
    seed: int,
    beat: float = BEAT,
) -> dict[str, np.ndarray]:
    """Stems of one song (time,), and vocals beside them; a pure function of all of this."""
    rng = generator_of(name, seed, 1)
    stems = balanced(stems, rate)
    song = np.sum(list(stems.values()), axis=0)
    peak = float(np.abs(song).max())
    gain = (
        float(np.abs(levelled(song / peak, rate, LEVEL)).max()) / peak
    )  # for levelled takes what is faint as silent
    sings, loud = rng.random() >= WITHOUT_VOCALS, float(rng.uniform(*VOCALS))
    vocals = vocals_of(len(song), rate, voices, beat, rng) if sings else np.zeros(len(song))
    return {"vocals": levelled(vocals, rate, loud), **{part: gain * x for part, x in stems.items()}}


def balanced(stems: Mapping[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """Stems that are heard, but more than `QUIETEST` dB below the loudest, are raised to that; those 40 dB below are left as they are."""
    size = round(BLOCK * rate)

    def level(line: np.ndarray) -> float:
        blocks = np.square(line[: len(line) // size * size].reshape(-1, size)).mean(1)
        blocks = blocks[blocks > 1e-3 * blocks.max(initial=0.0) + 1e-12]
        return 10 * float(np.log10(blocks.mean())) if len(blocks) else -np.inf

    levels = {part: level(line) for part, line in stems.items()}
    least = max(levels.values()) - QUIETEST
    raised = {
        part: max(0.0, least - db) if db > least + QUIETEST - 40 else 0.0 for part, db in levels.items()
    }
    return {part: line * 10 ** (raised[part] / 20) for part, line in stems.items()}


def voices_of(folder: Path | None) -> list[Track]:
    """The training tracks that sing: none that is rendered, for its vocals are phrases of others."""
    tracks = training_tracks(folder, "train", ("vocals",))[0] if folder else []
    return [track for track in tracks if not track.name.startswith(RENDERED)]


Song = tuple[str, Path]
Read = Callable[[Path, int, float], tuple[dict[str, np.ndarray], dict[str, Any]]]


def render(job: tuple[Song, int], args: argparse.Namespace, read: Read) -> tuple[str, dict[str, Any] | None]:
    """A song and a seed become a track, if it is good and was not there before; its name, and a report."""
    (song, path), seed = job
    name = f"REAL - {song}" + (f" v{seed}" if seed else "")
    folder = args.out / args.split / name
    if folder.exists():
        return name, None
    try:
        stems, report = read(path, args.rate, args.limit)
    except InputError as error:
        return name, {"dropped": " ".join(str(error).split())}
    if why := objection(report):
        return name, report | {"dropped": why}
    write_track(
        folder,
        with_vocals(song, stems, args.rate, voices_of(args.voices), seed, report.get("beat", BEAT)),
        args.rate,
    )
    return name, report


def songs_below(folder: Path, endings: Sequence[str], without: Sequence[str] = ()) -> list[Song]:
    """Name and path of each; the name has the first folder below, which is often a package, and a number where two would be the same."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        known = path.suffix.lower() in endings and not any(fnmatch(path.name, pattern) for pattern in without)
        if known and path.is_file():
            parts = path.relative_to(folder).parts
            name = path.stem if len(parts) == 1 else f"{parts[0]} {path.stem}"
            number = sum(other == name or other.startswith(f"{name} (") for other in found)
            found[f"{name} ({number + 1})" if number else name] = path
    if not found:
        raise InputError(f"{folder}: no {', '.join(endings)}")
    return list(found.items())


def run(about: str | None, endings: Sequence[str], read: Read, needed: Callable[[], None]) -> None:
    """All songs of a folder, seed by seed; `read` makes stems of one, `needed` raises where a program or library is missing."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--leave-out", action="append", default=[], help="songs whose file names match this shell pattern"
    )
    add_options(parser, limit=120.0)
    args = parser.parse_args()
    record = args.out / "real.json"
    with told(parser):
        needed()
        songs = songs_below(args.folder, endings, args.leave_out)
        reports = json.loads(record.read_text()) if record.exists() else {}
        jobs = seeded(songs, args)
        args.out.mkdir(parents=True, exist_ok=True)
        one = partial(render, args=args, read=read)
        with ProcessPoolExecutor(args.jobs) if args.jobs > 1 else nullcontext() as pool:
            for name, report in pool.map(one, jobs) if pool else map(one, jobs):
                if report is None:
                    print(name, "was there", flush=True)
                    continue
                reports[name] = report
                record.write_text(json.dumps(reports, indent=1) + "\n")
                print(
                    name,
                    f"dropped: {report['dropped']}" if "dropped" in report else report["shares"],
                    flush=True,
                )


def needs_libopenmpt() -> None:
    """Raises InputError where libopenmpt is not installed."""
    from tools.music4.tracker import BadModule, library

    try:
        library()
    except BadModule as error:
        raise InputError(str(error)) from None


def main() -> None:
    """All modules of a folder."""
    run(__doc__, ENDINGS, stems_of, needs_libopenmpt)


if __name__ == "__main__":
    main()
