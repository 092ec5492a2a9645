"""Checkpoints that others have published, which the zoo knows and has no weights of: who has access to the Hub imports and scores them."""

import fnmatch
from dataclasses import dataclass

DATA = "musdb18hq"
SEEDS = (40, 42, 44, 47)
FAMILIES = {
    "fd_mgf": "modulated Gaussians, frequency-domain design",
    "td_mgf": "modulated Gaussians, time-domain design",
    "td_mpgtf": "multi-phase gammatones, time-domain design",
}


@dataclass(frozen=True)
class Published:
    """One of them.

    Attributes:
        name: what it is called in the zoo's tables.
        repo: Hub id.
        seed: of its training.
        about: its filters.
        license: as Hugging Face names it.
        source: the paper.
    """

    name: str
    repo: str
    seed: int
    about: str
    license: str = "mit"
    source: str = "Saito et al., IEEE/ACM TASLP 30:2928, 2022"

    @property
    def import_command(self) -> str:
        """What makes a folder of it that `load` opens."""
        return f"sfi-zoo import {self.repo} --seed {self.seed} -o {self.name}"

    @property
    def score_command(self) -> str:
        """What scores that folder as the zoo's rows are scored."""
        return f"sfi-zoo score {self.name} --data MUSDB18HQ -o results"


def list_published(pattern: str = "*") -> list[Published]:
    """Those whose names match a shell pattern; none of them is downloaded."""
    rows = [
        Published(
            f"sfi_convtasnet_{key}.{DATA}_seed{seed}", f"tnkmr/sfi_convtasnet_{key}_{DATA}", seed, about
        )
        for key, about in FAMILIES.items()
        for seed in SEEDS
    ]
    return [row for row in rows if fnmatch.fnmatch(row.name, pattern)]
