"""A share of the fuzz run; `python -m tests.fuzz` is the whole."""

import time

import pytest

from tests.fuzz.inputs import KINDS
from tests.fuzz.run import Tried, fuzz

SECONDS, LEAST = (
    15,
    4 * len(KINDS),
)  # on an idle core all 600; on a busy one some of each kind, however long they take


@pytest.mark.slow
def test_mutated_inputs_are_handled_or_refused_in_one_line() -> None:
    tried: list[Tried] = []
    start = None
    for found in fuzz(list(KINDS), range(600), seed=1):
        start = time.monotonic() if start is None else start  # the libraries are there
        tried.append(found)
        if time.monotonic() - start > SECONDS and len(tried) >= LEAST:
            break
    assert [found for found in tried if found.problem] == []
