"""Separators that start from the filters of another one, so that only the family of their filters differs."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.filters import InterpolatedKernels, NeuralAnalogFrequency, NeuralAnalogTime
from sfi_zoo.filters.quadrature import QuadratureBank
from sfi_zoo.layers.designed import DesignedConv
from sfi_zoo.models.base import Separator
from sfi_zoo.models.filterbank import FilterbankSeparator, set_dual_gains

SHARED = ("sample_rate", "features", "latent", "kernel_size", "stride", "padding", "pad_end", "pad_multiple")
RIDGE = 1e-6  # of the mean energy of the basis


def start_from(model: Separator, reference: Separator) -> dict[str, float]:
    """Gives encoder and decoder of a model the filters that a reference model has at F0, as well as their family can.

    Learned kernels ("interpolated") become those of the reference; a bank of the reference's own family takes its parameters;
    of neural analog filters the last layer is fitted to the reference's kernels, over random hidden layers as they are.

    Args:
        model: its filters are set; nothing else is touched.
        reference: a separator with the same latent.

    Returns:
        "encoder" and "decoder": ||a w - w_reference|| / ||w_reference|| of the kernels w at F0, with the best gain a.

    Raises:
        InputError: models without filter banks or with other latents, or a family that has nothing to start from.
    """
    model, reference = _on_filters(model, "model"), _on_filters(reference, "reference")
    a, b = ({key: getattr(one.config, key) for key in SHARED} for one in (model, reference))
    if a != b:
        different = ", ".join(f"{key} {a[key]!r} and {b[key]!r}" for key in SHARED if a[key] != b[key])
        raise InputError(f"model and reference must have the same latent; they differ in {different}")
    errors = {part: _start(getattr(model, part), getattr(reference, part)) for part in ("encoder", "decoder")}
    if isinstance(model.decoder.filters, QuadratureBank) and model.config.flavour != reference.config.flavour:
        set_dual_gains(model.encoder, model.decoder)  # the levels of the published designs are their own
    return errors


def _on_filters(model: Separator, name: str) -> FilterbankSeparator:
    if not isinstance(model, FilterbankSeparator):
        raise InputError(f"the {name} ({type(model).__name__}) has no filter banks to start from another's")
    return model


@torch.no_grad()
def _start(layer: DesignedConv, reference: DesignedConv) -> float:
    """One layer of `start_from`."""
    bank, other = layer.filters, reference.filters
    target = _kernels(reference)
    if isinstance(bank, InterpolatedKernels):
        if bank.weight.numel() != target.numel():  # frames that do not lie on the samples of the kernel
            raise InputError(
                f"kernels of {bank.weight.shape[-1]} taps cannot start from {target.shape[-1]}; take another kernel_size or padding"
            )
        bank.weight.copy_(target.view_as(bank.weight))
    elif type(bank) is type(other) and _shapes(bank) == _shapes(other):
        bank.load_state_dict(other.state_dict())
    elif isinstance(bank, (NeuralAnalogTime, NeuralAnalogFrequency)):
        _fit(layer, bank, target)
    else:
        raise InputError(
            f"{type(bank).__name__} cannot start from {type(other).__name__} filters; it starts from its options"
        )
    kernels = _kernels(layer)
    kernels = kernels * ((kernels * target).sum() / kernels.square().sum())
    return float((kernels - target).norm() / target.norm())


def _shapes(module: nn.Module) -> dict[str, Any]:
    return {name: value.shape for name, value in module.state_dict().items()}


def _kernels(layer: DesignedConv) -> Tensor:
    """Kernels at F0: (filters, taps) float64."""
    return layer.weights(layer.trained_rate)[0][0].double()


def _fit(layer: DesignedConv, bank: NeuralAnalogTime | NeuralAnalogFrequency, target: Tensor) -> None:
    """Ridge regression of the last layer of the network, in which the kernels are linear."""
    last = _last(bank)
    basis = _basis(layer, last)
    flat = basis.flatten(0, 1)
    gram = flat @ flat.T
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, flat @ target.T)  # (parts x (inputs + 1), filters)
    _set(last, solution.unflatten(0, basis.shape[:2]).transpose(1, 2).flatten(0, 1))


def _basis(layer: DesignedConv, last: nn.Conv1d) -> Tensor:
    """Kernels that each input of the last layer makes alone, then its bias: (parts, inputs + 1, taps); parts: real, imaginary."""
    probe = copy.deepcopy(layer)
    bank, inputs = probe.filters, last.in_channels + 1
    assert isinstance(bank, (NeuralAnalogTime, NeuralAnalogFrequency))
    parts = last.out_channels // bank.num_filters
    bank.num_filters = parts * inputs
    rows = torch.eye(parts * inputs).unflatten(1, (parts, inputs)).transpose(0, 1).flatten(0, 1)
    bank.implicit_filter[-1] = nn.Conv1d(inputs - 1, len(rows), 1).to(last.weight)
    _set(_last(bank), rows)
    return _kernels(probe).unflatten(0, (parts, inputs))


def _last(bank: NeuralAnalogTime | NeuralAnalogFrequency) -> nn.Conv1d:
    last = bank.implicit_filter[-1]
    assert isinstance(last, nn.Conv1d)
    return last


def _set(layer: nn.Conv1d, rows: Tensor) -> None:
    """Weights and bias from (outputs, inputs + 1)."""
    layer.weight.copy_(rows[:, :-1, None])
    if layer.bias is not None:
        layer.bias.copy_(rows[:, -1])
