"""Curves over the sampling frequency as a picture, and what all pictures by matplotlib share. Needs matplotlib."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.reporting.looks import look_of
from sfi_zoo.metrics.scoring.points import FLOOR_DB, Points

MARKERS = "osD^v<>pPX*h"


def plot_curves(points: Points, model: str) -> Any:
    """SI-SDR improvement, SI-SDR lost and each LEE of a model over F, a line for each mode and control.

    Args:
        points: of the records of a run.
        model: one of its models.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        InputError: matplotlib is not installed.
    """
    own = points.where(points.models == model)
    once = np.ones((1, len(own.tracks)))
    shown = {
        "SI-SDR improvement in dB": own.mean_db("si_sdr_improvement", once)[0],
        "SI-SDR lost in dB": own.mean_db("si_sdr_lost", once)[0],
    }
    shown |= {f"{metric.replace('_', ' ')} LEE in dB": own.lee_db(metric, once)[0] for metric in own.error}
    figure, axes = figure_of(len(shown))
    for axis, (label, values) in zip(axes, shown.items(), strict=True):
        for (_, mode), style in styles(own).items():
            line = own.modes == mode
            order = np.argsort(own.rates[line])
            axis.plot(own.rates[line][order] / 1000, values[line][order], label=plain(mode), **style)
        axis.set(xlabel="F in kHz", ylabel=plain(label))
        if "LEE" in label:
            axis.set_ylim(bottom=FLOOR_DB - 3)
    axes[0].legend(fontsize="x-small")
    figure.suptitle(plain(model))
    return figure


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def plain(text: str) -> str:
    """Dollars are no formulas."""
    return text.replace("$", r"\$")


def styles(points: Points) -> dict[tuple[str, str], dict[str, Any]]:
    """(model, mode) -> marker of the model, colour and dashes of the mode: those of `sfi_zoo.metrics.reporting.looks`."""
    models, modes = sorted(set(points.models)), sorted(set(points.modes))
    return {
        (model, mode): {
            "marker": MARKERS[models.index(model) % len(MARKERS)],
            "color": look_of(mode, modes).color,
            "linestyle": (0, look_of(mode, modes).dash) if look_of(mode, modes).dash else "-",
            "markersize": 4,
        }
        for model in models
        for mode in modes
        if ((points.models == model) & (points.modes == mode)).any()
    }


def figure_of(panels: int) -> tuple[Any, Any]:
    """A figure without pyplot, of panels in rows of three, and its axes.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        module = import_module("matplotlib.figure")
    except ImportError:
        raise InputError("pictures need matplotlib: pip install -e '.[plot]'") from None
    columns = min(3, panels)
    rows = -(-panels // columns)
    figure = module.Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels]
