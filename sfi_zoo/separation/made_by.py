"""Who made a stem: it says so itself, in the comment of its file, so that no run puts the stems of one model beside those of another.

The comment is `sfi_zoo {"model": ..., "of": ...}`: the name of the model, or the last part of a path and a few digits of the whole, and the
track. W64 and AU hold no comment; of stems in these, and of what others made, nothing is known.
"""

import glob
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfi_zoo.separation.naming import ENDINGS, Found, stem_names

_HEAD = "sfi_zoo "


@dataclass(frozen=True)
class Maker:
    """A model, and the track that it separated."""

    model: str
    track: str

    @property
    def comment(self) -> str:
        """What the files hold, in ASCII."""
        return _HEAD + json.dumps({"model": self.model, "of": _text(self.track)})


def maker_of(path: Path) -> Maker | None:
    """Who made a sound file, where the file says so."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as sound:
            comment = sound.comment
        told = json.loads(comment.removeprefix(_HEAD)) if comment.startswith(_HEAD) else {}
        return Maker(str(told["model"]), str(told["of"]))
    except (soundfile.SoundFileError, OSError, ValueError, KeyError, TypeError):
        return None


def name_of(models: Sequence[str]) -> str:
    """One name for the models of a run. Of a path only the end is shown, not the user's home."""
    return "+".join(_short(model) for model in models)


def stems_of_others(
    template: str, found: Found, out: Path, model: str, maker: Maker
) -> list[tuple[Path, str]]:
    """Stems of the same track that another model left where those of this one go: (file, its model).

    Args:
        template: of names, checked.
        found: the file.
        out: the folder of all stems.
        model: as the template has it.
        maker: this model, and the track.
    """
    mark = "\0"  # no name holds it
    pattern = glob.escape(stem_names(template, found, [mark], model)[0]).replace(mark, "*")
    others = []
    for path in sorted(out.glob(pattern + ".*")):
        there = maker_of(path) if path.suffix.lower() in ENDINGS else None
        if there is not None and there.track == _text(maker.track) and there.model != maker.model:
            others.append((path, there.model))
    return others


def _short(model: str) -> str:
    path = Path(model)
    if not path.is_dir():
        return model
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()
    return f"{path.resolve().name} ({digest[:6]})"


def _text(name: str) -> str:
    """A name of a file as Unicode that can be written."""
    return name.encode("utf-8", "backslashreplace").decode()
