"""The first tab: a song in, stems and spectrograms out."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from sfi_zoo.demo.keeping import sweep
from sfi_zoo.demo.mixer import mixer
from sfi_zoo.demo.separation import LONGEST, OWN, RATES, separate_song
from sfi_zoo.demo.spectrogram_view import spectrogram_view
from sfi_zoo.errors import InputError
from sfi_zoo.hub.bundled import BUNDLED
from sfi_zoo.hub.catalogue import read_row
from sfi_zoo.hub.expectations import paragraph
from sfi_zoo.models.adaptation import MODES, Adapted
from sfi_zoo.models.base import Separator
from sfi_zoo.separation.options import ABOVE, DEFAULTS, FILE_DEFAULTS
from sfi_zoo.wording import markdown_text

MODE_LABELS = {
    "native": "native: the layers adapt to the song's sampling frequency (SF)",
    "resample": "resample: the song is resampled to the SF of training, and the stems back",
    "none": "none: nothing is adapted; to hear what goes wrong",
}
ABOVE_LABELS = {
    "masks": "shared among the stems as the octave below it",
    "equal": "shared equally",
    "none": "nothing, as in the scores",
}
HINT = "The stems and their spectrograms appear here."
STEMS_IN_ROW = 2


def separate_tab(folder: Path, models: Sequence[str], chosen: str, load: Callable[[str], Separator]) -> None:
    """Lays the tab out, within `gr.Blocks`.

    Args:
        folder: for stems.
        models: names to choose from; no other is loaded.
        chosen: which of them is at first.
        load: a separator by name.
    """

    def separate(
        song: str | None,
        model: str,
        mode: str,
        rate: str | None,
        above: str,
        nothing_added: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008, where gradio looks for it
    ) -> tuple[Any, str]:
        try:
            if song is not None and not Path(song).is_file():
                raise InputError(
                    f"{Path(song).name}: is no longer here, songs are kept for an hour; drop it again"
                )
            if song is not None:
                Path(song).touch()  # it is needed now
            sweep(folder)
            if song is None:
                raise InputError("no song yet: drop a file on the page, or record one")
            separator = Adapted(load(model), mode)
            report = lambda done, total: progress(done / total if total else 0, desc="Separating")  # noqa: E731
            fitted = FILE_DEFAULTS if nothing_added else DEFAULTS
            options = dataclasses.replace(fitted, above=above)
            shown = separate_song(separator, Path(song), rate or OWN, folder, report, options)
        except (InputError, OSError) as error:
            # what was heard and seen stays; a file may have any name, and the text is Markdown
            return gr.skip(), f"**Not separated:** {markdown_text(str(error))}"
        stems = {name: str(path) for name, path in shown.stems.items()}
        result = {"stems": stems, "archive": str(shown.archive), "spectrograms": shown.spectrograms}
        return result, shown.summary

    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            song_input = gr.Audio(
                label=f"Song, up to {LONGEST / 60:g} min",
                sources=["upload", "microphone"],
                type="filepath",
                editable=False,
                buttons=[],
                elem_id="song",
            )
            model_input = gr.Dropdown(list(models), value=chosen, label="Model")
            expect = gr.Markdown(_expectations(chosen), elem_id="expect")
            inputs = [
                song_input,
                model_input,
                gr.Radio([(MODE_LABELS[mode], mode) for mode in MODES], value="native", label="Mode"),
                gr.Dropdown(
                    [OWN, *map(str, RATES)],
                    value=OWN,
                    allow_custom_value=True,
                    label="SF in Hz",
                    info="If you choose another rate, the song is resampled to it first: any from 4000 to 192000.",
                ),
            ]
            with gr.Accordion("What the stems add up to", open=False):
                inputs += [
                    gr.Radio(
                        [(ABOVE_LABELS[above], above) for above in ABOVE],
                        value=FILE_DEFAULTS.above,
                        label="Above half the SF of the training",
                    ),
                    gr.Checkbox(value=True, label="The song: nothing is added, nothing is lost"),
                ]
            button = gr.Button("Separate", variant="primary", interactive=False)  # until there is a song
        with gr.Column(scale=2, min_width=480):
            summary = gr.Markdown(HINT, elem_id="summary")
            stems = gr.State({})
            gr.render(inputs=stems)(_players)
    song_input.change(
        lambda song: gr.Button(interactive=song is not None), song_input, button, api_visibility="private"
    )
    model_input.change(_expectations, model_input, expect, api_visibility="private")
    button.click(separate, inputs, [stems, summary], api_name="separate")


def _expectations(model: str) -> str:
    """What the page says of a model; nothing of one that has no card here."""
    folder = BUNDLED / model
    return paragraph(read_row(folder)) if (folder / "config.json").is_file() else ""


def _players(result: dict[str, Any]) -> None:
    if not result:
        return
    stems: dict[str, str] = result["stems"]
    mixer(stems)
    gr.DownloadButton("All stems (zip)", result["archive"], size="sm", elem_id="archive")
    names = list(stems)
    for start in range(0, len(names), STEMS_IN_ROW):
        with gr.Row():
            for name in names[start : start + STEMS_IN_ROW]:
                gr.Audio(
                    stems[name], label=name, interactive=False, buttons=["download"], elem_classes="stem"
                )
    spectrogram_view(result["spectrograms"])
