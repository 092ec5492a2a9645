"""A share of the fuzz run; `python -m tests.fuzz` is the whole."""

import pytest

from tests.fuzz.inputs import KINDS
from tests.fuzz.run import fuzz


@pytest.mark.slow
def test_mutated_inputs_are_handled_or_refused_in_one_line() -> None:
    tried = list(fuzz(list(KINDS), range(600), seed=1, seconds=15))
    assert len(tried) >= 20  # 600 on an idle core
    assert [found for found in tried if found.problem] == []
