"""Kills a command at one point after the other."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.kills.commands import COMMANDS, Command, seen, within
from tests.kills.points import CODE, Points
from tests.processes import _context, finish

SECONDS = 300.0  # that a command may take on a busy machine


def kill_at(name: str, place: Path, count: int) -> Iterator[str]:
    """Kills a command at points that are spread evenly over all it has.

    Args:
        name: key of `COMMANDS`.
        place: an empty folder.
        count: of the points, or all where there are fewer.

    Yields:
        What is wrong after each kill, "" for nothing.
    """
    command = COMMANDS[name]
    start, work = place / "start", place / "work"  # one place for all: stems tell where their model is
    start.mkdir(parents=True)
    assert _in_process(_prepare, (name, start)) == 0
    shutil.copytree(start, work)
    assert _in_process(_run, (command.call, work, 0)) == 0, (work / "log").read_text()
    points = int((work / "points").read_text())
    (work / "points").unlink()
    expected = seen(work)
    work.rename(place / "whole")
    count = min(count, points)
    for at in (1 + points * i // count for i in range(count)):
        shutil.copytree(start, work)
        problem = _tried(command, work, at, expected, seen(start))
        if problem:
            work.rename(place / f"killed at {at}")
        else:
            shutil.rmtree(work)
        yield f"{name}, point {at} of {points}: {problem}" if problem else ""


def _tried(
    command: Command, work: Path, at: int, expected: dict[str, object], before: dict[str, object]
) -> str:
    code = _in_process(_run, (command.call, work, at))
    if code != CODE:
        return f"is not killed, exit code {code}: {(work / 'log').read_text()}"
    if not command.old:
        for path, content in seen(work).items():
            if (
                ".partial" not in path
                and ".jsonl" not in path
                and content not in (expected.get(path), before.get(path))
            ):
                return f"leaves {path}, which is not whole"
    code = _in_process(_run, (command.call, work, 0))
    if code not in command.again:
        return f"does not go on, exit code {code}: {(work / 'log').read_text()}"
    (work / "points").unlink()
    found = seen(work)
    different = sorted(
        path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)
    )
    return f"gives other files than a run that was not killed: {', '.join(different)}" if different else ""


def _in_process(target: object, arguments: tuple[object, ...]) -> int:
    process = _context.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    return finish(process, SECONDS)


def _prepare(name: str, folder: Path) -> None:
    within(folder)
    COMMANDS[name].prepare()


def _run(call: tuple[str, ...], folder: Path, at: int) -> None:
    within(folder)
    log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from sfi_zoo import cli

    points = Points(folder, at)
    code = cli.main(list(call))
    count, points.at = points.count, 0
    (folder / "points").write_text(str(count))
    sys.exit(code)
