"""A converted model that takes another way than it was converted with says so: with longer signals, larger batches, in training."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sfi_zoo.layers.sample_rate import SampleRateAware, primal
from sfi_zoo.layers.surgery.call_sites import LIBRARY, ModuleNames, Site
from sfi_zoo.layers.surgery.example_inputs import Arguments
from sfi_zoo.layers.surgery.operations import CREATE, QUERIES
from sfi_zoo.layers.surgery.probe import SAMPLES, Call, Probe, Recorder, isolated, tensors_in, undisturbed
from sfi_zoo.layers.surgery.redirected import Redirected
from sfi_zoo.layers.surgery.second_check import check_call
from sfi_zoo.layers.surgery.self_check import ALIKE, SENSITIVE, Finding
from sfi_zoo.wording import shortened

Kind = tuple[Any, ...]
MOST_KINDS = 64  # an argument may be another word at every call


class Watch:
    """A hook before `forward` that checks a converted model again on inputs of another kind than it was checked on.

    A model may branch on its input: cut long signals into pieces, choose its transform by their length, treat a batch of one apart. What
    the probe has not run has not been checked, and a limit that is counted in samples is another time at another rate. So at another rate
    than F0 the first input of each kind makes the model run twice more, in evaluation: on noise of that length at F, and on as many
    seconds of it at F0 (see `check_call`). What differs is warned of, with the calls that the probe has not seen. In training, and where
    nothing can be compared (in half precision), the input itself is run, and calls that are new are warned of. Kinds are quarters of an
    octave of each axis and of F / F0, training or evaluation, with or without gradients, and other arguments; of `MOST_KINDS` at most.
    Under `torch.compile` and in traces nothing is looked at.

    Args:
        seen: what the probe saw.
        worst: relative error of the check at other rates.

    Attributes:
        paused: nothing is looked at, see `not_watched`.
    """

    def __init__(self, seen: Probe, worst: float) -> None:
        self.paused = False
        self.known = {(flow.call.site, flow.call.name) for flow in seen.flows}
        self.outputs = seen.outputs
        self.allowed = max(ALIKE, SENSITIVE * worst)
        self.kinds: set[Kind] = set()

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Warns where there is something to say."""
        if self.paused or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        signals = tensors_in((args, kwargs))
        rates = _rates(model)
        if rates is None or not signals:
            return
        sizes = [tuple(map(_quarter_octaves, x.shape)) for x in signals]
        options = [
            x if isinstance(x, bool) or not isinstance(x, (int, float)) else _quarter_octaves(abs(x))
            for x in pytree.tree_leaves((args, kwargs))
            if x is None or isinstance(x, (bool, int, float, str))
        ]
        kind = (
            model.training,
            torch.is_grad_enabled(),
            _quarter_octaves(rates[0] / rates[1]),
            *sizes,
            *options,
        )
        if kind in self.kinds or len(self.kinds) >= MOST_KINDS:
            return
        names = ModuleNames(model.model if isinstance(model, Redirected) else model)
        compared, here = Recorder(names), Recorder(names)
        finding = self._compared(model, Arguments(args, kwargs), rates, compared)
        passed = finding is not None and finding.passed
        if passed:  # whatever it calls there
            self.known.update((call.site, call.name) for call in compared.calls)
            finding = None
        if finding is None and (model.training or not passed):
            try:
                with isolated(), undisturbed(model), here:
                    model.forward(*args, **kwargs)
            except Exception:  # the call itself will say so
                return
        self.kinds.add(kind)
        calls = compared.calls if finding else here.calls
        unseen = list(dict.fromkeys(self._unseen(calls, max(size for x in signals for size in x.shape))))
        self.known.update(unseen)
        if finding or unseen:
            _warn(names.model, signals, rates[0], finding, unseen)

    def _compared(
        self, model: nn.Module, arguments: Arguments, rates: tuple[float, float], recorder: Recorder
    ) -> Finding | None:
        try:
            return check_call(model, arguments, rates, self.outputs, self.allowed, recorder)
        except Exception:  # it does not take a signal that is a little shorter
            return None

    def _unseen(self, calls: list[Call], samples: int) -> Iterator[tuple[Site, str]]:
        for call in calls:
            key = call.site, call.name
            own = not call.site.function or call.site.function.startswith(LIBRARY)
            if key in self.known or own or call.name in CREATE or call.name in QUERIES:
                continue
            if any(n >= SAMPLES * samples for size in [*call.inputs, *call.outputs] for n in size.shape):
                yield key


def _warn(
    model: nn.Module,
    signals: list[Tensor],
    rate: float,
    finding: Finding | None,
    unseen: list[tuple[Site, str]],
) -> None:
    shapes = " and ".join(str(tuple(x.shape)) for x in signals)
    said = shortened([f"{name} in {site}" for site, name in unseen])
    if not unseen:
        said = "it counts samples (a limit, pieces of a fixed length), or makes much of rounding errors"
    warnings.warn(
        f"{type(model).__name__} takes another way with inputs of shapes {shapes} than with those that it was converted and checked "
        f"with, so that at {rate:g} Hz its output {f'is wrong ({finding})' if finding else 'may be wrong'}: {said}; call make_sfi with "
        "example_inputs as long as these, or with fallback='resample'",
        stacklevel=3,
    )


def watched(model: nn.Module, seen: Probe, worst: float) -> nn.Module:
    """The model, with a `Watch`."""
    model.register_forward_pre_hook(Watch(seen, worst), with_kwargs=True)
    return model


@contextmanager
def not_watched(model: nn.Module) -> Iterator[None]:
    """Runs in this block are no runs of the whole model: its `Watch` looks away."""
    watches = [hook for hook in model._forward_pre_hooks.values() if isinstance(hook, Watch)]
    for watch in watches:
        watch.paused = True
    try:
        yield
    finally:
        for watch in watches:
            watch.paused = False


def unwatched(model: nn.Module) -> nn.Module:
    """The model without the watch."""
    hooks = [key for key, hook in model._forward_pre_hooks.items() if isinstance(hook, Watch)]
    for key in hooks:
        del model._forward_pre_hooks[key]
        model._forward_pre_hooks_with_kwargs.pop(key, None)
    return model


def _quarter_octaves(size: float) -> int:
    return round(4 * math.log2(size)) if size else -1


def _rates(model: nn.Module) -> tuple[float, float] | None:
    """F and F0, where they differ."""
    layer = next((m for m in model.modules() if isinstance(m, SampleRateAware)), None)
    if layer is None or layer.current_rate == layer.trained_rate:
        return None
    return primal(layer.current_rate), primal(layer.trained_rate)
