"""Validation: SI-SDR improvement over the mixture on a fixed set of excerpts."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sfi_zoo.metrics.sdr import si_sdr
from sfi_zoo.models.base import Separator
from sfi_zoo.training.objective import SILENT


@torch.no_grad()
def improvements(model: Separator, excerpts: Dataset[Tensor], engine: Any) -> dict[str, float]:
    """Mean SI-SDR improvement in dB for each source, over excerpts in which it is not silent.

    Args:
        model: in evaluation mode meanwhile.
        excerpts: items (sources, channels, time), dealt to the processes.
        engine: the Accelerator.
    """
    before = model.training
    model.eval()
    sums = torch.zeros(2, len(model.sources), device=engine.device, dtype=torch.float64)
    count = len(excerpts)  # type: ignore[arg-type]
    for index in range(engine.process_index, count, engine.num_processes):
        targets = excerpts[index].to(engine.device)
        mixture = targets.sum(0)
        estimates = model(mixture[None])[0]
        energy = targets.square().sum((-1, -2))
        active = energy > SILENT * mixture.square().sum()
        gained = si_sdr(estimates.flatten(1), targets.flatten(1)) - si_sdr(
            mixture.flatten().expand(len(targets), -1), targets.flatten(1)
        )
        sums += torch.stack([torch.where(active, gained, 0.0), active]).to(sums)
    model.train(before)
    total, number = engine.reduce(sums, "sum")
    means = (total / number.clamp(min=1)).tolist()
    return {source: mean for source, mean, n in zip(model.sources, means, number, strict=True) if n > 0}
