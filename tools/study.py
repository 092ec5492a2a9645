"""The study of docs/study_plan.md: scores its rows, keeps their records in the repository, and remakes everything that is shown of them.

    python tools/study.py score chosen TREE -o RESULTS     # songs of one half: chosen (on which the plan was made) or kept
    python tools/study.py keep chosen RESULTS              # into docs/study/records_chosen.jsonl.gz
    python tools/study.py make                             # docs/study/*.json, tables and pictures, from these records alone

A tree has test/<track>/{vocals,drums,bass,other}.wav. Scoring goes on where it was stopped. Rows that were retrained are scored again by
the same commands; a row whose weights changed needs a new RESULTS folder.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sfi_zoo
from sfi_zoo.data.musdb_folder import MusdbFolder
from sfi_zoo.data.songs import Clip, SyntheticSongs
from sfi_zoo.metrics.scoring.run import Plan, score
from sfi_zoo.metrics.scoring.unit import Measures
from sfi_zoo.models.base import Separator

ROOT = Path(__file__).resolve().parents[1]
HUB, FOLDER = ROOT / "hub_configs", ROOT / "docs" / "study"
RATES = (8000.0, 11025.0, 16000.0, 24000.0)
MODES = ("native", "resample")
SECONDS = 5.0
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
