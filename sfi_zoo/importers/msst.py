"""RoFormers of Music-Source-Separation-Training (MSST): a checkpoint and its YAML as models of ours.

A band holds its values as (bin, channel, real or imaginary part) there, and as (channel, bin, part) here: rows and columns of weights
are put in our order. Bands of a BS-RoFormer are given in bins (`freqs_per_bands`), those of a Mel-Band RoFormer are a mel filter bank's
(`num_bands`).
"""

import re
import reprlib
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.settings import Given, Settings
from sfi_zoo.importers.yaml_data import read_yaml
from sfi_zoo.models.bs_roformer import ROTARY_BASE, BSRoFormer, BSRoFormerConfig
from sfi_zoo.wording import shortened

FINE = (
    (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)
)  # where the YAML has no freqs_per_bands
# settings of training, and of how the same is computed
LEFT_OUT = {
    *("flash_attn", "sage_attention", "use_torch_checkpoint", "match_input_audio_length", "dim_freqs_in"),
    *(
        "attn_dropout",
        "ff_dropout",
        "stereo",
        "num_stems",
        "sample_rate",
        "dim",
        "depth",
        "heads",
        "dim_head",
    ),
    *("time_transformer_depth", "freq_transformer_depth", "linear_transformer_depth", "num_bands"),
    *("freqs_per_bands", "stft_n_fft", "stft_hop_length", "stft_win_length", "stft_normalized"),
    *("stft_window_fn", "mask_estimator_depth", "mlp_expansion_factor", "mlp_hidden_layers"),
    *("use_shared_bias", "skip_connection", "zero_dc", "attention_layout"),
}
# of MSST's other types: which can come, being mask-based, and which cannot
MASKED = ("bandit", "bandit_v2", "bs_mamba2", "torchseg", "segm_models", "swin_upernet")
TYPES = (
    "of the types of Music-Source-Separation-Training bs_roformer and mel_band_roformer can be imported; "
    f"{', '.join(MASKED)} predict masks too and may come; htdemucs, mdx23c, scnet, apollo and others predict no masks"
)
BLOCK = {
    "norm_1": "0.norm",
    "queries_keys_values": "0.to_qkv",
    "gates": "0.to_gates",
    "merge": "0.to_out.0",
    "perceptron.0": "1.net.0",
    "perceptron.1": "1.net.1",
    "perceptron.4": "1.net.4",
}


def is_roformer(content: Any) -> bool:
    """Whether a state dict is that of a RoFormer."""
    return isinstance(content, dict) and any(str(k).startswith("band_split.to_features.") for k in content)


def is_msst(values: dict[str, Any]) -> bool:
    """Whether a YAML has the form of MSST's."""
    return isinstance(values.get("audio"), dict) and isinstance(values.get("training"), dict)


def convert(state: dict[str, Tensor], given: Given) -> BSRoFormer:
    """The model of a state dict and its YAML, in evaluation mode.

    Args:
        state: its weights.
        given: its YAML file; names of the sources, and the sample rate where the YAML has none.

    Raises:
        InputError: no YAML, or one of another type; settings that cannot be imported; weights that do not fit the YAML; all named.
    """
    from sfi_zoo.models.weights import filled

    if given.config is None:
        raise InputError(
            "it is a RoFormer, and its second file is missing: the YAML that was published with it; give config="
        )
    settings = convert_config(read_yaml(given.config), state, given)
    mel = settings.bands.startswith("mel")
    check_rotation(state, settings)
    names: dict[str, str] = {}
    weights = ordered(state, settings)

    def called(model: BSRoFormer) -> dict[str, str]:
        names.update(file_names(model, settings, mel))
        return names

    shared = {
        f"layers.{i}.{axis}.layers.{j}.0.{part}.bias": state[key]
        for key, part in (("linear_62_bias_0", "to_qkv"), ("linear_64_bias_0", "to_out.0"))
        for i in range(settings.layers)
        for axis, count in enumerate((settings.frame_blocks, settings.band_blocks))
        for j in range(count)
        if key in state
    }
    return filled(BSRoFormer, settings, shared | weights, called)


