"""The rule that chooses the default, on records made by hand."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sfi_zoo import InputError
from sfi_zoo.training.collections import patterns_of
from tools.choose_default import Merit, chosen, merit_of, table

TOOL = Path(__file__).parents[1] / "tools" / "choose_default.py"
PATTERNS = patterns_of("A*, B*")
F0 = 32000


def record(track: str, rate: float, estimate: Any, mixture: Any, trained: Any, **more: Any) -> dict[str, Any]:
    quality = {"estimate": estimate, "mixture": mixture, "trained": trained}
    return (
        {"model": "m", "track": track, "mode": "native", "sample_rate": float(rate), "trained_rate": F0}
        | {"si_sdr": quality}
        | more
    )


def song(track: str, gained: list[float | None], lost: Mapping[float, float]) -> list[dict[str, Any]]:
    """One track of two sources at F0 and other rates; None is silent."""
    mixture = [-3.0, -5.0]

    def plus(more: float) -> list[float | None]:
        return [None if g is None else m + g - more for g, m in zip(gained, mixture, strict=True)]

    found = [record(track, F0, plus(0.0), mixture, plus(0.0))]
    return found + [record(track, rate, plus(x), mixture, plus(0.0)) for rate, x in lost.items()]


LOST = {8000.0: 0.25, 11025.0: 0.5, 44100.0: -0.1}


def test_the_value_is_that_of_the_formula():
    """A: two songs, three heard pairs with 2, 4, 6 dB; B: one of -1 and 9. So G = (4 + 4) / 2, less 0.25 and the worst, 0.5."""
    records = song("A 1", [2.0, 4.0], LOST) + song("A 2", [6.0, None], LOST) + song("B 1", [-1.0, 9.0], LOST)
    merit = merit_of(records, PATTERNS)
    assert merit.gained == pytest.approx({"A*": 4.0, "B*": 4.0})
    assert merit.lost == pytest.approx(LOST)
    assert merit.worse == pytest.approx(1 / 5)
    assert merit.value == pytest.approx(4.0 - 0.25 - 0.5)


def test_many_songs_of_a_kind_weigh_as_one():
    few = merit_of(song("A", [8.0, 8.0], LOST) + song("B", [2.0, 2.0], LOST), PATTERNS)
    more = [r for n in range(9) for r in song(f"A {n}", [8.0, 8.0], LOST)] + song("B", [2.0, 2.0], LOST)
    assert merit_of(more, PATTERNS).value == pytest.approx(few.value) == pytest.approx(5.0 - 0.75)


def test_to_gain_at_another_rate_is_no_merit():
    assert merit_of(song("A", [3.0, 3.0], {8000.0: -1.0, 44100.0: -2.0}), PATTERNS).value == pytest.approx(
        3.0
    )


def test_a_source_that_is_all_that_is_heard_does_not_count():
    records = song("A", [3.0, 3.0], LOST)
    records.append(record("A 2", F0, [20.0, 1.0], [float("inf"), -2.0], [20.0, 1.0]))
    assert merit_of(records, PATTERNS).gained["A*"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("merits", "best"),
    [
        ([Merit("a", {"A": 5.0}, LOST, 0.1, 1.0), Merit("b", {"A": 5.2}, LOST, 0.5, 9.0)], "b"),
        ([Merit("a", {"A": 5.0}, LOST, 0.1, 9.0), Merit("b", {"A": 5.05}, LOST, 0.5, 1.0)], "a"),
        ([Merit("a", {"A": 5.0}, LOST, 0.1, 1.0), Merit("b", {"A": 5.05}, LOST, 0.1, 9.0)], "a"),
        ([Merit("a", {"A": 5.0}, LOST, 0.1), Merit("b", {"A": 5.0}, LOST | {8000.0: 0.5}, 0.0)], "a"),
    ],
)
def test_the_highest_value_wins_and_among_alike_rows_fewer_failures_then_speed(
    merits: list[Merit], best: str
):
    assert chosen(merits).name == chosen(merits[::-1]).name == best
    assert f"**{best}**" in table(merits)


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (song("A", [1.0, 1.0], {11025.0: 0.0}), "needs --sample-rates"),
        (song("A", [1.0, 1.0], {8000.0: 0.0}), "needs --sample-rates"),
        ([record("A", F0, [1.0], [1.0], [1.0]) | {"mode": "resample"}], "--modes native"),
        ([*song("A", [1.0, 1.0], LOST), record("A", 8000, [], [], []) | {"failed": "x"}], "failed"),
        (song("A", [None, None], LOST), "no song in which a source is heard"),
    ],
)
def test_records_that_cannot_tell_are_refused(records: list[dict[str, Any]], told: str):
    with pytest.raises(InputError, match=told):
        merit_of(records, PATTERNS)


def test_a_folder_without_results_is_told_in_a_line(tmp_path: Path):
    (tmp_path / "notes.json").write_text(json.dumps({}))
    done = subprocess.run([sys.executable, TOOL, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no results of `sfi-zoo score`" in done.stderr
