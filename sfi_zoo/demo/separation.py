"""What the button of the page does: checks on the song, its stems, their spectrograms."""

import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from sfi_zoo.audio.bounds import check_sample_rate
from sfi_zoo.audio.io import AudioInfo, probe
from sfi_zoo.demo.spectrogram_view import spectrograms_html
from sfi_zoo.demo.spectrograms import spectrogram
from sfi_zoo.errors import InputError
from sfi_zoo.separation.files import SeparatedFile, separate_file
from sfi_zoo.separation.options import FILE_DEFAULTS, SeparationOptions
from sfi_zoo.whole_files import replacing

OWN = "the song's own"
RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
LONGEST_NAME = 60  # characters of a song's name in that of the zip
LONGEST = 10 * 60.0  # seconds of a stereo song; channels are separated one by one
PLAYABLE = ("PCM_16", "PCM_24", "FLOAT")  # subtypes of a wav that browsers play


@dataclass(frozen=True)
class Shown:
    """What the page shows of a separated song.

    Attributes:
        stems: source -> wav.
        archive: all of them, as a zip.
        spectrograms: of the song and its stems, HTML.
        summary: a line for people.
    """

    stems: dict[str, Path]
    archive: Path
    spectrograms: str
    summary: str


def separate_song(
    separator: nn.Module,
    song: Path,
    sample_rate: str,
    folder: Path,
    progress: Callable[[float, float | None], None] | None = None,
    options: SeparationOptions = FILE_DEFAULTS,
) -> Shown:
    """Stems of a song, as wav, in a new folder of their own.

    Args:
        separator: in the mode that is asked for.
        song: a file that soundfile reads.
        sample_rate: `OWN`, or the Hz at which to work.
        folder: where the new folder goes; it is made if need be.
        progress: called with (seconds done, seconds in total).
        options: how to separate.

    Raises:
        InputError: not audio, too long, silent, or a rate out of range; the song is named without its folder.
    """
    try:
        rate = parse_rate(sample_rate)
        info = probe(song)
        _check_length(info)
        check_sample_rate(info.sample_rate if rate is None else rate, song.name if rate is None else "SF")
        before = spectrogram(song)
        if before.silent:
            raise InputError(f"{song.name}: is silent, there is nothing to separate")
        start = time.perf_counter()
        done = separate_file(
            separator,
            song,
            folder / uuid.uuid4().hex,
            sample_rate=rate,
            format="wav",
            subtype=info.subtype if info.subtype in PLAYABLE else "PCM_24",
            options=options,
            progress=progress,
        )
        seconds = time.perf_counter() - start
    except InputError as error:
        raise InputError(str(error).replace(str(song), song.name)) from error
    stems = {report.path.stem: report.path for report in done.stems}
    panels = {"the song": before} | {name: spectrogram(path) for name, path in stems.items()}
    pictures = spectrograms_html(panels, float(separator.trained_rate))  # type: ignore[arg-type]
    archive = _zipped(stems, next(iter(stems.values())).with_name(f"{song.stem[:LONGEST_NAME]} stems.zip"))
    return Shown(stems, archive, pictures, _summary(done, seconds))


def _zipped(stems: dict[str, Path], path: Path) -> Path:
    """Stems in one file; sound hardly shrinks, so nothing is compressed."""
    with replacing(path) as draft, zipfile.ZipFile(draft, "w") as archive:
        for stem in stems.values():
            archive.write(stem, stem.name)
    return path


def parse_rate(text: str) -> int | None:
    """Hz of what was chosen or typed; None for the song's own.

    Raises:
        InputError: no whole number.
    """
    if text == OWN:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"SF {text!r:.40}: give a whole number of Hz, 44100 for instance") from None


def _check_length(info: AudioInfo) -> None:
    longest = LONGEST * 2 / max(2, info.channels)
    if info.duration > longest:
        raise InputError(
            f"{info.path.name}: {info.duration / 60:.1f} min in {info.channels} channels, this page takes"
            f" {longest / 60:.3g} min of that many channels; `sfi-zoo separate` takes any length"
        )


def _summary(done: SeparatedFile, seconds: float) -> str:
    info = done.info
    text = f"{info.duration:.1f} s in {info.channels} channels, separated at {done.sample_rate} Hz in {seconds:.1f} s."
    gain = done.stems[0].gain
    return text if gain == 1 else f"{text} All stems are scaled by {gain:.3f}, so that none clips."
