"""From a sound file to a folder of stems, in constant memory."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.audio.bounds import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, check_sample_rate
from sfi_zoo.audio.formats import choose_format
from sfi_zoo.audio.io import AudioInfo, probe, read_blocks
from sfi_zoo.audio.resample import resample_blocks, resampled_length
from sfi_zoo.audio.writers import StemReport, StemWriter
from sfi_zoo.errors import InputError
from sfi_zoo.separation.chunks import Progress, separate_blocks
from sfi_zoo.separation.consistency import Finish
from sfi_zoo.separation.options import DEFAULTS, SeparationOptions

# Rates (Hz) that a file may have when it is resampled before it is separated: DXD goes up to 768 kHz.
_MIN_RESAMPLED, _MAX_RESAMPLED = 1_000, 768_000


@dataclass(frozen=True)
class SeparatedFile:
    """What became of a file: a report for each stem, and lines that the user should see."""

    info: AudioInfo
    sample_rate: int
    stems: tuple[StemReport, ...]
    notes: tuple[str, ...]


def separate_file(
    model: nn.Module,
    path: str | Path,
    out_dir: str | Path,
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    subtype: str | None = None,
    stems: Sequence[str] | None = None,
    clip: str = "rescale",
    options: SeparationOptions = DEFAULTS,
    progress: Progress | None = None,
) -> SeparatedFile:
    """Write the stems of a file to `out_dir/<file stem>/<source>.<extension>`; all of them appear, or none.

    Args:
        model: a separator, see `sfi_zoo.models.base.Separator`.
        path: a file that soundfile reads.
        out_dir: made if need be; stems of an earlier run are replaced.
        sample_rate: resample the file to this rate (Hz), work and write at it; None means the file's own.
        format: container of the stems (wav, flac, ogg, mp3 ...), None for that of the file.
        subtype: sample format of the stems (PCM_16, FLOAT ...), None for that of the file.
        stems: names of the sources to write, None for all.
        clip: "rescale": where a sample is beyond what the sample format holds, all stems are scaled by one gain, which a note tells;
            "clamp": it is cut off, which a note tells as well. FLOAT has no such limit.
        options: how to separate. The consistency "energy" and `rescale` keep all estimates on the disk, as float32, until the last one is
            known; with `two_stems` nothing else is written than <two_stems> and "rest".
        progress: called with (seconds done, seconds in total); what it raises aborts, and nothing is written.

    Raises:
        InputError: the file, an option or the output is unusable; the message names it.
    """
    info = probe(path)
    rate = _working_rate(info, sample_rate)
    kept = options.two_stems
    if kept is not None and stems is not None:
        raise InputError(f"--two-stems {kept}: writes {kept} and rest; leave --stems out")
    sources = Finish(model.sources, options).names  # type: ignore[arg-type]
    names, rows = _chosen(sources, stems)
    frames = resampled_length(info.frames, info.sample_rate, rate)
    output = choose_format(info, rate, frames, format, subtype)
    if not info.path.stem.strip("."):  # "...wav" would lead to the folder above
        raise InputError(f"{info.path}: no folder of stems can be named after it, rename it")
    folder = Path(out_dir) / info.path.stem
    writer = StemWriter(folder, names, output, rate, info.channels, clip)
    if any(target.exists() and target.samefile(info.path) for target in writer.paths):
        raise InputError(f"{info.path}: a stem would replace the file itself; choose another output folder")
    with writer:
        for block in _estimates(
            model, info, rate, options, total_frames=frames, progress=progress, scratch=writer.scratch
        ):
            writer.write(block[rows].numpy())
    notes = [note for note in (info.note, output.note) if note]
    if frames - writer.reports[0].frames > rate // 10:  # an MP3; what other formats lack is an error
        ends = writer.reports[0].frames / rate
        notes.append(f"{info.path}: ends at {ends:.1f} s, its header says {info.duration:.1f} s")
    notes += _clipping_notes(writer.reports)
    return SeparatedFile(info, rate, tuple(writer.reports), tuple(notes))


def check_distinct(files: Sequence[Path]) -> None:
    """Refuse files whose stems would land in the same folder.

    Raises:
        InputError: two files have the same name without extension.
    """
    seen: dict[str, Path] = {}
    for path in files:
        if path.stem in seen:
            raise InputError(f"{path}: its stems would replace those of {seen[path.stem]}; run them apart")
        seen[path.stem] = path


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
    except torch.OutOfMemoryError as error:
        smaller = max(2, math.floor(options.chunk_seconds / 2))
        raise InputError(
            f"{info.path}: the device is out of memory; try --chunk-seconds {smaller}, or a smaller --batch-size"
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
