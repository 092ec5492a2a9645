"""BSRNN of the URGENT 2026 challenge's baseline: a Lightning checkpoint as a model of ours.

Its file holds the weights only. The transform is fixed by its code: frames of 20 ms each 10 ms, Hann, at 48 kHz; at F, windows and hops
of n F / 48000 samples, rounded down, and the values that `torch.stft` gives. Where nothing is rounded ours are the same. Its norms
(GroupNorm with one group) run over all frames, those of its RNNs also over all bands.

Source: https://github.com/urgent-challenge/urgent2026_challenge_track1, whose layers are ESPnet's (espnet2/enh/layers/bsrnn.py).
"""

import re

from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.msst import bands_of
from sfi_zoo.importers.settings import Given
from sfi_zoo.models.bsrnn import BSRNN, BSRNNConfig

RATE, N_FFT, HOP = 48000, 960, 480
MOST_SOURCES = 100
FIRST = "band_split.fc.0.weight"
PREFIXES = (
    "se_model.bsrnn.bsrnn.",
    "bsrnn.bsrnn.",
    "bsrnn.",
)  # of the Lightning module; of its `se_model`; of that one's `bsrnn`
BESIDE = (
    "nn.weight",
    "nn.bias",
)  # a linear layer that an early version of the baseline makes and does not use
RNN = {"norm": "norm", "rnn": "rnn", "linear": "fc"}
HEADS = {"masks": "mlp_mask", "residuals": "mlp_residual"}


def is_bsrnn(content: object) -> bool:
    """Whether a state dict is that of a BSRNN of ESPnet, from which the baseline has it."""
    return isinstance(content, dict) and any(str(key).endswith(FIRST) for key in content)


def convert(state: dict[str, Tensor], given: Given) -> BSRNN:
    """The model of a state dict, in evaluation mode.

    Args:
        state: its weights.
        given: names of the sources.

    Raises:
        InputError: another model on the same layers, other norms, or weights that do not fit.
    """
    from sfi_zoo.models.weights import filled

    prefix = next(str(key).removesuffix(FIRST) for key in state if str(key).endswith(FIRST))
    if prefix not in PREFIXES:
        flow = " (the flow model of the baseline is generative: it predicts no masks)" * (prefix == "dnn.")
        raise InputError(
            f"its BSRNN is at {prefix or 'the top'}, not at {PREFIXES[0]}: the transform around it is not known{flow}"
        )
    inner = {str(k).removeprefix(prefix): v for k, v in state.items() if str(k) not in BESIDE}
    weights = {k: v.squeeze(-1) if _is_pointwise(k, v) else v for k, v in inner.items()}
    return filled(BSRNN, convert_config(weights, given), weights, file_names)


def _is_pointwise(key: str, value: Tensor) -> bool:
    """Whether it is a convolution of one tap: a linear layer, with us."""
    return key.endswith(".weight") and value.ndim == 3 and value.shape[-1] == 1


def convert_config(state: dict[str, Tensor], given: Given) -> BSRNNConfig:
    """The settings, from the shapes of the weights.

    Raises:
        InputError: weights are missing, or are those of another kind of norm or of other bands.
    """
    others = [key for key in state if re.search(r"\.(gamma|running_mean)$", key)]
    if others:
        kind = "BN" if others[0].endswith("running_mean") else "cLN or cfLN"
        raise InputError(
            f"its norms are of the kind {kind} ({others[0]}); those of the baseline are GN, which can be imported"
        )
    counts = [
        _size(state, f"band_split.fc.{i}.weight", 1) // 2 for i in range(_count(state, "band_split.fc"))
    ]
    if sum(counts) != N_FFT // 2 + 1:
        raise InputError(f"its bands have {sum(counts)} bins in all, those of the baseline {N_FFT // 2 + 1}")
    if min(counts) < 1:
        raise InputError(f"its band {counts.index(min(counts))} has no bin")
    rnn = "rnn_time.0.weight_hh_l0"
    sources = max(1, _size(state, "mask_decoder.mlp_mask.0.3.weight", 0) // (4 * counts[0]))
    if sources > MOST_SOURCES:
        raise InputError(f"its masks would be of {sources} sources, more than any model has ({MOST_SOURCES})")
    return BSRNNConfig(
        sources=given.names(sources, ("speech",) if sources == 1 else ()),
        sample_rate=given.settled("sample_rate", RATE),
        n_fft=N_FFT,
        hop_length=HOP,
        bands=bands_of(counts, RATE, N_FFT),
        width=_size(state, FIRST, 0),
        layers=_count(state, "rnn_time"),
        mask_hidden=_size(state, "mask_decoder.mlp_mask.0.1.weight", 0),
        hidden=_size(state, rnn, 1),
        causal=f"{rnn}_reverse" not in state,
        norms="item",
        residual="samples",
    )


def _count(state: dict[str, Tensor], part: str) -> int:
    """How many layers a list has."""
    return len({key.split(".")[part.count(".") + 1] for key in state if key.startswith(f"{part}.")})


def _size(state: dict[str, Tensor], key: str, axis: int) -> int:
    if key not in state or state[key].ndim != 2:
        raise InputError(f"it misses {key}, or that is no matrix")
    return state[key].shape[axis]


def file_names(model: BSRNN) -> dict[str, str]:
    """What a file calls each of our weights."""
    names = {}
    for key in model.state_dict():
        match key.split("."):
            case ["split", kind, band, weight]:
                theirs = f"band_split.{'norm' if kind == 'norms' else 'fc'}.{band}.{weight}"
            case ["network", layer, part, weight]:
                pair, bands = divmod(int(layer), 2)
                theirs = f"{RNN[part]}_{'freq' if bands else 'time'}.{pair}.{weight}"
            case [head, _, *rest]:
                theirs = f"mask_decoder.{HEADS[head]}.{'.'.join(rest)}"
        names[key] = theirs
    return names
