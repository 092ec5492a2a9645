"""Writing sound files that appear whole or not at all.

Integer samples are rounded to the grid they were read from (an unchanged sample gives the same bits). What is beyond full scale clips,
or all files of a folder are scaled by one gain, 1 / peak, so that none does and they keep their balance (`clip="rescale"`); either is
reported, never hidden. FLOAT does not clip.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
import torch

from sfi_zoo.audio.containers import BITS, EXTENSIONS
from sfi_zoo.audio.formats import OutputFormat, can_write
from sfi_zoo.audio.spool import Spool
from sfi_zoo.errors import InputError
from sfi_zoo.interruption import uninterrupted
from sfi_zoo.whole_files import Draft, made, publish, replacing

CLIPS = ("rescale", "clamp")
_UNCLIPPED = {"FLOAT", "DOUBLE"}
_WITHOUT_COMMENT = {"W64", "AU"}
# libvorbis keeps a whole write on the stack.
_WRITE_FRAMES = 2**15


@dataclass(frozen=True)
class StemReport:
    """What was written: peak of the samples before they were scaled or clipped, how many were clipped, and the gain."""

    path: Path
    frames: int
    peak: float
    clipped: int
    gain: float = 1.0


class StemWriter:
    """Sound files that appear when all are complete: written beside their folder, which is renamed; or moved where there are several.

    Use as a context manager. When the block raises, nothing stays, not even a folder made for it.

    Args:
        folder: where the files go.
        names: file names without extension, in folders below that one or not.
        output: from `choose_format`.
        sample_rate: in Hz.
        channels: of every file.
        clip: what happens beyond full scale, unless the files are FLOAT: "clamp", or "rescale" (see above). For the latter all samples wait
            on the disk, as float32, until the last one is known.
        comment: a line that every file holds, of containers that have one.

    Raises:
        InputError: something stands in the way, the files cannot be written, or `clip` is something else.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        output: OutputFormat,
        sample_rate: int,
        channels: int,
        clip: str = "clamp",
        comment: str = "",
    ) -> None:
        """Nothing is made before the `with` statement."""
        if clip not in CLIPS:
            raise InputError(f"clip must be one of {', '.join(CLIPS)}; got {clip}")
        self._waits = clip == "rescale" and output.subtype not in _UNCLIPPED
        self._spool: Spool | None = None
        self._peak = 0.0
        self.folder = folder
        self.paths = [folder / f"{name}{output.extension}" for name in names]
        self.reports: list[StemReport] = []
        self._output, self._sample_rate, self._channels = output, sample_rate, channels
        self._comment = comment
        self._folders = list(dict.fromkeys(path.parent for path in self.paths))
        self._base = self._folders[0].parent if len(self._folders) == 1 else folder
        self._draft = Draft(self._base)
        self._open = ExitStack()
        self._files: list[_EncodedFile] = []

    @property
    def scratch(self) -> Path:
        """A folder on the same disk for temporary files; it is removed when the block ends."""
        return self._draft.path

    def __enter__(self) -> "StemWriter":
        """Make the temporary files."""
        output = self._output
        for place in self._folders:
            _check_free(place, self.paths)
        try:
            self._open.enter_context(made(self._base))
            self._open.enter_context(self._draft)
            self._open.push(self._close)
            for place in self._folders:
                self._part(place).mkdir()
            for path in self.paths:
                draft = self._part(path.parent) / path.name
                file = _EncodedFile(draft, path, output, self._sample_rate, self._channels)
                self._files.append(file)
                file.remark(self._comment)
            if self._waits:
                self._spool = Spool(self._draft.path, str(self.paths[0]))
        except BaseException as error:
            self._open.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, OSError):
                raise self._refused(error) from error
            raise
        return self

    def _part(self, folder: Path) -> Path:
        """Where the files of a folder are written at first."""
        return self._draft.path / str(self._folders.index(folder))

    def _refused(self, error: OSError) -> InputError:
        return InputError(f"{self._folders[0]}: cannot be written ({error.strerror or error})")

    def write(self, stems: Iterable[np.ndarray]) -> None:
        """Append one (channels, n) block to every file, in the order of `names`."""
        if self._spool is None:
            for file, block in zip(self._files, stems, strict=True):
                file.write(block)
            return
        blocks = torch.from_numpy(np.stack(list(stems)))
        self._peak = max(self._peak, float(blocks.abs().amax()) if blocks.numel() else 0.0)
        self._spool.append(blocks)

    def _write_waiting(self, spool: Spool) -> None:
        """From the spool to the files, all with one gain."""
        gain = 1 / max(1.0, self._peak)
        for file in self._files:
            file.gain = gain
        while len(spool):
            for file, block in zip(self._files, spool.popleft().numpy(), strict=True):
                file.write(block)
        spool.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put all files in their place, or after an error none."""
        with self._open:  # what it holds is left as this block is
            if error is not None:
                raise error
            if self._spool is not None:
                self._write_waiting(self._spool)
            self.reports = [file.finish() for file in self._files]
            self._publish()

    def _publish(self) -> None:
        try:
            with uninterrupted(), ExitStack() as parents:
                for place in self._folders:
                    parents.enter_context(made(place.parent))
                publish(self._draft.path, [(self._part(place), place) for place in self._folders])
        except OSError as error:
            raise self._refused(error) from error

    def _close(self, *_: object) -> None:
        """Closes the files, complete or not."""
        for file in self._files:
            file.close()
        if self._spool is not None:
            self._spool.close()


def write(path: str | Path, waveform: np.ndarray, sample_rate: int, subtype: str | None = None) -> StemReport:
    """Write one file atomically; the container goes by the extension.

    Args:
        path: where to; the folder is made if need be.
        waveform: (channels, time), full scale at 1.
        sample_rate: in Hz.
        subtype: sample format (PCM_16 ...), None for the usual one of the container.

    Raises:
        InputError: an extension or sample format that cannot hold the samples, or the path cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    container = next((name for name, extension in EXTENSIONS.items() if extension == suffix), None)
    if container is None:
        known = ", ".join(sorted(set(EXTENSIONS.values())))
        raise InputError(f"{path}: the name must end in one of {known}")
    chosen = (subtype or soundfile.default_subtype(container)).upper()
    if not can_write(container, chosen, sample_rate, len(waveform)):
        signal = f"{sample_rate} Hz with {len(waveform)} channels"
        raise InputError(f"{path}: {container} {chosen} cannot hold {signal}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder")
    try:
        with made(path.parent), replacing(path) as draft:
            file = _EncodedFile(draft, path, OutputFormat(container, chosen), sample_rate, len(waveform))
            try:
                file.write(waveform)
                report = file.finish()
            finally:
                file.close()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    return report


