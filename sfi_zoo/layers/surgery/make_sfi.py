"""Surgery: a trained model of anyone's becomes independent of the sampling frequency, without retraining."""

import copy
import difflib
import warnings
from collections.abc import Iterable

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate
from sfi_zoo.layers.surgery.converted import ConvertedConv1d, ConvertedConvTranspose1d, pair_lengths
from sfi_zoo.layers.surgery.stft_modules import converted_stft, is_inverse, is_stft
from sfi_zoo.layers.surgery.waveform_layers import Probe, probe


def make_sfi(model: nn.Module, sample_rate: float, layers: Iterable[str] | None = None) -> nn.Module:
    """A copy of a model that works at any sampling frequency, and at `sample_rate` computes what the model computes.

    Convolutions that see the waveform, transposed convolutions that make it, and STFT modules are replaced by SFI layers: kernels by
    band-limited interpolation (`InterpolatedKernels`), windows and hops as durations. Nothing is retrained; all else is left
    as it is. `set_sample_rate` or `at_sample_rate` tells the copy at which rate it works, `sfi_layers` what was replaced.

        >>> model = sfi_zoo.make_sfi(model, 16000)
        >>> with sfi_zoo.at_sample_rate(model, 44100):
        ...     estimate = model(mixture)

    Which layers these are is found by running the model on a second of noise: a convolution whose input is the noise, up to padding,
    gain and offset, and a transposed convolution whose output is that of the model.

    The model itself is not touched. Parameters that are shared in it are shared in the copy; kernels keep their shape and get
    the name `<layer>.filters.weight`. A decoder gives as many samples as the model expects from the signal that went in, so models
    that pad to whole hops in samples of F0 go on working.

    Args:
        model: any model with a convolution or an STFT on a waveform.
        sample_rate: F0 in Hz, the rate the model was trained at.
        layers: names of the layers to replace, as in `model.named_modules()`; found if None.

    Returns:
        The converted copy.

    Raises:
        InputError: an impossible rate, nothing found, an unknown name, or a layer that cannot be converted.
    """
    check_sample_rate(sample_rate)
    if any(isinstance(module, SampleRateAware) for module in model.modules()):
        raise InputError(f"{type(model).__name__} holds SFI layers already; use set_sample_rate")
    try:
        model = copy.deepcopy(model)
    except RuntimeError as error:
        raise InputError(
            f"{type(model).__name__} cannot be copied; remove weight_norm or spectral_norm of the old kind first: {error}"
        ) from None
    known = dict(model.named_modules())
    convolutions: dict[str, nn.Module] = {
        n: m for n, m in known.items() if isinstance(m, (nn.Conv1d, nn.ConvTranspose1d))
    }
    stfts = {n: m for n, m in known.items() if is_stft(m)}
    seen = Probe()
    if convolutions:
        seen = probe(copy.deepcopy(model), list(convolutions), list(stfts), sample_rate)
    if layers is None:
        names = [*_found(convolutions, stfts, seen), *stfts]
        if seen.is_waveform(seen.output) and not seen.decoders and not any(map(is_inverse, stfts.values())):
            made = [n for n, m in convolutions.items() if isinstance(m, nn.ConvTranspose1d)]
            warnings.warn(
                f"no layer was found that makes the output of {type(model).__name__}, though it is a waveform; if it is one of "
                f"{made}, name all layers in layers=[...]",
                stacklevel=2,
            )
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        for name in names:
            _check(name, known, seen)
    if seen.direct:
        warnings.warn(
            f"{type(model).__name__} calls {' and '.join(sorted(seen.direct))} itself; that is not a layer and stays as it is, "
            "in samples",
            stacklevel=2,
        )
    twins = {name: _twin(name, known[name], sample_rate) for name in names}
    pair_lengths(
        [t for t in twins.values() if isinstance(t, ConvertedConv1d)],
        [t for t in twins.values() if isinstance(t, ConvertedConvTranspose1d)],
    )
    return replace_modules(model, {known[name]: twin for name, twin in twins.items()})


def sfi_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The SFI layers of a model by name: what `make_sfi` has put in, what `freeze` will take out."""
    return {name: m for name, m in model.named_modules() if isinstance(m, SampleRateAware)}


def replace_modules(model: nn.Module, twins: dict[nn.Module, nn.Module]) -> nn.Module:
    """`model` with every module that is a key of `twins` replaced, wherever it is referred to."""
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child in twins:
                parent._modules[key] = twins[child]
    return twins.get(model, model)


def _found(convolutions: dict[str, nn.Module], stfts: dict[str, nn.Module], seen: Probe) -> list[str]:
    """Names of the convolutions at the ends of the model.

    Raises:
        InputError: there are none, or they could not be found out.
    """
    if seen.samples or not convolutions:
        if seen.encoders or seen.decoders or stfts:
            return [*seen.encoders, *seen.decoders]
        reason = "no convolution or STFT module sees the waveform"
    else:
        reason = "the model could not be run on noise of shape (1, 1, time), (1, 2, time) or (1, time)"
    listed = ", ".join([*convolutions, *stfts]) or "the model has no Conv1d, ConvTranspose1d or STFT module"
    raise InputError(f"{reason}; give layers=[...], names out of: {listed}")


def _check(name: str, known: dict[str, nn.Module], seen: Probe) -> None:
    """Refuses a name that is no layer, or that of a layer whose input is not a waveform."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or [
            n for n, m in known.items() if isinstance(m, (nn.Conv1d, nn.ConvTranspose1d)) or is_stft(m)
        ]
        raise InputError(f"the model has no layer {name!r}; did you mean one of: {', '.join(near)}?")
    length = seen.lengths.get(name)
    if length is not None and not seen.is_waveform(length):
        raise InputError(
            f"layer {name!r} works on {length} frames where the signal has {seen.samples} samples: its stride is not a duration; "
            "convert the layers at the waveform, and this one sees the same frames at every sampling frequency"
        )


def _twin(name: str, module: nn.Module, sample_rate: float) -> nn.Module:
    """The SFI layer for a plain one.

    Raises:
        InputError: it cannot be converted.
    """
    if is_stft(module):
        return converted_stft(module, name, sample_rate)
    reason = _obstacle(module)
    if reason:
        raise InputError(f"layer {name!r} ({type(module).__name__}) cannot be converted: {reason}")
    if isinstance(module, nn.Conv1d):
        return ConvertedConv1d(module, sample_rate)
    assert isinstance(module, nn.ConvTranspose1d)
    return ConvertedConvTranspose1d(module, sample_rate)


def _obstacle(module: nn.Module) -> str | None:
    """Why a module has no SFI twin, and what to do; None if it has one."""
    if not isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
        return "only Conv1d, ConvTranspose1d and STFT modules are"
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        return "it is lazy; run the model once, so that its size is known"
    plain = nn.Conv1d if isinstance(module, nn.Conv1d) else nn.ConvTranspose1d
    own = type(module).forward is not plain.forward or type(module)._conv_forward is not plain._conv_forward
    hooked = bool(module._forward_pre_hooks or module._forward_hooks)
    reasons = {
        "it is parametrized; torch.nn.utils.parametrize.remove_parametrizations first": is_parametrized(
            module
        ),
        "it has hooks; remove them first": hooked,
        "its class computes something of its own": own,
        "its weights are complex": module.weight.is_complex(),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
