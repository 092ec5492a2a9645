"""Curves over the sampling frequency as SVG within a page: text and axes take the page's colour, so they fit a dark one too."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from sfi_zoo.metrics.reporting.board import Entry
from sfi_zoo.metrics.reporting.looks import Look, decibels_shown, look_of

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 22, 34
TICKS = 5
TITLES = {
    "gained": "SI-SDR gained per pair of track and stem, in dB",
    "lost": "SI-SDR lost in dB",
    "mask": "mask LEE in dB",
    "masked_latent": "masked-latent LEE in dB",
}
Span = tuple[float, float]


def span_of(entries: Sequence[Entry], quantity: str) -> Span:
    """The lowest and the highest of a quantity, over all models and modes: their curves share an axis."""
    values = [
        at[quantity]
        for entry in entries
        for mode in entry.modes.values()
        for at in mode.curve.values()
        if quantity in at
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def curves_svg(entry: Entry, quantity: str, span: Span, modes: Sequence[str]) -> str:
    """One quantity of a model over F, a line for each mode; a dashed vertical line stands at F0. "" where nothing was measured.

    Args:
        entry: the model.
        quantity: one of `sfi_zoo.metrics.reporting.board.QUANTITIES`.
        span: of the vertical axis.
        modes: all of the leaderboard, which fixes each one's look.
    """
    lines: Mapping[str, list[tuple[float, float]]] = {
        mode: [(rate / 1000, at[quantity]) for rate, at in own.curve.items() if quantity in at]
        for mode, own in entry.modes.items()
    }
    if not any(lines.values()):
        return ""
    rates = [kilohertz for line in lines.values() for kilohertz, _ in line]
    right = max(*rates, entry.trained_rate / 1000)
    ticks = _ticks(*span)
    low, high = min(span[0], ticks[0]), max(span[1], ticks[-1])

    def x(kilohertz: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * kilohertz / right

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [f'<text x="{LEFT}" y="14" class="title">{escape(TITLES[quantity])}</text>']
    for tick in ticks:
        parts.append(
            f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" class="grid"/>'
            f'<text x="{LEFT - 5}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for kilohertz in _ticks(0, right):
        parts.append(
            f'<text x="{x(kilohertz):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{kilohertz:g}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">sampling frequency F in kHz</text>'
    )
    trained = entry.trained_rate / 1000
    parts.append(
        f'<path d="M{x(trained):.1f} {TOP}V{HEIGHT - BOTTOM}" class="trained"><title>F0, {trained:g} kHz</title></path>'
    )
    for mode, line in lines.items():
        look = look_of(mode, list(modes))
        path = "L".join(f"{x(kilohertz):.1f} {y(value):.1f}" for kilohertz, value in line)
        parts.append(f'<path d="M{path}" {line_style(look)} opacity="0.85"/>' if line else "")
        told = (
            marker(look, x(kilohertz), y(value), f"{mode} at {kilohertz:g} kHz: {decibels_shown(value)} dB")
            for kilohertz, value in line
        )
        parts.append(f"<g {marker_style(look)}>{''.join(told)}</g>")
    name = f"{entry.model}: {TITLES[quantity]} over the sampling frequency"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name, quote=True)}">'
        + "".join(parts)
        + "</svg>"
    )


def sample_svg(look: Look) -> str:
    """A short piece of a mode's line with its marker, for keys and column heads."""
    return (
        f'<svg viewBox="0 0 30 12" class="sample" aria-hidden="true"><path d="M0 6H30" {line_style(look)}/>'
        f"<g {marker_style(look)}>{marker(look, 15, 6)}</g></svg>"
    )


def line_style(look: Look) -> str:
    """Attributes of a mode's line."""
    dash = f' stroke-dasharray="{" ".join(map(str, look.dash))}"' if look.dash else ""
    return f'fill="none" stroke="{look.color}" stroke-width="{look.width}"{dash}'


def marker_style(look: Look) -> str:
    """Attributes of the group of a mode's markers: filled for wide lines, hollow for narrow ones, so that one on the other shows."""
    return f'fill="{look.color}"' if look.marker == "o" else f'class="hollow" stroke="{look.color}"'


def marker(look: Look, x: float, y: float, told: str = "") -> str:
    """A mode's marker; `told` is shown when one points at it."""
    title = f"<title>{escape(told)}</title>" if told else ""
    if look.marker == "o":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>'
    if look.marker == "s":
        return f'<path d="M{x - 4:.1f} {y - 4:.1f}h8v8h-8z">{title}</path>'
    shape = "l5 9h-10z" if look.marker == "^" else "l5 5l-5 5l-5-5z"
    return f'<path d="M{x:.1f} {y - 5:.1f}{shape}">{title}</path>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two values: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]
