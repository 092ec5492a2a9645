"""A converted model that takes another way than it was converted with says so: with longer signals, larger batches, in training."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sfi_zoo.layers.sample_rate import SampleRateAware
from sfi_zoo.layers.surgery.call_sites import LIBRARY, ModuleNames, Site
from sfi_zoo.layers.surgery.operations import CREATE, QUERIES
from sfi_zoo.layers.surgery.probe import SAMPLES, Call, Flow, Recorder, isolated, tensors_in, undisturbed
from sfi_zoo.wording import shortened

Kind = tuple[Any, ...]


class Watch:
    """A hook before `forward` that looks for calls which the probe has not seen.

    A model may branch on its input: cut long signals into pieces, pad short ones, treat a batch of one apart. What the probe has not run
    has not been checked. So at another rate than F0 the first input of each kind is run twice, once to see its calls: kinds are the
    octave of each axis, training or evaluation, with or without gradients. Calls on samples at places that the probe has not seen
    are warned of, by name. Under `torch.compile` and in traces nothing is looked at.

    Args:
        flows: what the probe saw.

    Attributes:
        paused: nothing is looked at, see `not_watched`.
    """

    def __init__(self, flows: Iterable[Flow]) -> None:
        self.paused = False
        self.known = {(flow.call.site, flow.call.name) for flow in flows}
        self.kinds: set[Kind] = set()

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Warns where there is something to say."""
        if self.paused or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        signals = tensors_in((args, kwargs))
        kind = (model.training, torch.is_grad_enabled(), *(_octaves(x) for x in signals))
        if kind in self.kinds or not signals:
            return
        rate = _other_rate(model)
        if rate is None:
            return
        try:
            calls = self._calls(model, args, kwargs)
        except Exception:  # the call itself will say so
            return
        self.kinds.add(kind)
        unseen = dict.fromkeys(self._unseen(calls, max(size for x in signals for size in x.shape)))
        self.known.update(unseen)
        if unseen:
            said = shortened([f"{name} in {site}" for site, name in unseen])
            shapes = " and ".join(str(tuple(x.shape)) for x in signals)
            warnings.warn(
                f"{type(model).__name__} takes another way with inputs of shapes {shapes} than with those that it was converted and "
                f"checked with, so that at {rate:g} Hz its output may be wrong: {said}; call make_sfi with example_inputs as long as "
                "these, or with fallback='resample'",
                stacklevel=2,
            )

    @staticmethod
    def _calls(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Call]:
        from sfi_zoo.layers.surgery.redirected import Redirected

        recorder = Recorder(ModuleNames(model.model if isinstance(model, Redirected) else model))
        with isolated(), undisturbed(model), recorder:
            model.forward(*args, **kwargs)
        return recorder.calls

    def _unseen(self, calls: list[Call], samples: int) -> Iterator[tuple[Site, str]]:
        for call in calls:
            key = call.site, call.name
            own = not call.site.function or call.site.function.startswith(LIBRARY)
            if key in self.known or own or call.name in CREATE or call.name in QUERIES:
                continue
            if any(n >= SAMPLES * samples for size in [*call.inputs, *call.outputs] for n in size.shape):
                yield key


def watched(model: nn.Module, flows: Iterable[Flow]) -> nn.Module:
    """The model, with a `Watch`."""
    model.register_forward_pre_hook(Watch(flows), with_kwargs=True)
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


def _octaves(x: Tensor) -> tuple[int, ...]:
    return tuple(size.bit_length() for size in x.shape)


def _other_rate(model: nn.Module) -> float | None:
    """F, where it is not F0."""
    layer = next((m for m in model.modules() if isinstance(m, SampleRateAware)), None)
    return None if layer is None or layer.current_rate == layer.trained_rate else float(layer.current_rate)
