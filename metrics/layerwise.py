r"""Where a network breaks: the local mask LEE split over the encoder and every layer of the mask predictor.

Our reading of Gruver et al., "The Lie derivative for measuring learned equivariance", ICLR 2023, for arXiv:2506.03550. The sampling
frequency acts on the spaces of a network by A_t, with generator G; the Lie derivative of a layer h is

    L h (y) = dh . G y - G h(y),

what it does to a motion of its input beyond moving its output; for the encoder, L E (x) = dz/dt - G z. By the chain rule
L(h o g) = (L h)(g) + dh . L g, so the masks m = h_n o ... o h_1 o E move by

    L m = sum_i v_i,    v_i = d(h_n o ... o h_{i+1}) . L h_i,    v_0 = dM . L E.

How G acts (our reading) follows from what the axes of a space still are:

- frames are time: where they move (mode "none") G carries every activation along them; where they stay (native, resample), G is zero;
- features are frequencies, up to the first layer that has a weight matrix and so mixes them. There the band fades: row f of z by
  d ln H(f) / dt, and the rows of what the network sees of z by what that makes of them (half as fast for sqrt |z|);
- hidden channels have no Hz, and masks are compared where they are: G is zero.

So the predictor of a native model, whose frames stay and which is never told F, breaks only at the layers that mix features that fade with
others (a norm over features, the first convolution); the rest is the encoder's. `lee_after_layers` shows what becomes of it on the way.

Two measures of a part, both from reverse mode: u . v_i = <G y, dE/dy> - <G h(y), dE/dh(y)> with E = u . m, so one backward pass gives
all parts at once.

- contribution: v_i . L m, with u = L m. Exact; the parts add up to ||L m||^2; negative where a layer makes up for others.
- energy: ||v_i||^2, the mean of (u . v_i)^2 over random signs u: unbiased, with its variance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.layer_calls import Call, check_nothing_in_place, modules_of, noted_calls, tensors_of
from sfi_zoo.metrics.local import Motion, forward_mode
from sfi_zoo.metrics.observation import ALIVE_MARGIN
from sfi_zoo.models.base import Latent, Separator

ENCODER, FUNCTIONS = (
    "encoder",
    "functions",
)  # what is before the layers, and what the model computes between them


@dataclass(frozen=True)
class LayerLEE:
    """The local mask LEE in parts. Sums over the clips of a test set: those of two are added with `+`.

    Attributes:
        names: of the parts: "encoder", the layers in the order they are called, "functions" (what is computed between layers).
        contribution: (parts,) v_i . L m; they add up to ||P L m||^2.
        energy: (parts,) estimate of ||P v_i||^2.
        energy_variance: (parts,) variance of that estimate.
        whole: estimate of ||P L m||^2 by the same probes.
        whole_variance: its variance.
        reference: ||P m||^2.
    """

    names: tuple[str, ...]
    contribution: Tensor
    energy: Tensor
    energy_variance: Tensor
    whole: Tensor
    whole_variance: Tensor
    reference: Tensor

    def __add__(self, other: "LayerLEE") -> "LayerLEE":
        if self.names != other.names:
            raise InputError(f"splits over other layers cannot be added: {self.names} and {other.names}")
        numbers = [getattr(self, f.name) + getattr(other, f.name) for f in fields(self)[1:]]
        return LayerLEE(self.names, *numbers)

    def value(self) -> float:
        """The local mask LEE."""
        return float(self.contribution.sum() / self.reference)

    def by_layer(self) -> dict[str, float]:
        """What each part contributes to the LEE; they add up to `value()`."""
        return dict(zip(self.names, (self.contribution / self.reference).tolist(), strict=True))


def layer_lee(
    model: Separator,
    motion: Motion,
    layers: Iterable[str] | None = None,
    probes: int = 4,
    seed: int = 0,
    margin: float = ALIVE_MARGIN,
    call_sites: bool = False,
) -> LayerLEE:
    """Splits the local mask LEE of one clip over the parts of a network.

    Costs one pass with a graph and `probes` + 1 backward passes through the mask predictor.

    Args:
        model: the separator, whose `predict_masks` calls its layers as modules.
        motion: of `motion`; of `predictor_motion` it splits the predictor LEE (the encoder's part is then zero).
        layers: names of modules, none inside another; all innermost modules when omitted. Activations are (..., features, frames).
        probes: random signs, two or more.
        seed: of the probes.
        margin: features count up to this fraction of min(F, F0) / 2.
        call_sites: parts of "functions" too, under "file.py:line function" (of the model's code). "functions" is then what is left: what
            is written in place, and rounding.

    Raises:
        InputError: an unknown layer, one inside another, too few probes, or a layer that works in place.
    """
    if probes < 2:
        raise InputError(f"probes must be 2 or more to have a variance, got {probes}")
    modules = modules_of(model, layers)
    with torch.enable_grad(), noted_calls(modules, call_sites) as calls:
        z = motion.latent.values.detach().requires_grad_()
        masks = model.predict_masks(Latent(z, motion.latent.grid))
    check_nothing_in_place(calls)
    names = (ENCODER, *dict.fromkeys(call.name for call in calls), FUNCTIONS)
    with torch.no_grad():
        action = _Action(motion, _fading(model, motion, modules), calls)
        split = _Split(names, calls, z, masks, motion, action)
        counted = (motion.shared(margin)[:, None] & motion.counted).to(masks.dtype)
        lie, value = motion.lie(masks.detach(), motion.mask_slope) * counted, masks.detach() * counted
        contribution = split(lie)
        generator = torch.Generator().manual_seed(seed)
        along = torch.stack([split(_signs(masks, generator) * counted) for _ in range(probes)])
    whole = along.sum(1).square()
    return LayerLEE(
        names,
        contribution,
        along.square().mean(0),
        along.square().var(0) / probes,
        whole.mean(),
        whole.var() / probes,
        inner(value, value),
    )


# the action ----------------------------------------------------------------------------------------------------


class _Stop(Exception):
    """The first layer was reached."""


def _fading(model: Separator, motion: Motion, modules: dict[nn.Module, str]) -> Tensor | None:
    """(channels,) relative rates at which the rows of what the first layer sees fade, or None where nothing does."""
    if not bool(motion.fade.any()):
        return None
    rates: list[Tensor] = []

    def first(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        value, tangent = forward_ad.unpack_dual(tensors_of(inputs)[0])
        if tangent is not None:
            others = [axis for axis in range(value.ndim) if axis != value.ndim - 2]
            power = (value.conj() * value).real.double().sum(others)
            rate = (value.conj() * tangent).real.double().sum(others) / power.clamp(min=1e-300)
            rates.append(rate)
        raise _Stop

    handles = [module.register_forward_pre_hook(first) for module in modules]
    z = motion.latent.values
    try:
        with forward_mode(), forward_ad.dual_level():
            fading = z * motion.fade.to(z.real.dtype)[:, None]
            model.predict_masks(Latent(forward_ad.make_dual(z, fading), motion.latent.grid))
    except _Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return rates[0] if rates else None


def mixes(module: nn.Module | None) -> bool:
    """Whether a layer mixes features: it has a weight matrix."""
    return module is not None and any(p.ndim > 1 for p in module.parameters())


class _Action:
    """G on the activations of the calls; None where it is zero."""

    def __init__(self, motion: Motion, rates: Tensor | None, calls: list[Call]) -> None:
        self.motion, self.rates = motion, rates
        z = motion.latent.values.detach()  # fades at its own rates, also where the first layer sees others
        of_latent = motion.carried(z) + motion.fade.to(z.real.dtype)[:, None] * z
        self._known: dict[tuple[Any, ...], Tensor | None] = {(*_same(z), True): of_latent}
        # features are an axis of the inputs up to the first layer that mixes them, and of the outputs before it
        self.first_mixing = next((i for i, call in enumerate(calls) if mixes(call.module)), len(calls))

    def of_input(self, x: Tensor, call: int) -> Tensor | None:
        """G y of an input of a call."""
        return self._of(x, call <= self.first_mixing)

    def of_output(self, x: Tensor, call: int) -> Tensor | None:
        """G h(y) of an output of a call."""
        return self._of(x, call < self.first_mixing)

    def _of(self, x: Tensor, has_features: bool) -> Tensor | None:
        x = x.detach()
        key = (*_same(x), has_features)  # the output of a layer is the input of the next
        if key not in self._known:
            self._known[key] = self.apply(x, has_features)
        return self._known[key]

    def apply(self, x: Tensor, has_features: bool) -> Tensor | None:
        """G x: frames move, and features fade where there are any."""
        result, rates = None, self.rates
        if self.motion.frames_move and x.shape[-1] == len(self.motion.frame_slope):
            result = self.motion.carried(x)
        if has_features and rates is not None and x.ndim > 1 and x.shape[-2] % len(rates) == 0:
            faded = rates.repeat(x.shape[-2] // len(rates)).to(x.real.dtype)[:, None] * x
            result = faded if result is None else result + faded
        return result


def _same(x: Tensor) -> tuple[Any, ...]:
    """Equal for tensors that show the same numbers in the same order: views of an axis of length one may differ in its stride."""
    strides = tuple(step for step, size in zip(x.stride(), x.shape, strict=True) if size > 1)
    return x.data_ptr(), x.shape, strides


# the parts -----------------------------------------------------------------------------------------------------


class _Split:
    """u -> (parts,) u . v_i, by one backward pass."""

    def __init__(
        self,
        names: tuple[str, ...],
        calls: list[Call],
        z: Tensor,
        masks: Tensor,
        motion: Motion,
        action: _Action,
    ) -> None:
        self.masks, self.slope, self.parts = masks, motion.latent_slope, len(names)
        self.carried = motion.carried(masks.detach())
        self.moved = motion.carried(z.detach()) + motion.fade.to(z.real.dtype)[:, None] * z.detach()
        terms = [
            (x, names.index(call.name), sign, of(x, i))
            for i, call in enumerate(calls)
            for sign, of, tensors in ((1, action.of_input, call.inputs), (-1, action.of_output, call.outputs))
            for x in tensors
        ]
        self.terms = [(x, part, sign, g) for x, part, sign, g in terms if g is not None]
        self.wanted = [z, *(x for x, *_ in self.terms)]

    def __call__(self, u: Tensor) -> Tensor:
        parts = torch.zeros(self.parts, dtype=torch.float64, device=u.device)
        gradients: Sequence[Tensor | None] = [None] * len(self.wanted)
        if self.masks.requires_grad:  # else the masks do not see the latent
            options: dict[str, bool] = {"retain_graph": True, "allow_unused": True}
            gradients = torch.autograd.grad(self.masks, self.wanted, u, **options)
        of_latent = torch.zeros_like(self.slope) if gradients[0] is None else gradients[0]
        moved = inner(of_latent, self.moved)
        parts[0] = inner(of_latent, self.slope) - moved
        for (_, part, sign, g), gradient in zip(self.terms, gradients[1:], strict=True):
            if gradient is not None:
                parts[part] += sign * inner(gradient, g)
        # what G moves that no layer takes up is left to the functions between them
        parts[-1] = moved - inner(u, self.carried) - parts[1:-1].sum()
        return parts


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Re sum conj(a) b: 0-dim float64."""
    return torch.vdot(a.flatten(), b.flatten()).real.double()


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(like)


def lee_after_layers(
    model: Separator, motion: Motion, layers: Iterable[str] | None = None, margin: float = ALIVE_MARGIN
) -> dict[str, tuple[float, float]]:
    """The local LEE of the network up to each layer: how a break grows, or is damped, on its way to the masks.

    Costs one forward-mode pass through the mask predictor, which is about six ordinary ones.

    Args:
        model: as in `layer_lee`.
        motion: as there.
        layers: as there.
        margin: features of the latent and of the masks count up to this fraction of min(F, F0) / 2.

    Returns:
        ||L||^2 and ||.||^2 of the latent ("encoder"), of the last output of each layer, and of the masks ("functions"). Their ratio is the
        LEE; sums over clips are taken before it.

    Raises:
        InputError: as there.
    """
    modules, z = modules_of(model, layers), motion.latent.values
    within = motion.shared(margin)[:, None] & motion.counted
    after: dict[str, tuple[float, float]] = {}
    calls: list[nn.Module] = []

    def note(name: str, lie: Tensor, value: Tensor) -> None:
        after[name] = float(inner(lie, lie)), float(inner(value, value))

    def behind(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls.append(module)
        keeps = not any(mixes(module) for module in calls)
        parts = [forward_ad.unpack_dual(x) for x in tensors_of(output)]
        lies = [_lie(x, slope, action.apply(x, keeps)).flatten() for x, slope in parts]
        if parts:
            note(modules[module], torch.cat(lies), torch.cat([x.flatten() for x, _ in parts]))

    with torch.no_grad():
        action = _Action(motion, _fading(model, motion, modules), [])
        lie = motion.lie(z, motion.latent_slope) - motion.fade.to(z.real.dtype)[:, None] * z
        note(ENCODER, lie * within, z * within)
        handles = [module.register_forward_hook(behind) for module in modules]
        try:
            with forward_mode(), forward_ad.dual_level():
                dual = forward_ad.make_dual(z, motion.latent_slope)
                model.predict_masks(Latent(dual, motion.latent.grid))
        finally:
            for handle in handles:
                handle.remove()
        note(FUNCTIONS, motion.lie(motion.masks, motion.mask_slope) * within, motion.masks * within)
    return after


def _lie(x: Tensor, slope: Tensor | None, moved: Tensor | None) -> Tensor:
    slope = torch.zeros_like(x) if slope is None else slope
    return slope if moved is None else slope - moved
