"""Each long command is killed where it changes the disk, and run again. `python -m tests.kills --count 500` tries more."""

from pathlib import Path

import pytest

from tests.kills.commands import COMMANDS
from tests.kills.run import kill_at

KILLS = 20  # of each; more: `python -m tests.kills --command study --count 100`
FEW = {"study": 3, "report": 10}  # runs of 8 s, for their pictures, and of 2 s


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_goes_on_and_gives_what_it_would_have_given(name: str, tmp_path: Path) -> None:
    kills = FEW.get(name, KILLS)
    problems = list(kill_at(name, tmp_path, kills))
    assert [problem for problem in problems if problem] == []
    assert len(problems) > 2 * kills // 3  # of a command with fewer than KILLS such moments, all of them
