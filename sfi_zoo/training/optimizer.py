"""The optimiser: AdamW with a learning rate for each tensor of filters, its schedule, and the average of the weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.models.base import Separator
from sfi_zoo.training.recipe import FILTERS, TrainConfig

SMALLEST = 1e-4  # root mean square of a tensor of filters


def rate_factor(config: TrainConfig, step: int, plateau: float = 1.0) -> float:
    """What the highest learning rate is multiplied with at a step, counted from 0."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    match config.schedule:
        case "cosine":
            return warmup * (0.5 + 0.5 * math.cos(math.pi * step / config.steps))
        case "plateau":
            return warmup * plateau
        case _:
            return warmup


def optimizer_of(model: Separator, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; each tensor of encoder and decoder at a rate in proportion to its size, for it may be in kHz or a thousandth."""
    network: list[nn.Parameter] = []
    groups: list[dict[str, Any]] = [
        {"params": network, "highest": config.learning_rate, "weight_decay": config.weight_decay}
    ]
    for name, parameter in model.named_parameters():
        if not name.startswith(FILTERS):
            network.append(parameter)
        elif not config.filter_rate:
            parameter.requires_grad_(False)
        else:
            size = max(SMALLEST, float(parameter.detach().square().mean().sqrt()))
            rate = config.learning_rate * config.filter_rate * size
            groups.append({"params": [parameter], "highest": rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def moving_average(decay: float) -> Any:
    """Updates of the average: a = d a + (1 - d) w, with d = min(decay, n / (n + 10)) after n updates."""

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], updates: Tensor) -> None:
        n = float(updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, n / (n + 10)))

    return update
