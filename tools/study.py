"""The study of docs/study_plan.md: scores its rows, keeps their records in the repository, and remakes everything that is shown of them.

    python tools/study.py score chosen TREE -o RESULTS     # songs of one half: chosen (on which the plan was made) or kept
    python tools/study.py keep chosen RESULTS              # into docs/study/records_chosen.jsonl.gz
    python tools/study.py make                             # docs/study/*.json, tables and pictures, from these records alone

A tree has test/<track>/{vocals,drums,bass,other}.wav. Scoring goes on where it was stopped. Rows that were retrained are scored again by
the same commands; a row whose weights changed needs a new RESULTS folder.
"""

import argparse
import gzip
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from per_song import per_song

import sfi_zoo
from sfi_zoo.data.musdb_folder import MusdbFolder
from sfi_zoo.data.songs import Clip, SyntheticSongs
from sfi_zoo.metrics.reporting.choice import choices
from sfi_zoo.metrics.reporting.study import compared, correlation, plot_study, study
from sfi_zoo.metrics.scoring.checks import check_record
from sfi_zoo.metrics.scoring.points import Points, points_of
from sfi_zoo.metrics.scoring.records import read_records
from sfi_zoo.metrics.scoring.run import Plan, score
from sfi_zoo.metrics.scoring.unit import Measures
from sfi_zoo.models.base import Separator

ROOT = Path(__file__).resolve().parents[1]
HUB, FOLDER = ROOT / "hub_configs", ROOT / "docs" / "study"
RATES = (8000.0, 11025.0, 16000.0, 24000.0)
MODES = ("native", "resample")
SECONDS = 5.0
METRIC, COST = "scale_invariant", "si_sdr_lost_separated"  # of the plan
COSTS = (COST, "si_sdr_lost", "si_sdr_lost_median", "sdr_lost_median")
GROUPS = ("mode native", "mode resample", "all")
SYNTHETIC = {"chosen": (0, 1), "kept": (2,)}  # seeds of the songs from a formula


@dataclass(frozen=True)
class Row:
    """A row of the study.

    Attributes:
        weights: a folder of `hub_configs`.
        family: rows of one name share what was trained; intervals draw families.
        changes: of its config.json: what else people do with such weights.
    """

    weights: str
    family: str
    changes: dict[str, Any] = field(default_factory=dict)


REFERENCE = {"flavour": "reference"}  # published designs: strides rounded, half-sample centres, no gain for F
ROWS = {
    "bsrnn": Row("bsrnn", "bsrnn"),
    "bsroformer": Row("bsroformer", "bsroformer"),
    "convtasnet_mgf_band": Row("convtasnet_mgf_band", "mgf_band"),
    "convtasnet_mgf_band_alive": Row("convtasnet_mgf_band_alive", "mgf_band_alive"),
    "convtasnet_mgf_fill": Row("convtasnet_mgf_fill", "mgf_native"),
    "convtasnet_mgf_native": Row("convtasnet_mgf_native", "mgf_native"),
    "convtasnet_mgf_pjs": Row("convtasnet_mgf_pjs", "mgf_pjs"),
    "convtasnet_mpgtf": Row("convtasnet_mpgtf", "mpgtf"),
    "convtasnet_naf_fd": Row("convtasnet_naf_fd", "naf_fd"),
    "convtasnet_naf_td": Row("convtasnet_naf_td", "naf_td"),
    "convtasnet_plain": Row("convtasnet_plain", "plain"),
    "convtasnet_plain_linear": Row("convtasnet_plain", "plain", REFERENCE),  # kernels interpolated linearly
    "convtasnet_td_mgf": Row("convtasnet_td_mgf", "td_mgf"),
    "openunmix": Row("openunmix", "openunmix"),
    "sudormrf": Row("sudormrf", "sudormrf"),
}


def load(row: Row) -> Separator:
    """The model of a row."""
    folder = HUB / f"{row.weights}.music4"
    if not row.changes:
        return sfi_zoo.load(folder)
    with tempfile.TemporaryDirectory() as changed:
        for name in ("config.json", "model.safetensors"):
            shutil.copy(folder / name, changed)
        config = json.loads((folder / "config.json").read_text("utf-8")) | row.changes
        (Path(changed) / "config.json").write_text(json.dumps(config), "utf-8")
        return sfi_zoo.load(Path(changed))


