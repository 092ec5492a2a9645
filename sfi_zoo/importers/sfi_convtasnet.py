"""The published SFI Conv-TasNet (Saito et al., TASLP 30:2928, 2022): its checkpoints as models of ours.

Parameters change their units (rad/s to kHz, ln s^2 to ln Hz) and names; nothing is rounded beyond float32.
"""

import math
import re
import reprlib
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.filters.modulated_gaussian import MIN_BANDWIDTH_HZ
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.models.conv_tasnet import ConvTasNet, ConvTasNetConfig

SOURCES = ("drums", "bass", "other", "vocals")
NORM_GROUPS = 8
DESIGNS = {
    ("freq_resp_samp", "ModulatedGaussianFilters"): ("frequency", "modulated_gaussian"),
    ("imp_resp_samp", "TDModulatedGaussianFilters"): ("time", "modulated_gaussian"),
    ("imp_resp_samp", "MultiPhaseGammaToneFilters"): ("time", "multi_phase_gammatone"),
}
MASKER_NAMES = {
    "bottleneck": "in_conv.conv",
    "output": "mask_output.conv",
    "expand": "conv1d.conv",
    "depthwise": "dconv1d.conv",
    "residual": "res_out.conv",
    "skip": "skip_out.conv",
    **{f"norm_{i}": f"norm_{i}.group_norm" for i in range(1, 5)},
    **{f"prelu_{i}": f"prelu_{i}" for i in range(1, 5)},
}


def is_sfi_convtasnet(content: Any) -> bool:
    """Whether a file has the form that the authors' training script writes."""
    return isinstance(content, dict) and {"args", "state_dict"} <= set(content)


def convert(checkpoint: dict[str, Any], given: Given) -> ConvTasNet:
    """The model in a published checkpoint, in evaluation mode.

    Args:
        checkpoint: what the authors' training script writes (`best_checkpoint`).
        given: other names for the four sources.

    Raises:
        InputError: settings that our Conv-TasNet cannot express, or weights that do not fit; the message names them.
    """
    from sfi_zoo.models.weights import filled

    config = convert_config(checkpoint["args"], given)
    return filled(ConvTasNet, config, convert_state(_with_least_bandwidths(checkpoint), config), file_names)


def _with_least_bandwidths(checkpoint: dict[str, Any]) -> Any:
    """The state dict with ln s^2 clamped at ln min_bw^2 (rad/s), as the published filters do in use."""
    state = checkpoint["state_dict"]
    for side in ("encoder", "decoder"):
        name = f"stage.{side}.conv.continuous_filters._ln_sigma2s"
        if isinstance(state, dict) and isinstance(state.get(name), Tensor):
            params = Settings(checkpoint["args"], "args").part(f"{side}_params").part("filter_params")
            least = params.get("min_bw", (int, float), 2 * math.pi)
            if not least > 0:
                raise InputError(
                    f"its {params.name} has min_bw={reprlib.repr(least)}, not a positive number of rad/s"
                )
            clamped = state[name].clamp(min=2 * math.log(least))
            if clamped.numel() and clamped.min() < 2 * math.log(2 * math.pi * MIN_BANDWIDTH_HZ) - 1e-5:
                raise InputError(
                    f"its {name} has bandwidths below {MIN_BANDWIDTH_HZ} Hz, which cannot be imported"
                )
            state = state | {name: clamped}
    return state


