"""A foreign model runs on noise of two lengths: sizes that grow with the signal tell which tensors hold samples, which hold frames."""

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from sfi_zoo.errors import InputError
from sfi_zoo.layers.surgery.call_arguments import (
    CONVOLUTIONS,
    REDIRECTED,
    TRANSFORMS,
    Convolution,
    convolution,
    redirected_name,
    transform,
)
from sfi_zoo.layers.surgery.call_sites import ModuleNames, Site, caller
from sfi_zoo.layers.surgery.example_inputs import SHAPES, ExampleInputs, reference_tensor
from sfi_zoo.layers.surgery.operations import RESHAPES
from sfi_zoo.wording import first_line

SAMPLES = 0.75  # axes that grow by so many per sample, or more, hold samples; by fewer, frames
ODD = 37  # samples more in the longer signal: no whole number of hops, unless the model pads
PRIVATE = {"training", "_buffers", "_parameters", "_modules"}  # attributes of every module
MOST_SAID = 120  # letters of an error
SECONDS = 0.3  # of the shorter signal, or a little more
FEW = 64  # whole numbers that may be lengths of the signals in a batch
LONG = 2.0  # seconds: examples of more are run at their own length


class Size(NamedTuple):
    """What is kept of a tensor.

    Attributes:
        shape: its shape.
        signal: it holds real or complex numbers, not whole ones or truth values.
        flattened: it holds frames, all of them along one axis, which may be as long as a signal.
        number: the largest of a few whole numbers, which may be how many samples there are; 0 of anything else.
    """

    shape: tuple[int, ...]
    signal: bool
    flattened: bool = False
    number: int = 0


@dataclass
class Call:
    """One call of a torch function.

    Attributes:
        name: of the function, method or property.
        site: where it stands.
        inputs: its tensors.
        outputs: what it gave.
        numbers: arguments that are no tensors, by position or name.
        convolution: where it is one.
        transform: the arguments of `torch.stft` or `torch.istft`, without the signal.
        unflattened: what it has flattened is used as if it were a signal.
    """

    name: str
    site: Site
    inputs: list[Size]
    outputs: list[Size]
    numbers: dict[Any, Any]
    convolution: Convolution | None = None
    transform: dict[str, Any] | None = None
    unflattened: bool = False


class Recorder(TorchFunctionMode):
    """Notes every call of a torch function that takes or gives tensors.

    Frames that a reshape has put along one axis, as long as a signal, are followed: they are no samples, until they meet some.

    Args:
        names: of the modules.
        samples: length of the signal; 0: nothing is followed.
    """

    def __init__(self, names: ModuleNames, samples: int = 0) -> None:
        super().__init__()
        self.names, self.calls = names, list[Call]()
        self.long = SAMPLES * samples if samples else math.inf
        self.flattened = WeakIdKeyDictionary()  # tensor: the call that has flattened it

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_in((args, kwargs))
        before = [self._size(x) for x in tensors]
        result = func(*args, **kwargs)
        redirected = redirected_name(func)
        name = redirected or function_name(func)
        given = tensors_in(args[0] if name == "__setitem__" else result)
        if not given:
            return result
        numbers = {k: v for k, v in [*enumerate(args), *kwargs.items()] if not isinstance(v, Tensor)}
        call = Call(name, caller(self.names), before, [], numbers)
        if redirected in CONVOLUTIONS:
            found = convolution(redirected, args, kwargs)
            call.convolution = found[0] if found else None
        elif redirected:
            call.transform = transform(redirected, args, kwargs)
            call.transform["x"] = torch.empty(0, dtype=call.transform["x"].dtype)
        self._follow(call, tensors, given)
        call.outputs = [self._size(x) for x in given]
        self.calls.append(call)
        return result

    def _follow(self, call: Call, goes_in: list[Tensor], comes_out: list[Tensor]) -> None:
        """Notes what holds flattened frames, and where they are taken for a signal."""
        flattened = [self.flattened[x] for x in goes_in if x in self.flattened]
        if call.name in TRANSFORMS or any(self._is_long(x) and x not in self.flattened for x in goes_in):
            self.used_as_signal(goes_in)
        elif flattened or call.name in RESHAPES:
            for x in filter(self._is_long, comes_out):
                self.flattened[x] = flattened[0] if flattened else call

    def used_as_signal(self, tensors: list[Tensor]) -> None:
        """Frames that were flattened are samples after all."""
        for x in tensors:
            if x in self.flattened:
                self.flattened[x].unflattened = True

    def _is_long(self, x: Tensor) -> bool:
        return max(x.shape, default=0) >= self.long

    def _size(self, x: Tensor) -> Size:
        return size_of(x)._replace(flattened=x in self.flattened)


