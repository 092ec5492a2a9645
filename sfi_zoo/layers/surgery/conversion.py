"""The converted copy of a model: layers for modules that are one call, redirection for the other calls."""

import warnings

from torch import nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers.surgery.called_layers import check_transforms
from sfi_zoo.layers.surgery.converted import ConvertedConv1d, ConvertedConvTranspose1d, pair_lengths
from sfi_zoo.layers.surgery.named_layers import check_name, names_to_choose_from, twin
from sfi_zoo.layers.surgery.obstacles import obstacle
from sfi_zoo.layers.surgery.places import (
    ANALYSIS,
    CONVERTED,
    COUNT,
    DOUBTFUL,
    FILTER,
    IN_THE_WAY,
    INSIDE,
    SYNTHESIS,
    Place,
    places_of,
)
from sfi_zoo.layers.surgery.probe import Probe
from sfi_zoo.layers.surgery.redirected import Key, Redirected
from sfi_zoo.layers.surgery.report import Report
from sfi_zoo.layers.surgery.stft_modules import converted_stft, is_stft
from sfi_zoo.wording import shortened

WAYS_OUT = "see sfi_zoo.explain; fallback='resample' runs it at any rate all the same"


def convert(model: nn.Module, sample_rate: float, seen: Probe, report: Report, check: bool) -> nn.Module:
    """A model with layers and redirected calls.

    Args:
        model: a copy, which is changed.
        sample_rate: F0 in Hz.
        seen: what the probe saw.
        report: is told what was done.
        check: refuse what stands in the way; else warn.

    Raises:
        InputError: nothing to convert, or something in the way.
    """
    places = places_of(seen.flows)
    roles = _roles(places, report)
    if not seen.inputs and _only_transforms(model):
        report.layers = [n for n, m in model.named_modules() if is_stft(m)]
        return replace_named(model, report.layers, sample_rate, seen)
    _refuse_unseen(model, places, seen, report)
    _refuse_obstacles(model, seen, report, check)
    check_transforms(seen.flows, sample_rate)
    twins = _twins(model, places, sample_rate)
    report.layers = list(twins)
    unpadded = {Key(p.name, p.site, p.convolution) for p in places if not p.whole_hops}
    for key in unpadded:
        layer = twins.get(key.site.module)
        if isinstance(layer, ConvertedConv1d):
            layer.whole_hops = False
    left = {key: role for key, role in roles.items() if not (key.site.module in twins and role != INSIDE)}
    known = dict(model.named_modules())
    model = replace_modules(model, {known[n]: layer for n, layer in twins.items()})
    if all(role == INSIDE for role in left.values()):
        pair_lengths(*_convolutions(twins))
        return model
    counts = {
        key: p.beyond
        for p in places
        if p.role == COUNT == left.get(key := Key(p.name, p.site, p.convolution))
    }
    wrapper = Redirected(model, sample_rate, left, unpadded, seen.inputs, counts)
    for group in _convolutions(twins):
        for layer in group:
            layer.shared = wrapper.shared_length(layer.stride)
    return wrapper


def replace_named(model: nn.Module, names: list[str], sample_rate: float, seen: Probe) -> nn.Module:
    """A model with the named layers replaced, whatever the probe has seen.

    Args: those of `convert`; `names` as in `model.named_modules()`.

    Raises:
        InputError: an unknown name, or a layer that cannot be converted.
    """
    known = dict(model.named_modules())
    for name in names:
        check_name(name, known, seen)
    twins = {name: twin(name, known[name], sample_rate) for name in names}
    pair_lengths(*_convolutions(twins))
    return replace_modules(model, {known[name]: layer for name, layer in twins.items()})


def replace_modules(model: nn.Module, twins: dict[nn.Module, nn.Module]) -> nn.Module:
    """`model` with every module that is a key of `twins` replaced, wherever it is referred to."""
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child in twins:
                parent._modules[key] = twins[child]
    return twins.get(model, model)


