"""A separator without weights, for tests of what surrounds a separator."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo.errors import InputError


class Half(nn.Module):
    """Four sources, each a share of the mixture, so they sum to it exactly."""

    sources = ("vocals", "drums", "bass", "other")
    trained_rate = 32000
    frame_period = 0.0025
    shares = (0.5, 0.25, 0.125, 0.125)

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        return torch.stack([share * waveform for share in self.shares], 1)


def use_hub_of_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a hub with one model, `half`, in the place of `sfi_zoo.hub`."""

    def load(name: str, device: str | None = None) -> Half:
        if name != "half":
            raise InputError(f"{name}: no such model")
        return Half().to(device or "cpu")

    from sfi_zoo.commands import separate_run  # imported before: it would keep the fake one

    fake = SimpleNamespace(load=load)
    monkeypatch.setattr(separate_run, "hub", fake)
    monkeypatch.setitem(sys.modules, "sfi_zoo.hub", fake)
    monkeypatch.setattr(sfi_zoo, "hub", fake, raising=False)
