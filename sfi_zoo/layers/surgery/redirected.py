"""A foreign model whose calls of torch functions at the waveform are redirected to SFI layers while it runs at another rate."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate, primal
from sfi_zoo.layers.surgery.call_arguments import (
    CONVOLUTIONS,
    Convolution,
    Operands,
    convolution,
    redirected_name,
    transform,
)
from sfi_zoo.layers.surgery.call_sites import ModuleNames, Site, called_from_here, caller, in_checkpoint
from sfi_zoo.layers.surgery.called_layers import (
    called_convolution,
    called_transform,
    run_convolution,
    run_filter,
    run_transform,
    same_window,
    transform_numbers,
)
from sfi_zoo.layers.surgery.converted import SharedLength
from sfi_zoo.layers.surgery.example_inputs import ExampleInputs
from sfi_zoo.layers.surgery.operations import DIVISIONS
from sfi_zoo.layers.surgery.places import FILTER, INSIDE
from sfi_zoo.layers.surgery.probe import function_name

MOST_LAYERS = 64


class Key(NamedTuple):
    """A call that is looked up when it is made."""

    name: str
    site: Site
    convolution: Convolution | None


class Taps(NamedTuple):
    """What stands at the calls that give frames, or make samples of them, while a converted model runs.

    Attributes:
        goes_in: role and tensor -> what goes in instead.
        comes_out: role, layer and tensor -> what comes out instead.
    """

    goes_in: Callable[[str, Tensor], Tensor]
    comes_out: Callable[[str, nn.Module, Tensor], Tensor]


class Redirected(SampleRateAware):
    """A model and the calls in its `forward` that are redirected.

    At F0 the model runs as it is. At another rate a `TorchFunctionMode` stands around it: `torch.stft`, `torch.istft`, `conv1d` and
    `conv_transpose1d` become SFI layers at the calls where the waveform goes in or comes out, with the weights and windows of
    each call. Parameters stay where the model has them. A call that was not seen when the model was converted is refused, and so is one
    that an activation checkpoint would repeat in the backward pass.

    Under `torch.compile` the model is left to the interpreter at other rates than F0; compile what `freeze` gives.

    Args:
        model: the foreign model.
        sample_rate: F0 in Hz.
        roles: what every call does: "analysis", "synthesis", "filter", "count" or "inside".
        unpadded: calls that take signals of no whole number of hops.
        inputs: what the model is called with.
        counts: of the calls that make numbers of frames of numbers of samples: how much more these are than the samples of a signal.
    """

    def __init__(
        self,
        model: nn.Module,
        sample_rate: float,
        roles: dict[Key, str],
        unpadded: Iterable[Key] = (),
        inputs: ExampleInputs | None = None,
        counts: Mapping[Key, int] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.counts = model, dict(counts or {})
        self.trained_rate = primal(check_sample_rate(sample_rate))
        self.roles, self.unpadded = roles, frozenset(unpadded)
        self.inputs = inputs
        self.shared: dict[int, SharedLength] = {}
        self.taps: Taps | None = None
        self._layers = LayerCache()
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives, at the stored rate."""
        if self.current_rate == self.trained_rate and self.taps is None:
            return self.model(*args, **kwargs)
        return self._redirected(self.model, args, kwargs)

    @torch.compiler.disable
    def _redirected(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Redirection(self):
            return call(*args, **kwargs)

    def shared_length(self, hop: int) -> SharedLength:
        """The lengths that encoders with this hop (in samples at F0) pass on to their decoders."""
        return self.shared.setdefault(hop, SharedLength())

    def layer(self, key: Key, weight: Tensor | None, arguments: dict[str, Any] | None) -> nn.Module:
        """The SFI layer for a call, from the cache."""
        return self._layers.get(key, self.trained_rate, weight, arguments, key not in self.unpadded)

    def extra_repr(self) -> str:
        """The trained rate, and how many calls are redirected."""
        count = sum(role != INSIDE for role in self.roles.values())
        return f"sample_rate={self.trained_rate}, redirected calls={count}"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in {"model", "roles", "inputs", "counts"}:
                raise
        value = getattr(self.model, name)
        if not callable(value) or isinstance(value, nn.Module):
            return value

        def method(*args: Any, **kwargs: Any) -> Any:
            if self.current_rate == self.trained_rate:
                return value(*args, **kwargs)
            return self._redirected(value, args, kwargs)

        return method


def count_at_trained(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    counts: Mapping[Key, int],
    names: ModuleNames,
    rates: tuple[float, float],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a call that may divide a number of samples by a hop, which the model has in samples of F0.

    A signal of n samples at F has n F0 / F of them at F0: rounded down for the longest item, as frames are, and to the nearest for others.

    Args:
        func: what is called.
        args: its arguments by place.
        kwargs: those by name.
        counts: how much more than n is divided, for every such call.
        names: of the modules.
        rates: F and F0 in Hz.
    """
    number = args[0] if args else kwargs.get("input")
    if not counts or function_name(func) not in DIVISIONS or not isinstance(number, Tensor):
        return args, kwargs
    beyond = counts.get(Key(function_name(func), caller(names), None))
    if beyond is None:
        return args, kwargs
    at_trained = (number - beyond).double() * rates[1] / rates[0]
    at_trained = at_trained.round().clamp(max=at_trained.max().floor()).to(number.dtype) + beyond
    return ((at_trained, *args[1:]), kwargs) if args else (args, kwargs | {"input": at_trained})


class LayerCache:
    """SFI layers of calls, made when they are needed; not copied and not pickled."""

    def __init__(self) -> None:
        self.layers: OrderedDict[Any, nn.Module] = OrderedDict()

    def get(
        self,
        key: Key,
        trained_rate: float,
        weight: Tensor | None,
        arguments: dict[str, Any] | None,
        whole_hops: bool,
    ) -> nn.Module:
        """The layer for a call of a convolution with that weight, or of a transform with these arguments."""
        if weight is not None and key.convolution is not None:
            return self._kept(
                (key, weight.dtype, weight.device),
                lambda: called_convolution(key.convolution, weight, trained_rate, whole_hops),  # type: ignore[arg-type]
            )
        assert arguments is not None
        window, at = arguments["window"], (key.name, transform_numbers(arguments))
        layer = self.layers.get(at)
        if layer is None or not same_window(layer, window):
            self.layers.pop(at, None)
            layer = self._kept(at, lambda: called_transform(key.name, arguments, trained_rate))
            layer.made_with = None if window is None else window.detach().clone()  # type: ignore[assignment]
        return layer

    def _kept(self, at: Any, make: Callable[[], nn.Module]) -> nn.Module:
        if at not in self.layers:
            self.layers[at] = make()
            if len(self.layers) > MOST_LAYERS:
                self.layers.popitem(last=False)
        self.layers.move_to_end(at)
        return self.layers[at]

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.layers = OrderedDict()


class Redirection(TorchFunctionMode):
    """Replaces the calls of a `Redirected` model while it runs at another rate than F0."""

    def __init__(self, converted: Redirected) -> None:
        super().__init__()
        self.converted, self.rate = converted, converted.current_rate
        self.rates = primal(self.rate), converted.trained_rate
        self.names = ModuleNames(converted.model)
        self.with_gradients = torch.is_grad_enabled()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = redirected_name(func)
        if name is None:
            args, kwargs = count_at_trained(func, args, kwargs, self.converted.counts, self.names, self.rates)
        if name is None or called_from_here():
            return func(*args, **kwargs)
        found = convolution(name, args, kwargs) if name in CONVOLUTIONS else None
        key = Key(name, caller(self.names), found[0] if found else None)
        role = self.converted.roles.get(key)
        if role is None and self.rate != self.converted.trained_rate:
            raise InputError(
                f"{name} in {key.site} was not seen when the model was converted, so it is not known whether it sees samples or frames; "
                "convert the model with example_inputs that take this way through it"
            )
        if role in (None, INSIDE):
            return func(*args, **kwargs)
        if self.with_gradients and in_checkpoint():
            raise InputError(
                f"{name} in {key.site} is inside an activation checkpoint, which would make the call again in the backward pass, where it "
                "is not redirected; turn checkpointing off around it, or train what freeze gives"
            )
        if found:
            return self._convolution(key, role, *found)
        return self._transform(key, role, transform(name, args, kwargs))

    def _transform(self, key: Key, role: str, arguments: dict[str, Any]) -> Tensor:
        taps = self.converted.taps
        if taps:
            arguments["x"] = taps.goes_in(role, arguments["x"])
        layer = self.converted.layer(key, None, arguments)
        shared = self.converted.shared_length(arguments["hop_length"])
        padded = key not in self.converted.unpadded
        y = run_transform(layer, arguments, self.rate, shared, padded)  # type: ignore[arg-type]
        return taps.comes_out(role, layer, y) if taps else y

    def _convolution(self, key: Key, role: str, call: Convolution, operands: Operands) -> Tensor:
        if role == FILTER:
            return run_filter(call, operands, self.rate, self.converted.trained_rate)
        taps = self.converted.taps
        if taps:
            operands = operands._replace(x=taps.goes_in(role, operands.x))
        layer: Any = self.converted.layer(key, operands.weight, None)
        y = run_convolution(layer, operands, self.rate, self.converted.shared_length(call.stride))
        return taps.comes_out(role, layer, y) if taps else y
