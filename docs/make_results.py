"""What docs/results.md and README.md show of scoring runs: docs/zoo.json, and the README's table. The study: tools/study.py.

python docs/make_results.py RESULTS...      # folders of `sfi-zoo score -o`; first `sfi-zoo report RESULTS --cards hub_configs`

Rows of models that RESULTS do not have stay as they are.
"""

import json
import sys
from pathlib import Path

import results_hook

from sfi_zoo.commands.given import read_results
from sfi_zoo.metrics.reporting.leaderboard import leaderboard, place

KEPT = ("model", "mode", "tracks", "si_sdr_improvement", "by_source", "worst_lost", "lost_at_8k")


def main(folders: list[Path]) -> None:
    """Writes all of it."""
    records, _ = read_results(folders)
    scored = [_kept(row) for row in leaderboard(records)]
    names = {row["model"] for row in scored}
    others = [row for row in json.loads(results_hook.ZOO.read_text("utf-8")) if row["model"] not in names]
    _write(results_hook.ZOO, sorted(others + scored, key=place))
    results_hook.README.write_text(results_hook.in_readme(results_hook.README.read_text("utf-8")), "utf-8")


def _kept(row: dict) -> dict:
    apart = {name: group["si_sdr_improvement"] for name, group in row["by_group"].items()}
    return {key: row[key] for key in KEPT} | {"by_group": apart}


def _write(path: Path, rows: list[dict]) -> None:
    path.write_text(json.dumps(rows, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
