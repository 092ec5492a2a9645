"""A process in which inputs are tried: little memory, no file outside its folder, no program, no network."""

import contextlib
import gc
import io
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

MEMORY = 2**30  # bytes beyond what the libraries take
HANG = 60.0  # after which it is ended
LONGEST = 2000  # characters of a message
FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "socket.connect",
    "os.symlink",
    "os.link",
)
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate")


def serve(connection: Connection, folder: str) -> None:
    """Tries the (kind, number, seed) that come in, and sends back what is wrong with each, "" for nothing."""
    os.chdir(folder)
    os.environ["PATH"] = ""  # no ffmpeg: it would be a program
    with _stub():
        import torch

        from tests.fuzz.inputs import KINDS

        torch.set_num_threads(1)  # threads that wait for each other on a busy machine take CPU time too
        for make in KINDS.values():
            make(Random(0))  # libraries and seeds, before limits
        gc.collect()
        gc.freeze()  # or each input would wait for a walk through all of torch
        _limit_memory()
        guard = Guard(Path(folder))
        sys.addaudithook(guard)
        connection.send("")
        while True:
            kind, number, seed = connection.recv()
            connection.send(attempt(guard, KINDS[kind](Random(f"{kind} {number} {seed}"))))


class Guard:
    """An audit hook that notes what nobody may do here while it is `on`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.found = folder, False, list[str]()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.found.append(f"{event} {arguments!r:.200}")
        writes = (
            event == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if (writes or event in WRITES) and isinstance(arguments[0], str | bytes):
            path = Path(os.fsdecode(arguments[0])).resolve()
            if path != Path(os.devnull) and self.folder not in path.parents:
                self.found.append(f"{event} outside: {path}")


def attempt(guard: Guard, tried: Any) -> str:
    """What is wrong with how an input is handled; nothing is left of it afterwards."""
    work = guard.folder / "work"
    (work / "in").mkdir(parents=True)
    os.chdir(work)
    for name, content in tried.files.items():
        (work / "in" / name).write_bytes(content)
    guard.found.clear()
    signal.setitimer(signal.ITIMER_PROF, HANG)  # SIGPROF ends the process
    guard.on = True
    try:
        problem, code = "", 0
        for call in tried.calls:
            problem, code = _call(call, tried.seconds, tried.memory + sum(map(len, tried.files.values())))
            if problem or code:
                break
    finally:
        guard.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.chdir(guard.folder)
    problems = [problem] if problem else []
    for path in sorted(guard.folder.rglob("*")):
        name = str(path.relative_to(guard.folder))
        if name not in ("work", "work/in", *(f"work/in/{file}" for file in tried.files)):
            inside = name == "work/out" or name.startswith("work/out/")
            if code or not inside or ".partial" in name:
                problems.append(f"left behind: {name}")
    shutil.rmtree(work)
    return "; ".join(problems + guard.found)


def _call(arguments: list[str], most_seconds: float, most_memory: int) -> tuple[str, int]:
    """What is wrong with a call, and its exit code."""
    from sfi_zoo import cli

    out, err = io.StringIO(), io.StringIO()
    before, start = _memory_now(), time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(arguments)
    except BaseException:
        return "raises " + traceback.format_exc(), -1
    said, seconds, grown = err.getvalue(), time.process_time() - start, _peak_memory() - before
    problem = ""
    if seconds > most_seconds:
        problem = f"takes {seconds:.1f} s"
    elif grown > most_memory:
        problem = f"takes {grown / 2**20:.0f} MiB"
    elif code not in (0, 1, 2) or "Traceback" in said:
        problem = f"exit code {code}: {said[-3000:]}"
    elif code and (said.count("\n") != 1 or not said.startswith("sfi-zoo: ") or len(said) > LONGEST):
        problem = f"exit code {code}, not told in one line: {said[:3000]!r}"
    return problem, code


_peak_reset = (
    os.open("/proc/self/clear_refs", os.O_WRONLY) if Path("/proc/self/clear_refs").exists() else None
)


def _memory_now() -> int:
    """Resident memory in bytes; the peak begins anew."""
    gc.collect()
    if _peak_reset is not None:
        os.write(_peak_reset, b"5")
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@contextlib.contextmanager
def _stub() -> Iterator[None]:
    """`half` is a model without weights."""
    from sfi_zoo import hub
    from tests.half_separator import Half

    load = hub.load
    with mock.patch.object(
        hub, "load", lambda name, device=None: Half() if name == "half" else load(name, device)
    ):
        yield
