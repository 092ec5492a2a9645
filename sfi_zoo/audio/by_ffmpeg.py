"""What libsndfile cannot open (m4a, webm, video), by the programs ffmpeg and ffprobe, where they are installed.

They get containers of this list only, and no other file than the one: a playlist would make them read what it names.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfi_zoo.errors import InputError

FORMAT = "FFMPEG"
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,avi,mpegts,mpeg,flv,ape,tta,wv,amr,ac3,eac3,dts,mp2"
)
_SAFE = ["-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS]
_ENDINGS = re.compile(
    r"\.(m4[abv]|mp4|mov|3gp|webm|mk[av]|aac|wma|asf|avi|ts|mpe?g|flv|ape|tta|wv|amr|ac3|dts)", re.IGNORECASE
)
_DEPTHS = {
    **dict.fromkeys(("alac", "flac", "ape", "tta", "wavpack", "pcm_s24le", "pcm_s24be"), "PCM_24"),
    **dict.fromkeys(("pcm_f32le", "pcm_f32be"), "FLOAT"),
}
_WANTED = "stream=sample_rate,channels,codec_name,duration:format=duration,nb_streams"
_PATIENCE = 60  # seconds for a header
_BYTES = 4
_SLACK = 0.1  # seconds by which a container's duration and its samples differ where nothing is missing


def probe(path: Path, problem: str) -> tuple[int, int, int, str, str]:
    """Sample rate (Hz), channels, samples per channel, `FORMAT` and sample format of the first audio stream.

    All of it is decoded once, to count. The sample format is what soundfile calls it, or the name of a codec that has no bit depth.

    Args:
        path: the file.
        problem: what libsndfile said, for the error.

    Raises:
        InputError: no ffmpeg, nothing that it reads either, or fewer samples than the container claims.
    """
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        if _ENDINGS.fullmatch(path.suffix):
            raise InputError(f"{problem}; install ffmpeg, which reads {path.suffix}, or convert it to wav")
        raise InputError(problem)
    entries = ["-show_entries", _WANTED, "-select_streams", "a:0"]
    said = _run(["ffprobe", "-v", "error", *_SAFE, *entries, "-of", "json", _url(path)], path, problem)
    try:
        told = json.loads(said)
        stream = told["streams"][0]
        rate, channels, codec = int(stream["sample_rate"]), int(stream["channels"]), str(stream["codec_name"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise InputError(f"{problem}; ffmpeg finds no sound in it") from None
    if rate < 1 or not 1 <= channels <= 1024:
        raise InputError(f"{problem}; ffmpeg finds {channels} channels at {rate} Hz in it")
    frames = sum(block.shape[-1] for block in blocks(path, channels, 2**16))
    alone = told.get("format", {}) if told.get("format", {}).get("nb_streams") == 1 else {}
    duration = float(stream.get("duration", alone.get("duration", 0)))
    if frames / rate < duration - _SLACK:
        raise InputError(
            f"{path}: damaged or truncated, samples end at {frames / rate:.3f} s of {duration:.3f} s"
        )
    return rate, channels, frames, FORMAT, _DEPTHS.get(codec, codec.upper())


def blocks(path: Path, channels: int, size: int, select: str | None = None) -> Iterator[Tensor]:
    """All samples of the first audio stream in order, (channels, at most `size`) float32.

    Args:
        path: the file.
        channels: of the stream.
        size: samples per channel in a block.
        select: a filter of ffmpeg.

    Raises:
        InputError: ffmpeg cannot decode it to its end.
    """
    chosen = ["-map", "0:a:0", *(["-af", select] if select else []), "-ac", str(channels)]
    command = ["ffmpeg", "-v", "error", "-nostdin", "-xerror", *_SAFE, "-i", _url(path), *chosen]
    with subprocess.Popen(
        [*command, "-f", "f32le", "pipe:1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            while data := process.stdout.read(size * channels * _BYTES):
                whole = np.frombuffer(data, np.float32, len(data) // (channels * _BYTES) * channels)
                yield torch.from_numpy(whole.reshape(-1, channels).T.copy())
            said = process.stderr.read(2**12).decode(errors="replace")
            if process.wait():
                raise InputError(
                    f"{path}: ffmpeg cannot read it ({' '.join(said.split()) or 'it gives no reason'})"
                )
        finally:
            process.kill()


def part(path: Path, channels: int, start: int, stop: int) -> Tensor:
    """Samples `start` ... `stop` - 1, (channels, stop - start) float32, fewer where the stream ends. All before them is decoded too.

    Raises:
        InputError: see `blocks`.
    """
    found = list(blocks(path, channels, 2**16, f"atrim=start_sample={start}:end_sample={stop}"))
    return torch.cat(found, -1) if found else torch.empty(channels, 0)


def _url(path: Path) -> str:
    """A name that is no option and no address."""
    return f"file:{path}"


def _run(command: list[str], path: Path, problem: str) -> str:
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        raise InputError(problem) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        last = lines[-1].removeprefix(f"{_url(path)}: ") if lines else ""
        expected = _ENDINGS.fullmatch(path.suffix) and last  # of other files libsndfile knows better
        raise InputError(f"{problem}; ffmpeg: {last}" if expected else problem)
    return done.stdout.decode(errors="replace")
