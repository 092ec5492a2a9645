"""`sfi-zoo score`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from sfi_zoo.commands.printing import remark, say_json, say_table
from sfi_zoo.commands.shared import PROGRAM, AsJson, Device, available, checked_threads, complain
from sfi_zoo.errors import InputError

if TYPE_CHECKING:
    from sfi_zoo.data.songs import Songs

SYNTHETIC = "synthetic"
SHOWN_FAILURES = 20
HEADINGS = ("mode", "Hz", "mask", "predictor", "m. latent", "SI-SDR", "gained per pair", "lost", "drop")
LEGEND = (
    "mask, predictor, masked latent: LEE, how much each changes when only the rate changes; lower is better."
    " gained: SI-SDR over that of the mixture, the mean over all pairs of track and stem."
    " lost, drop: what is lost against the same model at its own rate."
)


def score_command(
    names: Annotated[
        list[str], typer.Argument(help="Names from `sfi-zoo list`, folders, or Hub ids.", metavar="MODEL...")
    ],
    data: Annotated[
        str, typer.Option(help="synthetic, or a folder like MUSDB18: test/<track>/vocals.wav ...")
    ] = SYNTHETIC,
    sample_rates: Annotated[
        str, typer.Option(help="Sampling frequencies in Hz, with commas between.")
    ] = "8000,16000,24000,32000,44100,48000",
    modes: Annotated[
        str,
        typer.Option(help="Modes, with commas between; resample:NAME takes another resampler than soxr."),
    ] = "native,resample,none",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder for the records; the same command again goes on where it was."
        ),
    ] = None,
    subset: Annotated[str, typer.Option(help="Which part of the folder: test or train.")] = "test",
    tracks: Annotated[
        int | None, typer.Option(help="Score at most so many tracks; default for synthetic songs: 3.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Score so many seconds from the middle of each track; default for synthetic songs: 8."
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Measure local LEE too, on one second of each track.")
    ] = False,
    layers: Annotated[bool, typer.Option("--layers", help="Measure local LEE of each layer too.")] = False,
    round_trip: Annotated[
        bool,
        typer.Option(
            "--round-trip", help="Measure round-trip LEE too; it takes one more pass for each F below F0."
        ),
    ] = False,
    bss: Annotated[
        bool, typer.Option("--bss", help="Measure BSSEval v4 too, with museval; it is slow.")
    ] = False,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Score controls too: fixed masks (the floor of LEE), ratio masks (a ceiling of SDR) and the mode none; doubles the time.",
        ),
    ] = False,
    threads: Annotated[
        int, typer.Option(help="CPU threads of each process; the last digits of results depend on it.")
    ] = 1,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Score LEE and SDR of models over sample rates and the modes native, resample and none.

    More processes: accelerate launch --multi_gpu --num_processes N -m sfi_zoo.cli score ... -o FOLDER, or torchrun.

    Example: sfi-zoo score NAME --sample-rates 8000,44100 -o results
    """
    rates = whole_rates(sample_rates)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{', '.join(twice)}: given twice")
    from sfi_zoo import hub
    from sfi_zoo.metrics.scoring import records, rows, run
    from sfi_zoo.metrics.scoring.unit import Measures
    from sfi_zoo.progress_bar import ProgressBar
    from sfi_zoo.training.processes import check_launch

    check_launch()
    plan = run.Plan(
        tuple(rates),
        tuple(dict.fromkeys(mode.strip() for mode in modes.split(","))),
        Measures(local or layers, layers, bss, round_trip=round_trip),
        checked_threads(threads),
        controls,
    )
    rank, world_size, local_rank = run.place_among_processes()
    if world_size > 1 and out is None:
        raise InputError(f"{world_size} processes share their work in a folder: give one with -o")
    where = available(f"cuda:{local_rank}" if device == "cuda" and world_size > 1 else device)
    loads = {name: partial(hub.load, name, device=where) for name in names}
    songs = _songs(data, subset, tracks, seconds)
    for note in getattr(songs, "notes", ()):
        remark(f"{PROGRAM}: note: {note}")
    with ProgressBar(", ".join(names) if len(names) < 4 else f"{len(names)} models") as bar:
        try:
            done = run.score(loads, songs, plan, out, bar.update, rank, world_size)
        except records.RecordsError as error:
            complain(error)
            raise typer.Exit(1) from None
    if done.complete or world_size == 1:
        scored = rows.rows_of(done.records)
        if as_json:
            say_json(rows.as_json(scored))
        else:
            show(scored)
    else:
        remark(f"{PROGRAM}: process {rank} of {world_size} is done, others are not")
    for problem in done.left_out[:SHOWN_FAILURES]:
        complain(InputError(f"left out: {problem}"))
    if len(done.left_out) > SHOWN_FAILURES:
        complain(InputError(f"left out: {len(done.left_out) - SHOWN_FAILURES} more"))
    if done.left_out:
        raise typer.Exit(1)


def show(scored: list[dict[str, Any]]) -> None:
    """Prints a table for each model."""
    from sfi_zoo.metrics.reporting.report import scores_cells

    for name in dict.fromkeys(row["model"] for row in scored):
        table = Table(title=f"{name}: three LEE, SI-SDR, all in dB", box=SIMPLE, caption=LEGEND)
        for heading in HEADINGS:
            table.add_column(heading, justify="right")
        for row in sorted((row for row in scored if row["model"] == name), key=_place):
            table.add_row(*scores_cells(row))
        say_table(table)


def _place(row: dict[str, Any]) -> tuple[tuple[int, str], float]:
    """Modes in their order, the controls last."""
    from sfi_zoo.metrics.scoring.unit import place

    return place(row["mode"]), row["sample_rate"]


def _songs(data: str, subset: str, tracks: int | None, seconds: float | None) -> "Songs":
    if data == SYNTHETIC:
        from sfi_zoo.data.songs import SyntheticSongs

        return SyntheticSongs(3 if tracks is None else tracks, 8.0 if seconds is None else seconds)
    from sfi_zoo.data.musdb_folder import MusdbFolder

    return MusdbFolder(Path(data), subset, tracks, seconds)


def whole_rates(text: str) -> list[int]:
    """Rates in Hz from a text with commas.

    Raises:
        InputError: not whole numbers, or out of range.
    """
    from sfi_zoo.audio.bounds import check_sample_rate

    try:
        rates = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--sample-rates {text}: not whole numbers of Hz with commas between") from error
    for rate in rates:
        check_sample_rate(rate, "--sample-rates")
    return rates
