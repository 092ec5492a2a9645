"""What is mutated, and what `sfi-zoo` is asked to do with it."""

import io
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file

from tests.fuzz import mutations
from tests.fuzz.pickles import pickled
from tests.fuzz.settings import yaml_text
from tests.tiny_separators import ARCHITECTURES, tiny

SCORED_RATES = (6000, 8000, 12000)
SCORE = [
    *("score", "in", "--sample-rates", ",".join(map(str, SCORED_RATES)), "--tracks", "2", "--seconds", "0.5"),
    *("-o", "in"),
]
GOLDEN = Path(__file__).parent.parent / "golden"
SOUNDS = (
    *(("wav", "WAV", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM")),
    *(
        ("wav", "WAVEX", "PCM_16"),
        ("wav", "RF64", "PCM_16"),
        ("flac", "FLAC", "PCM_16"),
        ("ogg", "OGG", "VORBIS"),
    ),
    *(
        ("ogg", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
        ("aiff", "AIFF", "PCM_24"),
        ("au", "AU", "PCM_16"),
    ),
    *(("caf", "CAF", "PCM_16"), ("w64", "W64", "PCM_16")),
)


@dataclass(frozen=True)
class Input:
    """A mutated input.

    Attributes:
        files: to write, by name.
        calls: of `sfi-zoo`, as long as they succeed.
        seconds: of CPU time that each call may take.
        memory: bytes that it may take beyond the sizes of the files.
    """

    files: dict[str, bytes]
    calls: list[list[str]]
    seconds: float = 10.0
    memory: int = 2**29  # a hop of one sample is costly and no mistake


def audio(random: Random) -> Input:
    """A damaged sound file, to be separated."""
    sounds = _sounds()
    (ending, data), (_, other) = random.choice(sounds), random.choice(sounds)
    name = random.choice(("x",) * 20 + ("-x", "..", "[bold]x", "x" * 240)) + f".{ending}"
    options = random.choice(([], [], ["--sample-rate", "8000"], ["--format", "wav"], ["--clip", "clamp"]))
    call = ["separate", "-m", "half", "-o", "out", "--chunk-seconds", "0.1", *options, "--", f"in/{name}"]
    return Input({name: mutations.damaged(data, random, other)}, [call])


def weights(random: Random) -> Input:
    """A model folder with a damaged model.safetensors, to be described and used."""
    return _model(random, "model.safetensors", mutations.safetensors)


def config(random: Random) -> Input:
    """A model folder with a damaged config.json, to be described and used."""
    return _model(random, "config.json", _changed_json)


def checkpoint(random: Random) -> Input:
    """A damaged checkpoint of somebody else, to be imported."""
    call = ["import", "in/file", "-o", "out", *random.choice(([], ["--sample-rate", "8000"]))]
    return Input({"file": mutations.checkpoint(random.choice(_checkpoints()), random)}, [call])


def pickle(random: Random) -> Input:
    """A pickle made to cost time or memory, to be imported."""
    return Input({"file": pickled(random)}, [["import", "in/file", "-o", "out"]], 2.0, 200 * 10**6)


def lengths(random: Random) -> Input:
    """A sound file whose header has another length, to be separated: read whole, or refused."""
    ending, data = random.choice([sound for sound in _sounds() if sound[0] not in ("ogg", "mp3")])
    call = [
        "separate",
        "-m",
        "half",
        "-o",
        "out",
        "--chunk-seconds",
        "0.1",
        "--format",
        "wav",
        f"in/x.{ending}",
    ]
    return Input({f"x.{ending}": mutations.other_length(data, random)}, [call])


def recipe(random: Random) -> Input:
    """A recipe of somebody else, which has no data to train on."""
    files = {"recipe.toml": mutations.recipe(random), "other.toml": mutations.recipe(random)}
    call = ["train", "in/recipe.toml", "--data", "in", "-o", "out", "--device", "cpu"]
    return Input(files, [call], 5.0, 2**29)


def yaml(random: Random) -> Input:
    """A checkpoint with a YAML file that costs time or memory, to be imported."""
    call = ["import", "in/file", "--config", "in/x.yaml", "-o", "out"]
    return Input({"file": _checkpoints()[0], "x.yaml": yaml_text(random)}, [call], 2.0, 200 * 10**6)


def records(random: Random) -> Input:
    """A results folder with a damaged record, to be reported, studied, or gone on with."""

    def change(data: bytes, random: Random) -> bytes:
        lines = data.splitlines(keepends=True)
        place = random.randrange(len(lines))
        match random.randrange(6):
            case 0:
                return mutations.damaged(data, random)
            case 1:
                lines[place] = mutations.damaged(lines[place], random)
            case _:
                lines[place] = _changed_json(lines[place], random) + b"\n"
        return b"".join(lines)

    return _results(random, "records-0.jsonl", change)


def manifest(random: Random) -> Input:
    """A results folder with a damaged manifest, to be reported, studied, or gone on with."""
    return _results(random, "manifest.json", _changed_json)


KINDS: dict[str, Callable[[Random], Input]] = {
    "audio": audio,
    "weights": weights,
    "config": config,
    "checkpoint": checkpoint,
    "pickle": pickle,
    "lengths": lengths,
    "recipe": recipe,
    "yaml": yaml,
    "records": records,
    "manifest": manifest,
}


def _changed_json(data: bytes, random: Random) -> bytes:
    return mutations.json_text(mutations.changed(json.loads(data), random), random)


def _results(random: Random, changed: str, change: Callable[[bytes, Random], bytes]) -> Input:
    files = dict(_scored())
    files[changed] = change(files[changed], random)
    study = ["study", "in", "-o", "out", "--no-plots"]
    report = ["report", "in", "-o", "out", "--resamples", "2", "--scores-json", "out"]
    return Input(files, [random.choice((study, study, SCORE, SCORE, report))])


def _model(random: Random, changed: str, change: Callable[[bytes, Random], bytes]) -> Input:
    files = dict(random.choice(_models())) | {"sound.wav": _sounds()[0][1]}
    files[changed] = change(files[changed], random)
    separate = [
        "separate",
        "-m",
        "in",
        "-o",
        "out",
        "in/sound.wav",
        "--chunk-seconds",
        "0.1",
        "--sample-rate",
        "8000",
    ]
    return Input(files, [["info", "in"], separate])


@cache
def _sounds() -> list[tuple[str, bytes]]:
    signal = np.random.default_rng(0).uniform(-0.3, 0.3, (1000, 2))
    made = []
    for ending, container, subtype in SOUNDS:
        file = io.BytesIO()
        soundfile.write(file, signal, 8000, subtype, format=container)
        made.append((ending, file.getvalue()))
    return made


@cache
def _models() -> list[dict[str, bytes]]:
    import tempfile

    from sfi_zoo.hub import save

    made = []
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as place:
            folder = save(tiny(name), Path(place) / "model")
            made.append({file: (folder / file).read_bytes() for file in ("config.json", "model.safetensors")})
    return made


@cache
def _scored() -> dict[str, bytes]:
    """A model and its results, in one folder; one record has no score, the others have layers."""
    import tempfile

    from sfi_zoo.data.songs import SyntheticSongs
    from sfi_zoo.hub import save
    from sfi_zoo.metrics.reporting.report import as_html, sections
    from sfi_zoo.metrics.scoring.records import read_records
    from sfi_zoo.metrics.scoring.run import Plan, score

    model = tiny("convtasnet", sources=("vocals", "drums"))
    with tempfile.TemporaryDirectory() as place:
        folder = save(model, Path(place) / "in")
        score({"in": lambda: model}, SyntheticSongs(2, 0.5), Plan(SCORED_RATES), folder)
        as_html("", sections(read_records(folder), 0))  # fonts and caches of matplotlib
        made = {path.name: path.read_bytes() for path in folder.iterdir()}
    lines = [json.loads(line) for line in made["records-0.jsonl"].splitlines()]
    layers = {"contribution": {"encoder": 0.5, "masks": -0.25}, "reference": 2.0}
    lines = [line | {"layers": layers} for line in lines]
    kept = ("model", "track", "mode", "sample_rate", "trained_rate", "sources")
    lines[1] = {key: lines[1][key] for key in kept} | {"failed": "NaN"}
    made["records-0.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return made


@cache
def _checkpoints() -> list[bytes]:
    names = (
        "asteroid_global_relu.bin",
        "asteroid_batch_linear.bin",
        "fd_mgf.best_checkpoint",
        "td_mpgtf.best_checkpoint",
    )
    made = [(GOLDEN / name).read_bytes() for name in names]
    unmix = load_file(GOLDEN / "openunmix.state.safetensors")
    nested = OrderedDict(
        epoch=1, state_dict=OrderedDict(unmix), args={"a": [1, (2.0, None, True, "x")], "s": {1, 2}}
    )
    for content in (unmix, nested):
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            made.append(file.getvalue())
    return made
