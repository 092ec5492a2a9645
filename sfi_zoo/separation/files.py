"""From a sound file to a folder of stems, in constant memory."""

import dataclasses
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sfi_zoo.audio.bounds import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, check_sample_rate
from sfi_zoo.audio.containers import BITS
from sfi_zoo.audio.formats import LOSSY, OutputFormat, choose_format
from sfi_zoo.audio.io import AudioInfo, probe, read_blocks
from sfi_zoo.audio.resample import resample_blocks, resampled_length
from sfi_zoo.audio.writers import StemReport, StemWriter
from sfi_zoo.errors import InputError, ran_out_of_memory
from sfi_zoo.separation.chunks import Progress, separate_blocks
from sfi_zoo.separation.consistency import Finish
from sfi_zoo.separation.made_by import Maker, maker_of, stems_of_others
from sfi_zoo.separation.naming import TEMPLATE, Found, check_template, stem_names
from sfi_zoo.separation.options import FILE_DEFAULTS, SeparationOptions

# Rates (Hz) that a file may have when it is resampled before it is separated: DXD goes up to 768 kHz.
_MIN_RESAMPLED, _MAX_RESAMPLED = 1_000, 768_000
_WAYS_OUT = "--overwrite replaces it, --filename '{model}/{track}/{stem}.{ext}' keeps both"
_SPARE = 2**24  # bytes of the disk that are left to others


