"""`sfi-zoo` in processes of its own, started quickly: a server that has imported everything forks for each."""

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

_context = get_context("forkserver")
_context.set_forkserver_preload(
    [
        *("sfi_zoo.cli", "sfi_zoo.hub", "sfi_zoo.importers.checkpoint", "sfi_zoo.metrics.reporting.report"),
        *(
            "sfi_zoo.metrics.scoring.run",
            "sfi_zoo.models.conv_tasnet",
            "matplotlib.figure",
            "matplotlib.backends.backend_svg",
        ),
        *(
            "sfi_zoo.commands.separate_run",
            "tests.kills.run",
            "accelerate",
            "sfi_zoo.training.trainer",
            "sfi_zoo.training.start",
        ),
        *(
            "sfi_zoo.training.stem_cache",
            "sfi_zoo.hub.kit",
            "sfi_zoo.hub.first_use",
            "sfi_zoo.importers.speechbrain",
            "soxr",
        ),
    ]
)


def start(*arguments: str, log: Path) -> BaseProcess:
    """Starts `sfi-zoo` in the folder that is current here; `log` gets what it says."""
    process = _context.Process(target=_run, args=(arguments, Path.cwd(), log))
    process.start()
    return process


def _run(arguments: tuple[str, ...], folder: Path, log: Path) -> None:
    os.chdir(folder)
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from sfi_zoo import cli

    sys.exit(cli.main(list(arguments)))


def finish(process: BaseProcess, seconds: float = 600) -> int:
    """The exit code; a process that does not end is killed and fails the test."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"does not end within {seconds} s")
    return process.exitcode


def send(process: BaseProcess, number: signal.Signals) -> None:
    """A signal, if the process is still there."""
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, number)


def wait_until(condition: Callable[[], object], process: BaseProcess, seconds: float = 600) -> None:
    """Until it holds or the process has ended."""
    end = time.monotonic() + seconds
    while process.is_alive() and not condition():
        assert time.monotonic() < end, "does not get that far"
        time.sleep(0.002)
