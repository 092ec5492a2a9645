"""From a sound file to stems in one call."""

from pathlib import Path
from typing import Any

from torch import nn

from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.hub.loading import load
from sfi_zoo.separation.files import separated_paths
from sfi_zoo.separation.made_by import name_of


def separate_file(
    path: str | Path,
    out: str | Path = "separated",
    model: str | nn.Module = DEFAULT_MODEL,
    *,
    device: str | None = None,
    **settings: Any,
) -> list[Path]:
    """Write the stems of a sound file, at its own sample rate; all of them appear, or none.

    They go to `out/<name of the file>/<source>.<extension>`, add up to the file, and hold its whole band.

    Args:
        path: a file that soundfile reads, or ffmpeg where it is installed.
        out: a folder, made if need be.
        model: a name, folder or Hub id, or a separator.
        device: where to run; None for the CPU, or where the separator is.
        settings: of `sfi_zoo.separation.files.separate_file` (`format`, `subtype`, `stems`, `filename`, `overwrite`, `sample_rate`, `clip`,
            `progress` ...) and of `SeparationOptions` (`two_stems`, `shifts`, `chunk_seconds`, `above`, `consistency` ...), by name.

    Returns:
        Where the stems are, in the model's order.

    Raises:
        InputError: the file, a setting or the output is unusable, or a stem is there already.
        TypeError: a setting of another name.
    """
    separator = load(model, device=device) if isinstance(model, str) else model
    if isinstance(model, str):
        settings.setdefault("made_by", name_of([model]))
    return separated_paths(separator, path, out, device=device, **settings)
