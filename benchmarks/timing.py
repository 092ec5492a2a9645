"""Timing two things against each other on a machine that others use too: interleaved pairs, the median of their ratios."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Times of two functions, run in turn.

    Attributes:
        ratio: median over the pairs of first / second.
        quartiles: of the same ratios.
        first: median, in seconds.
        second: median, in seconds.
    """

    ratio: float
    quartiles: tuple[float, float]
    first: float
    second: float


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def compare(first: Callable[[], Any], second: Callable[[], Any], pairs: int, warm_up: int = 2) -> Comparison:
    """Runs both in turn, `pairs` times; which one goes first alternates.

    Noise that lasts longer than a pair (another process, a clock that slows down) meets both alike and leaves the ratio alone.
    """
    for _ in range(warm_up):
        first(), second()
    times = []
    for i in range(pairs):
        if i % 2:
            b = seconds(second)
            times.append((seconds(first), b))
        else:
            a = seconds(first)
            times.append((a, seconds(second)))
    ratios = [a / b for a, b in times]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if pairs > 1 else ratios * 3
    return Comparison(median(ratios), (low, high), median(a for a, _ in times), median(b for _, b in times))
