"""`sfi-zoo import`."""

from pathlib import Path
from typing import Annotated

import typer

from sfi_zoo.commands.printing import say, say_json
from sfi_zoo.commands.shared import AsJson
from sfi_zoo.importers.formats import described

HELP = f"""Convert a checkpoint of another project: of asteroid, SpeechBrain, Spleeter, RoFormers and others.

What wrote a file is told by its content. Nothing in a file is executed.

{described()}

Example: sfi-zoo import model.pth -o my_model --sample-rate 8000 --sources speaker_1,speaker_2
"""


def import_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A published checkpoint: a file, a folder, a name from `sfi-zoo list`, a Hub id, or torchaudio:BUNDLE."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make.")],
    seed: Annotated[
        int | None, typer.Option(help="Which seed to take, where a Hub repository has several.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Sampling frequency of training in Hz, where the file does not say it.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option(help="Names of the stems in output order, for example vocals,drums.")
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Masks: relu or sigmoid, for a state dict of torchaudio; softmax, for Spleeter with five stems."
        ),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(help="Blocks per repeat; a state dict of torchaudio does not say it.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The YAML file that belongs to the checkpoint, where it has one.")
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            help="Activation of a Spleeter model, relu or elu; those with four and five stems have elu."
        ),
    ] = None,
    bins: Annotated[
        int | None, typer.Option(help="Frequency bins that a Spleeter model sees: 1024 or 1536.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The command; its help is `HELP`."""
    from sfi_zoo import hub

    names = [name.strip() for name in sources.split(",")] if sources is not None else None
    folder = hub.import_checkpoint(
        source,
        out,
        seed=seed,
        sample_rate=sample_rate,
        sources=names,
        mask=mask,
        layers=layers,
        config=config,
        activation=activation,
        bins=bins,
    )
    if as_json:
        say_json({"folder": str(folder)})
    else:
        say(folder)