def _refuse_unseen(model: nn.Module, places: list[Place], seen: Probe, report: Report) -> None:
    """Refuses a model that could not be run, or in which nothing is found.

    Raises:
        InputError: so it is.
    """
    name, names = type(model).__name__, names_to_choose_from(model)
    if not seen.inputs:
        raise InputError(
            f"{name} could not be run {seen.error}; give example_inputs, or layers=[...], names out of: {names}"
        )
    found = {place.role for place in places if place.verdict == CONVERTED}
    if found & {ANALYSIS, SYNTHESIS}:
        return
    reason = "no convolution or STFT takes the waveform and gives frames, or makes it of frames"
    if FILTER in found:
        reason += "; its convolutions work at audio rate, sample by sample"
    in_the_way = report.of(IN_THE_WAY)
    if in_the_way:
        reason += f"; in the way: {shortened([str(p) for p in in_the_way])}"
    raise InputError(
        f"{name} cannot be converted: {reason}; fallback='resample' runs it at any rate all the same; "
        f"or give layers=[...], names out of: {names}"
    )


def _refuse_obstacles(model: nn.Module, seen: Probe, report: Report, check: bool) -> None:
    """Refuses what stands in the way, or warns of it.

    Raises:
        InputError: something does.
    """
    name = type(model).__name__
    obstacles = shortened([str(p) for p in report.of(IN_THE_WAY)])
    if obstacles and check:
        raise InputError(f"{name} cannot be converted: {obstacles}; {WAYS_OUT}")
    if check and seen.error:
        raise InputError(f"{name} runs on signals of one length only ({seen.error}); {WAYS_OUT}")
    if obstacles:
        warnings.warn(f"{name} is converted, unchecked, though in its way stands: {obstacles}", stacklevel=4)


def _only_transforms(model: nn.Module) -> bool:
    """Whether a model is nothing but STFT modules: those are known by what they compute."""
    leaves = [m for m in model.modules() if not list(m.children())]
    return not list(model.parameters()) and all(map(is_stft, leaves))


def _convolutions(
    twins: dict[str, nn.Module],
) -> tuple[list[ConvertedConv1d], list[ConvertedConvTranspose1d]]:
    return (
        [t for t in twins.values() if isinstance(t, ConvertedConv1d)],
        [t for t in twins.values() if isinstance(t, ConvertedConvTranspose1d)],
    )


def _roles(places: list[Place], report: Report) -> dict[Key, str]:
    """What every redirected call does. One that does two things is put in the way."""
    roles: dict[Key, str] = {}
    for place in places:
        if not place.role:
            continue
        key = Key(place.name, place.site, place.convolution)
        if roles.setdefault(key, place.role) != place.role:
            if COUNT in (place.role, roles[key]):  # of one layer after the other, perhaps
                why = "what it divides are samples at one time and frames at another"
                roles[key] = INSIDE
                report.places.append(Place(DOUBTFUL, place.what, place.site, why))
                continue
            first, second = sorted((place.role, roles[key]), key=INSIDE.__eq__)
            why = f"it sees samples at one time ({first}) and frames at another ({second})"
            report.places.append(Place(IN_THE_WAY, place.what, place.site, why))
    return roles


def _twins(model: nn.Module, places: list[Place], sample_rate: float) -> dict[str, nn.Module]:
    """Layers for the modules that are nothing but a call to be converted."""
    roles: dict[str, set[str]] = {}
    for place in places:
        if place.role:
            roles.setdefault(place.site.module, set()).add(place.role)
    twins: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if name not in roles or not roles[name] <= {ANALYSIS, SYNTHESIS}:
            continue
        if is_stft(module):
            try:
                twins[name] = converted_stft(module, name, sample_rate)
            except InputError:  # it does more than a transform: the calls in it are redirected
                continue
        elif obstacle(module) is None and len(roles[name]) == 1:
            twins[name] = twin(name, module, sample_rate)
    return twins
