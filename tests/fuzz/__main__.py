"""`python -m tests.fuzz`: many inputs, by hand."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.inputs import KINDS
from tests.fuzz.run import fuzz


def main() -> int:
    """Prints what failed; 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs of all kinds together")
    parser.add_argument("--seconds", type=float, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="only these")
    parser.add_argument("--only", type=int, help="only the input of this number")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz_failures"), help="folder for inputs that fail"
    )
    options = parser.parse_args()
    numbers = range(options.count) if options.only is None else [options.only]
    tried, failures, start = Counter[str](), 0, time.monotonic()
    for failure in fuzz(options.kind or list(KINDS), numbers, options.seed, options.seconds):
        tried[failure.kind] += 1
        if tried.total() % 500 == 0:
            print(f"{tried.total()} inputs, {failures} failures", file=sys.stderr, flush=True)
        if failure.problem:
            failures += 1
            failure.save(options.keep)
            print(f"{failure.kind} {failure.number}: {failure.problem}", flush=True)
    shares = ", ".join(f"{count} {kind}" for kind, count in tried.items())
    print(f"{tried.total()} inputs ({shares}), {failures} failures, {time.monotonic() - start:.0f} s")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
