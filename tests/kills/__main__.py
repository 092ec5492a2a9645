"""`python -m tests.kills`: many kills, by hand."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.kills import __doc__ as about
from tests.kills.commands import COMMANDS
from tests.kills.run import kill_at


def main() -> int:
    """Prints what went wrong; 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=about)
    parser.add_argument("--count", type=int, default=500, help="kills in all commands together")
    parser.add_argument("--command", choices=sorted(COMMANDS), action="append", help="only these")
    parser.add_argument("--keep", type=Path, help="folder for what failed")
    options = parser.parse_args()
    names = options.command or list(COMMANDS)
    tried, failures, start = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        for number, name in enumerate(names):
            each = (options.count - tried) // (len(names) - number)
            place = (options.keep or Path(temporary)).resolve() / name
            before = tried
            for problem in kill_at(name, place, each):
                tried += 1
                failures += bool(problem)
                if problem:
                    print(problem, flush=True)
            print(f"{name}: {tried - before} kills", flush=True)
    print(f"{tried} kills, {failures} failures, {time.monotonic() - start:.0f} s")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
