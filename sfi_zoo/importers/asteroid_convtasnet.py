"""Conv-TasNet of asteroid (`asteroid.models.ConvTasNet`): its checkpoints, many of them on the Hub, as models of ours.

A file is `torch.save(model.serialize())` = {model_name, state_dict, model_args, infos}. Learned kernels become interpolated filters,
which are the same convolution at the trained rate, so the imported model runs at any other rate too.
"""

import reprlib
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.importers.asteroid_filterbanks import SETTINGS, check_features, made_kernels
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.models.conv_tasnet import ConvTasNet, ConvTasNetConfig

NORMS = {"gLN": "global", "fgLN": "feature", "cLN": "frame", "cgLN": "cumulative", "bN": "batch"}
MASKS = {x: x for x in ("sigmoid", "relu", "softmax", "linear")}
LATENTS = {None: "linear", "linear": "linear", "relu": "relu"}
KNOWN = SETTINGS | {
    *(
        "in_chan",
        "out_chan",
        "bn_chan",
        "hid_chan",
        "skip_chan",
        "conv_kernel_size",
        "n_blocks",
        "n_repeats",
        "n_src",
        "norm_type",
    ),
    *("mask_act", "causal", "encoder_activation"),
}
BLOCK = {
    "expand": "shared_block.0",
    "prelu_1": "shared_block.1",
    "norm_1": "shared_block.2",
    "depthwise": "shared_block.3",
    "prelu_2": "shared_block.4",
    "norm_2": "shared_block.5",
    "residual": "res_conv",
    "skip": "skip_conv",
}
ENDS = {
    "encoder.filters": "encoder.filterbank",
    "decoder.filters": "decoder.filterbank",
    "masker.norm_1": "masker.bottleneck.0",
    "masker.bottleneck": "masker.bottleneck.1",
    "masker.prelu_3": "masker.mask_net.0",
    "masker.output": "masker.mask_net.1",
}


def is_asteroid(content: Any) -> bool:
    """Whether a file has the form of `model.serialize()`."""
    return isinstance(content, dict) and {"model_name", "model_args", "state_dict"} <= set(content)


def convert(content: dict[str, Any], given: Given) -> ConvTasNet:
    """The model in what `model.serialize()` gives, in evaluation mode.

    Args:
        content: the dictionary.
        given: the sample rate where the file has none, and names of the sources.

    Raises:
        InputError: another architecture, settings that our Conv-TasNet cannot express, or weights that do not fit; all named.
    """
    from sfi_zoo.models.weights import filled

    config = convert_config(content["model_args"], given)
    args = Settings(content["model_args"], "model_args")
    weights = made_kernels(content["state_dict"], args, config.sample_rate, software(content))
    return filled(ConvTasNet, config, weights, file_names)


def convert_config(args: Any, given: Given) -> ConvTasNetConfig:
    """`model_args` as our configuration.

    Raises:
        InputError: a setting is missing, unknown, or has no counterpart.
    """
    args = Settings(args, "model_args")
    args.refuse_unknown(KNOWN)
    features, kernel_size = check_features(args), args.get("kernel_size", int)
    stride = args.get("stride", (int, type(None)), None)
    skip = args.get("skip_chan", (int, type(None)))
    causal = args.get("causal", bool, False)
    norm = args.choice("norm_type", NORMS)
    return ConvTasNetConfig(
        sources=given.names(args.get("n_src", int)),
        sample_rate=given.settled("sample_rate", sample_rate(args), "8000, or what it was trained at"),
        features=features,
        kernel_size=kernel_size,
        stride=kernel_size // 2 if stride is None else stride,
        latent=args.choice("encoder_activation", LATENTS, None),
        filters="interpolated",
        branches=1,
        bottleneck=args.get("bn_chan", int),
        hidden=args.get("hid_chan", int),
        kernel=args.get("conv_kernel_size", int),
        layers=given.settled("layers", args.get("n_blocks", int)),
        repeats=args.get("n_repeats", int),
        residual_bias=True,
        padding=0,
        pad_end=False,
        # asteroid does this replacement too
        norm="frame" if causal and norm not in ("frame", "cumulative") else norm,
        dense_norms=False,
        bias=True,
        skip=skip or 0,
        causal=causal,
        mask=given.settled("mask", args.choice("mask_act", MASKS)),
    )


def sample_rate(args: Settings) -> int | None:
    """What `model_args` say, None for nothing."""
    rate = args.get("sample_rate", (int, float, type(None)), None)
    if rate is not None and not (rate >= 1 and rate == int(rate)):
        raise InputError(f"its model_args have sample_rate={reprlib.repr(rate)}, not a whole number of Hz")
    return None if rate is None else int(rate)


def software(content: dict[str, Any]) -> Any:
    """The versions with which a file was written, as it says them; None where it does not."""
    infos = content.get("infos")
    return infos.get("software_versions") if isinstance(infos, dict) else None


def file_names(model: ConvTasNet) -> dict[str, str]:
    """What asteroid calls each of our weights."""
    names = {}
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        if module in ENDS:
            theirs = ENDS[module]
        else:
            _, _, number, part = module.split(".")
            theirs = f"masker.TCN.{number}.{BLOCK[part]}"
            if part == "depthwise" and model.config.causal:
                theirs += ".0"
        if module.endswith(".filters"):
            weight = "_filters"
        elif ".norm_" in module and model.config.norm != "batch":
            weight = {"weight": "gamma", "bias": "beta"}[weight]
        names[key] = f"{theirs}.{weight}"
    return names
