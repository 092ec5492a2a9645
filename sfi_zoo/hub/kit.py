"""Everything that goes online, as one folder that is ready to push: models, the Space, the data set's card, a collection.

kit/
  README.md             what each part is, and the commands in order
  push.py               pushes all of it; needs huggingface_hub and a token, nothing else
  models/<name>/        a model's folder; its card names the repository it will have
  space/                app.py, requirements.txt, README.md with the head that a Space needs
  dataset/README.md     card of the test songs (the songs are built by a script, see there)
  collection.json       title, description and items of the collection
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub.folder import CARD
from sfi_zoo.hub.loading import local_folder
from sfi_zoo.hub.model_card import usage
from sfi_zoo.hub.publishing import Parcel, parcel
from sfi_zoo.strict_json import read_json
from sfi_zoo.whole_files import Draft

DATASET, SPACE, COLLECTION = (
    "music4-test-songs",
    "sfi-zoo-demo",
    "sfi_zoo: separation at any sampling frequency",
)
PACKAGE = "sfi-zoo[demo]"
LONGEST_DESCRIPTION = 150  # of a collection
TEMPLATES = Path(__file__).with_name("kit_templates")
_NAMESPACE = re.compile(r"[A-Za-z0-9][\w.-]*")
_PYTHON_BLOCK = re.compile(r"```python\n.*?```\n", re.DOTALL)


def write_kit(
    out: Path, namespace: str, models: Sequence[str | Path], package: str = PACKAGE
) -> list[Parcel]:
    """Writes the whole kit, or nothing.

    Args:
        out: the folder to make; it must not be there.
        namespace: user or organisation on the Hub that everything will belong to.
        models: bundled names or folders of models that hold weights.
        package: what pip installs the package by, for cards and Space: a requirement, such as
            "sfi-zoo[demo] @ git+https://host/repository" as long as it is not on PyPI.

    Returns:
        What each model's repository will get.

    Raises:
        InputError: `out` is there, no such namespace or model, two models of one name, or a model that cannot be published (see
            `sfi_zoo.hub.publishing.parcel`).
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise InputError(f"{namespace!r}: is no user or organisation of the Hub; give a name such as my-lab")
    if out.exists():
        raise InputError(f"{out}: is there already; give a new folder")
    folders = {}
    for model in models:
        folder = local_folder(str(model))
        if folder is None:
            raise InputError(f"{model}: no bundled model and no folder here")
        if folder.name in folders:
            raise InputError(f"{folder}: a model named {folder.name} is in the kit already")
        folders[folder.name] = folder
    if not folders:
        raise InputError("a kit needs one model or more")
    out.parent.mkdir(parents=True, exist_ok=True)
    with Draft(out.parent) as draft:
        kit = draft / "kit"
        parcels = [
            _write_model(folder, kit / "models" / folder.name, namespace, package)
            for folder in folders.values()
        ]
        _write_space(kit / "space", namespace, list(folders), package)
        _write_dataset(kit / "dataset", namespace)
        _write_json(kit / "collection.json", _collection(namespace, list(folders)))
        shutil.copy(TEMPLATES / "push.py", kit / "push.py")
        listed = "\n".join(f"- `{namespace}/{name}`" for name in folders)
        (kit / CARD).write_text(
            _template("kit.md", namespace=namespace, models=listed, package=package), encoding="utf-8"
        )
        kit.rename(out)
    return [Parcel(out / "models" / each.folder.name, each.sizes, each.metadata) for each in parcels]


def _write_model(folder: Path, target: Path, namespace: str, package: str) -> Parcel:
    """A model's folder with the card that its repository needs, checked as `publish` checks it."""
    shutil.copytree(folder, target)
    if not (target / CARD).is_file():
        raise InputError(f"{folder}: has no {CARD}; sfi_zoo.save(model, folder) writes one")
    card, repo_id = (target / CARD).read_text(encoding="utf-8"), f"{namespace}/{target.name}"
    install = f"```bash\npip install '{package}'\n```\n\n"
    snippet, count = _PYTHON_BLOCK.subn(lambda _: install + usage(repo_id), card, count=1)
    (target / CARD).write_text(snippet if count else card + "\n" + install + usage(repo_id), encoding="utf-8")
    if _scored_on_our_songs(target):
        from huggingface_hub import metadata_load, metadata_save

        head: dict[str, Any] = metadata_load(target / CARD) or {}
        head["datasets"] = [f"{namespace}/{DATASET}"]
        for result in (r for model in head.get("model-index") or [] for r in model["results"]):
            result["dataset"]["type"] = f"{namespace}/{DATASET}"
        metadata_save(target / CARD, head)
    return parcel(target, repo_id)


def _scored_on_our_songs(folder: Path) -> bool:
    """Whether the scores in a model's folder are of the test songs whose card the kit has; a card with others keeps what it says."""
    try:
        scores = read_json(folder / "scores.json")
        return bool(scores["data"]["path"] == DATASET)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_space(folder: Path, namespace: str, models: list[str], package: str) -> None:
    """The page as a Space: `sfi_zoo.demo.app` beside what it needs."""
    from sfi_zoo import __version__

    folder.mkdir(parents=True)
    (folder / "app.py").write_text("from sfi_zoo.demo.app import serve\n\nserve()\n", encoding="utf-8")
    (folder / "requirements.txt").write_text(f"{package}\n", encoding="utf-8")
    (folder / "packages.txt").write_text("ffmpeg\n", encoding="utf-8")
    listed = "\n".join(f"- {namespace}/{name}" for name in models)
    (folder / CARD).write_text(
        _template("space.md", models=listed, version=__version__, gradio=_gradio()), encoding="utf-8"
    )


def _gradio() -> str:
    """The version of gradio that is installed; the lowest that the page takes where none is."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gradio")
    except PackageNotFoundError:
        return "6.0.0"


def _write_dataset(folder: Path, namespace: str) -> None:
    folder.mkdir(parents=True)
    (folder / CARD).write_text(_template("dataset.md", repo_id=f"{namespace}/{DATASET}"), encoding="utf-8")


def _collection(namespace: str, models: list[str]) -> dict[str, Any]:
    """What `huggingface_hub.create_collection` and `add_collection_item` take."""
    items = [{"item_id": f"{namespace}/{name}", "item_type": "model"} for name in models]
    items += [
        {"item_id": f"{namespace}/{SPACE}", "item_type": "space"},
        {"item_id": f"{namespace}/{DATASET}", "item_type": "dataset"},
    ]
    description = (
        "Source separators that work at any sampling frequency, and scores of how independent of it they are."
    )
    assert len(description) <= LONGEST_DESCRIPTION
    return {"title": COLLECTION, "namespace": namespace, "description": description, "items": items}


def _template(name: str, **values: str) -> str:
    """A template with its {{names}} filled in."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", value)
    return text


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
