"""The study of docs/study_plan.md: scores its rows, keeps their records in the repository, and remakes everything that is shown of them.

    python tools/study.py songs chosen MUSIC RENDERS TREE  # see tools/study_songs.py; a half: chosen, kept or fresh
    python tools/study.py score chosen TREE -o RESULTS     # the rows of the plan; with --kind range, into a file, those of after it;
                                                           # of fresh songs, which have the kind range alone, all rows
    python tools/study.py keep chosen RESULTS              # into docs/study/records_chosen.jsonl.gz, or range_chosen.jsonl.gz
    python tools/study.py make                             # docs/study/*.json, tables and pictures, from these records alone

Scoring goes on where it was stopped. Rows that were retrained are scored again by the same commands; a row whose weights changed needs a
new RESULTS folder.
"""

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from per_song import per_song
from study_rows import ALL, LATER, MADE, MODES, ROWS, Row, load
from study_songs import SECONDS, SYNTHETIC, cut

from sfi_zoo.data.musdb_folder import MusdbFolder
from sfi_zoo.data.songs import Clip, SyntheticSongs, channels_of
from sfi_zoo.metrics.registry import METRICS
from sfi_zoo.metrics.reporting.choice import choices
from sfi_zoo.metrics.reporting.study import compared, correlation, plot_study, study
from sfi_zoo.metrics.scoring.checks import check_record
from sfi_zoo.metrics.scoring.points import Points, points_of
from sfi_zoo.metrics.scoring.records import key_of, read_records
from sfi_zoo.metrics.scoring.rows import DIFFERENCES, differences, separated
from sfi_zoo.metrics.scoring.run import Plan, score
from sfi_zoo.metrics.scoring.signals import SharedSignals
from sfi_zoo.metrics.scoring.unit import Measures, records_of

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "study"
RATES = (8000.0, 11025.0, 16000.0, 24000.0)
METRIC, COST = "scale_invariant", "si_sdr_lost_separated"  # of the plan
COSTS = (COST, "si_sdr_lost", "si_sdr_lost_median", "sdr_lost_median")
GROUPS = ("mode native", "mode resample", "all")
HALVES = ("chosen", "kept")  # of the plan
FRESH = "fresh"  # songs of after it; their records are all of the kind "range"
FAMILIES = {name: row.family for name, row in ALL.items()}
Records = list[dict[str, Any]]


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


def run(half: str, tree: Path, out: Path) -> None:
    """Scores the rows of the plan on a half."""
    done = score(
        {name: partial(load, row) for name, row in ROWS.items()},
        Half(half, tree),
        Plan(RATES, MODES, Measures(round_trip=True)),
        out,
        lambda n, of: print(f"\r{n} of {of}", end=""),
    )
    print("", *done.left_out, sep="\n")


def run_range(half: str, tree: Path, out: Path, rows: Mapping[str, Row]) -> None:
    """Scores rows by the plan's LEE alone, into a file that goes on where it ends."""
    models: dict[str, list[str]] = {}  # rows that only a resampler tells apart are modes of one model
    for name, row in rows.items():
        models.setdefault(row.weights if resampler_of(name) else name, []).extend(row.modes)
    songs, lines = Half(half, tree), out.read_text("utf-8").splitlines() if out.exists() else []
    done = {key_of(json.loads(line)) for line in lines}
    torch.set_num_threads(1)
    with out.open("a", encoding="utf-8") as file, patch.dict(METRICS, {METRIC: METRICS[METRIC]}, clear=True):
        for track in songs.names:
            shared = SharedSignals()
            for name, modes in models.items():
                every = [(mode, rate) for rate in RATES for mode in modes]
                units = [unit for unit in every if (_row_of(name, unit[0]), track, *unit) not in done]
                if not units:
                    continue
                model = load(ALL[name])
                clip = songs.clip(track, model.sources, channels_of(model))
                for record in records_of(model, clip, units, Measures(), shared):
                    line = json.dumps({"model": _row_of(name, record["mode"])} | record)
                    file.write(line + "\n")
                file.flush()
            print(track, time.ctime(), flush=True)


def resampler_of(name: str) -> str:
    """The resampler that makes a row; empty for the others."""
    return ALL[name].modes[0].partition(":")[2]


def _row_of(model: str, mode: str) -> str:
    resampler = mode.partition(":")[2]
    return f"{model}_by_{resampler}" if resampler else model


