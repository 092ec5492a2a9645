"""A redirected model at one sampling frequency: plain layers at the calls, with the kernels and windows that were computed for it."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import at_sample_rate
from sfi_zoo.layers.surgery.call_arguments import (
    CONVOLUTIONS,
    Convolution,
    Operands,
    convolution,
    redirected_name,
    transform,
)
from sfi_zoo.layers.surgery.call_sites import ModuleNames, called_from_here, caller
from sfi_zoo.layers.surgery.called_layers import filter_taps, transform_numbers
from sfi_zoo.layers.surgery.converted import ConvertedConv1d, SharedLength
from sfi_zoo.layers.surgery.places import FILTER, INSIDE
from sfi_zoo.layers.surgery.probe import isolated, noise
from sfi_zoo.layers.surgery.redirected import Key, Redirected, Redirection, count_at_trained

Plain = Callable[[str, nn.Module, float], nn.Module]
SECONDS = 0.4


class FrozenCalls(nn.Module):
    """A foreign model with plain layers at the calls that were redirected.

    Its inputs are those of the model at F. `torch.export` and the exporter to ONNX see plain calls.

    Args:
        model: the foreign model; modules of it that were converted are frozen already.
        rate: F in Hz.
        calls: the layer for every call, and what answers for it; see `record`.
        converted: the model before, see `Redirected`.
        layers: names of the modules that are frozen themselves: what they call is plain.
    """

    def __init__(
        self,
        model: nn.Module,
        rate: float,
        calls: dict[Any, tuple[nn.Module, Any]],
        converted: Redirected,
        layers: Iterable[str],
    ) -> None:
        super().__init__()
        self.model, self.rate, self.layers = model, rate, frozenset(layers)
        self.trained_rate, self.roles, self.counts = converted.trained_rate, converted.roles, converted.counts
        self.plain = nn.ModuleList([plain for plain, _ in calls.values()])
        self.places = {key: i for i, key in enumerate(calls)}
        self.answers = [answer for _, answer in calls.values()]  # of no parameters of the model
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the converted model gives at F."""
        with _Frozen(self):
            return self.model(*args, **kwargs)


