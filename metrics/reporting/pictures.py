"""Pictures of where a LEE comes from: per frequency band, per source, per layer. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.layerwise import LayerLEE
from sfi_zoo.metrics.lee import LEESums

BAND_EDGES = (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)  # octaves


def plot_bands(sums: LEESums, edges: Sequence[float] = BAND_EDGES) -> Any:
    """What each frequency band contributes to a LEE, finite or local; the bars add up to it.

    Args:
        sums: of one of the metrics.
        edges: between the bands, increasing Hz.

    Returns:
        A `matplotlib.figure.Figure`, made without pyplot: `.savefig("bands.png")` works without a display.

    Raises:
        InputError: matplotlib is not installed, or edges that do not increase.
    """
    shown = [f"{edge:g}" for edge in edges]
    bands = [
        f"< {shown[0]}",
        *(f"{a} - {b}" for a, b in pairwise(shown)),
        f"> {shown[-1]}",
    ]
    figure, axes = _figure(1, 4.0)
    axes[0].bar(bands, sums.by_band(edges).tolist())
    axes[0].set(xlabel="band in Hz", ylabel="contribution (linear)", title=_title(sums.decibels()))
    return figure


def plot_sources(sums: LEESums, sources: Sequence[str]) -> Any:
    """What each source contributes to a LEE, finite or local; the bars add up to it.

    Args:
        sums: of one of the metrics.
        sources: names, in the model's order.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        InputError: matplotlib is not installed, or another number of names than of sources.
    """
    parts = sums.by_source().tolist()
    if len(sources) != len(parts):
        raise InputError(f"{len(parts)} sources need as many names, got {list(sources)}")
    figure, axes = _figure(1, 4.0)
    axes[0].bar(list(sources), parts)
    axes[0].set(ylabel="contribution (linear)", title=_title(sums.decibels()))
    return figure


def plot_layers(split: LayerLEE, after: Mapping[str, tuple[float, float]] | None = None) -> Any:
    """The local mask LEE over the layers, in the order they are called.

    Left: contributions, which add up to the LEE. Then the energy of each part with twice its standard error, and the LEE of the network up
    to each layer, if given.

    Args:
        split: of `layer_lee`.
        after: of `lee_after_layers`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure, axes = _figure(2 if after is None else 3, 1.5 + 0.22 * len(split.names))
    reference, names = float(split.reference), list(split.names)
    axes[0].barh(names, list(split.by_layer().values()))
    error = 2 * split.energy_variance.sqrt() / reference
    axes[1].barh(names, (split.energy / reference).tolist(), xerr=error.tolist())
    if after is not None:
        axes[2].plot([error / reference for error, reference in after.values()], list(after), marker="o")
        axes[2].set_xscale("log")
    titles = ("contribution (linear)", "energy (linear)", "LEE up to here (linear)")
    for axis, title in zip(axes, titles, strict=False):
        axis.set(xlabel=title)
    axes[0].invert_yaxis()
    figure.suptitle(f"local mask LEE {split.value():.3g}")
    return figure


def _title(decibels: float) -> str:
    return f"LEE {decibels:.1f} dB"


def _figure(columns: int, height: float) -> tuple[Any, Any]:
    try:
        module = import_module("matplotlib.figure")
    except ImportError:
        raise InputError("pictures need matplotlib: pip install matplotlib") from None
    figure = module.Figure(figsize=(7 if columns == 1 else 12, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, sharey=columns > 1)[0]