class Half:
    """The songs of one half: a tree, and two from a formula."""

    def __init__(self, half: str, tree: Path) -> None:
        self.tree = MusdbFolder(tree, seconds=SECONDS)
        self.formula = SyntheticSongs(max(SYNTHETIC[half]) + 1, SECONDS)
        made = [self.formula.names[seed] for seed in SYNTHETIC[half]]
        self.half, self.names, self.problems = half, [*self.tree.names, *made], self.tree.problems

    @property
    def description(self) -> dict[str, Any]:
        """Which half."""
        return {"kind": "study", "half": self.half, "tracks": len(self.names), "seconds": SECONDS}

    def clip(self, name: str, sources: Iterable[str], channels: int) -> Clip:
        """One song."""
        songs: Any = self.tree if name in self.tree.names else self.formula
        clip: Clip = songs.clip(name, list(sources), channels)
        return clip


def run(half: str, tree: Path, out: Path, rows: list[str]) -> None:
    """Scores the rows on a half."""
    models = {name: partial(load, ROWS[name]) for name in rows or ROWS}
    done = score(
        models,
        Half(half, tree),
        Plan(RATES, MODES, Measures(round_trip=True)),
        out,
        lambda n, of: print(f"\r{n} of {of}", end=""),
    )
    print("", *done.left_out, sep="\n")


def keep(half: str, results: Path) -> None:
    """Puts the records of a half into the repository, of songs that all rows have: numbers to six digits, always the same bytes."""
    found = [record for record in read_records(results) if record["model"] in ROWS]
    counts = Counter(record["track"] for record in found)
    records = [_short(record) for record in found if counts[record["track"]] == max(counts.values())]
    text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"records_{half}.jsonl.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def kept(half: str) -> list[dict[str, Any]]:
    """The records of a half, each checked."""
    text = gzip.decompress((FOLDER / f"records_{half}.jsonl.gz").read_bytes()).decode()
    records = [json.loads(line) for line in text.splitlines()]
    for record in records:
        check_record(record)
    return records


def found(half: str) -> dict[str, Any]:
    """What the plan asks of one half, and the table beside it."""
    records = kept(half)
    families = {name: row.family for name, row in ROWS.items()}
    rows = [
        row
        for row in study(records, families)
        if row["group"] in GROUPS and row["scale"] == "linear" and row["cost"] in COSTS
    ]
    points = compared(points_of(records))
    for row in rows:
        if (row["metric"], row["cost"]) == (METRIC, COST):
            row["without"] = without(points, families, row["group"])
    return {
        "half": half,
        "tracks": sorted({record["track"] for record in records}),
        "rows": sorted({record["model"] for record in records}),
        "families": len({families[record["model"]] for record in records}),
        "correlations": rows,
        "choices": choices(records, METRIC, COST),
    }


def without(points: Points, families: dict[str, str], group: str) -> dict[str, Any]:
    """Pearson's r of the plan without the family that matters most for it."""
    own = points.where(
        np.full(len(points.models), group == "all") | (points.modes == group.removeprefix("mode "))
    )
    once, family = np.ones((1, len(own.tracks))), np.array([families[str(m)] for m in own.models])
    x, y = own.lee(METRIC, once), own.cost_db(COST, once)
    whole = correlation(x, y, np.ones_like(x))[0]
    left = {name: float(correlation(x, y, (family != name)[None] * 1.0)[0]) for name in sorted(set(family))}
    name = max(left, key=lambda name: abs(left[name] - whole))
    return {"family": str(name), "value": left[name]}


def make() -> None:
    """Writes docs/study/study.json, per_song.json, and the pictures."""
    halves = {half: found(half) for half in SYNTHETIC}
    (FOLDER / "study.json").write_text(json.dumps(halves, indent=0) + "\n", "utf-8")
    of_songs = per_song(kept("chosen"), kept("kept"), METRIC)
    (FOLDER / "per_song.json").write_text(json.dumps(of_songs, indent=0) + "\n", "utf-8")
    for half in halves:
        plot_study(kept(half), COST, scale="linear").savefig(FOLDER / f"{half}.png", dpi=90)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_short(x) for x in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Reads the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    scoring, keeping, _ = (commands.add_parser(name) for name in ("score", "keep", "make"))
    for one in (scoring, keeping):
        one.add_argument("half", choices=SYNTHETIC)
    scoring.add_argument("tree", type=Path)
    scoring.add_argument("-o", "--out", type=Path, required=True)
    scoring.add_argument("--rows", nargs="*", choices=ROWS, default=[])
    keeping.add_argument("results", type=Path)
    args = parser.parse_args()
    if args.command == "score":
        run(args.half, args.tree, args.out, args.rows)
    elif args.command == "keep":
        keep(args.half, args.results)
    else:
        make()


if __name__ == "__main__":
    main()
