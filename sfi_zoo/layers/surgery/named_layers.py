"""Layers that a user names, and the twins of layers."""

import difflib

from torch import nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers.surgery.converted import ConvertedConv1d, ConvertedConvTranspose1d
from sfi_zoo.layers.surgery.obstacles import obstacle
from sfi_zoo.layers.surgery.probe import SAMPLES, Probe
from sfi_zoo.layers.surgery.stft_modules import converted_stft, is_stft
from sfi_zoo.wording import shortened


def names_to_choose_from(model: nn.Module) -> str:
    """Names of the layers that can be named in `layers`, in words."""
    names = [n or "''" for n, m in model.named_modules() if _is_layer(m)]
    return shortened(names) or "the model has no Conv1d, ConvTranspose1d or STFT module"


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)) or is_stft(module)


def check_name(name: str, known: dict[str, nn.Module], seen: Probe) -> None:
    """Refuses a name that is no layer, or that of a layer that sees frames.

    Raises:
        InputError: so it is.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or [n for n, m in known.items() if _is_layer(m)]
        raise InputError(f"the model has no layer {name!r}; did you mean one of: {', '.join(near)}?")
    for flow in seen.flows:
        if flow.call.site.module != name or not flow.call.convolution:
            continue
        transposed = flow.call.name == "conv_transpose1d"
        slopes = (flow.outputs() if transposed else flow.inputs())[0]
        size = (flow.call.outputs if transposed else flow.call.inputs)[0].shape
        if slopes and 0 < slopes[-1] < SAMPLES:
            raise InputError(
                f"layer {name!r} works on {size[-1]} frames where the signal has {seen.samples} samples: its stride is not a "
                "duration; convert the layers at the waveform, and this one sees the same frames at every sampling frequency"
            )


def twin(name: str, module: nn.Module, sample_rate: float) -> nn.Module:
    """The SFI layer for a plain one.

    Raises:
        InputError: it cannot be converted.
    """
    if is_stft(module):
        return converted_stft(module, name, sample_rate)
    reason = obstacle(module)
    if reason:
        raise InputError(f"layer {name!r} ({type(module).__name__}) cannot be converted: {reason}")
    if isinstance(module, nn.Conv1d):
        return ConvertedConv1d(module, sample_rate)
    assert isinstance(module, nn.ConvTranspose1d)
    return ConvertedConvTranspose1d(module, sample_rate)
