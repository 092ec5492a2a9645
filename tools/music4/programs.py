"""What the renderers of this folder share as programs: seeds, jobs in processes, and messages instead of tracebacks."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sfi_zoo.errors import InputError

Item = TypeVar("Item")


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Options of what is rendered once for each seed."""
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)


def seeded(items: Iterable[Item], args: argparse.Namespace) -> list[tuple[Item, int]]:
    """Each item with each seed, seed by seed."""
    items = list(items)
    return [(item, args.first_seed + seed) for seed in range(args.seeds) for item in items]


def print_each(render: Callable[..., str], jobs: Iterable[Any], args: argparse.Namespace) -> None:
    """Prints what render(job, args=args) says of each job; `args.jobs` processes, in the order of the jobs."""
    with ProcessPoolExecutor(args.jobs) as pool:
        for line in pool.map(partial(render, args=args), jobs):
            print(line, flush=True)


@contextmanager
def told(parser: argparse.ArgumentParser, package: str = "") -> Iterator[None]:
    """Ends the program with a message where the input, a file or a number is wrong, or `package` is not installed."""
    try:
        yield
    except ImportError as error:
        if not package:
            raise
        parser.error(f"{error}: pip install {package}")
    except (InputError, OSError, ValueError) as error:
        parser.error(" ".join(str(error).split()))
