"""SuDoRM-RF of asteroid (`SuDORMRFNet`, `SuDORMRFImprovedNet`): its checkpoints as models of ours.

Files have the form of `model.serialize()`, as those of Conv-TasNet. The signal is filled up to a multiple of
lcm(L0 // 2, 2^upsampling_depth) samples at F0, and a filter bank has the padding L0 // 2.

One sample differs from asteroid: with a stride of nearly L0 its decoder leaves out the last sample that the last frame reaches; where the
signal is such a multiple long it has that sample, and ours gives it.
"""

import math
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.asteroid_convtasnet import MASKS, sample_rate, software
from sfi_zoo.importers.asteroid_filterbanks import SETTINGS, check_features, made_kernels
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.models.sudormrf import SuDoRMRF, SuDoRMRFConfig

MODELS = {"SuDORMRFNet": "original", "SuDORMRFImprovedNet": "improved"}
ACTIVATIONS = {"original": "relu", "improved": None}
LATENTS = {"original": "relu", "improved": "linear"}
KNOWN = SETTINGS | {
    *("in_chan", "n_src", "bn_chan", "num_blocks", "upsampling_depth", "mask_act", "encoder_activation"),
}
MASKER = {
    "original": {"norm": "ln", "bottleneck": "l1", "widen": "reshape_before_masks", "output": "m"},
    "improved": {"norm": "ln", "bottleneck": "bottleneck", "widen": "mask_net.0", "output.0": "mask_net.1"},
}
BLOCK = {
    "expand": "proj_1x1.conv",
    "norm_1": "proj_1x1.norm",
    "prelu_1": "proj_1x1.act",
    "norm_2": "final_norm.norm",
    "prelu_2": "final_norm.act",
}
ENDS = {
    "original": {
        "reduce": "conv_1x1_exp.conv",
        "norm_3": "conv_1x1_exp.norm",
        "norm_4": "module_act.norm",
        "prelu_3": "module_act.act",
    },
    "improved": {"reduce": "res_conv"},
}


def convert(content: dict[str, Any], given: Given) -> SuDoRMRF:
    """The model in what `model.serialize()` gives, in evaluation mode.

    Raises:
        InputError: settings that ours cannot express, or weights that do not fit; all named.
    """
    from sfi_zoo.models.weights import filled

    config = convert_config(content["model_name"], content["model_args"], given)
    args, state = Settings(content["model_args"], "model_args"), without_twins(content["state_dict"])
    weights = made_kernels(state, args, config.sample_rate, software(content))
    if config.variant == "original" and "masker.m.weight" in weights:
        weights["masker.m.weight"] = _squeezed(weights["masker.m.weight"])
    return filled(SuDoRMRF, config, weights, file_names)


def convert_config(name: str, values: Any, given: Given) -> SuDoRMRFConfig:
    """`model_args` as our configuration.

    Raises:
        InputError: a setting is missing, unknown, or has no counterpart.
    """
    args, variant = Settings(values, "model_args"), MODELS[name]
    args.refuse_unknown(KNOWN)
    args.choice("encoder_activation", {ACTIVATIONS[variant]: None}, ACTIVATIONS[variant])
    features, kernel = check_features(args), args.get("kernel_size", int)
    levels, half = args.get("upsampling_depth", int), kernel // 2
    if half < 1 or not 1 <= levels <= 16:
        raise InputError(
            f"its model_args have kernel_size={kernel} and upsampling_depth={levels}: no such network"
        )
    if variant == "original" and features % 2:
        raise InputError(f"its mask layer takes an even number of features, got {features}")
    stride = args.get("stride", (int, type(None)), None) or half
    if stride < half:
        raise InputError(f"its model_args have stride={stride}, less than half its kernel_size ({kernel})")
    return SuDoRMRFConfig(
        sources=given.names(args.get("n_src", int)),
        sample_rate=given.settled("sample_rate", sample_rate(args), "8000, or what it was trained at"),
        features=features,
        kernel_size=kernel,
        stride=half if variant == "original" else stride,
        latent=LATENTS[variant],
        filters="interpolated",
        padding=half,
        pad_end=False,
        pad_multiple=math.lcm(half, 2**levels),
        bottleneck=args.get("bn_chan", int),
        hidden=features,
        blocks=args.get("num_blocks", int),
        levels=levels,
        variant=variant,
        channel_slopes=True,
        mask=given.settled("mask", args.choice("mask_act", MASKS)),
    )


def without_twins(state: Any) -> Any:
    """A state dict without the second name of the encoder's filters: they are in the file as the encoder's, and as its own part.

    Raises:
        InputError: the two differ.
    """
    if not isinstance(state, dict):
        return state
    kept, twin = {}, "encoder.encoder."
    for key, value in state.items():
        name = str(key)
        if not name.startswith(twin):
            kept[name] = value
            continue
        other = state.get(name.removeprefix("encoder."))
        if other is None:
            kept[name.removeprefix("encoder.")] = value
        elif not (isinstance(other, Tensor) and isinstance(value, Tensor) and torch.equal(other, value)):
            raise InputError(
                f"its {name} and {name.removeprefix('encoder.')} differ; asteroid keeps them the same"
            )
    return kept


def _squeezed(weight: Tensor) -> Tensor:
    """The mask layer's kernel (sources, 1, N + 1, 1) as (sources, N + 1); another shape stays, and is refused as one."""
    return weight[:, 0, :, 0] if weight.ndim == 4 and weight.shape[1] == weight.shape[3] == 1 else weight


def file_names(model: SuDoRMRF) -> dict[str, str]:
    """What asteroid calls each of our weights."""
    variant, names = model.config.variant, {}
    blocks = BLOCK | ENDS[variant]
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        side, _, inner = module.partition(".")
        if side in ("encoder", "decoder"):
            names[key] = f"{side}.filterbank._filters"
            continue
        if inner in MASKER[variant]:
            theirs = f"masker.{MASKER[variant][inner]}"
            # the original's norms are torch's, asteroid's own have Greek names
            greek = variant == "improved" and inner == "norm"
        else:
            _, number, part, *rest = inner.split(".")
            if part == "scales":
                level, which = rest
                theirs = f"masker.sm.{number}.spp_dw.{level}.{'norm' if which == '1' else 'conv'}"
                greek = variant == "improved" and which == "1"
            else:
                theirs = f"masker.sm.{number}.{blocks[part]}"
                greek = variant == "improved" and "norm" in part
        names[key] = f"{theirs}.{ {'weight': 'gamma', 'bias': 'beta'}[weight] if greek else weight }"
    return names
