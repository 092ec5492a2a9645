"""Weights: read from safetensors, and refused where they do not fit a model exactly."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.models.parts.limits import check_sizes, outline
from sfi_zoo.wording import first_line, shortened

S = TypeVar("S", bound=nn.Module)

UNBUILDABLE = (ArithmeticError, AttributeError, TypeError, RuntimeError, ValueError, MemoryError)


class WeightsError(InputError):
    """Weights that do not fit a model.

    Attributes:
        problems: all names of tensors, by what is wrong with them; the message has the first of each.
    """

    def __init__(self, message: str, problems: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.problems = problems


def check_state(model: nn.Module, state: dict[str, Tensor], names: dict[str, str] | None = None) -> None:
    """Refuses weights that do not fit a model exactly.

    Args:
        model: what they are for; it may be on the device "meta".
        state: the weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        WeightsError: tensors that are missing, unknown, of another shape or kind, or not finite.
    """
    wanted = {(names or {}).get(key, key): value for key, value in model.state_dict().items()}
    shared = [key for key in wanted if key in state]
    shapes = [k for k in shared if wanted[k].shape != state[k].shape]
    problems = {
        "misses": [key for key in wanted if key not in state],
        "has unknown": [key for key in state if key not in wanted],
        "has of another shape": [
            f"{k} {tuple(state[k].shape)} (want {tuple(wanted[k].shape)})" for k in shapes
        ],
        "has of another kind": [
            k for k in shared if wanted[k].is_floating_point() != state[k].is_floating_point()
        ],
        "has not finite": [k for k in shared if not torch.isfinite(state[k]).all()],
    }
    found = {what: keys for what, keys in problems.items() if keys}
    if found:
        foreign = "" if shared else "nothing fits, they are of another architecture: "
        said = "; ".join(f"{what} {shortened(keys)}" for what, keys in found.items())
        raise WeightsError(f"the weights do not fit: {foreign}it {said}", found)


def load_state(model: nn.Module, state: dict[str, Tensor], names: dict[str, str] | None = None) -> None:
    """Fills a model with weights that fit it exactly; float16 becomes the model's dtype.

    Args:
        model: what to fill.
        state: its weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        WeightsError: see `check_state`.
    """
    check_state(model, state, names)
    model.load_state_dict({key: state[(names or {}).get(key, key)] for key in model.state_dict()})


def filled(
    cls: type[S], config: Any, state: dict[str, Tensor], names: Callable[[Any], dict[str, str]] | None = None
) -> S:
    """A model with weights that fit it exactly, in evaluation mode.

    No memory is taken for what settings claim before the weights are known to fit.

    Args:
        cls: of the model.
        config: its settings.
        state: its weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        InputError: settings that no model has.
        WeightsError: see `check_state`.
    """
    try:
        check_sizes(asdict(config))
        planned = outline(cls, config)
    except UNBUILDABLE as error:
        raise InputError(first_line(error)) from None
    called = names(planned) if names is not None else {}
    check_state(planned, state, called)
    model = cls(config)
    load_state(model, state, called)
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: it is none.
    """
    try:
        return load_file(str(path))
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(f"{path}: truncated or not a safetensors file ({first_line(error)})") from None
