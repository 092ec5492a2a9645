"""Inputs one by one into a prison; a prison that crashes or hangs is told and replaced."""

import multiprocessing
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from tests.fuzz.inputs import KINDS
from tests.fuzz.prison import HANG, serve

PATIENCE = (
    300.0  # seconds for one input that waits for something; one that computes is ended by `prison.HANG`
)
START = 1800.0  # for the libraries, on a machine that others use too


@dataclass(frozen=True)
class Tried:
    """An input and what was wrong, "" for nothing."""

    kind: str
    number: int
    seed: int
    problem: str

    def save(self, folder: Path) -> None:
        """Writes its files."""
        place = folder / f"{self.kind}-{self.number}-{self.seed}"
        place.mkdir(parents=True, exist_ok=True)
        for name, content in KINDS[self.kind](Random(f"{self.kind} {self.number} {self.seed}")).files.items():
            (place / name).write_bytes(content)


def fuzz(
    kinds: Sequence[str], numbers: Iterable[int], seed: int = 0, seconds: float | None = None
) -> Iterator[Tried]:
    """Tries inputs, of all kinds in turn.

    Args:
        kinds: keys of `KINDS`.
        numbers: of the inputs; input n is of kind n modulo the number of kinds.
        seed: of all of them.
        seconds: stop after so many, the start of the prison not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        prison = Prison(folder)
        try:
            end = time.monotonic() + (seconds or float("inf"))
            for number in numbers:
                if time.monotonic() > end:
                    return
                kind = kinds[number % len(kinds)]
                yield Tried(kind, number, seed, prison.attempt(kind, number, seed))
        finally:
            prison.close()


class Prison:
    """A process for inputs, see `tests.fuzz.prison`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._start()

    def attempt(self, kind: str, number: int, seed: int) -> str:
        """What is wrong with the handling of an input."""
        self._connection.send((kind, number, seed))
        try:
            if self._connection.poll(PATIENCE):
                return str(self._connection.recv())
            problem = f"hangs: no end after {PATIENCE:g} s"
        except EOFError:
            self._process.join()
            problem = f"crashes with exit code {self._process.exitcode}"
            if self._process.exitcode == -signal.SIGPROF:
                problem = f"hangs: no end after {HANG:g} s of CPU time"
        self.close()
        self._start()
        return problem

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._connection: Connection = ours
        place = tempfile.mkdtemp(dir=self.folder)
        self._process = context.Process(target=serve, args=(theirs, str(Path(place).resolve())), daemon=True)
        self._process.start()
        theirs.close()
        if not ours.poll(START):
            raise RuntimeError("the prison does not start")
        ours.recv()