def convert_config(values: dict[str, Any], state: dict[str, Tensor], given: Given) -> BSRoFormerConfig:
    """The YAML as our configuration.

    Raises:
        InputError: a setting is missing, unknown, or has no counterpart, or it contradicts the weights.
    """
    if not isinstance(values.get("model"), dict):
        raise InputError(f"its YAML has no model; {TYPES}")
    model, audio = (
        Settings(values["model"], "YAML's model"),
        Settings(values.get("audio", {}), "YAML's audio"),
    )
    training = Settings(values.get("training", {}), "YAML's training")
    inference = Settings(values.get("inference", {}) or {}, "YAML's inference")
    known = {key for key in model.values if str(key).startswith("multi_stft_")} | LEFT_OUT
    unknown = sorted(str(key) for key in set(model.values) - known)
    if unknown:
        raise InputError(f"its YAML's model has {shortened(unknown)}, which cannot be imported")
    for key, plain in (("linear_transformer_depth", 0), ("stft_window_fn", None)):
        if model.values.get(key, plain) != plain:
            raise InputError(
                f"its YAML has {key}={reprlib.repr(model.values[key])}, which cannot be imported"
            )
    mel = "num_bands" in model.values
    rate = audio.get("sample_rate", int, None) or model.get("sample_rate", int, None)
    if mel and rate != (mels := model.get("sample_rate", int, 44100)):
        raise InputError(f"its YAML has a sample_rate of {rate} in audio and of {mels} in model")
    rate = given.settled("sample_rate", rate, "44100, or what it was trained at")
    n_fft = model.get("stft_n_fft", int, 2048)
    dim = model.get("dim", int)
    sources = model.get("num_stems", int, 1)
    depth = model.get("mask_estimator_depth", int, 1 if mel else 2)
    hidden = model.get("mlp_hidden_layers", (int, type(None)), None)
    counts = () if mel else model.get("freqs_per_bands", (list, tuple), FINE)
    bands = f"mel {model.get('num_bands', int)}" if mel else bands_of(counts, rate, n_fft)
    return BSRoFormerConfig(
        sources=_names(training, sources, given),
        sample_rate=rate,
        n_fft=n_fft,
        hop_length=model.get("stft_hop_length", int, 512),
        win_length=model.get("stft_win_length", int, 2048),
        normalized=model.get("stft_normalized", bool, False),
        channels=2 if model.get("stereo", bool, False) else 1,
        bands=bands,
        width=dim,
        layers=model.get("depth", int),
        mask_hidden=dim * model.get("mlp_expansion_factor", int, 4),
        mask_layers=max(depth - 1, 0) if hidden is None else hidden,
        mask_per_source=True,
        zero_dc=model.get("zero_dc", bool, False),
        heads=model.get("heads", int, 8),
        head_size=model.get("dim_head", int, 64),
        gates=True,
        attention_bias=model.get("use_shared_bias", bool, False),
        frame_blocks=model.get("time_transformer_depth", int, 2),
        band_blocks=model.get("freq_transformer_depth", int, 2),
        pair_norm=mel,
        final_norm=not mel,
        dense=model.get("skip_connection", bool, False),
        norm="unit",
        dropout=float(model.get("attn_dropout", (int, float), 0.1 if mel else 0.0)),
        chunk=inference.get("chunk_size", int, None) or audio.get("chunk_size", int, None),
    )


def _names(training: Settings, count: int, given: Given) -> tuple[str, ...]:
    """The target where there is one, else the instruments."""
    target = training.get("target_instrument", (str, type(None)), None)
    listed = training.get("instruments", (list, tuple), [])
    told = (target,) if target else tuple(str(name) for name in listed)
    return given.names(count, told if len(told) == count else ())


