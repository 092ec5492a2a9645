"""A recipe: everything a training run needs to be repeated, as a TOML file.

    [model]                      # fields of the architecture's config
    architecture = "convtasnet"
    [data]                       # which excerpts
    [augment]                    # what is done to them
    [bandwidth]                  # examples without their upper band: what the network will meet at lower sampling frequencies
    [loss]                       # weights
    [train]                      # steps, optimiser, schedule

Tables and keys that a recipe leaves out keep their defaults; those it has and we do not know are refused. With `extends = "other.toml"` at
its head a recipe has the keys of that file beside it, and its own over them.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.training.augment import AugmentConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEDULES = ("cosine", "plateau", "constant")
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
MATMUL_PRECISIONS = ("highest", "high", "medium")
ON_BROKEN = ("refuse", "skip")
FILTERS = ("encoder.", "decoder.")  # names of their parameters begin so
DEEPEST = 8  # files that extend each other


@dataclass(frozen=True)
class DataConfig:
    """Which excerpts.

    Attributes:
        folder: of the MUSDB layout; the command line may name another.
        only: tracks whose names match this shell pattern, such as "PJS*".
        seconds: length of an excerpt.
        channels: 1 (mixed down) or 2.
        workers: processes that decode; 0 for none.
        cache: a folder in which every track is kept decoded at the training rate; none when empty.
        on_broken: "refuse" a folder with broken tracks, or "skip" them.
        valid_excerpts: how many excerpts of the validation tracks are separated at each validation.
    """

    folder: str = ""
    only: str = "*"
    seconds: float = 4.0
    channels: int = 1
    workers: int = 2
    cache: str = ""
    on_broken: str = "refuse"
    valid_excerpts: int = 24


@dataclass(frozen=True)
class BandwidthConfig:
    """Sampling-frequency augmentation, ours: a share of the examples has nothing above F / 2, for an F drawn in each step.

    Their latents are cheap to have: those at F0 less the features that would be dead at F.

    Attributes:
        share: of the examples; 0 for none.
        lowest: of F, in Hz; F is uniform in log F up to F0.
    """

    share: float = 0.0
    lowest: float = 7000.0


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, see `sfi_zoo.training.objective`."""

    si_sdr: float = 1.0
    snr: float = 0.2
    l1: float = 0.0
    spectral: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """Steps, optimiser (AdamW), schedule.

    Attributes:
        steps: in all.
        batch_size: examples in a step, over all processes.
        learning_rate: its highest value.
        filter_rate: learning rate of encoder and decoder, as a factor on the other and on the root mean square that each of their
            tensors starts with; 0 keeps them as they start.
        weight_decay: of AdamW.
        warmup_steps: the rate grows linearly over these.
        schedule: "cosine" to zero at the last step, "plateau" (halved after every two validations without a gain), or "constant".
        clip_norm: of the gradient.
        ema: decay of the average of the weights that is validated and published; 0 for none.
        precision: of the mask network: "float32", "bfloat16" or "float16".
        matmul_precision: of products of float32 matrices, as `torch.set_float32_matmul_precision`: "medium" is faster where there are
            bfloat16 units.
        seed: of weights, examples and noise.
        valid_every: steps between validations; a validation ends with a checkpoint.
        patience: validations without a gain after which training ends; 0 for all steps.
        start: a model (bundled, folder or Hub id) from which all weights but those of encoder and decoder are taken, in place of the
            statistics of the data; none when empty.
        filters_like: a model, or a recipe (.toml) beside this one, whose filters at F0 encoder and decoder start from, as well as their
            family can; none when empty.
    """

    steps: int = 10_000
    batch_size: int = 4
    learning_rate: float = 1e-3
    filter_rate: float = 1.0
    weight_decay: float = 1e-3
    warmup_steps: int = 200
    schedule: str = "cosine"
    clip_norm: float = 5.0
    ema: float = 0.998
    precision: str = "float32"
    matmul_precision: str = "highest"
    seed: int = 0
    valid_every: int = 500
    patience: int = 0
    start: str = ""
    filters_like: str = ""


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; `model` has the architecture's settings and its name."""

    model: dict[str, Any]
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    bandwidth: BandwidthConfig = field(default_factory=BandwidthConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, JSON-ready."""
        return asdict(self)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        InputError: no such file, no TOML, an unknown table or key, or a value that is not allowed.
    """
    try:
        return recipe_from(_table(Path(path)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _table(path: Path, depth: int = 0) -> dict[str, Any]:
    """The tables of a file, over those of the file that it extends."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"no TOML: {error}") from None
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str) or depth == DEEPEST:
        raise InputError(f"extends must name another recipe, and not itself in the end; got {parent!r}")
    merged = _table(path.parent / parent, depth + 1)
    for name, own in table.items():
        inherited = merged.get(name)
        merged[name] = inherited | own if isinstance(inherited, dict) and isinstance(own, dict) else own
    return merged


def recipe_from(table: Mapping[str, Any]) -> Recipe:
    """A recipe from nested plain values.

    Raises:
        InputError: see `read_recipe`.
    """
    known = {f.name: f for f in fields(Recipe)}
    _refuse_unknown("", table, known)
    model = table.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("architecture"), str):
        raise InputError("a recipe needs [model] with an architecture, such as convtasnet")
    parts: dict[str, Any] = {"model": dict(model)}
    for name, entry in known.items():
        if name == "model" or name not in table:
            continue
        if not isinstance(table[name], Mapping):
            raise InputError(f"{name} is a table: write [{name}] and its keys below, got {table[name]!r}")
        parts[name] = _filled(entry.default_factory, name, table[name])
    return checked(Recipe(**parts))


def _filled(cls: Any, table: str, values: Mapping[str, Any]) -> Any:
    """A config of class `cls` with these values, each of the type of its default."""
    known = {f.name: f for f in fields(cls)}
    _refuse_unknown(f"[{table}] ", values, known)
    default = cls()
    assert is_dataclass(default)
    ready = {}
    for key, value in values.items():
        example = getattr(default, key)
        ready[key] = tuple(value) if isinstance(example, tuple) and isinstance(value, list) else value
        if isinstance(example, float) and type(value) is int:
            ready[key] = float(value)
        if type(ready[key]) is not type(example):
            raise InputError(f"[{table}] {key} must be like {example!r}, got {value!r}")
    return cls(**ready)


def _refuse_unknown(where: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{where}unknown: {', '.join(unknown)}; known: {', '.join(known)}")


def checked(recipe: Recipe) -> Recipe:
    """The recipe, if its values are in range.

    Raises:
        InputError: one is not.
    """
    data, train, band, loss = recipe.data, recipe.train, recipe.bandwidth, recipe.loss
    for name, value, allowed in (
        ("[data] on_broken", data.on_broken, ON_BROKEN),
        ("[data] channels", data.channels, (1, 2)),
        ("[train] schedule", train.schedule, SCHEDULES),
        ("[train] precision", train.precision, tuple(PRECISIONS)),
        ("[train] matmul_precision", train.matmul_precision, MATMUL_PRECISIONS),
    ):
        if value not in allowed:
            raise InputError(f"{name} must be one of {', '.join(map(str, allowed))}; got {value!r}")
    for name, number, low, high in (
        ("[data] seconds", data.seconds, 0.05, 600),
        ("[data] workers", data.workers, 0, 256),
        ("[data] valid_excerpts", data.valid_excerpts, 1, 10_000),
        ("[bandwidth] share", band.share, 0, 1),
        ("[bandwidth] lowest", band.lowest, 4000, 192_000),
        ("[train] steps", train.steps, 1, 10**9),
        ("[train] batch_size", train.batch_size, 1, 2**16),
        ("[train] learning_rate", train.learning_rate, 0, 10),
        ("[train] filter_rate", train.filter_rate, 0, 100),
        ("[train] weight_decay", train.weight_decay, 0, 1),
        ("[train] warmup_steps", train.warmup_steps, 0, 10**9),
        ("[train] clip_norm", train.clip_norm, 1e-6, 1e9),
        ("[train] ema", train.ema, 0, 0.999999),
        ("[train] seed", train.seed, 0, 2**63 - 1),
        ("[train] valid_every", train.valid_every, 1, 10**9),
        ("[train] patience", train.patience, 0, 10**9),
    ):
        if not low <= number <= high:  # NaN is refused too
            raise InputError(f"{name} must be in {low:g} ... {high:g}, got {number!r}")
    weights = [getattr(loss, f.name) for f in fields(loss)]
    if not all(0 <= w < float("inf") for w in weights) or not any(weights):
        raise InputError(f"[loss] weights must be 0 or more, and not all 0; got {weights}")
    return recipe
