"""A picture of a bank: the analog filters and what becomes of them at a few sampling frequencies, on one axis."""

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import AnalogFilterBank
from sfi_zoo.layers.sfi_conv import SFIConv1d

SHOWN = 8
RESPONSE_POINTS = 2000
OVERSAMPLING = 8  # stands for the analog filter where a family has no closed form
DASHES = ((0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))


def plot(
    bank: AnalogFilterBank,
    sample_rates: Sequence[float] = (8000, 16000, 32000),
    *,
    filters: Sequence[int] | None = None,
    duration: float = 0.005,
    taper: float = 0.25,
    design: str | None = None,
    trained_rate: float | None = None,
    impulse: bool = False,
    floor_db: float = -80.0,
) -> Any:
    """Magnitude responses of an analog bank (solid) and of its digital designs (dashed) in dB over Hz.

    Designs are those of `SFIConv1d`, gain one: the lines of all sampling frequencies lie on each other, and on the solid one where the
    kernel is long enough for it. A filter has no line at a sampling frequency at which it is dropped.

    Args:
        bank: the analog filters.
        sample_rates: F in Hz, one or more.
        filters: indices of the filters to show; by default about 8 of them, spread over the bank in order of their centres.
        duration: kernel length T in seconds.
        taper: fraction of the kernel that the taper takes, 0 to 1.
        design: "time" or "frequency"; by default "time" where the family has an impulse response.
        trained_rate: F0 in Hz; the highest of `sample_rates` by default.
        impulse: add an axis with the impulse responses, over milliseconds.
        floor_db: the lower end of the axis.

    Returns:
        A `matplotlib.figure.Figure`, made without pyplot: `.savefig("bank.png")` works without a display.

    Raises:
        InputError: matplotlib is not installed, no sampling frequency, or a filter that the bank does not have.
    """
    try:
        figure_module, line_module = import_module("matplotlib.figure"), import_module("matplotlib.lines")
    except ImportError:
        raise InputError("plot needs matplotlib: pip install matplotlib") from None
    if not sample_rates:
        raise InputError(f"sample_rates must name a sampling frequency or more, got {sample_rates!r}")
    shown = _shown(bank, filters)
    if design is None:
        design = "time" if bank.gives("impulse_response") else "frequency"
    settings = (duration, taper, design, trained_rate or max(sample_rates))

    figure = figure_module.Figure(figsize=(9, 8 if impulse else 4.5), layout="constrained")
    axes = figure.subplots(2 if impulse else 1, squeeze=False)[:, 0]
    axes[0].set(xlabel="frequency in Hz", ylabel="magnitude in dB", xlim=(0, max(sample_rates) / 2))
    axes[0].set_title(f"{type(bank).__name__}, {len(shown)} of {bank.num_filters} filters")
    colors = {c: f"C{i % 10}" for i, c in enumerate(shown)}
    styles: dict[str, Any] = {"analog": "-"}
    with torch.no_grad():
        f = torch.linspace(0, max(sample_rates) / 2, RESPONSE_POINTS, dtype=torch.float64)
        analog = _analog_response(bank, f, settings)
        for c in shown:
            axes[0].plot(f, _decibels(analog[c], floor_db), color=colors[c], alpha=0.5, label=f"{c} analog")
        for i, rate in enumerate(sample_rates):
            t, taps = _digital(bank, rate, *settings)
            f = torch.linspace(0, rate / 2, RESPONSE_POINTS, dtype=torch.float64)
            response = _transform(t, taps, f)
            name = f"{rate:g} Hz"
            styles[name] = DASHES[i % len(DASHES)]
            for c in shown:
                if taps[c].any():
                    style = {"color": colors[c], "linestyle": styles[name], "label": f"{c} at {name}"}
                    axes[0].plot(f, _decibels(response[c], floor_db), **style)
                    if impulse:
                        axes[1].plot(1e3 * t, rate * taps[c], marker=".", markersize=3, **style)
        if impulse:
            _plot_impulse_responses(axes[1], bank, shown, colors, duration)
    axes[0].set_ylim(floor_db, max(axes[0].get_ylim()[1], floor_db + 1))
    proxies = [
        line_module.Line2D([], [], color="0.3", linestyle=style, label=name) for name, style in styles.items()
    ]
    axes[0].legend(handles=proxies, loc="lower right")
    return figure


def _shown(bank: AnalogFilterBank, filters: Sequence[int] | None) -> list[int]:
    """The filters to show: those asked for, or some from the lowest centre to the highest."""
    if filters is None:
        order = bank.center_frequencies().argsort(stable=True)
        places = torch.linspace(0, bank.num_filters - 1, min(SHOWN, bank.num_filters)).round().long()
        return order[places].tolist()
    wrong = [c for c in filters if not 0 <= c < bank.num_filters]
    if wrong:
        raise InputError(f"filters must lie in 0 ... {bank.num_filters - 1}, got {wrong}")
    return list(filters)


def _digital(
    bank: AnalogFilterBank, rate: float, duration: float, taper: float, design: str, trained_rate: float
) -> tuple[Tensor, Tensor]:
    """Instants in seconds, (T,), and taps, (C, T), of the layer at a sampling frequency, on the CPU."""
    layer = SFIConv1d(
        1,
        bank.num_filters,
        max(1, round(duration * trained_rate)),
        max(1, round(trained_rate)),  # a hop of a second: one delay
        bias=False,
        sample_rate=trained_rate,
        filters=bank,
        design=design,
        taper=taper,
    )
    weights, first = layer.weights(rate)
    delay = layer.frame_grid(rate).delays()[0]
    m = torch.arange(first, first + weights.shape[-1], dtype=torch.float64)
    shift = layer.duration / 2 if bank.causal else 0.0
    alive = layer.alive(rate).cpu()
    return (delay - m) / rate + shift, weights[0].double().cpu() * alive[:, None]


def _transform(t: Tensor, taps: Tensor, f: Tensor) -> Tensor:
    """sum_n taps[n] exp(-2 pi j f t_n): (C, M)."""
    angle = -2 * math.pi * t[:, None] * f
    return taps.to(torch.complex128) @ torch.complex(angle.cos(), angle.sin())


def _analog_response(bank: AnalogFilterBank, f: Tensor, settings: tuple[float, float, str, float]) -> Tensor:
    if bank.gives("frequency_response"):
        device = bank.center_frequencies().device
        return bank.frequency_response(2 * math.pi * f.to(device)).cpu()
    return _transform(*_digital(bank, OVERSAMPLING * settings[-1], *settings), f)


def _decibels(response: Tensor, floor_db: float) -> Tensor:
    return 20 * response.abs().clamp(min=10 ** (floor_db / 20 - 1)).log10()


def _plot_impulse_responses(
    axis: Any, bank: AnalogFilterBank, shown: list[int], colors: dict[int, str], duration: float
) -> None:
    """The analog ones, where there is a closed form, without the taper."""
    axis.set(xlabel="time in ms", ylabel="impulse response per second")
    if not bank.gives("impulse_response"):
        return
    start = 0.0 if bank.causal else -duration / 2
    t = torch.linspace(start, start + duration, RESPONSE_POINTS, dtype=torch.float64)
    responses = bank.impulse_response(t.to(bank.center_frequencies().device)).cpu()
    for c in shown:
        axis.plot(1e3 * t, responses[c], color=colors[c], alpha=0.5, label=f"{c} analog")
