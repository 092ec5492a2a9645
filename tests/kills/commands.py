"""Long commands, what they start from, and what a user may see after one."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from safetensors.torch import load_file

from tests.tiny_separators import tiny
from tests.training_folder import write_recipe, write_songs

GOLDEN = Path(__file__).parent.parent / "golden"
SCORE = (
    "score",
    "model",
    "--sample-rates",
    "6000,8000",
    "--tracks",
    "2",
    "--seconds",
    "0.5",
    "-o",
    "results",
)


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        call: its arguments.
        prepare: makes what it starts from, in the folder that is current.
        again: exit codes of a call once all is done.
        old: whether files are there that it replaces; else each appears once, whole.
    """

    call: tuple[str, ...]
    prepare: Callable[[], None]
    again: tuple[int, ...] = (0,)
    old: bool = False


def _songs() -> None:
    from sfi_zoo import hub

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3200, 2))
    for name in "xy":
        soundfile.write(f"{name}.wav", noise, 8000)
    hub.save(tiny("convtasnet"), "model")


def _songs_separated() -> None:
    _songs()
    for name in "xy":
        for source in "ab":
            place = Path("out") / name / f"{source}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, np.zeros((10, 2)), 8000)


def _model() -> None:
    from sfi_zoo import hub

    hub.save(tiny("convtasnet", sources=("vocals", "drums"), sample_rate=8000), "model")


def _scored() -> None:
    from sfi_zoo import hub
    from sfi_zoo.data.songs import SyntheticSongs
    from sfi_zoo.metrics.scoring.run import Plan, score

    _model()
    score({"model": lambda: hub.load("model")}, SyntheticSongs(2, 0.5), Plan((6000, 8000)), Path("results"))
    hub.save(tiny("convtasnet", sources=("vocals", "drums"), sample_rate=8000), "cards/model")


def _training() -> None:
    write_songs(Path("data"))
    write_recipe(Path("recipe.toml"))


def _another_model() -> None:
    from sfi_zoo import hub

    hub.save(tiny("openunmix"), "made")


def _song() -> None:
    soundfile.write("x.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (3200, 1)), 8000)


def _publishable() -> None:
    from sfi_zoo import hub

    hub.save(tiny("convtasnet"), "model", license="mit")


COMMANDS = {
    "separate": Command(
        ("separate", "-m", "model", "-o", "out", "--skip-existing", "x.wav", "y.wav"), _songs
    ),
    "separate anew": Command(
        ("separate", "-m", "model", "-o", "out", "--overwrite", "x.wav", "y.wav"), _songs_separated, old=True
    ),
    "score": Command(SCORE, _model),
    "report": Command(
        ("report", "results", "--resamples", "2", "--cards", "cards", "-o", "page"), _scored, old=True
    ),
    "study": Command(("study", "results", "-o", "page"), _scored),
    "train": Command(
        ("train", "recipe.toml", "--data", "data", "--cache", "cache", "-o", "run", "--device", "cpu"),
        _training,
        old=True,
    ),
    "import": Command(
        ("import", str(GOLDEN / "asteroid_global_relu.bin"), "-o", "made", "--sample-rate", "8000"),
        _another_model,
        old=True,
    ),
    "first use": Command(
        ("separate", "-m", "sepformer.wsj02mix", "-o", "out", "--skip-existing", "x.wav"), _song
    ),
    "kit": Command(("publish", "model", "--kit", "kit", "--to", "me"), _publishable, again=(0, 2)),
    "example": Command(("example", "song.wav", "--stems", "--duration", "0.2"), lambda: None),
}


def seen(folder: Path) -> dict[str, object]:
    """What a user finds in a folder: what differs from run to run left out, hidden files not."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or "events.out" in name or name == "log":
            continue
        if path.name == "log.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]
        elif path.name == "checkpoint.safetensors":
            found[name] = {key: tensor.numpy().tobytes() for key, tensor in load_file(path).items()}
        elif path.parent.name == "cache":
            found[name] = path.stat().st_size  # with the time of its source in it
        else:
            found[name] = path.read_bytes()
    return found


def within(folder: Path) -> None:
    """Gets a process ready: what is fetched comes from here, and is kept in the folder."""
    from sfi_zoo.hub import first_use

    os.chdir(folder)
    os.environ["HF_ASSETS_CACHE"] = str(folder / "kept")
    from huggingface_hub import constants

    constants.HF_ASSETS_CACHE = str(folder / "kept")
    first_use.fetch = lambda repo, file, revision: GOLDEN / "sepformer_two" / file