class _Frozen(TorchFunctionMode):
    """Calls the plain layers."""

    def __init__(self, frozen: FrozenCalls) -> None:
        super().__init__()
        self.frozen, self.names = frozen, ModuleNames(frozen.model)
        self.shared: dict[int, SharedLength] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, frozen = redirected_name(func), self.frozen
        if name is None:
            rates = frozen.rate, frozen.trained_rate
            args, kwargs = count_at_trained(func, args, kwargs, frozen.counts, self.names, rates)
        if name is None or called_from_here():
            return func(*args, **kwargs)
        found = convolution(name, args, kwargs) if name in CONVOLUTIONS else None
        key = Key(name, caller(self.names), found[0] if found else None)
        if frozen.roles.get(key) == INSIDE or key.site.module in frozen.layers:
            return func(*args, **kwargs)
        arguments = None if found else transform(name, args, kwargs)
        at = key if found else (key, transform_numbers(arguments or {}))
        if at not in self.frozen.places:
            raise InputError(f"{name} in {key.site} was not seen when the model was frozen; freeze it anew")
        index = self.frozen.places[at]
        plain, layer = self.frozen.plain[index], self.frozen.answers[index]
        if found:
            return self._convolution(plain, layer, *found)
        assert arguments is not None
        return self._transform(name, plain, layer, arguments)

    def _convolution(self, plain: nn.Module, layer: Any, call: Convolution, operands: Operands) -> Tensor:
        x, rate = operands.x, self.frozen.rate
        if layer is None:
            y = plain(x)
        elif isinstance(layer, ConvertedConv1d):
            layer.shared = self.shared.setdefault(call.stride, SharedLength())
            frames = layer.num_frames(x.shape[-1], rate)
            at_rate = layer.layout(rate)
            more = -(-at_rate.hop // at_rate.per) + 1  # so that the frames of the converted layer are there
            y = plain(functional.pad(x, (0, more)))[..., :frames]
            ratio = layer.trained_rate / rate
            layer.shared.note(frames, x.shape[-1], ratio, layer.counted, layer.whole_hops)
        else:
            y = plain(x)
            shared = self.shared.get(call.stride)
            length = shared.length(x.shape[-1], layer.made) if shared else None
            y = y if length is None else functional.pad(y, (0, length - y.shape[-1]))
        return y if operands.bias is None else y + operands.bias[:, None]

    def _transform(self, name: str, plain: Any, layer: Any, arguments: dict[str, Any]) -> Tensor:
        x, hop = arguments["x"], int(arguments["hop_length"])
        beyond = int(layer.n_fft) - 2 * layer._padding
        shared = self.shared.setdefault(hop, SharedLength())
        if name == "stft":
            z: Tensor = plain(x)
            ratio = layer.trained_rate / self.frozen.rate
            shared.note(z.shape[-1], x.shape[-1], ratio, lambda n: (n - beyond) // hop + 1, layer.whole_hops)
            return torch.view_as_real(z) if arguments["return_complex"] is False else z
        length = arguments["length"]
        if length is None:
            length = shared.length(x.shape[-1], lambda frames: (frames - 1) * hop + beyond)
        y: Tensor = plain(x, length)
        return y


class _Recording(Redirection):
    """Runs a converted model and makes a plain layer for every call."""

    def __init__(self, converted: Redirected, plain: Plain) -> None:
        super().__init__(converted)
        self.plain = plain
        self.calls: dict[Any, tuple[nn.Module, Any]] = {}
        self.weights: dict[Any, Tensor] = {}

    def _convolution(self, key: Key, role: str, call: Convolution, operands: Operands) -> Tensor:
        y = super()._convolution(key, role, call, operands)
        before = self.weights.setdefault(key, operands.weight.detach().clone())
        if not torch.equal(before, operands.weight):
            raise InputError(
                f"{key.name} in {key.site} has another kernel at every call; such a model cannot be frozen"
            )
        if key not in self.calls:
            layer: Any = None
            frozen: nn.Module
            if role == FILTER:
                frozen = _filter(call, operands.weight, self.rate, self.converted.trained_rate)
            else:
                layer = copy.deepcopy(self.converted.layer(key, operands.weight, None))
                frozen = self.plain(str(key.site), layer, self.rate)
            self.calls[key] = frozen, layer
        return y

    def _transform(self, key: Key, role: str, arguments: dict[str, Any]) -> Tensor:
        y = super()._transform(key, role, arguments)
        at = (key, transform_numbers(arguments))
        if at not in self.calls:
            layer: Any = copy.deepcopy(self.converted.layer(key, None, arguments))
            layer.whole_hops = key not in self.converted.unpadded
            self.calls[at] = self.plain(str(key.site), layer, self.rate), layer
        return y


class PlainFilter(nn.Module):
    """A filter from samples to samples.

    Args:
        taps: (out_channels, in_channels / groups, taps).
        first: index of the first tap relative to the output's sample.
        shorter: samples that come out less than go in.
        groups: as in `nn.Conv1d`.
    """

    def __init__(self, taps: Tensor, first: int, shorter: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            taps.shape[1] * groups, taps.shape[0], taps.shape[-1], groups=groups, bias=False
        )
        self.conv.weight = nn.Parameter(taps.detach().clone())
        self.first, self.shorter = first, shorter

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_channels, time) -> (..., out_channels, time less `shorter`)."""
        samples = x.shape[-1] - self.shorter
        last = self.first + self.conv.kernel_size[0] - 1
        x = functional.pad(x, (-self.first, samples + last - x.shape[-1]))  # negative padding cuts
        y: Tensor = self.conv(x)
        return y


def _filter(call: Convolution, weight: Tensor, rate: float, trained_rate: float) -> PlainFilter:
    taps, first, shorter = filter_taps(call, weight, rate, trained_rate)
    return PlainFilter(taps, first, shorter, call.groups)


def record(converted: Redirected, rate: float, plain: Plain) -> dict[Any, tuple[nn.Module, Any]]:
    """A plain layer for every call that a converted model redirects at F, and the SFI layer that answers for its sizes.

    Args:
        converted: the model; a copy of it is run.
        rate: F in Hz.
        plain: makes the plain layer of an SFI layer, with a name for messages.

    Raises:
        InputError: a layer that has no plain form at this rate, or a kernel that changes from call to call.
    """
    converted = copy.deepcopy(converted).eval()
    inputs = converted.inputs
    if inputs is None:
        raise InputError("a model that was converted without a run cannot be frozen")
    with at_sample_rate(converted, rate), torch.no_grad(), isolated():
        args, kwargs = inputs.arguments(4 * round(SECONDS * rate / 4), noise)
        with _Recording(converted, plain) as mode:
            converted.model(*args, **kwargs)
    return mode.calls
