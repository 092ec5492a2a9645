"""DPRNN and DPTNet of asteroid (`DPRNNTasNet`, `DPTNet`): their checkpoints as models of ours.

Files have the form of `model.serialize()`, as those of Conv-TasNet; encoders are any of `asteroid_filterbanks`.
"""

from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.importers.asteroid_convtasnet import LATENTS, MASKS, sample_rate, software
from sfi_zoo.importers.asteroid_filterbanks import SETTINGS, check_features, made_kernels
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.models.dual_path_tasnet import DualPathTasNet, DualPathTasNetConfig

MODELS = {"DPRNNTasNet": "recurrent", "DPTNet": "attention_recurrent"}
NORMS = {"gLN": "global", "fgLN": "feature", "cLN": "frame"}
KNOWN = SETTINGS | {
    *(
        "in_chan",
        "out_chan",
        "bn_chan",
        "hid_size",
        "chunk_size",
        "hop_size",
        "n_repeats",
        "n_src",
        "norm_type",
        "mask_act",
        "bidirectional",
    ),
    *("rnn_type", "num_layers", "dropout", "use_mulcat", "encoder_activation", "ff_hid", "n_heads"),
    "ff_activation",
}
COMMON = {
    "encoder.filters": "encoder.filterbank._filters",
    "decoder.filters": "decoder.filterbank._filters",
    "masker.prelu": "masker.first_out.0.",
    "masker.spread": "masker.first_out.1.",
    "masker.value": "masker.net_out.0.",
    "masker.gate": "masker.net_gate.0.",
    "masker.bottleneck": "masker.bottleneck.1.",
    "masker.output": "masker.mask_net.",
}
ATTENTION = {
    "attention.queries_keys_values": "mha.in_proj_",
    "attention.merge": "mha.out_proj.",
    "rnn": "recurrent.",
    "linear": "linear.",
    "norm_1": "norm_mha.",
    "norm_2": "norm_ff.",
}


def convert(content: dict[str, Any], given: Given) -> DualPathTasNet:
    """The model in what `model.serialize()` gives, in evaluation mode.

    Raises:
        InputError: settings that ours cannot express, or weights that do not fit; all named.
    """
    from sfi_zoo.models.weights import filled

    config = convert_config(content["model_name"], content["model_args"], given)
    args = Settings(content["model_args"], "model_args")
    weights = made_kernels(content["state_dict"], args, config.sample_rate, software(content))
    key = "masker.first_out.1.weight"
    if key in weights and weights[key].ndim == 4:
        weights[key] = weights[key][..., 0]
    return filled(DualPathTasNet, config, weights, file_names)


def convert_config(name: str, values: Any, given: Given) -> DualPathTasNetConfig:
    """`model_args` as our configuration.

    Raises:
        InputError: a setting is missing, unknown, or has no counterpart.
    """
    args, block = Settings(values, "model_args"), MODELS[name]
    args.refuse_unknown(KNOWN)
    args.choice("use_mulcat", {False: None}, False)
    args.choice("ff_activation", {"relu": None}, "relu")
    features, kernel = check_features(args), args.get("kernel_size", int)
    recurrent, sources = block == "recurrent", args.get("n_src", int)
    mask = args.choice("mask_act", MASKS)
    if mask == "softmax" and recurrent and sources > 1:
        raise InputError(
            "its model_args have mask_act='softmax', which DPRNN of asteroid takes over the features; not imported"
        )
    heads = 1 if recurrent else args.get("n_heads", int)
    if features % heads:
        name = "n_filters" if features == args.values["n_filters"] else "number of features"
        raise InputError(f"its {name} ({features}) is no multiple of n_heads ({heads}); not imported")
    segment = args.get("chunk_size", int)
    stride = args.get("stride", (int, type(None)), None)
    return DualPathTasNetConfig(
        sources=given.names(sources),
        sample_rate=given.settled("sample_rate", sample_rate(args), "8000, or what it was trained at"),
        features=features,
        kernel_size=kernel,
        stride=kernel // 2 if stride is None else stride,
        latent=args.choice("encoder_activation", LATENTS, None),
        filters="interpolated",
        padding=0,
        pad_end=False,
        block=block,
        bottleneck=args.get("bn_chan", int) if recurrent else None,
        bottleneck_bias=recurrent,
        segment=segment,
        segment_hop=args.get("hop_size", (int, type(None)), None) or segment // 2,
        segment_padding="whole",
        averaged=not recurrent,
        pairs=args.get("n_repeats", int),
        within_layers=args.get("num_layers", int, 1),
        across_layers=args.get("num_layers", int, 1),
        heads=heads,
        hidden=args.get("hid_size" if recurrent else "ff_hid", int),
        rnn=args.get("rnn_type", str, "LSTM").lower(),
        bidirectional=args.get("bidirectional", bool, True),
        norm=args.choice("norm_type", NORMS),
        output=recurrent,
        mask=given.settled("mask", mask),
        dropout=float(args.get("dropout", (int, float), 0)),
    )


def file_names(model: DualPathTasNet) -> dict[str, str]:
    """What asteroid calls each of our weights."""
    recurrent = model.config.block == "recurrent"
    greek = {"weight": "gamma", "bias": "beta"}
    names = {}
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        if module.endswith(".filters"):
            names[key] = COMMON[module]
        elif module in COMMON:
            names[key] = COMMON[module] + weight
        elif module == "masker.norm":
            names[key] = f"masker.{'bottleneck.0' if recurrent else 'in_norm'}.{greek[weight]}"
        else:
            _, _, number, path, *inner = module.split(".")
            side, part = path.removesuffix("_norm"), ".".join(inner)
            if not recurrent:
                here = f"masker.layers.{number}.{0 if side == 'within' else 1}"
                names[key] = f"{here}.{ATTENTION[part]}{greek[weight] if 'norm' in part else weight}"
                continue
            here = f"masker.net.{number}.{'intra' if side == 'within' else 'inter'}"
            if path.endswith("_norm"):
                names[key] = f"{here}_norm.{greek[weight]}"
            else:
                names[key] = f"{here}_RNN.rnn.{weight}" if part == "rnn" else f"{here}_linear.{weight}"
    return names
