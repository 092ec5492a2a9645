"""Several separators as one: the mean of their estimates."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.separation.above import band_edge
from sfi_zoo.separation.rates import trained_rate


class Averaged(nn.Module):
    """A separator that averages the estimates of several others. It costs as much as all of them together.

    Args:
        models: separators of the same sources, in any order.

    Attributes:
        sources: those of the first model.
        trained_rate: F0 of the first model, in Hz.
        frame_period: of all, where it is the same; else None.

    Raises:
        InputError: no model, or models of different sources.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        if not models:
            raise InputError("averaged: needs a model at least")
        first = models[0]
        self.sources: tuple[str, ...] = tuple(first.sources)  # type: ignore[arg-type]
        self.trained_rate = trained_rate(first)
        for model in models:
            if sorted(model.sources) != sorted(self.sources):  # type: ignore[arg-type]
                theirs, ours = ", ".join(model.sources), ", ".join(self.sources)  # type: ignore[arg-type]
                raise InputError(
                    f"averaged models must have the same sources: one gives {ours}, another {theirs}"
                )
        periods = {getattr(model, "frame_period", None) for model in models}
        self.frame_period: float | None = periods.pop() if len(periods) == 1 else None
        self.models = nn.ModuleList(models)
        self._orders = [[list(model.sources).index(name) for name in self.sources] for model in models]  # type: ignore[arg-type]

    def band_edge(self, sample_rate: float) -> float:
        """The lowest band edge of the models, in Hz."""
        return min(band_edge(model, sample_rate) for model in self.models)

    def forward(self, waveform: Tensor, sample_rate: float | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, sources, channels, time)."""
        estimates = [
            model(waveform, sample_rate)[:, order]
            for model, order in zip(self.models, self._orders, strict=True)
        ]
        return torch.stack(estimates).mean(0)
