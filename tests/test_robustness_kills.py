"""Each long command is killed where it changes the disk, and run again. `python -m tests.kills --count 500` tries more."""

from pathlib import Path

import pytest

from tests.kills.commands import COMMANDS
from tests.kills.run import kill_at

KILLS = 30  # of each


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_goes_on_and_gives_what_it_would_have_given(name: str, tmp_path: Path) -> None:
    problems = list(kill_at(name, tmp_path, KILLS))
    assert [problem for problem in problems if problem] == []
    assert len(problems) > 20  # of a command with fewer than KILLS such moments, all of them
