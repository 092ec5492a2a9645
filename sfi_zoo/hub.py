"""Save, load and import: a published model is a folder of `config.json` and `model.safetensors`.

It may be bundled, local or on the Hub. Nothing is unpickled here and no class is looked up outside our
registry; a file that does not fit is refused, with its name.
"""

import difflib
import fnmatch
import json
import re
import shutil
import tempfile
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.importers.model_card import Source, model_card
from sfi_zoo.models import architecture_class
from sfi_zoo.models.base import Separator
from sfi_zoo.models.limits import check_sizes, outline

BUNDLED = Path(__file__).parent / "hub_configs"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
NOT_SETTINGS = {"architecture", "sfi_zoo_version"}
SHOWN = 8
MOST_CONFIG_BYTES = 2**20
PUBLISHED_SEEDS = (40, 42, 44, 47)
_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def list_models(pattern: str = "*") -> list[str]:
    """Names of the bundled models that match a shell pattern, sorted."""
    names = sorted(config.parent.name for config in BUNDLED.glob(f"*/{CONFIG}"))
    return fnmatch.filter(names, pattern)


def load(name: str | Path, device: torch.device | str | None = None) -> Separator:
    """A separator with its weights, in evaluation mode.

    Args:
        name: a bundled name (see `list_models`), a local folder, or a Hub id `org/name[@revision]`.
        device: where to put it.

    Raises:
        InputError: nothing of that name, or files that do not fit; the message names them and the way out.
    """
    config_file, weights_file = _files(str(name))
    settings = _read_config(config_file)
    cls = architecture_class(settings.pop("architecture"))
    state = _read_weights(weights_file)
    try:
        check_sizes(settings)
        config = cls.config_class(**settings)
        planned = outline(cls, config)  # before any memory is taken for what a file claims
    except (ArithmeticError, AttributeError, TypeError, RuntimeError, ValueError, MemoryError) as error:
        raise InputError(f"{config_file}: {_first_line(error)}") from None
    try:
        check_state(planned, state)
    except WeightsError as error:
        raise WeightsError(f"{weights_file}: {error}", error.problems) from None
    model: Separator = cls(config)
    model.load_state_dict(state)
    return model.eval() if device is None else model.eval().to(device)