class Flow(NamedTuple):
    """A call seen at both lengths.

    Attributes:
        call: at the shorter one.
        longer: at the longer one; the same call where there was no second run.
        grown: samples from one to the other; 0 where there was no second run.
        samples: of the shorter signal.
    """

    call: Call
    longer: Call
    grown: int
    samples: int

    def inputs(self) -> list[tuple[float, ...]]:
        """Growth per sample of every axis of every tensor that goes in."""
        return self._slopes(self.call.inputs, self.longer.inputs)

    def outputs(self) -> list[tuple[float, ...]]:
        """The same of what comes out."""
        return self._slopes(self.call.outputs, self.longer.outputs)

    def marks(self) -> list[tuple[float, ...]]:
        """The same of whole numbers and truth values that go in."""
        pairs = zip(self.call.inputs, self.longer.inputs, strict=False)
        return [growth(a.shape, b.shape, self.grown, self.samples) for a, b in pairs if not a.signal]

    def _slopes(self, short: list[Size], long: list[Size]) -> list[tuple[float, ...]]:
        return [
            growth(a.shape, b.shape, self.grown, self.samples) if a.signal and not a.flattened else ()
            for a, b in zip(short, long, strict=False)
        ]


def growth(short: tuple[int, ...], long: tuple[int, ...], grown: int, samples: int) -> tuple[float, ...]:
    """By how much every axis grows per sample. Without a second run an axis about as long as the signal holds samples."""
    if not grown:
        return tuple(n / samples if n >= SAMPLES * samples else 0.0 for n in short)
    if len(short) != len(long):
        return ()
    return tuple((b - a) / grown for a, b in zip(short, long, strict=True))


def holds_samples(slopes: tuple[float, ...]) -> bool:
    """Whether an axis has audio-rate samples."""
    return any(slope >= SAMPLES for slope in slopes)


@dataclass
class Probe:
    """What was seen when a model ran on noise.

    Attributes:
        inputs: what it was called with; None where it could not be run.
        flows: its calls, in order.
        outputs: growth per sample of every axis of every tensor that it gave.
        sizes: the shapes that it gave for the shorter signal.
        samples: of the shorter signal.
        keeps: names of attributes and buffers that a run has changed.
        longest: samples that the check has to run with at least.
        error: what it said where it could not be run, or not at the second length.
    """

    inputs: ExampleInputs | None = None
    flows: list[Flow] = field(default_factory=list)
    outputs: list[tuple[float, ...]] = field(default_factory=list)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    samples: int = 0
    keeps: list[str] = field(default_factory=list)
    longest: int = 0
    error: str = ""


def noise(rows: int, samples: int) -> Tensor:
    """White noise, always the same."""
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def probe(model: nn.Module, sample_rate: float, example_inputs: Any = None) -> Probe:
    """Runs a copy of `model` on noise of two lengths and records what they call.

    The second length is about twice the first. Where the model takes another way there (other calls, more of them, other numbers), the
    check is run at that length, too; examples of more than `LONG` seconds are run at their own length. Without example inputs, noise of
    the shapes (1, 1, time), (1, 2, time), (1, time), (2, time) and (time,) is tried: the first shape that runs through a convolution or a
    transform at the waveform is taken, else the first that runs.

    Args:
        model: any model; it is not touched.
        sample_rate: F0 in Hz.
        example_inputs: see `ExampleInputs`.
    """
    samples = 2 ** math.ceil(math.log2(SECONDS * sample_rate))  # U-Nets want powers of two
    model = copied(model).eval()
    if example_inputs is not None:
        inputs = ExampleInputs(example_inputs, sample_rate)
        longest = inputs.samples if inputs.samples > LONG * sample_rate else 0
        found = _probe(model, inputs, max(samples, longest), longest, whole=True)
        if (found.inputs and not found.error) or len(inputs.lengths()) == 1:
            return found
        return _probe(model, inputs, max(samples, longest), longest)
    like = reference_tensor(model)
    best, errors = Probe(), list[str]()
    for shape in SHAPES:
        found = _probe(model, ExampleInputs.of_shape(shape, samples, sample_rate, like), samples)
        if found.inputs and any(flow.call.name in REDIRECTED for flow in found.flows if _at_waveform(flow)):
            return found
        errors.append(found.error)
        best = best if best.inputs else found
    return best if best.inputs else Probe(error="; ".join(errors))


def _at_waveform(flow: Flow) -> bool:
    return any(map(holds_samples, [*flow.inputs(), *flow.outputs()]))


def _probe(
    model: nn.Module, inputs: ExampleInputs, samples: int, longest: int = 0, whole: bool = False
) -> Probe:
    """Two runs; `whole`: with all waveforms of the same length, so that all of them are seen to grow."""
    try:
        short, output, keeps = _record(model, inputs, samples, whole)
    except Exception as error:  # whatever a model does with an input it was not made for
        said = first_line(error)[:MOST_SAID]
        return Probe(error=f"on noise of shape {inputs.shape()}: {type(error).__name__}: {said}")
    grown, error_text, long, longer = 0, "", short, output
    for more in (samples + ODD, samples):
        try:
            long, longer, _ = _record(model, inputs, samples + more, whole)
        except Exception as error:
            error_text = f"{type(error).__name__}: {first_line(error)}"
        else:
            grown, error_text = more, ""
            break
    shapes = [[tuple(x.shape) for x in values_in(out)] for out in (output, longer)]
    common = {(call.site, call.name) for call in short}
    of_long = [call for call in long if (call.site, call.name) not in common]
    another = Counter(map(_way, short)) != Counter(map(_way, long))
    return Probe(
        inputs,
        [*_matched(short, long, grown, samples), *(Flow(c, c, 0, samples + grown) for c in of_long)],
        [growth(a, b, grown, samples) for a, b in zip(*shapes, strict=False)],
        shapes[0],
        samples,
        keeps,
        max(longest, samples + grown if another else 0),
        error_text,
    )