class _EncodedFile:
    """One file being written; `final` is the name that errors speak of."""

    def __init__(
        self, path: Path, final: Path, output: OutputFormat, sample_rate: int, channels: int
    ) -> None:
        self._path, self._final, self._output = path, final, output
        self._frames, self._peak, self._clipped = 0, 0.0, 0
        self.gain = 1.0
        try:
            self._sound = soundfile.SoundFile(
                str(path), "w", sample_rate, channels, output.subtype, format=output.format, **output.encoding
            )
        except UnicodeError as error:
            raise InputError(f"{final}: this name is not valid text, choose another") from error
        except soundfile.SoundFileError as error:
            raise self._failure(error) from error

    def remark(self, comment: str) -> None:
        """A comment, before the first sample."""
        if comment and self._output.format not in _WITHOUT_COMMENT:
            self._sound.comment = comment

    def write(self, block: np.ndarray) -> None:
        magnitude = np.abs(block)
        self._peak = max(self._peak, float(magnitude.max(initial=0.0)))
        if self.gain != 1:
            block = block * self.gain
        elif self._output.subtype not in _UNCLIPPED:
            self._clipped += int(np.count_nonzero(magnitude > 1.0))
        samples = _quantised(block.T, self._output.subtype)
        try:
            for first in range(0, len(samples), _WRITE_FRAMES):
                self._sound.write(samples[first : first + _WRITE_FRAMES])
        except (soundfile.SoundFileError, AssertionError) as error:  # it asserts that all was written
            raise self._failure(error) from error
        self._frames += len(samples)

    def finish(self) -> StemReport:
        """Close, and check that the disk has every sample."""
        try:
            self._sound.close()
            written = soundfile.info(str(self._path)).frames
        except soundfile.SoundFileError as error:
            raise self._failure(error) from error
        if written < self._frames:
            raise self._failure(None)
        return StemReport(self._final, self._frames, self._peak, self._clipped, self.gain)

    def close(self) -> None:
        """Closes the file, complete or not."""
        with suppress(soundfile.SoundFileError):
            self._sound.close()

    def _failure(self, error: Exception | None) -> InputError:
        free = shutil.disk_usage(self._path.parent).free
        text = getattr(error, "error_string", "").strip(" .") or "not everything could be written"
        reason = "no space left on the disk" if free < 2**20 else f"{text}; is the disk full?"
        return InputError(f"{self._final}: cannot be written ({reason})")


def _quantised(samples: np.ndarray, subtype: str) -> np.ndarray:
    """Integers for integer subtypes: round(x 2^(bits-1)), the inverse of reading, left-aligned.

    libsndfile itself would scale by 2^(bits-1) - 1 on the way out, but by 2^(bits-1) on the way in.
    """
    bits = BITS.get(subtype)
    if bits is None:
        return np.ascontiguousarray(samples)
    full = 2.0 ** (bits - 1)
    levels = np.clip(np.rint(samples.astype(np.float64) * full), -full, full - 1)
    width = 16 if bits <= 16 else 32
    return (levels * 2.0 ** (width - bits)).astype(np.int16 if width == 16 else np.int32)


def _check_free(folder: Path, targets: Sequence[Path]) -> None:
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise InputError(f"{place}: is a file, stems need a folder there")
            break
    for target in targets:
        if target.is_dir():
            raise InputError(f"{target}: is a folder, a stem cannot replace it")
