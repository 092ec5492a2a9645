"""Models of others that the zoo knows and has no weights of: what they are, and where their weights come from.

One is a folder of `hub_configs` with a source.json. `load` and the command line take its name as that of any other model: on first use its
weights are fetched, imported and kept, see `sfi_zoo.hub.first_use`. Nothing here imports torch.
"""

import fnmatch
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub import bundled
from sfi_zoo.strict_json import read_json
from sfi_zoo.wording import first_line

SOURCE = "source.json"
NOT_STATED = "not stated"


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Attributes:
        path: within the repository or the package.
        bytes: its size; None where it is not known.
        sha256: of its content; None where it is not known (the Hub's client checks what it gets in any case).
    """

    path: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """A model of others: the content of its source.json.

    Attributes:
        name: what it is called, and its folder.
        task: what it is for: tables group by it.
        about: one line on it.
        sources: what it separates, in output order.
        sample_rate: F0 in Hz.
        license: of the weights, as Hugging Face names it, or "not stated".
        paper: to cite.
        read_at: where id and licence were read.
        files: which are needed.
        package: the package of the registry that holds them; else they are on the Hub.
        version: of the package.
        repo: the Hub id; without it and without a package there is no file that may be fetched, see `by_hand`.
        revision: of the repository.
        config: the one of the files that is the YAML of the checkpoint.
        options: of `import_checkpoint`: what the files do not say.
        dead_fill: what its network sees where bins are dead, see `sfi_zoo.models.parts.dead_features`: {"kind": "noise" or "level",
            "levels": pairs of Hz and the mean magnitude there on music}.
    """

    name: str
    task: str
    about: str
    sources: tuple[str, ...]
    sample_rate: int
    license: str
    paper: str
    read_at: str
    files: tuple[SourceFile, ...]
    package: str | None = None
    version: str | None = None
    repo: str | None = None
    revision: str | None = None
    config: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    dead_fill: dict[str, Any] | None = None

    @property
    def folder(self) -> Path:
        """The folder with its source.json, card and scores."""
        return bundled.BUNDLED / self.name

    @property
    def bytes(self) -> int | None:
        """The size of all files together in bytes; None where it is not known."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def by_hand(self) -> bool:
        """Whether its licence is not stated. Then nothing is fetched; a user who has the files can import them."""
        return self.license == NOT_STATED

    @property
    def origin(self) -> str:
        """Where the files come from."""
        if self.by_hand:
            return "files of yours, its licence is not stated"
        if self.package is not None:
            return f"the package {self.package} {self.version}"
        return f"https://huggingface.co/{self.repo}" + (f" at {self.revision}" if self.revision else "")

    @property
    def import_command(self) -> str:
        """The command that makes a folder for `load`. `load` also takes the name itself, unless `by_hand`."""
        if self.by_hand:
            checkpoint = next(file.path for file in self.files if file.path != self.config)
            told = "" if self.config is None else f"--config {self.config} "
            return f"sfi-zoo import {checkpoint} {told}-o {self.name}"
        return f"sfi-zoo import {self.name} -o {self.name}"

    @property
    def score_command(self) -> str:
        """The command that scores it as the rows of the zoo are scored."""
        return f"sfi-zoo score {self.name} --data DATA -o results"


def list_published(pattern: str = "*") -> list[Published]:
    """List the models of others whose names match a shell pattern, sorted; downloads nothing."""
    names = sorted(path.parent.name for path in bundled.BUNDLED.glob(f"*/{SOURCE}"))
    return [read_source(bundled.BUNDLED / name) for name in fnmatch.filter(names, pattern)]


def find(name: str) -> Published | None:
    """The model with this name; None where there is none."""
    folder = bundled.BUNDLED / name
    known = name in {path.parent.name for path in bundled.BUNDLED.glob(f"*/{SOURCE}")}
    return read_source(folder) if known else None


def read_source(folder: Path) -> Published:
    """What a folder's source.json says.

    Raises:
        InputError: it cannot be read.
    """
    try:
        said = read_json(folder / SOURCE)
        said["files"] = tuple(SourceFile(**file) for file in said["files"])
        return Published(folder.name, **{**said, "sources": tuple(said["sources"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SOURCE}: cannot be read ({first_line(error)})") from None
