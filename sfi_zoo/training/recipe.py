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
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from sfi_zoo.errors import InputError
from sfi_zoo.folders import folder
from sfi_zoo.training.augment import AugmentConfig
from sfi_zoo.training.tables import Table, one_of, within
from sfi_zoo.wording import first_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
FILTERS = ("encoder.", "decoder.")  # names of their parameters begin so
DEEPEST = 8  # files that extend each other
MOST_BYTES = 2**20


@dataclass(frozen=True)
class DataConfig(Table):
    """The [data] table: which excerpts are drawn.

    Attributes:
        folder: of the MUSDB layout; the command line may name another.
        only: tracks whose names match this shell pattern, such as "PJS*".
        seconds: length of an excerpt.
        channels: 1 (mixed down) or 2.
        workers: processes that decode; 0 for none.
        cache: a folder in which every track is kept decoded at the training rate; none when empty.
        on_broken: "refuse" a folder with broken tracks, or "skip" them.
        valid_excerpts: how many excerpts of the validation tracks are separated at each validation.
        collections: shell patterns of track names, such as "EIF*, PJS*"; what none matches is a collection of its own. Validation takes
            as many excerpts of each, and the mean of the collections' means chooses the best step.
        temperature: of sampling over collections, see `sfi_zoo.training.collections`: 1 by length, 0 all alike.
    """

    table: ClassVar[str] = "data"
    folder: str = ""
    only: str = "*"
    seconds: float = within(4.0, 0.05, 600)
    channels: int = one_of(1, 2)
    workers: int = within(2, 0, 256)
    cache: str = ""
    on_broken: str = one_of("refuse", "skip")
    valid_excerpts: int = within(24, 1, 10_000)
    collections: str = ""
    temperature: float = within(1.0, 0, 1)


@dataclass(frozen=True)
class BandwidthConfig(Table):
    """Sampling-frequency augmentation, ours: a share of the examples has nothing above F / 2, for an F drawn in each step.

    Their latents are cheap to have: those at F0 less the features that would be dead at F.

    Attributes:
        share: of the examples; 0 for none.
        lowest: of F, in Hz; F is uniform in log F up to F0.
    """

    table: ClassVar[str] = "bandwidth"
    share: float = within(0.0, 0, 1)
    lowest: float = within(7000.0, 4000, 192_000)


@dataclass(frozen=True)
class LossConfig(Table):
    """Weights of the losses, see `sfi_zoo.training.objective`.

    Attributes:
        si_sdr: of SI-SDR, for sources that are not silent.
        snr: of the thresholded SNR, for all sources.
        l1: of the mean error.
        spectral: of the multi-resolution distance of STFT magnitudes.
        silence: of the leak into silent sources, in dB.
        lee: of the masked-latent error between a mixture and its round trip through another sampling frequency F, see
            `sfi_zoo.training.round_trip`.
        lee_share: of the examples that make the trip: each costs a second pass through the mask network.
        lee_rates: lowest and highest F in Hz, uniform in log F; above F0 there is nothing to lose, so F0 is the highest in any case.
    """

    table: ClassVar[str] = "loss"
    si_sdr: float = within(1.0, 0, 1e9)
    snr: float = within(0.2, 0, 1e9)
    l1: float = within(0.0, 0, 1e9)
    spectral: float = within(0.0, 0, 1e9)
    silence: float = within(0.0, 0, 1e9)
    lee: float = within(0.0, 0, 1e9)
    lee_share: float = within(0.25, 0, 1)
    lee_rates: tuple[float, float] = within((8000.0, 192_000.0), 4000, 192_000)

    def __post_init__(self) -> None:
        """Refuses losses that are all zero. LEE alone is refused too: masks that never change have a LEE of 0."""
        super().__post_init__()
        if not any((self.si_sdr, self.snr, self.l1, self.spectral)):
            raise InputError("[loss] si_sdr, snr, l1 and spectral must not all be 0")


@dataclass(frozen=True)
class TrainConfig(Table):
    """The [train] table: steps, optimiser (AdamW), schedule.

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

    table: ClassVar[str] = "train"
    steps: int = within(10_000, 1, 10**9)
    batch_size: int = within(4, 1, 2**16)
    learning_rate: float = within(1e-3, 0, 10)
    filter_rate: float = within(1.0, 0, 100)
    weight_decay: float = within(1e-3, 0, 1)
    warmup_steps: int = within(200, 0, 10**9)
    schedule: str = one_of("cosine", "plateau", "constant")
    clip_norm: float = within(5.0, 1e-6, 1e9)
    ema: float = within(0.998, 0, 0.999999)
    precision: str = one_of(*PRECISIONS)
    matmul_precision: str = one_of("highest", "high", "medium")
    seed: int = within(0, 0, 2**63 - 1)
    valid_every: int = within(500, 1, 10**9)
    patience: int = within(0, 0, 10**9)
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


def recipe_file(path: str | Path) -> Path:
    """The file; where there is none, the one of that name that comes with the package: "bsroformer", "recipes/bsroformer.toml"."""
    path = Path(path)
    of_package = folder("recipes") / f"{path.stem}.toml"
    named = path.parent.name in ("", "recipes") and path.suffix in ("", ".toml")
    return of_package if named and not path.is_file() and of_package.is_file() else path


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe, see `recipe_file`.

    Raises:
        InputError: no such file, no TOML, an unknown table or key, or a value that is not allowed.
    """
    try:
        return recipe_from(_table(recipe_file(path)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _table(path: Path, depth: int = 0) -> dict[str, Any]:
    """The tables of a file, over those of the file that it extends."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may have no end
            raise InputError(f"{path.name}: is no file")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise InputError(f"{path.name}: has more than {MOST_BYTES} bytes, it is no recipe")
        table = tomllib.loads(text.decode("utf-8"))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # TOML, its encoding, a number of too many digits, a name with NUL
        raise InputError(f"no TOML: {first_line(error)}") from None
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str) or depth == DEEPEST:
        raise InputError(f"extends must name another recipe, and not itself in the end; got {parent!r:.200}")
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
        parts[name] = _filled(entry.default_factory, table[name])
    return Recipe(**parts)


def _filled(cls: Any, values: Mapping[str, Any]) -> Any:
    """A table of class `cls` with these values."""
    _refuse_unknown(f"[{cls.table}] ", values, {f.name: f for f in fields(cls)})
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _refuse_unknown(where: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{where}unknown: {', '.join(unknown)}; known: {', '.join(known)}")
