"""The command line: `sfi-zoo list | info | separate | score | study | report | import | example`.

Results go to standard output, everything else to standard error. A user's mistake is one line there and exit
code 2; 1 means that some of several files failed, 130 that the user interrupted. torch is imported inside the
commands, so that `--help` is quick.
"""

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sfi_zoo import __version__
from sfi_zoo.commands.report import report_command, study_command
from sfi_zoo.commands.score import score_command
from sfi_zoo.commands.shared import PROGRAM, AsJson, Device, available, complain, print_json
from sfi_zoo.errors import InputError

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL = "convtasnet_mgf.music4"
app = typer.Typer(
    name=PROGRAM,
    help="Separate music at any sampling frequency, and measure how independent of it a model is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(args=arguments, prog_name=PROGRAM)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (InputError, OSError) as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="Only names that match, * is anything.")] = "*",
    architectures: Annotated[
        bool, typer.Option("--architectures", help="Instead, what `sfi_zoo.create` builds untrained.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that come with the package, or the architectures.

    Example: sfi-zoo list 'convtasnet*'
    """
    from sfi_zoo.models import list_architectures

    if architectures:
        names = list_architectures(pattern)
    else:
        from sfi_zoo import hub

        names = hub.list_models(pattern)
    if as_json:
        print_json(names)
    else:
        for name in names:
            print(name)


@app.command("info")
def info_command(
    name: Annotated[str, typer.Argument(help="A name from `sfi-zoo list`, a folder, or a Hub id.")],
    as_json: AsJson = False,
) -> None:
    """Describe a model: sources, rates, size.

    Example: sfi-zoo info convtasnet_mgf.music4
    """
    from sfi_zoo import hub

    described = _describe(name, hub.load(name))
    if as_json:
        print_json(described)
        return
    table = Table(show_header=False, box=None)
    for key, value in described.items():
        table.add_row(key, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    Console().print(table)


@app.command("separate")
def separate_command(
    files: Annotated[list[Path], typer.Argument(help="wav, flac, ogg, mp3 ...", metavar="FILE...")],
    model: Annotated[str, typer.Option("-m", "--model", help="Name, folder or Hub id.")] = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option("-o", "--out", help="Stems go to OUT/<file>/<source>.<ext>.")] = Path(
        "separated"
    ),
    sample_rate: Annotated[
        int | None, typer.Option(help="Resample to this rate (Hz) first, work and write at it.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, ogg, mp3; default: as the file.")] = None,
    subtype: Annotated[str | None, typer.Option(help="PCM_16, PCM_24, FLOAT; default: as the file.")] = None,
    stems: Annotated[str | None, typer.Option(help="Only these, for example vocals,drums.")] = None,
    two_stems: Annotated[str | None, typer.Option(help="Only this one and the rest, summed.")] = None,
    clip: Annotated[
        str, typer.Option(help="Beyond full scale: rescale (all stems alike) or clamp. FLOAT never clips.")
    ] = "rescale",
    consistency: Annotated[
        str | None, typer.Option(help="Make stems sum to the mixture: equal or energy (who gets the rest).")
    ] = None,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="A gain for each stem, by least squares onto the mixture.")
    ] = False,
    chunk_seconds: Annotated[
        float, typer.Option(help="Piece separated at once; memory grows with it.")
    ] = 12.0,
    overlap_seconds: Annotated[
        float | None, typer.Option(help="What two pieces share; default: 1.5, at most a quarter of one.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pieces at once; memory grows with it.")] = 1,
    dtype: Annotated[str | None, typer.Option(help="float32, float64, bfloat16 or float16.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: as torch is set.")] = None,
    mode: Annotated[
        str, typer.Option(help="native; or, to compare: resample (to the model's rate and back), none.")
    ] = "native",
    resampler: Annotated[
        str | None,
        typer.Option(help="With --mode resample: soxr, windowed_sinc, torchaudio, noisy_kernel ..."),
    ] = None,
    device: Device = None,
) -> None:
    """Separate files into stems, at their own sample rate.

    Stems keep the sample rate, channels, container and bit depth of the file; those of an earlier run are
    replaced. All stems of a file appear at once, or none. What would clip is scaled down, and told.

    Example: sfi-zoo separate song.mp3 -o stems
    """
    from sfi_zoo import hub
    from sfi_zoo.audio.files import check_distinct, separate_file
    from sfi_zoo.progress_bar import ProgressBar

    wanted = [name.strip() for name in stems.split(",")] if stems is not None else None
    check_distinct(files)
    if resampler is not None and mode != "resample":
        raise InputError(f"--resampler {resampler}: only --mode resample resamples")
    if threads is not None:
        _use_threads(threads)
    separator: nn.Module = hub.load(model, device=available(device))
    if mode != "native":
        from sfi_zoo.models.adaptation import Adapted

        separator = Adapted(separator, mode, resampler or "soxr")  # type: ignore[arg-type]
    failed = 0
    for path in files:
        try:
            with ProgressBar(path.name) as bar:
                done = separate_file(
                    separator,
                    path,
                    out,
                    sample_rate=sample_rate,
                    format=format,
                    subtype=subtype,
                    stems=wanted,
                    clip=clip,
                    chunk_seconds=chunk_seconds,
                    overlap_seconds=min(1.5, chunk_seconds / 4)
                    if overlap_seconds is None
                    else overlap_seconds,
                    batch_size=batch_size,
                    dtype=dtype,
                    consistency=consistency,
                    rescale=rescale,
                    two_stems=two_stems,
                    progress=bar.update,
                )
        except (InputError, OSError) as error:
            complain(error)
            failed += 1
            continue
        for note in done.notes:
            print(f"{PROGRAM}: note: {note}", file=sys.stderr)
        for stem in done.stems:
            print(stem.path)
    if failed:
        raise typer.Exit(2 if failed == len(files) else 1)


app.command("score")(score_command)
app.command("study")(study_command)
app.command("report")(report_command)


@app.command("import")
def import_command(
    source: Annotated[
        str, typer.Argument(help="A published checkpoint: a file, a Hub id, or torchaudio:BUNDLE.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make.")],
    seed: Annotated[int | None, typer.Option(help="Which of several seeds in a Hub repository.")] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="What it was trained at, in Hz, where the file does not say it.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option(help="Names in output order, for example vocals,drums.")
    ] = None,
    mask: Annotated[
        str | None, typer.Option(help="relu or sigmoid, for a state dict of torchaudio: it does not say it.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Blocks per repeat, for such a state dict.")] = None,
) -> None:
    """Convert a published checkpoint: SFI Conv-TasNet, or Conv-TasNet of asteroid or torchaudio.

    What wrote a file is told by its content. A bundle of torchaudio is named torchaudio:CONVTASNET_BASE_LIBRI2MIX.

    Example: sfi-zoo import model.pth -o my_model --sample-rate 8000 --sources speaker_1,speaker_2
    """
    from sfi_zoo import hub

    names = [name.strip() for name in sources.split(",")] if sources is not None else None
    folder = hub.import_checkpoint(
        source, out, seed=seed, sample_rate=sample_rate, sources=names, mask=mask, layers=layers
    )
    print(folder)


@app.command("example")
def example_command(
    out: Annotated[Path, typer.Argument(help="File to write, wav or flac ...", metavar="OUT.wav")],
    sample_rate: Annotated[int, typer.Option(help="In Hz.")] = 44100,
    seed: Annotated[int, typer.Option(help="Which song.")] = 0,
    duration: Annotated[float, typer.Option(help="In seconds.")] = 12.0,
    channels: Annotated[int, typer.Option(help="1 or 2.")] = 2,
    stems: Annotated[bool, typer.Option("--stems", help="Write its stems too, to <OUT>/.")] = False,
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
    print(write(out, np.sum(list(parts.values()), 0), sample_rate).path)
    for name, part in parts.items() if stems else ():
        print(write(out.with_suffix("") / f"{name}{out.suffix}", part, sample_rate).path)


def _describe(name: str, model: Any) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "name": name,
        "architecture": type(model).__name__,
        "sources": list(model.sources),
        "sample_rate": model.sample_rate,
        "parameters": parameters,
    }


def _use_threads(number: int) -> None:
    import torch

    if number < 1:
        raise InputError(f"--threads {number}: must be 1 or more")
    torch.set_num_threads(number)


def _interrupt(*_: object) -> None:
    """SIGTERM ends like Ctrl-C, so that temporary files go."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
