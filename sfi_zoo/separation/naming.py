"""Where stems go: names by a template, and the files of folders. This module does not import torch, which takes seconds."""

import os
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sfi_zoo.errors import InputError

TEMPLATE = "{track}/{stem}.{ext}"
FIELDS = ("track", "stem", "ext", "model", "folder")
_ENDINGS = (
    "wav wave bwf rf64 w64 flac ogg oga opus mp3 mp2 aif aiff aifc au snd caf"
    " m4a m4b m4v mp4 mov webm mkv mka avi aac wma ape tta wv ac3 dts"
)
ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())


@dataclass(frozen=True)
class Found:
    """A file, and in which folder below the one that was asked for it lies ("" where it was named itself)."""

    path: Path
    folder: str = ""


def check_template(template: str) -> None:
    """Refuse a template that could not name files.

    Raises:
        InputError: unknown fields, no {stem}, another end than .{ext}, or a place outside the folder of the stems.
    """
    subject = f"--filename {template!r}"
    try:
        fields = [
            (field, spec, kind)
            for _, field, spec, kind in string.Formatter().parse(template)
            if field is not None
        ]
    except ValueError as error:
        raise InputError(f"{subject}: {error}") from error
    for field, spec, kind in fields:
        if field not in FIELDS or spec or kind:
            raise InputError(
                f"{subject}: knows {', '.join('{' + name + '}' for name in FIELDS)} and no {{{field}}}"
            )
    if not any(field == "stem" for field, _, _ in fields):
        raise InputError(f"{subject}: maps all stems onto one file; it needs {{stem}}")
    if not template.endswith(".{ext}") or sum(field == "ext" for field, _, _ in fields) > 1:
        raise InputError(f"{subject}: must end in .{{ext}}, which goes by the format")
    if template.startswith(("/", "\\")) or ".." in template.replace("\\", "/").split("/") or ":" in template:
        raise InputError(f"{subject}: leads out of the folder of the stems")


def stem_names(template: str, found: Found, stems: Sequence[str], model: str = "") -> list[str]:
    """Names of the files, without extension, relative to the folder of all stems.

    Args:
        template: checked.
        found: the file they come from.
        stems: names of the sources.
        model: its name.

    Raises:
        InputError: the names are not names of different files in that folder.
    """
    values = {
        "track": found.path.stem,
        "model": model.strip("/").replace("/", "_").replace(":", "_"),
        "folder": found.folder,
    }
    pattern = template.removesuffix(".{ext}")
    names = [pattern.format(**values, stem=stem) for stem in stems]
    for name in names:
        parts = [part for part in name.split("/") if part]
        if not parts or any(not part.strip(". ") for part in parts):
            raise InputError(f"{found.path}: no folder of stems can be named after it, rename it")
    names = [str(PurePosixPath(*(part for part in name.split("/") if part))) for name in names]
    if len({name.casefold() for name in names}) < len(names):
        raise InputError(f"--filename {template!r}: maps two stems onto one file")
    return names


def check_distinct(files: Iterable[Found], template: str = TEMPLATE, model: str = "") -> None:
    """Refuse files whose stems would overwrite each other.

    Raises:
        InputError: two files would share a place; the message names a template that keeps them apart.
    """
    seen: dict[str, Path] = {}
    for found in files:
        if not found.path.stem.strip("."):
            continue  # told when it is its turn
        key = stem_names(template, found, ["stem"], model)[0].casefold()
        if key in seen and seen[key] != found.path:
            way_out = (
                "run them apart"
                if "{folder}" in template
                else "use --filename '{folder}/{track}/{stem}.{ext}' or run them apart"
            )
            raise InputError(f"{found.path}: its stems would replace those of {seen[key]}; {way_out}")
        seen[key] = found.path


def sound_files(arguments: Iterable[Path], recursive: bool = False, out: Path | None = None) -> list[Found]:
    """Files as they are, and of folders what has the ending of a sound file or a video, sorted; hidden ones are passed over.

    Args:
        arguments: files and folders.
        recursive: folders within folders too.
        out: a folder of stems: what lies in it is passed over.

    Raises:
        InputError: a folder has no such file.
    """
    files: dict[Path, Found] = {}
    for argument in arguments:
        if not argument.is_dir():
            files.setdefault(argument, Found(argument, _parent_name(argument)))
            continue
        found = list(_in_folder(argument, recursive, out))
        if not found:
            deeper = "" if recursive else "; --recursive looks into the folders in it"
            raise InputError(f"{argument}: is a folder without sound files{deeper}")
        for each in found:
            files.setdefault(each.path, each)
    return list(files.values())


def _parent_name(path: Path) -> str:
    """The name of the folder a file was named in."""
    return path.parent.name.strip(".")


def _in_folder(top: Path, recursive: bool, out: Path | None) -> Iterable[Found]:
    own = out.resolve() if out is not None else None
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        folders[:] = (
            sorted(x for x in folders if not x.startswith(".") and (here / x).resolve() != own)
            if recursive
            else []
        )
        relative = here.relative_to(top)
        place = str(PurePosixPath(top.resolve().name, *relative.parts))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS:
                yield Found(here / name, place)


def check_writable(out: Path) -> None:
    """Refuse a folder that no stem could be written to, before any work.

    Raises:
        InputError: a file stands there, or it may not be written.
    """
    for place in (out, *out.absolute().parents):
        if place.exists():
            if not place.is_dir():
                raise InputError(f"{place}: is a file, stems need a folder there")
            if not os.access(place, os.W_OK | os.X_OK):
                raise InputError(f"{out}: cannot be written (no permission for {place})")
            return
