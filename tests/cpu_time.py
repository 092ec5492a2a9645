"""CPU time of a piece of code as a fresh process would take it, in a process that thousands of tests have used."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cpu_seconds() -> Iterator[list[float]]:
    """Gives a list; at the end it holds the seconds of CPU that this thread took inside.

    Left out is what earlier tests bring in: threads that still run, and objects that the garbage collector would walk through.
    """
    spent: list[float] = []
    gc.collect()
    gc.freeze()
    start = time.thread_time()
    try:
        yield spent
    finally:
        spent.append(time.thread_time() - start)
        gc.unfreeze()