def _way(call: Call) -> tuple[Any, ...]:
    """What is the same of a call at every length, unless the model goes by the length."""
    numbers = [x for x in call.numbers.values() if isinstance(x, float)]
    sizes = [(call.transform or {}).get(key) for key in ("n_fft", "hop_length", "win_length")]
    return call.site, call.name, *numbers, call.convolution, *sizes


def _record(
    model: nn.Module, inputs: ExampleInputs, samples: int, whole: bool
) -> tuple[list[Call], Any, list[str]]:
    """The calls of a run, its output, and what it has left behind."""
    recorder = Recorder(ModuleNames(model), samples)
    args, kwargs = inputs.arguments(samples, noise, whole)
    with isolated(), undisturbed(model) as changed, recorder:
        output = model(*args, **kwargs)
        keeps = changed()
    recorder.used_as_signal(tensors_in(output))
    return recorder.calls, output, keeps


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[Callable[[], list[str]]]:
    """What a run leaves behind in the attributes and the buffers of modules is taken away: every run starts alike.

    Yields a function that names what is there now and was not.
    """
    modules = dict(model.named_modules())
    own = [(name, m, m.__dict__.copy(), m._buffers.copy()) for name, m in modules.items()]
    values = [(x, x.detach().clone()) for m in modules.values() for x in m._buffers.values() if x is not None]

    def changed() -> list[str]:
        left = [
            f"{name}.{key}".strip(".")
            for name, m, attributes, buffers in own
            for before, now in ((attributes, m.__dict__), (buffers, m._buffers))
            for key, value in now.items()
            if key not in PRIVATE and (key not in before or before[key] is not value)
        ]
        written = [x for x, value in values if not torch.equal(x, value)]
        return left + [
            f"{name}.{key}".strip(".")
            for name, m in modules.items()
            for key, x in m._buffers.items()
            if any(x is y for y in written)
        ]

    try:
        yield changed
    finally:
        for _, module, attributes, buffers in own:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)


@contextmanager
def isolated(seed: int = 0) -> Iterator[None]:
    """The random numbers of the caller stay as they are; those of the model are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _matched(short: list[Call], long: list[Call], grown: int, samples: int) -> Iterator[Flow]:
    """Calls of the two runs in pairs: the i-th at a site with the i-th there; calls without a partner with the last one."""
    at_site = defaultdict[tuple[Site, str], list[Call]](list)
    for call in long:
        at_site[call.site, call.name].append(call)
    seen = defaultdict[tuple[Site, str], int](int)
    for call in short:
        key = call.site, call.name
        others = at_site[key]
        if others:
            yield Flow(call, others[min(seen[key], len(others) - 1)], grown, samples)
        seen[key] += 1


def copied(model: nn.Module) -> nn.Module:
    """A copy, also of a model whose hooks have computed weights (`torch.nn.utils.weight_norm`): these are computed anew at every run.

    Raises:
        InputError: it cannot be copied.
    """
    attributes = [x for module in model.modules() for x in vars(module).values()]
    computed = {id(x): x.detach().clone() for x in attributes if isinstance(x, Tensor) and not x.is_leaf}
    try:
        return copy.deepcopy(model, computed)
    except RuntimeError as error:
        raise InputError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from None


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(tree, Tensor):
        return [tree]
    return [x for x in pytree.tree_leaves(tree) if isinstance(x, Tensor)]


def values_in(tree: Any) -> list[Tensor]:
    """All tensors, arrays and numbers of an output, as tensors: also those in objects that only hold them."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, (np.ndarray, np.generic)):
        return [torch.as_tensor(tree)] if tree.dtype.kind in "iufc" else []
    if isinstance(tree, (int, float)):
        return [] if isinstance(tree, bool) else [torch.tensor(tree)]
    parts: Iterable[Any] = ()
    if isinstance(tree, Mapping):
        parts = tree.values()
    elif isinstance(tree, (tuple, list)):
        parts = tree
    elif not callable(tree):
        parts = getattr(tree, "__dict__", {}).values()
    return [x for part in parts for x in values_in(part)]


def size_of(x: Tensor) -> Size:
    """What is kept of a tensor."""
    signal = x.is_floating_point() or x.is_complex()
    whole = not signal and x.dtype != torch.bool and 0 < x.numel() <= FEW and x.device.type != "meta"
    return Size(tuple(x.shape), signal, number=int(x.max()) if whole else 0)


def function_name(func: Any) -> str:
    """The name of a torch function, or of the property that it gets."""
    name = getattr(func, "__name__", type(func).__name__)
    if name in {"__get__", "__set__"}:
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return str(name)
