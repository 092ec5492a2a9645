"""SepFormer of SpeechBrain: a folder of hyperparams.yaml, encoder.ckpt, masknet.ckpt and decoder.ckpt as a model of ours.

The YAML is HyperPyYAML, which makes objects where SpeechBrain reads it; here its tags are data: `!new:` is a name that must be one of five,
`!ref <name>` is what stands at that name.
"""

import re
import reprlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.importers.wrappers import state_of
from sfi_zoo.importers.yaml_data import Tagged, read_yaml
from sfi_zoo.models.dual_path_tasnet import DualPathTasNet, DualPathTasNetConfig, positions

YAML = "hyperparams.yaml"
PARTS = ("encoder", "masknet", "decoder")
LIBRARY = "new:speechbrain.lobes.models.dual_path."
KNOWN = {
    "Encoder": {"kernel_size", "out_channels", "in_channels"},
    "Decoder": {"kernel_size", "in_channels", "out_channels", "stride", "bias"},
    "SBTransformerBlock": {
        *("num_layers", "d_model", "nhead", "d_ffn", "dropout", "activation", "use_positional_encoding"),
        *("norm_before", "attention_type"),
    },
    "Dual_Path_Model": {
        *("num_spks", "in_channels", "out_channels", "num_layers", "K", "intra_model", "inter_model", "norm"),
        *("linear_layer_after_inter_intra", "skip_around_intra", "use_global_pos_enc", "max_length"),
    },
}
NORMS = {"ln": "global", "gln": "global"}
DEPTH = 20  # of references
NAMES = {
    "encoder.filters": "encoder.conv1d",
    "decoder.filters": "decoder",
    "masker.norm": "masknet.norm",
    "masker.bottleneck": "masknet.conv1d",
    "masker.prelu": "masknet.prelu",
    "masker.spread": "masknet.conv2d",
    "masker.value": "masknet.output.0",
    "masker.gate": "masknet.output_gate.0",
    "masker.output": "masknet.end_conv1x1",
}
LAYER = {
    "attention.queries_keys_values": "self_att.att.in_proj_",
    "attention.merge": "self_att.att.out_proj.",
    "perceptron.0": "pos_ffn.ffn.0.",
    "perceptron.3": "pos_ffn.ffn.3.",
    "norm_1": "norm1.norm.",
    "norm_2": "norm2.norm.",
}
PATHS = {"within": "intra", "across": "inter"}


def is_speechbrain(folder: Path) -> bool:
    """Whether a folder has the YAML of a SpeechBrain model."""
    return (folder / YAML).is_file()


def convert_folder(folder: Path, given: Given) -> DualPathTasNet:
    """The model in a folder, in evaluation mode.

    Raises:
        InputError: a file that is missing, a YAML of another model, settings that cannot be imported, or weights that do not fit.
    """
    from sfi_zoo.models.weights import filled

    missing = [f"{part}.ckpt" for part in PARTS if not (folder / f"{part}.ckpt").is_file()]
    if missing:
        raise InputError(f"it has {YAML} and no {', '.join(missing)}: a SepFormer has {', '.join(PARTS)}")
    settings = convert_config(read_yaml(folder / YAML, hyper=True), given)
    state: dict[str, Tensor] = {}
    for part in PARTS:
        content = state_of(read_checkpoint(folder / f"{part}.ckpt"))
        if not isinstance(content, dict) or not all(isinstance(x, Tensor) for x in content.values()):
            raise InputError(f"its {part}.ckpt is not a dictionary of tensors")
        state |= {f"{part}.{key}": value for key, value in content.items()}
    return filled(DualPathTasNet, settings, plain(state, settings), file_names)


def resolved(value: Any, values: dict[str, Any], depth: int = 0) -> Any:
    """What a `!ref <name>` stands for, as far as it is a name."""
    if depth > DEPTH:
        raise InputError(f"its {YAML} refers to itself")
    if isinstance(value, Tagged) and value.tag == "ref":
        name = re.fullmatch(r"<(\w+)>", str(value.value))
        if name is None or name[1] not in values:
            raise InputError(f"its {YAML} refers to {reprlib.repr(value.value)}, which is not a name in it")
        return resolved(values[name[1]], values, depth + 1)
    return value


def part_of(value: Any, kind: str, values: dict[str, Any]) -> Settings:
    """The settings of one of SpeechBrain's classes.

    Raises:
        InputError: another class, or settings that are not known; named.
    """
    value = resolved(value, values)
    if not isinstance(value, Tagged) or value.tag != LIBRARY + kind:
        found = value.tag if isinstance(value, Tagged) else reprlib.repr(value)
        raise InputError(f"its {YAML} has {found} where SepFormer has {kind}; no other model is imported")
    inside = {key: resolved(x, values) for key, x in Settings(value.value or {}, kind).values.items()}
    unknown = sorted(str(key) for key in set(inside) - KNOWN[kind])
    if unknown:
        raise InputError(f"its {YAML} has {', '.join(unknown)} in {kind}, which cannot be imported")
    return Settings(inside, f"{YAML}'s {kind}")


