"""The way back: plain layers with the weights that were designed for one sampling frequency."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.filters.base import is_half
from sfi_zoo.layers.designed import DesignedConv
from sfi_zoo.layers.sample_rate import check_sample_rate, set_sample_rate
from sfi_zoo.layers.sfi_conv import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.layers.stft import SFIISTFT, SFISTFT
from sfi_zoo.layers.surgery.conversion import replace_modules
from sfi_zoo.layers.surgery.frozen_calls import FrozenCalls, record
from sfi_zoo.layers.surgery.frozen_phases import PlainConv1d, PlainConvTranspose1d
from sfi_zoo.layers.surgery.frozen_stft import PlainISTFT, PlainSTFT
from sfi_zoo.layers.surgery.make_sfi import sfi_layers
from sfi_zoo.layers.surgery.redirected import Redirected
from sfi_zoo.layers.surgery.watch import unwatched
from sfi_zoo.layers.surgery.wrapped import ResampledModel

MOST_PHASES = 640  # enough for any two of 8, 11.025, 12, 16, 22.05, 24, 32, 44.1, 48, 88.2, 96 kHz


@torch.no_grad()
def freeze(model: nn.Module, sample_rate: float) -> nn.Module:
    """A copy of a model for one sampling frequency, with plain layers in place of its SFI layers.

    For export (ONNX, torch.export), for other runtimes, or for fine-tuning at one rate. Where the hop is a whole number of samples an
    SFI convolution becomes exactly one `nn.Conv1d` (or `nn.ConvTranspose1d`); where it is not, one for each of the P phases,
    interleaved; transforms become convolutions with windowed exponentials. Outputs are those of the SFI model at that rate.

    A plain decoder gives (frames - 1) hop samples and a kernel less padding. A foreign model that counts hops in samples of F0 (see
    `make_sfi`) therefore wants signals of whole hops at this rate: multiples of S0 F / F0 samples, whole numbers.

    A model between two resamplings (`fallback`) has no SFI layer: its copy stays between them, and is set to this rate.

    To ONNX: `torch.onnx.export(frozen, (waveform,), path, dynamo=True, optimize=False)`; the optimiser takes floors of 1e-12 for zero.

    Args:
        model: a model with SFI layers; it is not touched.
        sample_rate: F in Hz.

    Returns:
        The frozen copy, in the mode (training or evaluation) of the model; calls that were redirected go to plain layers, with the kernels
        and windows of now. Separators of the zoo become a module that takes the waveform
        alone.

    Raises:
        InputError: an impossible rate, no SFI layer, one that has no plain twin, or a rate at which the hop takes too many phases.
    """
    sample_rate = check_sample_rate(sample_rate)
    layers = sfi_layers(model)
    if not layers:
        raise InputError(f"{type(model).__name__} holds no SFI layer; nothing to freeze")
    rate = float(sample_rate)
    if isinstance(model, Redirected):
        return _frozen_calls(model, rate)
    if isinstance(model, ResampledModel):
        wrapped = copy.deepcopy(model)
        set_sample_rate(wrapped, rate)
        return wrapped
    if callable(own := getattr(model, "at_one_rate", None)):  # it knows what it is made of
        frozen: nn.Module = own(rate, freeze)
        return frozen
    model = unwatched(copy.deepcopy(model))
    known = dict(model.named_modules())
    plain = {known[name]: _plain(name, known[name], rate) for name in layers}
    if not all(hasattr(model, method) for method in ("encode", "predict_masks", "decode")):
        return replace_modules(model, plain)
    stand_ins: dict[nn.Module, nn.Module] = {
        layer: StandIn(twin, layer, rate) for layer, twin in plain.items()
    }
    return FrozenSeparator(replace_modules(model, stand_ins), rate)


def _frozen_calls(model: Redirected, rate: float) -> nn.Module:
    """A redirected model with plain layers at its calls; at F0 it is the model itself."""
    calls = {} if rate == model.trained_rate else record(model, rate, _plain)
    inner = copy.deepcopy(model.model)
    known, layers = dict(inner.named_modules()), list(sfi_layers(inner))
    inner = replace_modules(inner, {known[name]: _plain(name, known[name], rate) for name in layers})
    return FrozenCalls(inner, rate, calls, model, layers) if calls else inner


class FrozenSeparator(nn.Module):
    """A separator of the zoo at one sampling frequency: its layers are told the rate, and this one knows it.

    Args:
        model: the separator, with a `StandIn` for each of its SFI layers.
        rate: F in Hz.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        super().__init__()
        self.model: Any = model
        self.rate = rate
        fill: Any = getattr(model, "fill", None)  # `DeadFill` of a separator
        if getattr(fill, "frozen", None) is False and fill.level.any():
            fill.frozen = True
        self.train(model.training)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, channels, time) -> (batch, sources, channels, time)."""
        latent = self.model.encode(waveform, self.rate)
        if hasattr(self.model, "predict"):
            masks, residual = self.model.predict(latent)
        else:
            masks, residual = self.model.predict_masks(latent), None
        values = latent.values
        if values.is_complex():  # product in real numbers: exporters know few complex operations
            parts = _product(torch.view_as_real(values).unsqueeze(1), masks)
            masked = torch.view_as_complex(parts.contiguous())
        else:
            masked = values.unsqueeze(1) * masks
        added = {} if residual is None else {"residual": residual}
        y = self.model.decode(masked, self.rate, waveform.shape[-1], **added)
        return y.unflatten(0, (waveform.shape[0], -1)).transpose(1, 2)


def _product(parts: Tensor, masks: Tensor) -> Tensor:
    """Real and imaginary parts (..., 2) times masks, which may be complex."""
    if not masks.is_complex():
        return parts * masks.unsqueeze(-1)
    (a, b), (c, d) = parts.unbind(-1), torch.view_as_real(masks).unbind(-1)
    return torch.stack([a * c - b * d, a * d + b * c], dim=-1)


class StandIn(nn.Module):
    """A plain layer where a model expects an SFI layer: called in the same way, and asked where frames and filters lie.

    It computes in float32 at least, as the SFI layer does.

    Args:
        plain: what computes.
        layer: what answers.
        rate: F in Hz.
    """

    def __init__(self, plain: nn.Module, layer: nn.Module, rate: float) -> None:
        super().__init__()
        dtypes = {x.dtype for x in plain.parameters() if is_half(x.dtype)}
        self.plain, self.rate = plain.float() if dtypes else plain, rate
        # in a tuple: its parameters are no part of the model, and constants for whatever traces it
        self.answers = (layer.requires_grad_(False),)

    def __getattr__(self, name: str) -> Any:
        if name in {"plain", "answers"}:
            return super().__getattr__(name)
        return getattr(self.answers[0], name)

    def forward(self, x: Tensor, sample_rate: float | None = None, length: int | None = None) -> Tensor:
        """What the SFI layer gives at F.

        Raises:
            InputError: asked for another rate.
        """
        if sample_rate is not None and sample_rate != self.rate:
            raise InputError(f"this model is frozen at {self.rate:g} Hz; got sample_rate {sample_rate}")
        if isinstance(self.plain, PlainISTFT):
            return self.plain(x, length)
        y = self.plain(x)
        if length is not None:
            y = nn.functional.pad(y, (0, length - y.shape[-1]))  # negative padding cuts
        return y


def _plain(name: str, layer: nn.Module, rate: float) -> nn.Module:
    """The plain layer for an SFI layer."""
    if not isinstance(layer, (SFIConv1d, SFIConvTranspose1d, SFISTFT, SFIISTFT)):
        raise InputError(
            f"layer {name!r} ({type(layer).__name__}) has no plain form for one sampling frequency"
        )
    phases = layer.frame_grid(rate).phases
    if phases > MOST_PHASES:
        raise InputError(
            f"layer {name!r} at {rate:g} Hz: its hop takes {phases} phases, more than {MOST_PHASES}; "
            f"freeze at a rate in a simpler ratio to {layer.trained_rate:g} Hz"
        )
    plain: nn.Module
    if isinstance(layer, SFISTFT):
        plain = PlainSTFT(layer, rate)
    elif isinstance(layer, SFIISTFT):
        plain = PlainISTFT(layer, rate)
    elif isinstance(layer, SFIConv1d):
        plain = _conv(name, layer, rate)
    else:
        plain = _conv_transpose(layer, rate)
    return plain.train(layer.training)


def _every_phase(layer: DesignedConv, rate: float) -> tuple[Tensor, list[int]]:
    """Kernels of frames 0 ... P - 1 as plain layers hold them, (P, ., ., taps), and the first sample of each."""
    grid = layer.frame_grid(rate)
    taps, first = layer.weights(rate)
    if grid.interpolated:
        delays = [(grid.first + j * grid.hop) % grid.per / grid.per for j in range(grid.phases)]
        weights = grid.lagrange(torch.tensor(delays, dtype=torch.float64, device=taps.device))
        taps = torch.einsum("pn,ncl->pcl", weights, taps.double())
    shape = (layer.in_channels, layer.out_channels // layer.groups)
    if isinstance(layer, SFIConv1d):
        shape = (layer.out_channels, layer.in_channels // layer.groups)
    return taps.to(layer.dtype).unflatten(1, shape), [grid.start(j) + first for j in range(grid.phases)]


def _conv(name: str, layer: SFIConv1d, rate: float) -> nn.Module:
    at_rate = layer.layout(rate)
    kernels, begins = _every_phase(layer, rate)
    if len(kernels) > 1:
        if layer.padding_mode != "zeros":
            raise InputError(
                f"layer {name!r} has a hop of {at_rate.hop / at_rate.per:g} samples at {rate:g} Hz: padding_mode "
                f"{layer.padding_mode!r} can be frozen at whole hops only"
            )
        return PlainConv1d(at_rate, kernels, begins, layer.groups, layer.bias)
    # zeros before the kernel and after it, so that equal padding on both sides gives the frames of the layer
    left, taps = max(0, -begins[0]), kernels.shape[-1]
    before = max(0, begins[0])
    more = -((at_rate.left + at_rate.right - at_rate.kernel) // at_rate.per) - (taps + before - 2 * left)
    before, after = before + max(0, -more), max(0, more)
    left += max(0, -more)
    conv = nn.Conv1d(
        layer.in_channels,
        layer.out_channels,
        taps + before + after,
        at_rate.hop // at_rate.per,
        left,
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,  # type: ignore[arg-type]
    )
    return _filled(conv, nn.functional.pad(kernels[0], (before, after)), layer.bias)


def _conv_transpose(layer: SFIConvTranspose1d, rate: float) -> nn.Module:
    at_rate = layer.layout(rate)
    kernels, begins = _every_phase(layer, rate)
    output_padding = layer.output_padding * rate / layer.trained_rate
    if len(kernels) > 1:
        return PlainConvTranspose1d(at_rate, kernels, begins, layer.groups, layer.bias, output_padding)
    crop, taps = max(0, -begins[0]), kernels.shape[-1]
    before = max(0, begins[0])
    more = at_rate.output_length(1, output_padding) - (taps + before - 2 * crop)
    before, after = before + max(0, -more), max(0, more)
    crop += max(0, -more)
    conv = nn.ConvTranspose1d(
        layer.in_channels,
        layer.out_channels,
        taps + before + after,
        at_rate.hop // at_rate.per,
        crop,
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    return _filled(conv, nn.functional.pad(kernels[0], (before, after)), layer.bias)


def _filled(
    conv: nn.Conv1d | nn.ConvTranspose1d, kernel: Tensor, bias: Tensor | None
) -> nn.Conv1d | nn.ConvTranspose1d:
    conv.weight = nn.Parameter(kernel.detach().clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv
