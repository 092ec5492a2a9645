"""`sfi-zoo example`."""

from pathlib import Path
from typing import Annotated

import typer

from sfi_zoo.commands.printing import say, say_json
from sfi_zoo.commands.shared import AsJson


def example_command(
    out: Annotated[Path, typer.Argument(help="File to write: wav, flac, ogg or mp3.", metavar="OUT.wav")],
    sample_rate: Annotated[int, typer.Option(help="In Hz.")] = 44100,
    seed: Annotated[int, typer.Option(help="Which song.")] = 0,
    duration: Annotated[float, typer.Option(help="In seconds.")] = 12.0,
    channels: Annotated[int, typer.Option(help="1 or 2.")] = 2,
    stems: Annotated[
        bool, typer.Option("--stems", help="Write its stems too, into the folder <OUT>/.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a song made from a formula.

    Example: sfi-zoo example song.wav --sample-rate 22050
    """
    import numpy as np

    from sfi_zoo.audio.bounds import check_sample_rate
    from sfi_zoo.audio.writers import write
    from sfi_zoo.data.synthetic import song

    check_sample_rate(sample_rate, "--sample-rate")
    parts = song(seed, duration, sample_rate, channels)
    files = {out: np.sum(list(parts.values()), 0)}
    if stems:
        files |= {out.with_suffix("") / f"{name}{out.suffix}": part for name, part in parts.items()}
    written = [str(write(path, samples, sample_rate).path) for path, samples in files.items()]
    if as_json:
        say_json({"files": written, "sample_rate": sample_rate})
    else:
        say(*written)