def convert_config(args: Any, given: Given) -> ConvTasNetConfig:
    """The published configuration as ours.

    Raises:
        InputError: a setting is missing, or has no counterpart.
    """
    top = Settings(args, "args")
    expected = {
        "model_type": "sfi_convtasnet",
        "stages_num": 1,
        "use_asteroid": False,
        "partial_input": False,
        "kernel": 3,
    }
    for key, value in expected.items():
        if top.values.get(key, value) != value:
            raise InputError(
                f"it has {key}={reprlib.repr(top.values[key])}; only {key}={value!r} can be imported"
            )
    sides = [top.part(side) for side in ("encoder_params", "decoder_params")]
    options, decoder_options = (_filters(side, top) for side in sides)
    settings, decoder_settings = (_design(side) for side in sides)
    own = {key: value for key, value in decoder_settings.items() if value != settings[key]}
    nonlinearity = sides[0].get("nonlineartity", (str, type(None)), "relu")  # spelt so by the authors
    if nonlinearity not in ("relu", None):
        raise InputError(
            f"its encoder has nonlineartity={reprlib.repr(nonlinearity)}; 'relu' and None can be imported"
        )
    n, b, h = (top.get(key, int) for key in ("N", "B", "H"))
    for key, value in (("N", n), ("B", b), ("H", h)):
        if value < 1 or value % NORM_GROUPS:
            raise InputError(f"its args have {key}={value}, not a positive multiple of {NORM_GROUPS}")
    return ConvTasNetConfig(
        sources=given.names(len(SOURCES), SOURCES),
        sample_rate=given.settled("sample_rate", top.get("sampling_rate", int)),
        features=n,
        kernel_size=top.get("L", int),
        stride=top.get("W", int),
        latent="linear" if nonlinearity is None else "relu",
        **settings,
        decoder_settings=own or None,
        encoder_filters=options,
        decoder_filters=decoder_options,
        flavour="reference",
        taper=0.0,
        branches=len(SOURCES),
        bottleneck=b,
        hidden=h,
        kernel=3,
        layers=given.settled("layers", top.get("layers", int)),
        repeats=top.get("stack", int),
        norm_groups=NORM_GROUPS,
        residual_bias=top.get("residual_bias", bool, False),
        mask=given.settled("mask", "softmax"),
    )


def _kind(side: Settings) -> tuple[str, str]:
    """Design and filter family of one side."""
    kind = (side.get("fir_computation_type", str), side.get("ContFilterType", str))
    if kind not in DESIGNS:
        known = ", ".join(" with ".join(pair) for pair in DESIGNS)
        raise InputError(
            f"its {side.name} has {' with '.join(kind)}, which cannot be imported (known: {known})"
        )
    return DESIGNS[kind]


def _design(side: Settings) -> dict[str, Any]:
    """The settings of one side's layer."""
    design, family = _kind(side)
    points = side.get("n_samples_freq_resp", int, 640) if design == "frequency" else 640
    if points < 2:
        raise InputError(f"its {side.name} has n_samples_freq_resp={points}")
    hilbert = side.get("use_Hilbert_transforms", bool, False)
    return {"filters": family, "design": design, "frequency_points": points, "hilbert": hilbert}


def _filters(side: Settings, top: Settings) -> dict[str, Any]:
    """Options of one side's analog filters. They tell how they were initialised."""
    design, family = _kind(side)
    params = side.part("filter_params")
    rate = top.get("sampling_rate", int)
    if design == "time" and params.values.get("train_sample_rate", rate) != rate:
        given = params.values["train_sample_rate"]
        raise InputError(
            f"its {params.name} has train_sample_rate={reprlib.repr(given)}, not the sampling_rate {rate}"
        )
    gammatone = family == "multi_phase_gammatone"
    low_high = params.get(
        "initial_freq_range", (list, tuple), [100.0, 8000.0] if gammatone else [50.0, 16000.0]
    )
    if len(low_high) != 2 or not all(isinstance(x, int | float) for x in low_high):
        raise InputError(
            f"its {params.name} has initial_freq_range={reprlib.repr(low_high)}, not two numbers in Hz"
        )
    options: dict[str, Any] = {"frequency_range": [float(x) for x in low_high]}
    if gammatone:
        return options | {"num_centers": params.get("n_center_freqs", int, 24)}
    sigma = params.get("init_sigma", (int, float), 2 * math.pi * 100)
    options |= {"scale": params.get("init_type", str, "erb"), "bandwidth": sigma / (2 * math.pi)}
    if params.get("one_sided", bool, False):
        if design == "time":
            raise InputError(f"its {params.name} has one_sided=True, which no time-domain design has")
        options["one_sided"] = True
    return options


