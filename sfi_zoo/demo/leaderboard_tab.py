"""The second tab: the leaderboard, and the study's scatter plots."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr

from sfi_zoo.demo.scores import Board, compared, correlation_of, points, read_boards
from sfi_zoo.metrics.reporting.board_page import SCRIPT, STYLE, board_html
from sfi_zoo.metrics.reporting.looks import look_of
from sfi_zoo.metrics.reporting.study import COSTS, SCALES
from sfi_zoo.metrics.scoring.rows import LEES

ABOUT = (
    "F is the sampling frequency of the song, F0 the one that a model was trained at."
    " Click the head of a column to sort by it; point at it to read what it means."
)
STUDY = (
    "LEE, the local equivariance error, is how much a model's masks change when only F changes. If it tells what is lost, the points lie"
    " on a line. Each point is a model in a mode at an F other than F0; r is Pearson's correlation over all points shown."
    " Intervals need the scores of each track: `sfi-zoo study`."
)
NO_SCORES = (
    "No model in {folder} has scores yet. Make some: `sfi-zoo score MODEL -o results`,"
    " then `sfi-zoo report results --scores-json {folder}`."
)
WORDS = {"si_sdr": "SI-SDR", "sdr": "SDR", "bss_sdr": "BSSEval SDR"}


def leaderboard_tab(folder: Path) -> None:
    """Lays the tab out, within `gr.Blocks`.

    Args:
        folder: of models' folders with scores.json.
    """
    boards, problems = read_boards(folder)
    if problems:
        gr.Markdown("These files are left out:\n\n" + "\n".join(f"- {escape(line)}" for line in problems))
    if not boards:
        gr.Markdown(NO_SCORES.format(folder=folder))
    for number, (data, board) in enumerate(boards.items()):
        with gr.Accordion(f"Measured on {data}", open=number == 0):
            gr.Markdown(ABOUT)
            gr.HTML(
                board_html(board.entries()),
                css_template=STYLE,
                js_on_load=f"{SCRIPT}\nsfiBoard(element);",
                elem_classes="leaderboard",
            )
            with gr.Accordion("Does a LEE tell what SDR is lost?", open=False):
                _study(board)


def _study(board: Board) -> None:
    found = points(board)
    modes = list(dict.fromkeys(found["mode"]))
    costs = [(_title(cost), cost) for cost in COSTS if cost in found]

    def draw_scatter(wanted: Sequence[str], cost: str, scale: str) -> None:
        chosen = compared(found[found["mode"].isin(wanted)])
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
                    color_map={mode: look_of(mode, modes).color for mode in modes},
                    x_title=_title(lee) if scale == "dB" else _title(lee).removesuffix(" in dB"),
                    y_title=_title(cost),
                    tooltip=["model", "mode", "kHz", lee, cost],
                    title="" if math.isnan(r) else f"r = {r:.2f}, {len(chosen)} points",
                )

    gr.Markdown(STUDY)
    with gr.Row():
        shown = gr.CheckboxGroup(modes, value=modes, label="Modes")
        cost = gr.Dropdown(costs, value=costs[0][1], label="Vertical axis: what is lost")
        scale = gr.Radio(list(SCALES), value="linear", label="Scale of the LEE")
    gr.render([shown, cost, scale])(draw_scatter)


def _title(name: str) -> str:
    if name in LEES:
        return f"{name.replace('_', '-')} LEE in dB"
    quality = next(quality for quality in WORDS if name.startswith(f"{quality}_"))
    what = name.removeprefix(f"{quality}_").replace("_", " ")
    return f"{WORDS[quality]} {what} in dB"
