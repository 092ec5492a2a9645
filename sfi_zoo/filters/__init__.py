"""Analog filter banks: continuous-time impulse and frequency responses. One family per file, one line per family here."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank
from sfi_zoo.filters.fourier import Fourier
from sfi_zoo.filters.gammatone import MultiPhaseGammatone
from sfi_zoo.filters.interpolated import InterpolatedKernels
from sfi_zoo.filters.modulated_gaussian import ModulatedGaussian
from sfi_zoo.filters.neural_analog import NeuralAnalogFrequency, NeuralAnalogTime
from sfi_zoo.filters.sinc_bandpass import SincBandpass

if TYPE_CHECKING:
    from sfi_zoo.layers.plot import plot as plot

FILTER_FAMILIES: dict[str, type[AnalogFilterBank]] = {
    "fourier": Fourier,
    "interpolated": InterpolatedKernels,
    "modulated_gaussian": ModulatedGaussian,
    "multi_phase_gammatone": MultiPhaseGammatone,
    "neural_analog_frequency": NeuralAnalogFrequency,
    "neural_analog_time": NeuralAnalogTime,
    "sinc_bandpass": SincBandpass,
}


def filter_layer_options(family: str) -> tuple[str, ...]:
    """The arguments of a family that a layer fills in; none for an unknown one."""
    return FILTER_FAMILIES[family].layer_options if family in FILTER_FAMILIES else ()


def create_filters(family: str, num_filters: int, **options: Any) -> AnalogFilterBank:
    """A filter bank by family name.

    Args:
        family: a key of `FILTER_FAMILIES`.
        num_filters: number of filters in the bank.
        **options: the family's own arguments.

    Raises:
        InputError: unknown family, or an argument the family does not take.
    """
    if family not in FILTER_FAMILIES:
        raise InputError(f"unknown filter family {family!r}; known: {', '.join(sorted(FILTER_FAMILIES))}")
    try:
        return FILTER_FAMILIES[family](num_filters=num_filters, **options)
    except TypeError as error:
        raise InputError(f"filter family {family!r} cannot take options {options}: {error}") from None


__all__ = [
    "FILTER_FAMILIES",
    "AnalogFilterBank",
    "Fourier",
    "InterpolatedKernels",
    "ModulatedGaussian",
    "MultiPhaseGammatone",
    "NeuralAnalogFrequency",
    "NeuralAnalogTime",
    "SincBandpass",
    "create_filters",
    "filter_layer_options",
    "plot",
]


def __getattr__(name: str) -> Any:
    """`filters.plot` lives with the layers, whose designs it draws."""
    if name == "plot":
        return import_module("sfi_zoo.layers.plot").plot
    raise AttributeError(f"module 'sfi_zoo.filters' has no attribute {name!r}")
