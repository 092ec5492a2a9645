"""`sfi-zoo doctor`: what is installed and what works, on this machine."""

import os
import platform
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sfi_zoo.commands.printing import say_json, say_table
from sfi_zoo.commands.shared import AsJson

PACKAGES = ("torch", "soundfile", "soxr", "safetensors", "huggingface_hub")
EXTRAS = {  # what each is for, and the extra that installs it
    "torchaudio": ("its resampler and its models", "torchaudio"),
    "musdb": ("stem.mp4 files of MUSDB18", "musdb"),
    "museval": ("BSSEval scores", "musdb"),
    "accelerate": ("training", "train"),
    "gradio": ("the page, sfi-zoo demo", "demo"),
    "matplotlib": ("pictures", "plot"),
}
FFMPEG = "not installed; it reads mp4, m4a and video files: apt-get install ffmpeg"


def doctor_command(
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the Hub.", min=0.1)] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Check this machine: versions, device, torchaudio, the Hub and its cache, ffmpeg.

    What is not installed is told; exit code 1 is for what is installed and broken, or a Hub that does not answer.

    Example: sfi-zoo doctor --json
    """
    from sfi_zoo import __version__

    checks: dict[str, Callable[[], Any]] = {
        "sfi_zoo": lambda: __version__,
        "python": platform.python_version,
        **{name: partial(_version, name) for name in PACKAGES},
        **{name: partial(_version, name, optional=True) for name in EXTRAS},
        "device": _device,
        "ffmpeg": lambda: shutil.which("ffmpeg"),
        "hub": partial(_hub, timeout),
        "cache": _cache,
    }
    found, failures = {}, {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except Exception as error:  # whatever a broken installation raises is the finding
            failures[name] = " ".join(str(error).split()) or type(error).__name__
    if as_json:
        say_json(found | {"failures": failures})
    else:
        table = Table(show_header=False, box=None)
        for name in checks:
            value = f"FAILS: {failures[name]}" if name in failures else _shown(name, found[name])
            table.add_row(name, value)
        say_table(table)
    if failures:
        raise typer.Exit(1)


def _version(name: str, optional: bool = False) -> str | None:
    """Of a package that can be imported; None where an optional one is not installed."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if optional:
            return None
        raise
    import_module(name)
    return version


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu ({torch.get_num_threads()} threads)"


def _hub(timeout: float) -> str:
    """The address of the Hub, where it answers or must not be asked."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return f"{constants.ENDPOINT} (not asked: HF_HUB_OFFLINE is set)"
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=timeout).close()
    except HTTPError:
        pass  # an answer
    except (OSError, ValueError) as error:
        raise OSError(
            f"{constants.ENDPOINT} does not answer ({error}); models in the cache still load"
        ) from None
    return constants.ENDPOINT


def _cache() -> dict[str, Any]:
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    return {"path": str(place), "bytes": sum(_sizes(place))}


def _sizes(folder: Path) -> list[int]:
    """The sizes of all files in bytes. Links of the cache are passed over: the files they lead to are counted."""
    paths = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return [path.lstat().st_size for path in paths if not path.is_symlink()]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['path']} ({value['bytes'] / 1e6:.1f} MB)"
    if value is None and name in EXTRAS:
        purpose, extra = EXTRAS[name]
        return f"not installed; it is for {purpose}: pip install -e '.[{extra}]'"
    return FFMPEG if value is None else str(value)