def keep(half: str, kind: str, results: Path) -> None:
    """Puts the records of a half into the repository, of songs that all rows have: numbers to six digits, always the same bytes."""
    lines = [] if results.is_dir() else results.read_text("utf-8").splitlines()
    every = [json.loads(line) for line in lines] or read_records(results)
    found = sorted(every, key=key_of)
    counts = Counter(record["track"] for record in found)
    records = [_short(record) for record in found if counts[record["track"]] == max(counts.values())]
    text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    (FOLDER / f"{kind}_{half}.jsonl.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def kept(half: str, kind: str = "records") -> Records:
    """The records of a half, each checked: of the rows of the plan, or those of after it ("range")."""
    text = gzip.decompress((FOLDER / f"{kind}_{half}.jsonl.gz").read_bytes()).decode()
    records = [json.loads(line) for line in text.splitlines()]
    for record in records:
        if kind == "records":  # the others have one LEE
            check_record(record)
    return records


def found(half: str, records: Records) -> dict[str, Any]:
    """What the plan asks of records of a half, whatever resamples them, and the table beside it."""
    records = of_modes(records)
    rows = [
        row
        for row in study(records, FAMILIES)
        if row["group"] in GROUPS and row["scale"] == "linear" and row["cost"] in COSTS
    ]
    points = compared(points_of(records))
    for row in rows:
        if (row["metric"], row["cost"]) == (METRIC, COST):
            row["without"] = without(points, FAMILIES, row["group"])
    return {
        "half": half,
        "tracks": sorted({record["track"] for record in records}),
        "rows": sorted({record["model"] for record in records}),
        "families": len({FAMILIES[record["model"]] for record in records}),
        "correlations": rows,
        "choices": choices(records, METRIC, COST),
    }


def after_the_plan() -> list[dict[str, Any]]:
    """The plan's metric and cost with the rows of the plan, with those of after it, and with both; and the two readings of after it."""
    return [again(half, which, rows) for half in (FRESH, *HALVES) for which, rows in sets_of(half)]


def sets_of(half: str) -> Iterator[tuple[str, Records]]:
    """The records of each set of rows that was scored on songs of a half; those of after the plan may be of fewer songs."""
    later = kept(half, "range") if (FOLDER / f"range_{half}.jsonl.gz").is_file() else []
    plan = kept(half) if half in HALVES else [record for record in later if record["model"] in ROWS]
    later = [record for record in later if record["model"] not in ROWS]
    yield "of the plan", plan
    if later:
        songs = {record["track"] for record in later}
        same = [record for record in plan if record["track"] in songs]
        if len(same) < len(plan):
            yield "of the plan, same songs", same
        yield "after it", later
        yield "both", same + later


def again(half: str, which: str, records: Records) -> dict[str, Any]:
    """What the plan asks of a set of rows, and beside it: r over the same pairs, tau over pairs that differ by two errors."""
    records = [alone(record) for record in records]
    own, pairs = found(half, records), found(half, [same_pairs(record) for record in records])
    of_plan = lambda rows: [r for r in rows if (r["metric"], r["cost"]) == (METRIC, COST)]  # noqa: E731
    two = choices(of_modes(records), METRIC, COST, errors=2)
    return {
        "set": which,
        **own,
        "correlations": of_plan(own["correlations"]),
        "same_pairs": of_plan(pairs["correlations"]),
        "two_errors": two,
    }


def alone(record: dict[str, Any]) -> dict[str, Any]:
    """The plan's LEE and what its cost is made of."""
    return {name: x for name, x in record.items() if name != "sdr"} | {"lee": {METRIC: record["lee"][METRIC]}}


def same_pairs(record: dict[str, Any]) -> dict[str, Any]:
    """The sums of the plan's LEE over the sources alone that its cost counts: those that are separated at F0."""
    lost = differences(record, "si_sdr", *DIFFERENCES["_lost"])
    counts = [x is not None and there for x, there in zip(lost, separated(record), strict=True)]
    sums = {
        part: [x * n for x, n in zip(values, counts, strict=True)]
        for part, values in record["lee"][METRIC].items()
    }
    return record | {"lee": {METRIC: sums}}


def of_modes(records: Records) -> Records:
    """Whatever resamples is mode resample."""
    return [record | {"mode": record["mode"].partition(":")[0]} for record in records]


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
    """Writes docs/study/study.json, range.json, per_song.json, and the pictures."""
    of_songs = per_song(kept("chosen"), kept("kept"), METRIC)
    for name, content in (
        ("study", {half: found(half, kept(half)) for half in HALVES}),
        ("range", after_the_plan()),
        ("per_song", of_songs),
    ):
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n", "utf-8")
    for half in HALVES:
        plot_study(kept(half), COST, scale="linear").savefig(FOLDER / f"{half}.png", dpi=90)
    plot_study(kept(FRESH, "range"), COST, scale="linear").savefig(FOLDER / f"{FRESH}.png", dpi=140)


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
    cutting, scoring, keeping, _ = (commands.add_parser(name) for name in ("songs", "score", "keep", "make"))
    for one in (cutting, scoring, keeping):
        one.add_argument("half", choices=SYNTHETIC)
    for name in ("music", "renders", "tree"):
        cutting.add_argument(name, type=Path)
    scoring.add_argument("tree", type=Path)
    scoring.add_argument("-o", "--out", type=Path, required=True)
    keeping.add_argument("results", type=Path)
    for one in (scoring, keeping):
        one.add_argument(
            "--kind", choices=("records", "range"), default="records", help="of, or after, the plan"
        )
    args = parser.parse_args()
    if args.command == "songs":
        cut(args.half, args.music, args.renders, args.tree)
    elif args.command == "score" and args.kind == "records":
        run(args.half, args.tree, args.out)
    elif args.command == "score":
        run_range(args.half, args.tree, args.out, ALL if args.half == FRESH else LATER | MADE)
    elif args.command == "keep":
        keep(args.half, args.kind, args.results)
    else:
        make()


if __name__ == "__main__":
    main()
