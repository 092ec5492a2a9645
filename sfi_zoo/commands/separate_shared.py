"""Processes that share the files of `separate`: under `accelerate launch`, `torchrun`, SLURM, or started by --jobs."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sfi_zoo.errors import InputError

_PLACES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))
_PROGRAM = "from sfi_zoo import cli; raise SystemExit(cli.main())"
_WAIT = 0.5  # seconds between looks at a file that another process has
JOB_BYTES = 1.2e9  # resident memory of a process that separates with the default model and chunks of 12 s


def place_among_processes() -> tuple[int, int]:
    """(rank, number of processes), (0, 1) alone.

    Raises:
        InputError: the environment contradicts itself.
    """
    for rank, world in _PLACES:
        if rank in os.environ and world in os.environ:
            try:
                place = int(os.environ[rank]), int(os.environ[world])
            except ValueError:
                place = (-1, 0)
            if not 0 <= place[0] < place[1]:
                raise InputError(
                    f"{rank}={os.environ[rank]}, {world}={os.environ[world]}: not a valid rank among processes"
                )
            return place
    return 0, 1


class Claim:
    """A lock on a file that a process works on. It ends with the process, even when that is killed.

    Args:
        out: the folder of the stems; locks lie in `.sfi-zoo-claims` in it, and are taken away at the end.
        key: what is claimed.
    """

    def __init__(self, out: Path, key: str) -> None:
        name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:24]
        self._path = out / ".sfi-zoo-claims" / name
        self._file: IO[bytes] | None = None

    def take(self) -> bool:
        """Takes the file; False where another process holds it."""
        import fcntl

        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Gives the file back, so that another process may take it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def shared_out(count: int, rank: int, world_size: int) -> list[int]:
    """All numbers below `count`: first a process's own share, then the shares of the others, in case they never finish them."""
    first = -(-count * rank // world_size)
    return [*range(first, count), *range(first)]


def in_turn(waiting: Sequence[int], take: "Any") -> Iterator[int]:
    """Numbers that `take` gives to this process, the ones that others hold later; until none is left.

    Args:
        waiting: numbers.
        take: number -> True (it is ours), False (another has it now), None (it is done).
    """
    left = list(waiting)
    while left:
        held = []
        for number in left:
            taken = take(number)
            if taken:
                yield number
            elif taken is False:
                held.append(number)
        left = held
        if left:
            time.sleep(_WAIT)


def clear_claims(out: Path) -> None:
    """Removes the locks that nobody holds. Another process may still be at work."""
    folder = out / ".sfi-zoo-claims"
    with suppress(OSError):
        for path in folder.iterdir():
            claim = Claim(out, "")
            claim._path = path
            if claim.take():
                path.unlink(missing_ok=True)
                claim.release()
        folder.rmdir()


def check_memory(jobs: int, bytes_each: float) -> None:
    """Refuse more processes than the memory holds.

    Raises:
        InputError: they need more than is there; the message says how many fit.
    """
    free = _free_memory()
    if jobs > 1 and free is not None and jobs * bytes_each > free:
        fits = max(1, int(free // bytes_each))
        raise InputError(
            f"--jobs {jobs}: each needs about {bytes_each / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; --jobs {fits} fits"
        )


def _free_memory() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return None


def run_jobs(arguments: Sequence[str], jobs: int, threads: int) -> tuple[list[dict[str, Any]], int]:
    """The same command in several processes on this machine.

    Args:
        arguments: of the command line, without --jobs and with --json.
        jobs: how many.
        threads: CPU threads of each.

    Returns:
        What they report, and the worst exit code.
    """
    running = []
    for rank in range(jobs):
        place = {"RANK": str(rank), "WORLD_SIZE": str(jobs), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", _PROGRAM, *arguments]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | place))
    results: list[dict[str, Any]] = []
    codes = []
    try:
        for process in running:
            output = process.communicate()[0]
            codes.append(process.returncode)
            with suppress(ValueError):
                results += json.loads(output or b"[]")
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return results, max((abs(code) for code in codes), default=0)
