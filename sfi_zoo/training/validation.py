"""Validation: SI-SDR improvement over the mixture on a fixed set of excerpts, for each collection of the data by itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sfi_zoo.metrics.sdr import si_sdr
from sfi_zoo.models.base import Separator
from sfi_zoo.training.collections import REST
from sfi_zoo.training.objective import SILENT


@dataclass(frozen=True)
class Validation:
    """What a validation found, over (excerpt, source) pairs in which the source is not silent, nor all that is heard.

    Attributes:
        gained: collection -> source -> mean SI-SDR improvement in dB.
        worse: collection -> share of pairs whose estimate has a lower SI-SDR than the mixture.
        leaked_db: level of the estimates of silent sources against the mixture, mean over such pairs in dB; None where there are none.
    """

    gained: dict[str, dict[str, float]]
    worse: dict[str, float]
    leaked_db: float | None

    @property
    def by_source(self) -> dict[str, float]:
        """Source -> mean over collections."""
        sources = dict.fromkeys(source for gains in self.gained.values() for source in gains)
        return {s: _mean([gains[s] for gains in self.gained.values() if s in gains]) for s in sources}

    @property
    def score(self) -> float:
        """The mean over collections of their means over sources: every collection counts the same, however many excerpts it has."""
        return _mean([_mean(list(gains.values())) for gains in self.gained.values()])


@torch.no_grad()
def validate(model: Separator, excerpts: Dataset[Tensor], engine: Any) -> Validation:
    """Separates the excerpts.

    Args:
        model: in evaluation mode meanwhile.
        excerpts: items (sources, channels, time), dealt to the processes; with `collections`, as `FixedExcerpts` has them, or all of one.
        engine: the Accelerator.
    """
    before = model.training
    model.eval()
    count = len(excerpts)  # type: ignore[arg-type]
    homes = getattr(excerpts, "collections", None) or [REST] * count
    names = list(dict.fromkeys(homes))
    sums = torch.zeros(len(names), 3, len(model.sources), device=engine.device, dtype=torch.float64)
    leaks = torch.zeros(2, device=engine.device, dtype=torch.float64)
    for index in range(engine.process_index, count, engine.num_processes):
        targets = excerpts[index].to(engine.device)
        mixture = targets.sum(0)
        estimates = model(mixture[None])[0]
        energy, total = targets.square().sum((-1, -2)), mixture.square().sum()
        whole = si_sdr(mixture.flatten().expand(len(targets), -1), targets.flatten(1))
        # where a source is all that is heard, the mixture is right and nothing can be gained
        active = (energy > SILENT * total) & torch.isfinite(whole)
        gained = si_sdr(estimates.flatten(1), targets.flatten(1)) - whole
        kept = torch.where(active, gained, 0.0)
        sums[names.index(homes[index])] += torch.stack([kept, active, active & (gained < 0)]).to(sums)
        silent = (energy == 0) & (total > 0)
        level = 10 * torch.log10(estimates.square().sum((-1, -2)) / total + 1e-12)
        leaks += torch.stack([level[silent].sum(), silent.sum()]).to(leaks)
    model.train(before)
    sums, leaks = engine.reduce(sums, "sum"), engine.reduce(leaks, "sum")
    found = {}
    for name, (total_gain, number, _) in zip(names, sums, strict=True):
        means = (total_gain / number.clamp(min=1)).tolist()
        gains = {s: mean for s, mean, n in zip(model.sources, means, number, strict=True) if n > 0}
        if gains:
            found[name] = gains
    worse = {
        name: float(part[2].sum() / part[1].sum())
        for name, part in zip(names, sums, strict=True)
        if name in found
    }
    return Validation(found, worse, float(leaks[0] / leaks[1]) if leaks[1] else None)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