def convert_state(published: Any, config: ConvTasNetConfig) -> dict[str, Tensor]:
    """The published state dict in our units, under its own names, without the buffers that only had to be checked.

    Raises:
        InputError: filters that do not belong to the configuration.
    """
    if not isinstance(published, dict) or not all(isinstance(v, Tensor) for v in published.values()):
        raise InputError("its state_dict is not a dictionary of tensors")
    state = {}
    for name, value in published.items():
        ours = _convert(str(name), value, config)
        if ours is not None:
            state[str(name)] = ours
    return state


def file_names(model: ConvTasNet) -> dict[str, str]:
    """What the authors call each of our weights."""
    names = {}
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        side, *inside = module.split(".")
        if side == "masker":
            block = f"tcn.{inside[1]}." if inside[0] == "blocks" else ""
            names[key] = f"stage.mask.{block}{MASKER_NAMES[inside[-1]]}.{weight}"
        else:
            gammatone = _of_side(model.config, side, "filters") == "multi_phase_gammatone"
            filters = {
                "center_khz": "center_freqs_in_hz" if gammatone else "mus",
                "log_bandwidth_hz": "_ln_sigma2s",
                "phase": "phases" if gammatone else "phase",
            }
            names[key] = f"stage.{side}.conv.continuous_filters.{filters[weight]}"
    return names


def _of_side(config: ConvTasNetConfig, side: str, key: str) -> Any:
    """A setting of the encoder or the decoder."""
    own = (config.decoder_settings or {}) if side == "decoder" else {}
    return own.get(key, getattr(config, key))


def _convert(  # noqa: PLR0911
    name: str, value: Tensor, config: ConvTasNetConfig
) -> Tensor | None:
    """A parameter in our units; None for a buffer that only had to be checked."""
    match = re.fullmatch(r"stage\.(encoder|decoder)\.conv\.continuous_filters\.(\w+)", name)
    if match is None:
        return value
    exact = value.double()
    side, weight = match.groups()
    match weight:
        case "mus":
            return _kilohertz(exact / (2 * math.pi), value / (2 * math.pi))
        case "center_freqs_in_hz":
            return _kilohertz(exact, value)
        case "_ln_sigma2s":
            widths = 0.5 * exact - math.log(2 * math.pi)
            return widths.clamp(min=math.log(MIN_BANDWIDTH_HZ)).float()
        case "phase" | "phases":
            return value.float()
        case "train_sample_rate":
            if value.numel() != 1 or value.item() != config.sample_rate:
                raise InputError(
                    f"its {name} is {value.tolist()}, not the sampling_rate {config.sample_rate}"
                )
            return None
        case "n_phase_variations":
            half = config.features // (4 if _of_side(config, side, "hilbert") else 2)
            options = config.encoder_filters if side == "encoder" else config.decoder_filters
            centers = options.get("num_centers", value.numel())
            each, left_over = divmod(half, max(1, centers))
            if value.tolist() != [each + (i < left_over) for i in range(centers)]:
                raise InputError(
                    f"its {name} is {value.tolist()}, not {half} phases spread evenly over {centers} centres"
                )
            return None
    return value


def _kilohertz(hertz: Tensor, published: Tensor) -> Tensor:
    """float32 kHz, on the same side of a Nyquist frequency as the published float32 Hz.

    Nyquist frequencies are whole or half numbers of Hz. A time-domain filter is switched off when its
    centre is above F / 2; rounding must not decide that.
    """
    khz = (hertz / 1000).float()
    nyquist = (2 * published.double()).round() / 2
    wanted = torch.sign(published.double() - nyquist)
    for _ in range(4):
        ours = torch.sign((khz.double() * 1000).float().double() - nyquist)
        towards = torch.where(ours < wanted, math.inf, -math.inf).float()
        # above the Nyquist frequency is one side, on it or below the other
        khz = torch.where((ours > 0) == (wanted > 0), khz, torch.nextafter(khz, towards))
    return khz
