"""Scores models on a folder of songs in the MUSDB layout, from Python; goes on where it was stopped.

    python examples/score_on_songs.py TREE results convtasnet_mgf.music4

The same on the command line: sfi-zoo score convtasnet_mgf.music4 --data TREE -o results
"""

import sys
from functools import partial
from pathlib import Path

import sfi_zoo
from sfi_zoo.data.musdb_folder import MusdbFolder
from sfi_zoo.metrics.scoring.rows import rows_of
from sfi_zoo.metrics.scoring.run import Plan, score
from sfi_zoo.progress_bar import ProgressBar


def main() -> None:
    """Score, print."""
    tree, results, *names = sys.argv[1:]
    models = {name: partial(sfi_zoo.load, name) for name in names}
    plan = Plan(sample_rates=(8000, 16000, 24000, 32000, 44100, 48000))
    with ProgressBar("scoring") as bar:
        outcome = score(models, MusdbFolder(Path(tree)), plan, Path(results), progress=bar.update)
    for row in rows_of(outcome.records):
        print(row)
    for problem in outcome.left_out:
        print("left out:", problem, file=sys.stderr)


if __name__ == "__main__":
    main()
