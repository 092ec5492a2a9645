"""`sfi-zoo separate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfi_zoo.commands.shared import PROGRAM, AsJson, Device, available, bundled, complain, one_of, print_json
from sfi_zoo.errors import InputError
from sfi_zoo.separation.options import CHUNK_SECONDS, CONSISTENCIES, DTYPES, SeparationOptions

if TYPE_CHECKING:
    from torch import nn

from sfi_zoo.hub.bundled import DEFAULT_MODEL


def separate_command(
    files: Annotated[list[Path], typer.Argument(help="wav, flac, ogg, mp3 ...", metavar="FILE...")],
    model: Annotated[
        str, typer.Option("-m", "--model", help="Name, folder or Hub id.", autocompletion=bundled)
    ] = DEFAULT_MODEL,
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
        str,
        typer.Option(
            help="Beyond full scale: rescale (all stems alike) or clamp. FLOAT never clips.",
            autocompletion=one_of("rescale", "clamp"),
        ),
    ] = "rescale",
    consistency: Annotated[
        str | None,
        typer.Option(
            help="Make stems sum to the mixture: equal or energy (who gets the rest).",
            autocompletion=one_of(*CONSISTENCIES),
        ),
    ] = None,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="A gain for each stem, by least squares onto the mixture.")
    ] = False,
    chunk_seconds: Annotated[
        float,
        typer.Option(
            help="Piece separated at once; memory grows with it. With less than seconds of context stems get worse."
        ),
    ] = CHUNK_SECONDS,
    overlap_seconds: Annotated[
        float | None, typer.Option(help="What two pieces share; default: 1.5, at most a quarter of one.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pieces at once; memory grows with it.")] = 1,
    dtype: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(DTYPES)}.", autocompletion=one_of(*DTYPES))
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: as torch is set.")] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="native; or, to compare: resample (to the model's rate and back), none.",
            autocompletion=one_of("native", "resample", "none"),
        ),
    ] = "native",
    resampler: Annotated[
        str | None,
        typer.Option(help="With --mode resample: soxr, windowed_sinc, torchaudio, noisy_kernel ..."),
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Separate files into stems, at their own sample rate.

    Stems keep the sample rate, channels, container and bit depth of the file; those of an earlier run are
    replaced. All stems of a file appear at once, or none. What would clip is scaled down, and told.

    Example: sfi-zoo separate song.mp3 -o stems
    """
    from sfi_zoo import hub
    from sfi_zoo.progress_bar import ProgressBar
    from sfi_zoo.separation.files import check_distinct, separate_file

    wanted = [name.strip() for name in stems.split(",")] if stems is not None else None
    options = SeparationOptions(
        chunk_seconds=chunk_seconds,
        overlap_seconds=overlap_seconds,
        batch_size=batch_size,
        dtype=dtype,
        consistency=consistency,
        rescale=rescale,
        two_stems=two_stems,
    )
    check_distinct(files)
    if resampler is not None and mode != "resample":
        raise InputError(f"--resampler {resampler}: only --mode resample resamples")
    if threads is not None:
        _use_threads(threads)
    separator: nn.Module = hub.load(model, device=available(device))
    if mode != "native":
        from sfi_zoo.models.adaptation import Adapted

        separator = Adapted(separator, mode, resampler or "soxr")  # type: ignore[arg-type]
    results: list[dict[str, Any]] = []
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
                    options=options,
                    progress=bar.update,
                )
        except (InputError, OSError) as error:
            results.append({"file": str(path), "error": complain(error)})
            continue
        for note in done.notes:
            print(f"{PROGRAM}: note: {note}", file=sys.stderr)
        stems_at = {stem.path.stem: str(stem.path) for stem in done.stems}
        results.append(
            {"file": str(path), "sample_rate": done.sample_rate, "stems": stems_at, "notes": done.notes}
        )
        if not as_json:
            print(*stems_at.values(), sep="\n")
    if as_json:
        print_json(results)
    failed = sum("error" in result for result in results)
    if failed:
        raise typer.Exit(2 if failed == len(files) else 1)


def _use_threads(number: int) -> None:
    import torch

    if number < 1:
        raise InputError(f"--threads {number}: must be 1 or more")
    torch.set_num_threads(number)
