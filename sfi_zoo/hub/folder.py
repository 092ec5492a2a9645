"""A model's folder: config.json, model.safetensors and a model card, written as a whole or not at all."""

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.hub.config_version import KEY, present
from sfi_zoo.hub.digest import DIGEST, sha256_of
from sfi_zoo.hub.model_card import model_card
from sfi_zoo.models.base import Separator
from sfi_zoo.models.weights import written
from sfi_zoo.whole_files import Draft, made, publish

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


def save(
    model: Separator,
    folder: str | Path,
    half: bool = False,
    license: str | None = None,
    where: str | None = None,
) -> Path:
    """Writes a model's folder: config.json, model.safetensors and, where there is none yet, a model card.

    Args:
        model: the separator.
        folder: made if it is not there; what is there of a model is replaced as a whole.
        half: store weights as float16, except analog filters (their frequencies need float32).
        license: of the weights, for the card, as the Hub names it ("mit", "cc-by-4.0"); a card without one cannot be published.
        where: for the card, the Hub id it will have.

    Returns:
        The folder.

    Raises:
        InputError: the folder is a file, or cannot be written.
    """
    return write(
        model, Path(folder), half, model_card(Path(folder).name, model, license=license, where=where)
    )


def write(model: Separator, folder: Path, half: bool, card: str, replace_card: bool = False) -> Path:
    """All files into a draft beside, then to their place; config.json says which weights it belongs to."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder to write into")
    state = {k: _stored(k, v.detach().cpu(), half) for k, v in model.state_dict().items()}
    config = {"architecture": model.architecture, KEY: present(), **model.config_dict()}
    with written(folder), made(folder.parent), Draft(folder.parent) as draft:
        finished = draft / "model"
        finished.mkdir()
        save_file(state, str(finished / WEIGHTS), metadata={"format": "pt"})
        config[DIGEST] = sha256_of(finished / WEIGHTS)
        (finished / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (finished / WEIGHTS).chmod((finished / CONFIG).stat().st_mode)
        if replace_card or not (folder / CARD).exists():
            (finished / CARD).write_text(card, encoding="utf-8")
        publish(draft, [(finished, folder)])
    return folder


def _stored(name: str, value: Tensor, half: bool) -> Tensor:
    """A tensor as it is stored: a number for each filter (a centre frequency, a bandwidth) stays exact also where all else is halved."""
    of_filters = name.startswith(("encoder.filters.", "decoder.filters.")) and value.ndim < 2
    exact = not value.is_floating_point() or of_filters
    return (value.half() if half and not exact else value).contiguous()
