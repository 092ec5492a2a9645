"""Separators by name: bundled, in a folder, or on the Hub."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import torch

from sfi_zoo.errors import InputError
from sfi_zoo.hub import bundled
from sfi_zoo.hub.config import read_config
from sfi_zoo.hub.digest import DIGEST, check_digest
from sfi_zoo.hub.download import HUB_ID, fetch_model
from sfi_zoo.hub.folder import CONFIG, WEIGHTS
from sfi_zoo.hub.published import find, list_published
from sfi_zoo.models import architecture_class
from sfi_zoo.models.base import Separator
from sfi_zoo.models.parts.limits import check_sizes, outline
from sfi_zoo.models.weights import UNBUILDABLE, WeightsError, WeightsFile, check_state, fill
from sfi_zoo.wording import first_line

M = TypeVar("M")


def load(name: str | Path, device: torch.device | str | None = None) -> Separator:
    """A separator with its weights, in evaluation mode.

    Args:
        name: a bundled name (see `sfi_zoo.list_models`), that of a model of others (`sfi-zoo list`), which is imported on first use,
            a local folder, or a Hub id `org/name[@revision]`.
        device: where to put it.

    Raises:
        InputError: nothing of that name, or files that do not fit; the message names them and the way out.
    """
    return load_as(Separator, name, device)


def load_as(wanted: type[M], name: str | Path, device: torch.device | str | None = None, **options: Any) -> M:
    """A separator that is a `wanted`, see `load`.

    Args:
        wanted: its class, or one it comes from.
        name: as for `load`.
        device: as for `load`.
        **options: for the Hub: revision, and those of `sfi_zoo.hub.download.fetch_model`.

    Raises:
        InputError: as `load`, or of another class; then no weights are read.
    """
    config_file, weights_file = _files(str(name), **options)
    settings = read_config(config_file)
    architecture, digest = settings.pop("architecture"), settings.pop(DIGEST, None)
    cls = architecture_class(architecture)
    if not issubclass(cls, wanted):
        raise InputError(
            f"{config_file}: its architecture is {architecture}, a {cls.__name__}, not a {wanted.__name__}; "
            "sfi_zoo.load takes any"
        )
    state = WeightsFile(weights_file)
    try:
        check_sizes(settings)
        config = cls.config_class(**settings)
        planned = outline(cls, config)  # before any memory is taken for what a file claims
    except UNBUILDABLE as error:
        raise InputError(f"{config_file}: {first_line(error)}") from None
    try:
        check_state(planned, state)
    except WeightsError as error:
        raise WeightsError(f"{weights_file}: {error}", error.problems) from None
    check_digest(config_file, digest, weights_file)
    model: Any = cls(config)
    fill(model, state)
    loaded: M = model.eval() if device is None else model.eval().to(device)
    return loaded


def local_folder(name: str) -> Path | None:
    """The folder of a bundled name, of a model of others (imported on first use), or a path; None where there is none.

    Raises:
        InputError: it is a file, or a folder without a model; or a model of others cannot be had.
    """
    others = None if Path(name).is_dir() else find(name)
    if others is not None:
        from sfi_zoo.hub.first_use import imported_folder

        return imported_folder(others)
    folder = bundled.BUNDLED / name if name in bundled.list_models() else Path(name)
    if folder.is_dir():
        for file in (CONFIG, WEIGHTS):
            if not (folder / file).is_file():
                raise InputError(f"{folder}: has no {file}; a model folder holds {CONFIG} and {WEIGHTS}")
        return folder
    if folder.exists():
        raise InputError(f"{name}: is a file; name the folder that holds {CONFIG} and {WEIGHTS}")
    return None


def _unknown(name: str) -> InputError:
    """The message for a name that nothing has."""
    names = [*bundled.list_models(), *(row.name for row in list_published())]
    near = difflib.get_close_matches(name, names)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    known = ", ".join(bundled.list_models()) or "none"
    return InputError(
        f"unknown model {name!r}: {hint}bundled: {known}; sfi-zoo list shows those of others too; else name a folder or a Hub id (org/name)"
    )


def _files(name: str, revision: str | None = None, **options: Any) -> tuple[Path, Path]:
    """The two files of a bundled name, a folder or a Hub id."""
    folder = local_folder(name)
    if folder is not None:
        return folder / CONFIG, folder / WEIGHTS
    match = HUB_ID.fullmatch(name)
    if match is None or name.startswith((".", "/")):
        raise _unknown(name)
    if revision is not None and match[2] not in (None, revision):
        raise InputError(f"{name}: another revision than revision={revision!r}; give one of them")
    return fetch_model(match[1], revision or match[2], **options)
