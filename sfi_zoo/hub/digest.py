"""config.json holds a digest of its weights, so that files of two models, or damaged weights, are refused.

A config.json without one, of an earlier version or of somebody's own hand, is taken as it is.
"""

import hashlib
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError

DIGEST = "weights_sha256"
BLOCK = 2**22


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_digest(config: Path, said: Any, weights: Path) -> None:
    """Refuses weights that are not those of a config.json.

    Args:
        config: the file.
        said: its digest; None for none.
        weights: the file.

    Raises:
        InputError: they are others.
    """
    if said is not None and said != sha256_of(weights):
        raise InputError(
            f"{weights}: not the weights that {config.name} beside it was written with ({DIGEST} differs): one of the two was replaced "
            f"or damaged, or a write was cut short; write the model again, or remove {DIGEST} from {config.name} if you changed the weights"
        )
