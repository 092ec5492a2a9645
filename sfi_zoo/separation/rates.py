"""The rates of a model: a `Separator`, or any other module."""

from torch import nn


def trained_rate(model: nn.Module) -> float:
    """F0 in Hz. A module that is no `Separator` may have it under the former name `sample_rate`."""
    rate = getattr(model, "trained_rate", None)
    return float(model.sample_rate if rate is None else rate)  # type: ignore[arg-type]


def current_rate(model: nn.Module) -> float:
    """The rate in Hz at which a model works when a call names none. For a module that is no `Separator` this is F0."""
    rate = getattr(model, "current_rate", None)
    return trained_rate(model) if rate is None else float(rate)
