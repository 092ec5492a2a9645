"""Checkpoints: one safetensors file with the weights, their average, the optimiser's state and how far training is.

The file is written beside the old one and takes its place at once, so that a kill at any moment leaves the old or the new one. What is
drawn at random depends on the seed and the step alone, so there is no state of a generator to keep.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.models.weights import written
from sfi_zoo.training.recipe import recipe_from
from sfi_zoo.whole_files import replacing

FILE = "checkpoint.safetensors"
WEIGHTS, AVERAGE, OPTIMIZER = "weights/", "average/", "optimizer/"


@dataclass
class Progress:
    """How far training is.

    Attributes:
        step: steps done.
        best: the best validation score, in dB.
        stale: validations since.
        factor: of the learning rate, by the plateau schedule.
        average_updates: of the average of the weights.
        scaler: state of the loss scaler (float16).
        sums: of the figures since the last validation.
        count: of the steps in them.
    """

    step: int = 0
    best: float | None = None
    stale: int = 0
    factor: float = 1.0
    average_updates: int = 0
    scaler: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    recipe: dict[str, Any],
) -> None:
    """Write `FILE` in a folder, whole or not at all."""
    tensors = {WEIGHTS + name: value for name, value in model.state_dict().items()}
    if average is not None:
        tensors |= {AVERAGE + name: value for name, value in average.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{OPTIMIZER}{key}/{name}"] = torch.as_tensor(value)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    about = {"progress": json.dumps(asdict(progress)), "recipe": json.dumps(recipe)}
    with written(folder / FILE), replacing(folder / FILE) as draft:
        save_file(tensors, draft, metadata=about)
        with draft.open("rb") as file:
            os.fsync(file.fileno())


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    recipe: dict[str, Any],
    free: frozenset[str],
) -> Progress | None:
    """Go on from the checkpoint of a folder; None where there is none.

    Args:
        folder: of the run.
        model: its weights are set.
        average: its weights are set.
        optimizer: its state is set.
        recipe: of this run.
        free: keys, as "table.key", that may differ from the checkpoint's recipe.

    Raises:
        InputError: a damaged file, or one made with another recipe.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress = Progress(**json.loads(about["progress"]))
        # keys that were not known then mean their defaults
        made_with = recipe_from(json.loads(about["recipe"])).as_dict()
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no checkpoint that can be read ({error}); remove it to begin again"
        ) from None
    different = differences(made_with, recipe, free)
    if different:
        raise InputError(
            f"{path} was made with another recipe: {'; '.join(different)}. "
            "Take the recipe it was made with, or another output folder"
        )
    for prefix, module in ((WEIGHTS, model), (AVERAGE, average)):
        if module is not None:
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            module.load_state_dict(own)
    for name, parameter in model.named_parameters():
        ending = "/" + name
        state: dict[str, Tensor] = {}
        for key, value in tensors.items():
            if key.startswith(OPTIMIZER) and key.endswith(ending):
                kind = key.removeprefix(OPTIMIZER).removesuffix(ending)
                if "/" not in kind:
                    state[kind] = value if kind == "step" else value.to(parameter)
        if state:
            optimizer.state[parameter] = state
    return progress


def differences(old: dict[str, Any], new: dict[str, Any], free: frozenset[str] = frozenset()) -> list[str]:
    """What differs between two nested recipes, as readable lines; keys in `free` may."""
    lines = []
    for table in sorted(set(old) | set(new)):
        was, now = old.get(table, {}), new.get(table, {})
        for key in sorted(set(was) | set(now)):
            a, b = (json.loads(json.dumps(values.get(key))) for values in (was, now))
            if a != b and f"{table}.{key}" not in free:
                lines.append(f"[{table}] {key} was {a!r}, now {b!r}")
    return lines
