"""`sfi-zoo separate`: its options. What it does with them is in `separate_run`, which needs torch; mistakes are told before that."""

from pathlib import Path
from typing import Annotated

import typer

from sfi_zoo.audio.containers import check_format
from sfi_zoo.commands.printing import say, say_json
from sfi_zoo.commands.separate_shared import (
    JOB_BYTES,
    check_memory,
    place_among_processes,
    run_jobs,
)
from sfi_zoo.commands.shared import AsJson, Device, bundled, checked_threads, complain, one_of
from sfi_zoo.errors import InputError
from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.separation.naming import (
    TEMPLATE,
    Found,
    check_distinct,
    check_template,
    check_writable,
    sound_files,
)
from sfi_zoo.separation.options import ABOVE, CHUNK_SECONDS, CONSISTENCIES, DTYPES, SeparationOptions

MODES = ("native", "resample", "none")
STANDARD = Path("-")  # input or output


def separate_command(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Sound files, videos (read by ffmpeg) or folders of them; - is standard input.",
            metavar="FILE...",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "-n",
            "--model",
            help=f"Model: a name, folder or Hub id; default: {DEFAULT_MODEL}.",
            autocompletion=bundled,
        ),
    ] = None,
    average: Annotated[
        bool,
        typer.Option("--average", help="With several -m: average their stems; takes as long as all of them."),
    ] = False,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for the stems; - writes one stem to standard output, as wav."
        ),
    ] = Path("separated"),
    filename: Annotated[
        str,
        typer.Option(
            help="Names of files within OUT, of {track}, {stem}, {ext}, {folder} (of the song) and {model}."
        ),
    ] = TEMPLATE,
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Take folders within folders too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace stems that are there.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip files whose stems are all there.")
    ] = False,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Processes that share the files.")] = 1,
    sample_rate: Annotated[
        int | None, typer.Option(help="Resample the song to this rate (Hz) first; stems have it too.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="wav, flac, ogg or mp3; default: that of the file, and wav for mp3, ogg and video."
        ),
    ] = None,
    subtype: Annotated[
        str | None, typer.Option(help="PCM_16, PCM_24 or FLOAT; default: that of the file.")
    ] = None,
    mp3: Annotated[bool, typer.Option("--mp3", help="Short for --format mp3.")] = False,
    mp3_bitrate: Annotated[int | None, typer.Option(help="Bit rate of mp3 files in kbit/s.")] = None,
    flac: Annotated[bool, typer.Option("--flac", help="Short for --format flac.")] = False,
    float32: Annotated[bool, typer.Option("--float32", help="Short for --subtype FLOAT, as wav.")] = False,
    int24: Annotated[bool, typer.Option("--int24", help="Short for --subtype PCM_24.")] = False,
    stems: Annotated[
        str | None, typer.Option(help="Write only these stems, for example vocals,drums.")
    ] = None,
    two_stems: Annotated[
        str | None,
        typer.Option(
            help="Write this stem, and the sum of the others as rest; with no_vocals that sum is called no_vocals."
        ),
    ] = None,
    clip: Annotated[
        str,
        typer.Option(
            help="What to do beyond full scale: rescale (all stems alike) or clamp. FLOAT never clips.",
            autocompletion=one_of("rescale", "clamp"),
        ),
    ] = "rescale",
    above: Annotated[
        str,
        typer.Option(
            help="Who gets what lies above the model's band: masks (as the octave below it), equal or none.",
            autocompletion=one_of(*ABOVE),
        ),
    ] = "masks",
    consistency: Annotated[
        str,
        typer.Option(
            help="Make stems sum to the mixture: energy or equal (who gets the rest), or none.",
            autocompletion=one_of(*CONSISTENCIES, "none"),
        ),
    ] = "energy",
    ceiling: Annotated[
        bool, typer.Option(help="Turn stems down where together they are louder than the mixture.")
    ] = True,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="Give each stem a gain, fitted to the mixture by least squares.")
    ] = False,
    shifts: Annotated[
        int, typer.Option(help="Average over so many delays within a frame; takes so many times as long.")
    ] = 1,
    chunk_seconds: Annotated[
        float,
        typer.Option(
            help="Length of the pieces; memory grows with it. Pieces of a second or two make stems worse."
        ),
    ] = CHUNK_SECONDS,
    overlap_seconds: Annotated[
        float | None, typer.Option(help="Overlap of two pieces; default: 1.5, at most a quarter of a piece.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Pieces that are separated at once; memory grows with it.")
    ] = 1,
    dtype: Annotated[
        str | None,
        typer.Option(help=f"Precision: one of {', '.join(DTYPES)}.", autocompletion=one_of(*DTYPES)),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: those that torch takes.")] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="native; or, to compare: resample (to the model's rate and back), none.",
            autocompletion=one_of(*MODES),
        ),
    ] = "native",
    resampler: Annotated[
        str | None,
        typer.Option(help="Resampler of --mode resample: soxr, windowed_sinc, torchaudio, noisy_kernel ..."),
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Separate files into stems, at their own sample rate.

    Stems keep the sample rate, channels, container and bit depth of the file, add up to it, and hold its whole
    band; of mp3, ogg and video they are wav. All stems of a file appear at once, or none; nothing is replaced
    without --overwrite. What would clip is scaled down, and told. Under accelerate launch, torchrun or SLURM the
    processes share the files.

    Example: sfi-zoo separate song.mp3 -o stems
    """
    options = SeparationOptions(
        chunk_seconds=chunk_seconds,
        overlap_seconds=overlap_seconds,
        batch_size=batch_size,
        dtype=dtype,
        consistency=None if consistency == "none" else consistency,
        rescale=rescale,
        two_stems=two_stems,
        above=above,
        ceiling=ceiling,
        shifts=shifts,
    )
    _check_choices(context)
    models = _models(model, average)
    format, subtype = _written_as(format, subtype, mp3=mp3, flac=flac, float32=float32, int24=int24)
    check_format(format, subtype)
    if mp3_bitrate is not None and (format or "").lower() != "mp3":
        raise InputError(f"--mp3-bitrate {mp3_bitrate}: only with --mp3")
    wanted = [name.strip() for name in stems.split(",")] if stems is not None else None
    if out == STANDARD:
        _check_one_stream(files, wanted, jobs, as_json)
    found = _found(files, recursive, out, filename, "+".join(models), as_json)
    if STANDARD in files and (jobs > 1 or len(files) > 1):
        raise InputError("-: standard input is one file, for one process")
    rank, world_size = place_among_processes()
    if jobs > 1:
        if world_size > 1:
            raise InputError(f"--jobs {jobs}: these are {world_size} processes already")
        check_memory(jobs, JOB_BYTES * max(1.0, batch_size * chunk_seconds / CHUNK_SECONDS))
        _finish_jobs(context, min(jobs, len(found)), threads, len(found), as_json)
        return

    from sfi_zoo.commands.separate_run import Job, separate_all

    job = Job(
        models=models,
        out=out,
        mode=mode,
        resampler=resampler,
        device=device,
        threads=threads,
        sample_rate=sample_rate,
        format=format,
        subtype=subtype,
        mp3_bitrate=mp3_bitrate,
        stems=wanted,
        filename=filename,
        clip=clip,
        overwrite=overwrite,
        skip_existing=skip_existing,
        options=options,
        quiet=as_json,
        rank=rank,
        world_size=world_size,
    )
    results = separate_all(job, found, from_standard_input=STANDARD in files)
    if as_json:
        say_json(results)
    _exit(sum("error" in result for result in results), len(results))


def _check_choices(context: typer.Context) -> None:
    """Refuse values that are not to choose from, and options that do not go together."""
    values = context.params
    check_template(values["filename"])
    for name, known in (("dtype", DTYPES), ("clip", ("rescale", "clamp"))):
        if values[name] is not None and values[name] not in known:
            raise InputError(f"{name} must be one of {', '.join(known)}; got {values[name]}")
    if values["mode"] not in MODES:
        raise InputError(f"unknown mode {values['mode']!r}; known: {', '.join(MODES)}")
    for name in ("threads", "jobs"):
        if values[name] is not None and values[name] < 1:
            raise InputError(f"--{name} {values[name]}: must be 1 or more")
    if values["threads"] is not None:
        checked_threads(values["threads"])
    if values["resampler"] is not None and values["mode"] != "resample":
        raise InputError(f"--resampler {values['resampler']}: only --mode resample resamples")
    if values["resampler"] is not None:
        from sfi_zoo.audio.resampling import create_resampler

        create_resampler(values["resampler"])
    two = values["two_stems"]
    if two is not None and values["stems"] is not None:
        raise InputError(f"--two-stems {two}: writes {two} and rest; leave --stems out")
    if values["overwrite"] and values["skip_existing"]:
        raise InputError("--overwrite and --skip-existing: choose one of them")


def _models(asked: list[str] | None, average: bool) -> list[str]:
    models = asked or [DEFAULT_MODEL]
    if average and len(models) < 2:
        raise InputError("--average: takes several models, -m A -m B")
    if len(models) > 1 and not average:
        raise InputError(f"-m {' -m '.join(models)}: --average gives their mean; else give one model")
    return models


def _found(
    files: list[Path], recursive: bool, out: Path, filename: str, model: str, as_json: bool
) -> list[Found]:
    """The files to separate; where none of them is there, the end."""
    if out != STANDARD:
        check_writable(out)
    found = sound_files([path for path in files if path != STANDARD], recursive, out)
    check_distinct(found, filename, model)
    if found and STANDARD not in files and not any(each.path.exists() for each in found):
        missing = [InputError(f"{each.path}: no such file") for each in found]
        errors = [
            {"file": str(each.path), "error": complain(error)}
            for each, error in zip(found, missing, strict=True)
        ]
        if as_json:
            say_json(errors)
        raise typer.Exit(2)
    return found


def _exit(failed: int, total: int) -> None:
    if failed:
        raise typer.Exit(2 if failed == total else 1)


def _written_as(
    format: str | None, subtype: str | None, *, mp3: bool, flac: bool, float32: bool, int24: bool
) -> tuple[str | None, str | None]:
    """Format and subtype that the short forms stand for."""
    formats = [name for name, asked in ((format, format), ("mp3", mp3), ("flac", flac)) if asked]
    subtypes = [name for name, asked in ((subtype, subtype), ("FLOAT", float32), ("PCM_24", int24)) if asked]
    if len(formats) > 1 or len(subtypes) > 1:
        raise InputError(f"stems cannot be {' and '.join(str(x) for x in formats + subtypes)} at once")
    if formats == ["mp3"] and subtypes:
        raise InputError(f"--mp3: has no sample format, leave {subtypes[0]} out")
    if float32 and not formats:
        formats = ["wav"]
    return (formats or [None])[0], (subtypes or [None])[0]


def _check_one_stream(files: list[Path], stems: list[str] | None, jobs: int, as_json: bool) -> None:
    if len(files) != 1 or files[0].is_dir() or stems is None or len(stems) != 1 or jobs > 1 or as_json:
        raise InputError("-o -: standard output takes one stem of one file, --stems vocals for instance")


def _finish_jobs(context: typer.Context, jobs: int, threads: int | None, files: int, as_json: bool) -> None:
    """Runs the same command in processes, and reports for all of them."""
    import os

    own = threads or max(1, (os.cpu_count() or 1) // jobs)
    files_at = [str(path) for path in context.params["files"]]
    arguments = ["separate", *_options_of(context), "--threads", str(own), "--json", "--", *files_at]
    results, code = run_jobs(arguments, jobs, own)
    if as_json:
        say_json(results)
    else:
        for result in results:
            say(*result.get("stems", {}).values())
    if code > 2:
        raise typer.Exit(code)
    failed = sum("error" in result for result in results)
    if code and not results:
        raise typer.Exit(code)
    _exit(failed, files)


def _options_of(context: typer.Context) -> list[str]:
    """The options of a command line, without those that each process gets its own of."""
    named: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.param_type_name == "argument" or parameter.name in ("jobs", "threads", "as_json"):
            continue
        if value is None or value == parameter.default:
            continue
        if isinstance(value, bool):
            names = parameter.opts if value else parameter.secondary_opts
            named += names[-1:]
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                named += [parameter.opts[-1], str(one)]
    return named
