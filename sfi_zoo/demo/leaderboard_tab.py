"""The second tab: a table to sort, curves over the SF, and the study's scatter plots."""

import math
from collections.abc import Sequence
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from sfi_zoo.demo.scores import GAINED, Board, compared, correlation_of, curves, read_boards, table
from sfi_zoo.metrics.reporting.study import COSTS, SCALES
from sfi_zoo.metrics.scoring.rows import LEES
from sfi_zoo.metrics.scoring.unit import ROWS
from sfi_zoo.models.adaptation import MODES

LEGEND = (
    "dB, and kHz of F0, the SF of the training. **gained**: SI-SDR over that of the mixture at F0, the mean of the sources beside it."
    " **lost**: SI-SDR of the estimate at F0 resampled to F, less that of the estimate at F: at 8 kHz, and the most at any other F of"
    " 11.025 kHz or more. **LEE**: our reading of arXiv:2506.03550; the mean over all F but F0, no less than -60 each; lower is better."
    " The menu beside the name of a column sorts."
    " Modes: *native*, the layers adapt; *resample*, to F0 and back; *none*, run as it is."
)
STUDY = (
    "A point is a model in a mode at an F other than F0; r is Pearson's over all that are shown."
    " Intervals need the scores of each track: `sfi-zoo study`."
)
NO_SCORES = "No bundled model has scores yet: `sfi-zoo score MODEL -o results`, then `sfi-zoo report results --scores-json hub_configs`."
CURVES = (GAINED, "si_sdr_lost")
SHOWN_AT_FIRST = 3  # models with curves: nobody tells more lines apart
COLORS = (
    "#4c78a8",
    "#f58518",
    "#e45756",
    "#72b7b2",
    "#54a24b",
    "#b79a20",
    "#b279a2",
    "#ff9da6",
    "#9d755d",
    "#79706e",
)
LEGEND_ENTRY = '<span style="white-space: nowrap"><b style="color: {color}">&#9644;</b> {name} &emsp;</span>'
WORDS = {"si_sdr": "SI-SDR", "sdr": "SDR", "bss_sdr": "BSSEval SDR"}


def leaderboard_tab(folder: Path) -> None:
    """Lays the tab out, within `gr.Blocks`.

    Args:
        folder: of models' folders with scores.json.
    """
    boards, problems = read_boards(folder)
    if problems:
        gr.Markdown("Left out:\n\n" + "\n".join(f"- {line}" for line in problems))
    if not boards:
        gr.Markdown(NO_SCORES)
    for number, (data, board) in enumerate(boards.items()):
        with gr.Accordion(f"Measured on {data}", open=number == 0):
            _show(board)


def _show(board: Board) -> None:
    """Scores on one set of data."""
    figures, points = table(board), curves(board)
    models = list(dict.fromkeys(figures["model"]))
    costs = [(_title(cost), cost) for cost in COSTS if cost in points]

    def rows(wanted: Sequence[str]) -> Any:
        return figures[figures["mode"].isin(wanted)].round(2)

    def draw_curves(wanted: Sequence[str], of: Sequence[str]) -> None:
        chosen = points[points["mode"].isin(wanted) & points["model"].isin(of or models)]
        alone = [key for key in ("mode", "model") if chosen[key].nunique() == chosen["line"].nunique()]
        color = alone[0] if alone else "line"
        colors = dict(zip(dict.fromkeys(chosen[color]), cycle(COLORS), strict=False))
        gr.HTML(" ".join(LEGEND_ENTRY.format(color=c, name=escape(key)) for key, c in colors.items()))
        for names in (CURVES, LEES):
            with gr.Row():
                for name in names:
                    gr.LinePlot(
                        chosen.dropna(subset=[name]),
                        "kHz",
                        name,
                        color=color,
                        color_map=colors,
                        colors_in_legend=[],  # one legend for all, which holds whole names
                        x_title="F in kHz",
                        y_title=_title(name),
                        tooltip=["model", "mode", "kHz", name],
                    )

    def draw_scatter(wanted: Sequence[str], cost: str, scale: str) -> None:
        chosen = compared(points[points["mode"].isin(wanted)])
        if scale == "linear":
            chosen = chosen.assign(**{lee: 10 ** (chosen[lee] / 10) for lee in LEES})
        with gr.Row():
            for lee in LEES:
                r = correlation_of(chosen, lee, cost)
                gr.ScatterPlot(
                    chosen,
                    lee,
                    cost,
                    color="mode",
                    x_title=_title(lee) if scale == "dB" else _title(lee).removesuffix(" in dB"),
                    y_title=_title(cost),
                    tooltip=["model", "mode", "kHz", lee, cost],
                    title="" if math.isnan(r) else f"r = {r:.2f}, {len(chosen)} points",
                )

    number: Literal["number"] = "number"  # sorted as such
    modes = gr.CheckboxGroup(list(ROWS), value=list(MODES), label="Modes")
    shown = gr.Dataframe(
        rows(MODES),
        datatype=["str", "str", *[number] * (figures.shape[1] - 2)],
        interactive=False,
        show_search="search",
        elem_classes="leaderboard",
    )
    gr.Markdown(LEGEND)
    gr.Markdown("### Over the SF")
    compare = gr.Dropdown(models, value=models[:SHOWN_AT_FIRST], multiselect=True, label="Models; none: all")
    gr.render([modes, compare])(draw_curves)
    gr.Markdown("### Does a LEE tell what SDR is lost?\n\n" + STUDY)
    with gr.Row():
        cost = gr.Dropdown(costs, value=costs[0][1], label="Lost")
        scale = gr.Radio(list(SCALES), value="linear", label="LEE")
    gr.render([modes, cost, scale])(draw_scatter)
    modes.change(rows, modes, shown, api_visibility="private")


def _title(name: str) -> str:
    if name in LEES:
        return f"{name.replace('_', '-')} LEE in dB"
    quality = next(quality for quality in WORDS if name.startswith(f"{quality}_"))
    what = name.removeprefix(f"{quality}_").replace("_", " ")
    return f"{WORDS[quality]} {what} in dB"