@dataclass(frozen=True)
class SeparatedFile:
    """What became of a file: a report for each stem, and lines that the user should see."""

    info: AudioInfo
    sample_rate: int
    stems: tuple[StemReport, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FilePlan:
    """Where the stems of a file go, and how they are written; made from its header, before any work.

    Attributes:
        info: of the file.
        sample_rate: at which to work, in Hz.
        frames: samples of a stem, as the header tells.
        output: container and sample format.
        names: of the stems' files, relative to `out` and without extension.
        rows: of the results that are written.
        out: the folder of all stems.
        maker: what the files tell of their model; None for nothing.
        others: stems of the same track by another model, where these go or beside them: (file, model).
    """

    info: AudioInfo
    sample_rate: int
    frames: int
    output: OutputFormat
    names: list[str]
    rows: list[int]
    out: Path
    maker: Maker | None = None
    others: Sequence[tuple[Path, str]] = ()

    @property
    def paths(self) -> list[Path]:
        """The files that will be written."""
        return [self.out / f"{name}{self.output.extension}" for name in self.names]

    @property
    def there(self) -> list[Path]:
        """The files that exist already."""
        return [path for path in self.paths if path.exists()]

    @property
    def complete(self) -> bool:
        """Whether all files exist already."""
        return len(self.there) == len(self.paths)

    def check_resumable(self) -> None:
        """Refuse to resume beside stems that another model made.

        Raises:
            InputError: stems of another model are there, or some of the stems, of a model that is not known.
        """
        for path, model in self.others:
            raise InputError(f"{path}: is of another model, {model}; {_WAYS_OUT}")
        if not self.complete:
            for path in self.there:
                if self.maker is None or maker_of(path) != self.maker:
                    raise InputError(
                        f"{path}: is there already, other stems of the file are not; {_WAYS_OUT}"
                    )


def plan_file(
    found: Found,
    out: str | Path,
    sources: Sequence[str],
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    subtype: str | None = None,
    stems: Sequence[str] | None = None,
    filename: str = TEMPLATE,
    model: str = "",
    mp3_bitrate: int | None = None,
    made_by: str = "",
    options: SeparationOptions = FILE_DEFAULTS,
) -> FilePlan:
    """Read the header of a file, and decide where its stems go; the arguments are those of `separate_file`.

    Raises:
        InputError: the file or an option is unusable; the message names it.
    """
    info = probe(found.path)
    rate = _working_rate(info, sample_rate)
    if options.two_stems is not None and stems is not None:
        raise InputError(
            f"--two-stems {options.two_stems}: writes {options.two_stems} and rest; leave --stems out"
        )
    chosen, rows = _chosen(Finish(sources, options).names, stems)
    frames = resampled_length(info.frames, info.sample_rate, rate)
    if format is None and subtype is None and info.subtype in LOSSY:
        format = "wav"
    output = choose_format(info, rate, frames, format, subtype, mp3_bitrate)
    names = stem_names(filename, found, chosen, model)
    maker = Maker(made_by, found.path.stem) if made_by else None
    others = stems_of_others(filename, found, Path(out), model, maker) if maker else []
    plan = FilePlan(info, rate, frames, output, names, rows, Path(out), maker, others)
    if any(target.samefile(info.path) for target in plan.there):
        raise InputError(f"{info.path}: a stem would replace the file itself; choose another output folder")
    return plan


def separate_planned(
    model: nn.Module,
    plan: FilePlan,
    *,
    clip: str = "rescale",
    options: SeparationOptions = FILE_DEFAULTS,
    progress: Progress | None = None,
) -> SeparatedFile:
    """Write the stems of a file as planned; all of them appear, or none, and what is there is replaced. See `separate_file`."""
    info, rate, output = plan.info, plan.sample_rate, plan.output
    _check_room(plan, Finish(model.sources, options).two_pass * len(model.sources))  # type: ignore[arg-type]
    comment = plan.maker.comment if plan.maker else ""
    writer = StemWriter(plan.out, plan.names, output, rate, info.channels, clip, comment)
    with writer:
        for block in _estimates(
            model, info, rate, options, total_frames=plan.frames, progress=progress, scratch=writer.scratch
        ):
            writer.write(block[plan.rows].numpy())
    notes = [note for note in (info.note, output.note) if note]
    if plan.frames - writer.reports[0].frames > rate // 10:  # an MP3; what other formats lack is an error
        ends = writer.reports[0].frames / rate
        notes.append(f"{info.path}: ends at {ends:.1f} s, its header says {info.duration:.1f} s")
    notes += _clipping_notes(writer.reports)
    notes += [
        f"{path}: is of another model, {by}, and stays beside the new stems"
        for path, by in plan.others
        if path not in plan.paths
    ]
    return SeparatedFile(info, rate, tuple(writer.reports), tuple(notes))


def separate_file(
    model: nn.Module,
    path: str | Path,
    out_dir: str | Path,
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    subtype: str | None = None,
    stems: Sequence[str] | None = None,
    filename: str = TEMPLATE,
    overwrite: bool = False,
    mp3_bitrate: int | None = None,
    made_by: str = "",
    clip: str = "rescale",
    options: SeparationOptions = FILE_DEFAULTS,
    progress: Progress | None = None,
) -> SeparatedFile:
    """Write the stems of a file to `out_dir/<file stem>/<source>.<extension>`; all of them appear, or none.

    Args:
        model: a separator, see `sfi_zoo.models.base.Separator`.
        path: a file that soundfile reads, or ffmpeg where it is installed.
        out_dir: made if need be.
        sample_rate: resample the file to this rate (Hz), work and write at it; None means the file's own.
        format: container of the stems (wav, flac, ogg, mp3 ...), None for that of the file, or wav where that loses something.
        subtype: sample format of the stems (PCM_16, FLOAT ...), None for that of the file.
        stems: names of the sources to write, None for all.
        filename: a template of where stems go within `out_dir`, of {track}, {stem}, {ext} and {folder}, the one the file lies in.
        overwrite: replace stems that are there.
        mp3_bitrate: kbit/s of mp3 stems.
        made_by: name of the model, which the files tell in a comment; stems of the track by another one are not replaced then, nor joined.
        clip: "rescale": where a sample is beyond what the sample format holds, all stems are scaled by one gain, which a note tells;
            "clamp": it is cut off, which a note tells as well. FLOAT has no such limit.
        options: how to separate. The consistency "energy" and `rescale` keep all estimates on the disk, as float32, until the last one is
            known; with `two_stems` nothing else is written than <two_stems> and "rest".
        progress: called with (seconds done, seconds in total); what it raises aborts, and nothing is written.

    Raises:
        InputError: the file, an option or the output is unusable, or a stem is there already; the message names it.
    """
    check_template(filename)
    sources: Sequence[str] = model.sources  # type: ignore[assignment]
    plan = plan_file(
        Found(Path(path), Path(path).parent.name.strip(".")),
        out_dir,
        sources,
        sample_rate=sample_rate,
        format=format,
        subtype=subtype,
        stems=stems,
        filename=filename,
        mp3_bitrate=mp3_bitrate,
        made_by=made_by,
        options=options,
    )
    if not overwrite and plan.others:
        plan.check_resumable()
    if plan.there and not overwrite:
        raise InputError(f"{plan.there[0]}: is there already; --overwrite replaces it")
    return separate_planned(model, plan, clip=clip, options=options, progress=progress)


def separated_paths(model: nn.Module, path: str | Path, out: str | Path, **settings: Any) -> list[Path]:
    """`separate_file` with the fields of `SeparationOptions` among its settings, by name; returns where the stems are."""
    fields = {field.name for field in dataclasses.fields(SeparationOptions)}
    options = dataclasses.replace(
        FILE_DEFAULTS, **{name: settings.pop(name) for name in fields & settings.keys()}
    )
    settings.setdefault("made_by", type(model).__name__)
    done = separate_file(model, path, out, options=options, **settings)
    return [stem.path for stem in done.stems]


def _working_rate(info: AudioInfo, asked: int | None) -> int:
    if asked is None:
        try:
            check_sample_rate(info.sample_rate, str(info.path))
        except InputError as error:
            if _MIN_RESAMPLED <= info.sample_rate <= _MAX_RESAMPLED:
                raise InputError(f"{error}; --sample-rate resamples it first") from error
            raise
        return info.sample_rate
    if not MIN_SAMPLE_RATE <= asked <= MAX_SAMPLE_RATE:
        raise InputError(f"--sample-rate {asked}: outside {MIN_SAMPLE_RATE}..{MAX_SAMPLE_RATE} Hz")
    if not _MIN_RESAMPLED <= info.sample_rate <= _MAX_RESAMPLED:
        raise InputError(f"{info.path}: its header claims a sample rate of {info.sample_rate} Hz")
    return asked


def _check_room(plan: FilePlan, waiting: int) -> None:
    """Refuse a file whose stems would fill the disk, before any work.

    Args:
        plan: of the file.
        waiting: how many estimates wait on the disk, and the mixture with them; 0 for none.
    """
    values = plan.frames * plan.info.channels
    width = 4 if plan.output.subtype not in BITS else BITS[plan.output.subtype] / 8
    stems = len(plan.rows) * values * (width if plan.output.format not in ("MP3", "OGG") else 0.25)
    need = max((waiting + 1) * values * 4 if waiting else 0, stems) + _SPARE
    place = next(folder for folder in (plan.out, *plan.out.absolute().parents) if folder.exists())
    disk = shutil.disk_usage(place)
    if need > disk.free and disk.total:  # what is no disk tells so when it is written
        raise InputError(
            f"{plan.info.path}: needs {need / 1e9:.2f} GB on the disk of {plan.out} until its stems are written,"
            f" and {disk.free / 1e9:.2f} GB are free; -o names another disk"
        )


def _chosen(sources: Sequence[str], stems: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """Names of the wanted sources and their rows in the estimate, in the model's order."""
    if stems is None:
        return list(sources), list(range(len(sources)))
    unknown = [name for name in stems if name not in sources]
    if unknown or not stems:
        raise InputError(f"--stems {','.join(unknown)}: this model gives {', '.join(sources)}")
    rows = [row for row, name in enumerate(sources) if name in stems]
    return [sources[row] for row in rows], rows


def _estimates(
    model: nn.Module, info: AudioInfo, rate: int, options: SeparationOptions, **stream: Any
) -> Iterator[Tensor]:
    blocks = read_blocks(info)
    if rate != info.sample_rate:
        blocks = resample_blocks(blocks, info.sample_rate, rate, info.channels)
    try:
        yield from separate_blocks(model, blocks, rate, options, channels=info.channels, **stream)
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        smaller = max(2, math.floor(options.chunk_seconds / 2))
        raise InputError(
            f"{info.path}: out of memory; try --chunk-seconds {smaller}, or a smaller --batch-size"
        ) from error
    except InputError as error:
        message = str(error)
        raise InputError(message if str(info.path) in message else f"{info.path}: {message}") from error


def _clipping_notes(reports: Sequence[StemReport]) -> list[str]:
    loudest = max(reports, key=lambda report: report.peak)
    if loudest.gain != 1:
        return [
            f"{loudest.path}: peak {loudest.peak:.3f}, all stems are scaled by {loudest.gain:.3f}"
            f" ({20 * math.log10(loudest.gain):.1f} dB) so that none clips; --subtype FLOAT --format wav keeps their level"
        ]
    return [
        f"{report.path}: peak {report.peak:.3f}, {report.clipped} samples clipped at full scale;"
        " --format wav --subtype FLOAT keeps them"
        for report in reports
        if report.clipped
    ]