def bands_of(counts: Any, rate: int, n_fft: int) -> str:
    """Numbers of bins as runs of bands in Hz, exactly."""
    if not counts or any(type(n) is not int or n < 1 for n in counts):
        raise InputError(f"its freqs_per_bands is {reprlib.repr(counts)}, not positive whole numbers")
    if sum(counts) != n_fft // 2 + 1:
        raise InputError(
            f"its freqs_per_bands are {sum(counts)} bins in all, and stft_n_fft={n_fft} has {n_fft // 2 + 1}"
        )
    return " ".join(f"{len(list(run))}x{count * rate}/{n_fft}" for count, run in groupby(counts))


def ordered(state: dict[str, Tensor], config: BSRoFormerConfig) -> dict[str, Tensor]:
    """The weights with what belongs to a band's values in our order, and without constants."""
    weights = {key: value for key, value in state.items() if not _is_constant(key)}
    for i, (low, high) in enumerate(config.ranges):
        index = torch.arange(2 * config.channels * (high - low))
        index = index.view(high - low, config.channels, 2).transpose(0, 1).flatten()
        both = torch.cat([index, index + len(index)])  # a GLU has values and gates
        split = f"band_split.to_features.{i}."
        made = re.compile(rf"mask_estimators\.\d+\.to_freqs\.{i}\.0\.{2 * config.mask_layers}\.(weight|bias)")
        for key in [k for k in weights if made.fullmatch(k)] + [f"{split}0.gamma"]:
            order = index if key.startswith(split) else both
            if key in weights and len(weights[key]) == len(order):
                weights[key] = weights[key][order]
        key = f"{split}1.weight"
        if key in weights and weights[key].ndim == 2 and weights[key].shape[1] == len(index):
            weights[key] = weights[key][:, index]
    return weights


def _is_constant(key: str) -> bool:
    return key.endswith("rotary_embed.freqs") or key in ("linear_62_bias_0", "linear_64_bias_0")


def check_rotation(state: dict[str, Tensor], config: BSRoFormerConfig) -> None:
    """Refuses angles of a rotary embedding that are not those of the formula: they can be learned.

    Raises:
        InputError: they are others.
    """
    size = config.head_size or config.width // config.heads
    wanted = ROTARY_BASE ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    for key in (key for key in state if key.endswith("rotary_embed.freqs")):
        given = state[key].double()
        if given.shape != wanted.shape or not torch.allclose(given, wanted, rtol=1e-4, atol=0):
            raise InputError(f"its {key} are not the angles of dim_head={size}, {ROTARY_BASE:g}^(-2j/{size})")


def file_names(model: BSRoFormer, config: BSRoFormerConfig, mel: bool) -> dict[str, str]:
    """What a file calls each of our weights."""
    names = {}
    bare = (config.frame_blocks == 1 and not mel, config.band_blocks == 1 and not mel)
    for key in model.state_dict():
        module, _, weight = key.rpartition(".")
        parts = module.split(".")
        match parts[:2]:
            case ["split", kind]:
                norm = kind == "norms"
                theirs = f"band_split.to_features.{parts[2]}.{0 if norm else 1}"
            case ["network", "norm"]:
                norm, theirs = True, "final_norm"
            case ["network", along]:
                axis = 0 if along == "along_frames" else 1
                inner = parts[3:] if bare[axis] else parts[4:]
                block = "0" if bare[axis] else parts[3]
                here = f"layers.{parts[2]}.{axis}"
                theirs = f"{here}.layers.{block}.{BLOCK['.'.join(inner)]}" if inner else f"{here}.norm"
                norm = not inner or ".".join(inner) in ("norm_1", "perceptron.0")
            case _:
                # masks.perceptrons.<band>.<source>.<layer>, the first layer being a norm that does nothing
                norm = False
                theirs = f"mask_estimators.{parts[3]}.to_freqs.{parts[2]}.0.{int(parts[4]) - 1}"
        names[key] = f"{theirs}.{'gamma' if norm else weight}"
    return names
