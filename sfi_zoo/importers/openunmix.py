"""Open-Unmix of the package openunmix: its weights as models of ours.

They come as
- a folder of <target>.pth or <target>-<8 hexadecimal digits>.pth, one state dict for each target, with or without a separator.json:
  what openunmix writes in training, and the form of umxhq, umxl, umx and umxse;
- one such file: a model with one source;
- a state dict of `openunmix.model.Separator`, which has all targets.
"""

import re
import reprlib
from pathlib import Path
from typing import Any

from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.models.open_unmix import OpenUnmix, OpenUnmixConfig
from sfi_zoo.strict_json import read_json

SEPARATOR = "target_models."
# what a state dict may hold beside the networks: they are told by the settings
BESIDE = ("sample_rate", "stft.window", "istft.window", "transform.0.window")
ORDER = ("vocals", "drums", "bass", "other")
SHAPES = {"input_mean": 1, "output_mean": 1, "fc1.weight": 2, "bn3.weight": 1, "lstm.weight_hh_l0": 2}


def is_openunmix(content: Any) -> bool:
    """Whether a file is a state dict of a target or of a `Separator`."""
    return isinstance(content, dict) and (
        {"fc1.weight", "input_mean"} <= set(content) or any(str(key).startswith(SEPARATOR) for key in content)
    )


def convert(content: dict[str, Any], given: Given) -> OpenUnmix:
    """The model that a state dict belongs to, in evaluation mode.

    Args:
        content: of a target, or of a `Separator`.
        given: the sample rate where the state dict has none; a name for a single target, or which targets of a `Separator`, in which order.

    Raises:
        InputError: something was not given, or weights that do not fit; all named.
    """
    names = dict.fromkeys(key.split(".")[1] for key in map(str, content) if key.startswith(SEPARATOR))
    if names:
        return _model(content, {name: f"{SEPARATOR}{name}." for name in names}, given)
    return _model(content, {given.names(1)[0]: ""}, given)


def convert_folder(folder: Path, given: Given) -> OpenUnmix:
    """The model in a folder of target files, in evaluation mode.

    Args:
        folder: see above. What its separator.json says (sample_rate, nfft, nhop, nb_channels) need not be given.
        given: the sample rate otherwise; which targets, in which order, if not all.

    Raises:
        InputError: no target files, files that cannot be read or do not fit, or something was not given.
    """
    state: dict[str, Any] = {}
    names: list[str] = []
    for file in sorted(folder.glob("*.pth")):
        name = re.sub(r"[-_][0-9a-f]{8}$", "", file.stem)
        if name in names:
            raise InputError(f"it has more than one file for {name}; keep one")
        names.append(name)
        content = read_checkpoint(file)
        if not is_openunmix(content):
            raise InputError(f"its {file.name} is not a target of Open-Unmix")
        state |= {key if key in BESIDE else f"{name}.{key}": value for key, value in content.items()}
    if not names:
        raise InputError(
            "it is a folder without target files (*.pth) of Open-Unmix; else name the checkpoint file in it"
        )
    settings = None
    if (folder / "separator.json").is_file():
        try:
            values = read_json(folder / "separator.json")
        except ValueError:
            raise InputError("its separator.json is not JSON") from None
        settings = Settings(values, "separator.json")
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return _model(state, {name: f"{name}." for name in names}, given, settings)


def _model(
    state: dict[str, Any], prefixes: dict[str, str], given: Given, settings: Settings | None = None
) -> OpenUnmix:
    """The model of a state dict that has a prefix for each target."""
    from sfi_zoo.models.weights import filled

    if not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError("its state_dict is not a dictionary of tensors")
    names = given.sources or tuple(prefixes)
    missing = [name for name in names if name not in prefixes]
    if missing:
        raise InputError(f"it has no {', '.join(missing)}; it has {', '.join(prefixes)}")
    config = convert_config(state, prefixes[names[0]], names, given, settings)
    left_out = tuple(prefix for name, prefix in prefixes.items() if name not in names)
    weights = {
        key: value for key, value in state.items() if key not in BESIDE and not key.startswith(left_out)
    }
    return filled(
        OpenUnmix, config, weights, lambda model: file_names(model, [prefixes[name] for name in names])
    )


def file_names(model: OpenUnmix, prefixes: list[str]) -> dict[str, str]:
    """What a file calls each of our weights, where it has these prefixes for the targets."""
    return {
        f"targets.{i}.{key}": f"{prefix}{key}"
        for i, (target, prefix) in enumerate(zip(model.targets, prefixes, strict=True))
        for key in target.state_dict()
    }


def convert_config(
    state: dict[str, Tensor],
    prefix: str,
    names: tuple[str, ...],
    given: Given,
    settings: Settings | None = None,
) -> OpenUnmixConfig:
    """Our configuration, from the shapes of one target, what lies beside, and what the user says.

    Raises:
        InputError: a tensor that the shapes are read from is missing or malformed, or something was not given or does not fit.
    """
    wrong = [
        f"{prefix}{key}"
        for key, ndim in SHAPES.items()
        if getattr(state.get(prefix + key), "ndim", 0) != ndim
    ]
    if wrong:
        raise InputError(f"it misses {', '.join(wrong)}, or with another number of axes")
    shape = {key: state[prefix + key].shape for key in SHAPES}
    bins, seen, hidden = shape["output_mean"][0], shape["input_mean"][0], shape["fc1.weight"][0]
    channels, beyond = divmod(shape["bn3.weight"][0], bins)
    if beyond or not 0 < seen <= bins:
        raise InputError(
            f"its {prefix}bn3.weight {tuple(shape['bn3.weight'])} or {prefix}input_mean ({seen},) does not fit {bins} bins"
        )
    rate = _sample_rate(state, settings)
    n_fft, hop = 2 * (bins - 1), (bins - 1) // 2
    if settings is not None:
        if (
            settings.get("nfft", int, n_fft) != n_fft
            or settings.get("nb_channels", int, channels) != channels
        ):
            raise InputError(
                f"its separator.json does not fit weights for nfft={n_fft}, nb_channels={channels}"
            )
        hop = settings.get("nhop", int, hop)
    layers = len(
        {key for key in state if key.startswith(f"{prefix}lstm.weight_hh_l") and "reverse" not in key}
    )
    rate = given.settled("sample_rate", rate, "44100, or what it was trained at")
    return OpenUnmixConfig(
        sources=names,
        sample_rate=rate,
        n_fft=n_fft,
        hop_length=hop,
        channels=channels,
        hidden=hidden,
        layers=given.settled("layers", layers),
        bandwidth=None if seen == bins else (seen - 0.5) * rate / n_fft,
        causal=f"{prefix}lstm.weight_hh_l0_reverse" not in state,
        mask=given.mask or "relu",
    )


def _sample_rate(state: dict[str, Tensor], settings: Settings | None) -> int | None:
    """What the file says, None for nothing."""
    rate = None if settings is None else settings.get("sample_rate", (int, float), None)
    if rate is None and "sample_rate" in state:
        rate = state["sample_rate"].flatten()[0].item() if state["sample_rate"].numel() else 0
    if rate is not None and not (rate >= 1 and rate == int(rate)):
        raise InputError(f"its sample_rate is {reprlib.repr(rate)}, not a whole number of Hz")
    return None if rate is None else int(rate)