class WeightsError(InputError):
    """Weights that do not fit a model.

    Attributes:
        problems: all names of tensors, by what is wrong with them; the message has the first of each.
    """

    def __init__(self, message: str, problems: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.problems = problems


def check_state(model: nn.Module, state: dict[str, Tensor], names: dict[str, str] | None = None) -> None:
    """Refuses weights that do not fit a model exactly.

    Args:
        model: what they are for; it may be on the device "meta".
        state: the weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        WeightsError: tensors that are missing, unknown, of another shape or kind, or not finite.
    """
    wanted = {(names or {}).get(key, key): value for key, value in model.state_dict().items()}
    shared = [key for key in wanted if key in state]
    shapes = [k for k in shared if wanted[k].shape != state[k].shape]
    problems = {
        "misses": [key for key in wanted if key not in state],
        "has unknown": [key for key in state if key not in wanted],
        "has of another shape": [
            f"{k} {tuple(state[k].shape)} (want {tuple(wanted[k].shape)})" for k in shapes
        ],
        "has of another kind": [
            k for k in shared if wanted[k].is_floating_point() != state[k].is_floating_point()
        ],
        "has not finite": [k for k in shared if not torch.isfinite(state[k]).all()],
    }
    found = {what: keys for what, keys in problems.items() if keys}
    if found:
        foreign = "" if shared else "nothing fits, they are of another architecture: "
        said = "; ".join(f"{what} {_shortened(keys)}" for what, keys in found.items())
        raise WeightsError(f"the weights do not fit: {foreign}it {said}", found)


def load_state(model: nn.Module, state: dict[str, Tensor], names: dict[str, str] | None = None) -> None:
    """Fills a model with weights that fit it exactly; float16 becomes the model's dtype.

    Args:
        model: what to fill.
        state: its weights.
        names: what `state` calls the weights of the model, where that differs.

    Raises:
        WeightsError: see `check_state`.
    """
    check_state(model, state, names)
    model.load_state_dict({key: state[(names or {}).get(key, key)] for key in model.state_dict()})


def save(model: Separator, folder: str | Path, half: bool = False) -> Path:
    """Writes a model's folder: config.json, model.safetensors and, where there is none yet, a model card.

    Args:
        model: the separator.
        folder: made if it is not there; each file is replaced as a whole.
        half: store weights as float16, except analog filters (their frequencies need float32).

    Returns:
        The folder.

    Raises:
        InputError: the folder is a file.
    """
    return _write(model, Path(folder), half, model_card(Path(folder).name, model))


def import_checkpoint(
    source: str | Path,
    out_dir: str | Path,
    seed: int | None = None,
    *,
    sample_rate: int | None = None,
    sources: Sequence[str] | None = None,
    mask: str | None = None,
    layers: int | None = None,
) -> Path:
    """Converts a checkpoint that another project has published into a folder that `load` opens.

    What wrote the file is told by its content: the published SFI Conv-TasNet, asteroid's ConvTasNet (`model.serialize()`, the form
    of its checkpoints on the Hub), a state dict of `torchaudio.models.ConvTasNet`, or Open-Unmix: a state dict of one target or of a
    `Separator`, or a folder of <target>.pth as openunmix has them. Nothing in it is executed.

    Args:
        source: a file; a folder of Open-Unmix; a Hub id such as "tnkmr/sfi_convtasnet_fd_mgf_musdb18hq" or that of an asteroid model (its
            pytorch_model.bin); or a bundle of torchaudio, "torchaudio:CONVTASNET_BASE_LIBRI2MIX".
        out_dir: the folder to make.
        seed: which of the trainings (40, 42, 44, 47) of a published SFI Conv-TasNet on the Hub; 42 when omitted.
        sample_rate: F0 in Hz, for files that do not say it.
        sources: names of the sources in output order; else those the file has, or source_1, source_2, ...
        mask: what makes the masks, "relu" or "sigmoid": a state dict of torchaudio does not say it.
        layers: blocks per repeat of a state dict of torchaudio; needed where it has not 24 of them (3 repeats of 8).

    Returns:
        The folder.

    Raises:
        InputError: no such source, or a file that cannot be imported safely or exactly.
    """
    from sfi_zoo.importers.checkpoint import BUNDLE, convert_bundle, convert_checkpoint
    from sfi_zoo.importers.settings import Given

    out_dir, path = Path(out_dir), Path(source)
    origin = f"{'folder' if path.is_dir() else 'file'} {path.name}"
    names = None if sources is None else tuple(sources)
    given = Given(sample_rate, names, layers, mask)
    bundle = str(source).removeprefix(BUNDLE) if str(source).startswith(BUNDLE) else None
    if seed is not None and (bundle is not None or path.exists()):
        raise InputError(f"--seed {seed}: {source} is one model, seeds select within a Hub repository")
    if bundle is not None:
        imported, origin = convert_bundle(bundle, given), f"torchaudio.pipelines.{bundle}"
    elif path.exists():
        imported = convert_checkpoint(path, given)
    else:
        repo, revision, file = _published(str(source), seed)
        imported = convert_checkpoint(_download(repo, revision, file), given)
        origin = f"https://huggingface.co/{repo}, {file}"
    options = {"seed": seed, "sample-rate": sample_rate, "mask": mask, "layers": layers}
    options |= {"sources": None if names is None else ",".join(names)}
    said = "".join(f" --{key} {value}" for key, value in options.items() if value is not None)
    command = f"sfi-zoo import {source}{said} -o {out_dir.name}"
    card = Source(origin, command, imported.about, imported.license)
    return _write(
        imported.model, out_dir, False, model_card(out_dir.name, imported.model, card), replace_card=True
    )


def _published(source: str, seed: int | None) -> tuple[str, str | None, str]:
    """Repository, revision and checkpoint file of a Hub id."""
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise InputError(f"{source}: no such file, and not a Hub id (org/name)")
    name = match[1].split("/")[1].removesuffix("_musdb18hq")
    if not name.startswith("sfi_convtasnet_"):
        if seed is not None:
            raise InputError(f"--seed {seed}: only a published sfi_convtasnet_... has seeds, not {source}")
        return match[1], match[2], "pytorch_model.bin"
    if seed is not None and seed not in PUBLISHED_SEEDS:
        raise InputError(f"--seed {seed}: published seeds are {', '.join(map(str, PUBLISHED_SEEDS))}")
    seed = 42 if seed is None else seed
    return (
        match[1],
        match[2],
        f"dataset=musdb18_32000,model={name},seed={seed},time_length=8.0/best_checkpoint",
    )


def _files(name: str) -> tuple[Path, Path]:
    """The two files of a bundled name, a folder or a Hub id."""
    bundled = list_models()
    folder = BUNDLED / name if name in bundled else Path(name)
    if folder.is_dir():
        for file in (CONFIG, WEIGHTS):
            if not (folder / file).is_file():
                raise InputError(f"{folder}: has no {file}; a model folder holds {CONFIG} and {WEIGHTS}")
        return folder / CONFIG, folder / WEIGHTS
    if folder.exists():
        raise InputError(f"{name}: is a file; name the folder that holds {CONFIG} and {WEIGHTS}")
    match = _HUB_ID.fullmatch(name)
    if match is None or name.startswith((".", "/")):
        near = difflib.get_close_matches(name, bundled)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        known = ", ".join(bundled) or "none"
        raise InputError(
            f"unknown model {name!r}: {hint}bundled: {known}; else name a folder or a Hub id (org/name)"
        )
    return _download(match[1], match[2], CONFIG), _download(match[1], match[2], WEIGHTS)


def _download(repo: str, revision: str | None, file: str) -> Path:
    """One file from the Hub, or from its cache when offline."""
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    where = repo if revision is None else f"{repo}@{revision}"
    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except hub.GatedRepoError:
        reason = "is gated; ask for access on its page, then run `hf auth login`"
    except hub.RepositoryNotFoundError:
        reason = "no such folder here, no such repository on the Hub; if it is private, run `hf auth login`"
    except hub.RevisionNotFoundError:
        reason = f"the repository has no revision {revision}"
    except hub.LocalEntryNotFoundError:
        reason = f"no such folder here, {file} is not cached and the Hub cannot be reached; go online once"
    except hub.EntryNotFoundError:
        reason = f"the repository has no {file}"
    except hub.HFValidationError:
        reason = "is not a valid Hub id"
    except (hub.HfHubHTTPError, hub.OfflineModeIsEnabled, OSError) as error:
        reason = f"the Hub did not give {file} ({_first_line(error)}); try again later"
    raise InputError(f"{where}: {reason}")


def _read_config(path: Path) -> dict[str, Any]:
    """The checked content of a config.json, lists made tuples where the setting is one."""
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"more than {MOST_CONFIG_BYTES} bytes, it is no configuration")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({_first_line(error)})") from None
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise InputError(f'{path}: not a JSON object with "architecture", a text')
    try:
        config_class = architecture_class(config["architecture"]).config_class
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    known = {field.name for field in fields(config_class)}
    later = {field.name for field in fields(config_class) if field.metadata.get("later")}
    unknown = sorted(set(config) - known - NOT_SETTINGS)
    missing = sorted(known - set(config) - later)
    if unknown or missing:
        parts = [f"unknown {_shortened(unknown)}"] * bool(unknown) + [
            f"missing {_shortened(missing)}"
        ] * bool(missing)
        raise InputError(f"{path}: settings do not fit {config['architecture']}: {'; '.join(parts)}")
    hints = typing.get_type_hints(config_class)
    given = sorted(known & set(config))
    wrong = [f"{key}={config[key]!r:.40}" for key in given if not _is_of(config[key], hints[key])]
    if wrong:
        raise InputError(f"{path}: settings of a wrong type: {_shortened(wrong)}")
    settings = {
        k: tuple(v) if typing.get_origin(hints[k]) is tuple else v for k, v in config.items() if k in known
    }
    return {"architecture": config["architecture"], **settings}


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a JSON value fits an annotation of a config class."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(value, argument) for argument in arguments)
    if origin is Any:
        return True
    if origin is tuple:
        kinds = (
            [arguments[0]] * len(value) if isinstance(value, list) and arguments[-1:] == (...,) else arguments
        )
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if isinstance(value, bool):
        return origin is bool
    return isinstance(value, (int, float) if origin is float else origin)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(f"{path}: truncated or not a safetensors file ({_first_line(error)})") from None


def _write(model: Separator, folder: Path, half: bool, card: str, replace_card: bool = False) -> Path:
    """All files into a temporary folder beside, then each in one move."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder to write into")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        state = {k: _stored(k, v.detach().cpu(), half) for k, v in model.state_dict().items()}
        config = {"architecture": model.architecture, **model.config_dict()}
        save_file(state, str(temporary / WEIGHTS), metadata={"format": "pt"})
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(card, encoding="utf-8")
        (temporary / WEIGHTS).chmod((temporary / CONFIG).stat().st_mode)
        temporary.chmod(0o755)
        if not folder.exists():
            temporary.rename(folder)
            return folder
        for name in (WEIGHTS, CONFIG, CARD):
            if name != CARD or replace_card or not (folder / CARD).exists():
                (temporary / name).replace(folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _stored(name: str, value: Tensor, half: bool) -> Tensor:
    exact = not value.is_floating_point() or name.startswith(("encoder.filters.", "decoder.filters."))
    return (value.half() if half and not exact else value).contiguous()


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