def convert_config(values: dict[str, Any], given: Given) -> DualPathTasNetConfig:
    """The YAML as our configuration.

    Raises:
        InputError: another model than SepFormer, or a setting without a counterpart.
    """
    modules = Settings(resolved(values.get("modules", {}), values), f"{YAML}'s modules").values
    parts = {"encoder": "Encoder", "masknet": "MaskNet", "decoder": "Decoder"}
    found = {part: modules.get(part, values.get(name)) for part, name in parts.items()}
    encoder = part_of(found["encoder"], "Encoder", values)
    masknet = part_of(found["masknet"], "Dual_Path_Model", values)
    decoder = part_of(found["decoder"], "Decoder", values)
    within, across = (
        part_of(masknet.values.get(f"{side}_model"), "SBTransformerBlock", values) for side in PATHS.values()
    )
    same = {"nhead", "d_ffn", "use_positional_encoding", "norm_before", "activation", "attention_type"}
    for key in sorted(same):
        if within.values.get(key) != across.values.get(key):
            raise InputError(f"its {YAML} has another {key} in the intra model than in the inter model")
    for settings, key, wanted in (
        (masknet, "linear_layer_after_inter_intra", False),
        (masknet, "skip_around_intra", True),
        (masknet, "use_global_pos_enc", False),
        (encoder, "in_channels", 1),
        (decoder, "out_channels", 1),
        (decoder, "bias", False),
        (within, "activation", "relu"),
        (within, "attention_type", "regularMHA"),
    ):
        default = True if key == "linear_layer_after_inter_intra" else wanted
        if settings.values.get(key, default) != wanted:
            raise InputError(
                f"its {settings.name} has {key}={settings.values.get(key, default)!r}, not {wanted}"
            )
    kernel, segment = encoder.get("kernel_size", int, 2), masknet.get("K", int, 200)
    if decoder.get("kernel_size", int) != kernel or decoder.get("stride", int) != kernel // 2:
        raise InputError(
            f"its {YAML} has a decoder whose kernel and stride are not {kernel} and {kernel // 2}"
        )
    rate = resolved(values.get("sample_rate"), values)
    if rate is not None and (type(rate) is not int or rate < 1):
        raise InputError(f"its {YAML} has sample_rate={reprlib.repr(rate)}, not a whole number of Hz")
    return DualPathTasNetConfig(
        sources=given.names(masknet.get("num_spks", int, 2)),
        sample_rate=given.settled("sample_rate", rate, "8000, or what it was trained at"),
        features=encoder.get("out_channels", int, 64),
        kernel_size=kernel,
        stride=kernel // 2,
        latent="relu",
        filters="interpolated",
        padding=0,
        pad_end=False,
        block="transformer",
        bottleneck=masknet.get("out_channels", int),
        segment=segment,
        segment_hop=segment // 2,
        pairs=masknet.get("num_layers", int, 1),
        within_layers=within.get("num_layers", int),
        across_layers=across.get("num_layers", int),
        heads=within.get("nhead", int),
        hidden=within.get("d_ffn", int, 2048),
        positions=within.get("use_positional_encoding", bool, False),
        norm_first=within.get("norm_before", bool, False),
        norm=masknet.choice("norm", NORMS, "ln"),
        mask="relu",
        dropout=float(within.get("dropout", (int, float), 0.1)),
    )


def plain(state: dict[str, Tensor], config: DualPathTasNetConfig) -> dict[str, Tensor]:
    """The weights without axes of one, and without the positions, which are a formula.

    Raises:
        InputError: other positions.
    """
    weights = {}
    for key, value in state.items():
        if key.endswith(".pos_enc.pe"):
            wanted = positions(value.shape[-2], config.width)
            if value.shape[-1] != config.width or not torch.allclose(value.double()[0], wanted, atol=1e-3):
                raise InputError(f"its {key} is not what SepFormer adds for positions")
        elif key in ("encoder.conv1d.weight", "decoder.weight") and value.ndim == 3:
            weights[key] = value[:, 0]
        elif key == "masknet.conv2d.weight" and value.ndim == 4:
            weights[key] = value[..., 0]
        elif key.endswith(("intra_norm.gln.weight", "intra_norm.gln.bias")):
            weights[key] = value
        else:
            weights[key] = value
    return weights


def file_names(model: DualPathTasNet) -> dict[str, str]:
    """What the files call each of our weights, the name of the file first."""
    names = {}
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        if module in NAMES:
            names[key] = f"{NAMES[module]}.{weight}"
            continue
        _, _, number, path, *inner = module.split(".")
        here = f"masknet.dual_mdl.{number}"
        if path.endswith("_norm"):
            names[key] = f"{here}.{PATHS[path.removesuffix('_norm')]}_norm.{weight}"
        elif inner == ["norm"]:
            names[key] = f"{here}.{PATHS[path]}_mdl.mdl.norm.norm.{weight}"
        else:
            layer, part = inner[1], ".".join(inner[2:])
            names[key] = f"{here}.{PATHS[path]}_mdl.mdl.layers.{layer}.{LAYER[part]}{weight}"
    return names
