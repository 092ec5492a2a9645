"""SFI layers for calls of torch functions: built from the arguments of the call, computed with the weight of each call."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfi_zoo.design import band_limited_taps
from sfi_zoo.errors import InputError
from sfi_zoo.filters.kaiser import HALF_WIDTH
from sfi_zoo.layers.stft import SFIISTFT, SFISTFT
from sfi_zoo.layers.surgery.call_arguments import Convolution, Operands
from sfi_zoo.layers.surgery.converted import ConvertedConv1d, ConvertedConvTranspose1d, SharedLength
from sfi_zoo.layers.surgery.probe import Flow


def called_convolution(
    call: Convolution, weight: Tensor, sample_rate: float, whole_hops: bool
) -> ConvertedConv1d | ConvertedConvTranspose1d:
    """A layer for a call of `conv1d` or `conv_transpose1d`, without its bias.

    Args:
        call: the numbers.
        weight: of the call; the layer holds it until `run_convolution` gives it another one.
        sample_rate: F0 in Hz.
        whole_hops: see `ConvertedConv1d`.
    """
    options: dict[str, Any] = {
        "stride": call.stride,
        "padding": call.padding,
        "dilation": call.dilation,
        "groups": call.groups,
        "bias": False,
        "device": "meta",
    }
    kernel = call.weight[-1]
    plain: nn.Conv1d | nn.ConvTranspose1d
    if call.name == "conv1d":
        plain = nn.Conv1d(call.weight[1] * call.groups, call.weight[0], kernel, **options)
    else:
        options["output_padding"] = call.output_padding
        plain = nn.ConvTranspose1d(call.weight[0], call.weight[1] * call.groups, kernel, **options)
    plain.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if isinstance(plain, nn.ConvTranspose1d):
        return ConvertedConvTranspose1d(plain, sample_rate).eval()
    layer = ConvertedConv1d(plain, sample_rate)
    layer.whole_hops = whole_hops
    return layer.eval()


def run_convolution(
    layer: ConvertedConv1d | ConvertedConvTranspose1d,
    operands: Operands,
    rate: float,
    shared: SharedLength | None,
) -> Tensor:
    """What the call gives at F. Gradients reach the weight, also one that is computed on the fly.

    Args:
        layer: of `called_convolution`.
        operands: the tensors of the call.
        rate: F in Hz.
        shared: what the encoders with this hop tell the decoders.
    """
    weight, layer.shared = operands.weight, shared
    # a weight that is part of a graph is designed anew: what is cached knows nothing of it
    layer.training = weight.requires_grad and torch.is_grad_enabled()
    layer.filters._parameters["weight"] = weight  # type: ignore[assignment]  # as torch.func.functional_call does
    try:
        y = layer(operands.x, rate)
    finally:
        layer.training = False
        layer.filters._parameters["weight"] = nn.Parameter(weight.detach(), requires_grad=False)
    return y if operands.bias is None else y + operands.bias[:, None].to(y)


def filter_taps(
    call: Convolution, weight: Tensor, rate: float, trained_rate: float
) -> tuple[Tensor, int, int]:
    r"""Taps at F of a convolution from samples to samples: the same frequency response in Hz.

    At F0, y[n] = sum_m w[m] x[n - p + m]: the centre of the kernel lies c = (L0 - 1) / 2 - p samples of F0 after the output's instant. At
    F the taps are those of `band_limited_taps` at the instants (c F / F0 - m) / F.

    Args:
        call: the numbers.
        weight: (out_channels, in_channels / groups, taps) at F0.
        rate: F in Hz.
        trained_rate: F0 in Hz.

    Returns:
        The taps at F, the index of the first relative to the output's sample, and how many samples come out less than go in (as
        many as at F0: the model counts on that).
    """
    if call.padding == "same":
        left, right = (call.kernel - 1) // 2, call.kernel // 2
    else:
        left = right = 0 if call.padding == "valid" else int(call.padding)
    centre = ((call.kernel - 1) / 2 - left) * rate / trained_rate
    radius = (call.kernel / 2 / trained_rate + HALF_WIDTH / min(rate, trained_rate)) * rate
    first, last = math.ceil(centre - radius), math.floor(centre + radius)
    delay, band = weight.new_tensor([centre], dtype=torch.float64), min(rate, trained_rate)
    kernels = _with_gaps(weight, call.dilation).double().flatten(0, -2)
    with torch.autocast(weight.device.type, enabled=False):
        taps = band_limited_taps(kernels, delay, first, last, rate, band, trained_rate)[0]
    return taps.to(weight.dtype).unflatten(0, weight.shape[:-1]), first, call.kernel - 1 - left - right


def run_filter(call: Convolution, operands: Operands, rate: float, trained_rate: float) -> Tensor:
    """A convolution from samples to samples at F, see `filter_taps`.

    Args: those of `run_convolution`; `trained_rate` is F0 in Hz.
    """
    taps, first, shorter = filter_taps(call, operands.weight, rate, trained_rate)
    x = operands.x
    samples = x.shape[-1] - shorter
    x = functional.pad(
        x, (-first, samples + first + taps.shape[-1] - 1 - x.shape[-1])
    )  # negative padding cuts
    return functional.conv1d(x, taps, operands.bias, groups=call.groups)


def _with_gaps(weight: Tensor, dilation: int) -> Tensor:
    """A dilated kernel with its gaps as zeros."""
    if dilation == 1:
        return weight
    spread = functional.pad(weight.unsqueeze(-1), (0, dilation - 1)).flatten(-2)
    return spread[..., : (weight.shape[-1] - 1) * dilation + 1]


def called_transform(name: str, arguments: dict[str, Any], sample_rate: float) -> SFISTFT | SFIISTFT:
    """A layer for a call of `torch.stft` or `torch.istft`.

    Args:
        name: "stft" or "istft".
        arguments: of the call, see `call_arguments.transform`.
        sample_rate: F0 in Hz.

    Raises:
        InputError: the layer has no such setting.
    """
    if arguments.get("onesided") is False:
        raise InputError(f"torch.{name} with onesided=False is not converted; take one side")
    x, window = arguments["x"], arguments["window"]
    if window is not None and window.requires_grad and torch.is_grad_enabled():
        raise InputError(f"torch.{name} with a window that is trained is not converted at other rates")
    if window is None:
        window = torch.ones(arguments["win_length"], device=x.device, dtype=x.real.dtype)
    options = {
        "n_fft": arguments["n_fft"],
        "hop_length": arguments["hop_length"],
        "win_length": arguments["win_length"],
        "window": window.detach(),
        "center": arguments["center"],
        "normalized": bool(arguments["normalized"]),
        "sample_rate": sample_rate,
    }
    if name == "istft":
        return SFIISTFT(**options).eval()
    return SFISTFT(**options, pad_mode=arguments["pad_mode"]).eval()


def check_transforms(flows: Iterable[Flow], sample_rate: float) -> None:
    """Refuses a model with a call of `torch.stft` or `torch.istft` that has no layer.

    Args:
        flows: of a probe.
        sample_rate: F0 in Hz.

    Raises:
        InputError: which call it is, and what it wants.
    """
    for call in (flow.call for flow in flows):
        if call.transform is None:
            continue
        try:
            called_transform(call.name, call.transform, sample_rate)
        except InputError as error:
            raise InputError(f"{call.name} in {call.site} cannot be converted: {error}") from None


def transform_numbers(arguments: dict[str, Any]) -> tuple[Any, ...]:
    """The settings in the arguments of a transform."""
    names = ("n_fft", "hop_length", "win_length", "center", "pad_mode", "normalized", "onesided")
    return tuple(arguments[name] for name in names if name in arguments)


def run_transform(
    layer: SFISTFT | SFIISTFT,
    arguments: dict[str, Any],
    rate: float,
    shared: SharedLength,
    whole_hops: bool = True,
) -> Tensor:
    """What the call gives at F.

    An inverse without a length gives what `SharedLength.length` says.

    Args:
        layer: of `called_transform`.
        arguments: of the call.
        rate: F in Hz.
        shared: what transforms with this hop tell their inverses.
        whole_hops: the model pads signals to whole hops before this call.
    """
    x = arguments["x"]
    n_fft, hop = int(layer.n_fft), int(layer.hop_length)
    beyond = n_fft - 2 * layer._padding
    if isinstance(layer, SFISTFT):
        z = layer(x, rate)
        ratio = layer.trained_rate / rate
        count = lambda samples: (samples - beyond) // hop + 1  # noqa: E731
        shared.note(z.shape[-1], x.shape[-1], ratio, count, whole_hops)
        return (
            z if arguments["return_complex"] or arguments["return_complex"] is None else torch.view_as_real(z)
        )
    length = arguments["length"]
    if length is None:
        length = shared.length(x.shape[-1], lambda frames: (frames - 1) * hop + beyond)
    return layer(x, rate, None if length is None else int(length))


def same_window(layer: nn.Module, window: Tensor | None) -> bool:
    """Whether a layer was made with that window."""
    made_with: Tensor | None = layer.made_with  # type: ignore[assignment]
    if made_with is None or window is None:
        return made_with is window
    return (
        made_with.shape == window.shape
        and made_with.device == window.device
        and made_with.dtype == window.dtype
        and bool(torch.equal(made_with, window))
    )
