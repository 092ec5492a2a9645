"""A model's folder: config.json, model.safetensors and a model card, written as a whole or not at all."""

import json
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.hub.config_version import KEY, present
from sfi_zoo.hub.model_card import model_card
from sfi_zoo.interruption import uninterrupted
from sfi_zoo.models.base import Separator
from sfi_zoo.whole_files import put_in_place

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
        folder: made if it is not there; each file is replaced as a whole.
        half: store weights as float16, except analog filters (their frequencies need float32).
        license: of the weights, for the card, as the Hub names it ("mit", "cc-by-4.0"); a card without one cannot be published.
        where: for the card, the Hub id it will have.

    Returns:
        The folder.

    Raises:
        InputError: the folder is a file.
    """
    return write(
        model, Path(folder), half, model_card(Path(folder).name, model, license=license, where=where)
    )


def write(model: Separator, folder: Path, half: bool, card: str, replace_card: bool = False) -> Path:
    """All files into a temporary folder beside, then each in one move."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder to write into")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        state = {k: _stored(k, v.detach().cpu(), half) for k, v in model.state_dict().items()}
        config = {"architecture": model.architecture, KEY: present(), **model.config_dict()}
        save_file(state, str(temporary / WEIGHTS), metadata={"format": "pt"})
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(card, encoding="utf-8")
        (temporary / WEIGHTS).chmod((temporary / CONFIG).stat().st_mode)
        temporary.chmod(0o755)
        new_card = replace_card or not (folder / CARD).exists()
        put_in_place(temporary, folder, (WEIGHTS, CONFIG, CARD) if new_card else (WEIGHTS, CONFIG))
    finally:
        with uninterrupted():
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _stored(name: str, value: Tensor, half: bool) -> Tensor:
    """A tensor as it is stored: a number for each filter (a centre frequency, a bandwidth) stays exact also where all else is halved."""
    of_filters = name.startswith(("encoder.filters.", "decoder.filters.")) and value.ndim < 2
    exact = not value.is_floating_point() or of_filters
    return (value.half() if half and not exact else value).contiguous()
