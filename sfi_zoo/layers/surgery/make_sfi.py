"""Surgery: a trained model of anyone's becomes independent of the sampling frequency, without retraining."""

import copy
import warnings
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from sfi_zoo.audio.resampling import Resampler
from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import SampleRateAware, check_sample_rate
from sfi_zoo.layers.surgery.conversion import WAYS_OUT, convert, replace_named
from sfi_zoo.layers.surgery.obstacles import check_model
from sfi_zoo.layers.surgery.operations import REDUCTIONS
from sfi_zoo.layers.surgery.places import CONVERTED, DOUBTFUL
from sfi_zoo.layers.surgery.probe import SAMPLES, Probe, copied, probe
from sfi_zoo.layers.surgery.report import Report, report_of
from sfi_zoo.layers.surgery.self_check import check as check_converted
from sfi_zoo.layers.surgery.watch import watched
from sfi_zoo.layers.surgery.wrapped import ResampledModel
from sfi_zoo.wording import shortened

TOLERABLE = 1e-2  # relative error, -40 dB, that is warned of where nothing is suspected
DENSE = 0.1  # values for each sample: an output with more of them may be a signal of another rate
SIMPLE = 16  # largest denominator of that number
USUAL = 1e-4  # relative error, -80 dB, that needs no word


def make_sfi(
    model: nn.Module,
    sample_rate: float,
    layers: Iterable[str] | None = None,
    *,
    example_inputs: Any = None,
    check: bool = True,
    fallback: str | Resampler | None = None,
) -> nn.Module:
    """A copy of a model that works at any sampling frequency, and at `sample_rate` computes what the model computes.

    The model runs on noise of two lengths, which tells the calls that take samples and give frames, or the reverse: convolutions,
    transposed convolutions, `torch.stft` and `torch.istft`. Where such a call is a module of its own, a layer takes its place; the other
    ones are redirected while the model runs (see `Redirected`). Kernels are interpolated (`InterpolatedKernels`), windows and hops become
    durations, nothing is retrained. `set_sample_rate` or `at_sample_rate` tells the copy at which rate it works.

        >>> model = sfi_zoo.make_sfi(model, 16000)
        >>> with sfi_zoo.at_sample_rate(model, 44100):
        ...     estimate = model(mixture)
        >>> print(model.report)

    Then it is checked: on signals that are exact at every rate its output at F0 is that of the model (1e-5), and at 441/320 of F0 (loud)
    and 3/4 of F0 (soft) it has the same length in seconds and the same spectrum (-60 dB, or what an input moved by 1e-6 does to the
    model). Every output counts for itself, and so does every channel that is less than 40 dB below the loudest. A model that keeps
    something from a call is called twice. What only shows in loud signals, in lengths, or not for sure is a warning. `forward` is what is
    checked.

    The copy goes on looking (see `Watch`): at another rate the first input of each kind (length by octaves, batch, training) is run twice,
    and calls on samples that the check has not seen are warned of. Give examples as long as your signals to have them checked.

    The model itself is not touched. Parameters that are shared in it are shared in the copy; kernels of layers keep their shape and get
    the name `<layer>.filters.weight`. A decoder gives as many samples as the model expects of the signal that went in, so models
    that pad to whole hops in samples of F0 go on working.

    Args:
        model: any model with a convolution or an STFT on a waveform.
        sample_rate: F0 in Hz, the rate the model was trained at.
        layers: names of the layers to replace, as in `model.named_modules()`, and no others; found if None. What is named is replaced: a
            check that fails is a warning.
        example_inputs: what the model is called with at F0, a tensor, a tuple or a dictionary; waveforms are the real tensors of 20 ms or
            more in it, along their longest axis. If None, noise of the shapes (1, 1, time), (1, 2, time), (1, time), (2, time), (time,).
        check: refuse a model that fails the check or holds what stands in the way; False: warn, and check nothing.
        fallback: what cannot be converted runs at F0 between two resamplings (see `ResampledModel`): "resample" (windowed sinc), the name
            of another resampler, or a `Resampler`.

    Returns:
        The converted copy; its `report` says what was done.

    Raises:
        InputError: an impossible rate, nothing found, an unknown name, a layer that cannot be converted, something in the way, or a
            converted model that differs from the plain one.
    """
    sample_rate = check_sample_rate(sample_rate)
    check_model(model)
    model = copied(model)
    on_meta = any(x.is_meta for x in [*model.parameters(), *model.buffers()])
    check = check and not on_meta  # nothing can be compared without data
    seen = (
        _seen_of_ones(model, sample_rate, example_inputs)
        if on_meta
        else probe(model, sample_rate, example_inputs)
    )
    report = report_of(model, sample_rate, seen)
    if layers is not None:
        converted = replace_named(
            copy.deepcopy(model), [layers] if isinstance(layers, str) else list(layers), sample_rate, seen
        )
        if check:
            _warn(model, converted, report, seen)
            _say_of_outputs(model, report, seen)
        return _finished(converted, report, seen, check)
    try:
        converted = convert(copy.deepcopy(model), sample_rate, seen, report, check)
        if check and seen.inputs:
            report.findings = check_converted(model, converted, seen, sample_rate)
            _refuse_failures(model, report)
            _say_of_outputs(model, report, seen)
    except InputError:
        if fallback is None:
            raise
        return ResampledModel(model, sample_rate, seen, fallback, report)
    return _finished(converted, report, seen, check)


def sfi_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The SFI layers of a model by name: what `make_sfi` has put in, what `freeze` will take out."""
    return {name: m for name, m in model.named_modules() if isinstance(m, SampleRateAware)}


def _seen_of_ones(model: nn.Module, sample_rate: float, example_inputs: Any) -> Probe:
    """What a probe sees of a model without data: which way its calls go is a matter of sizes."""
    with torch.device("cpu"), torch.no_grad():
        empty = copy.deepcopy(model).to_empty(device="cpu")
        for tensor in [*empty.parameters(), *empty.buffers()]:
            tensor.fill_(1)  # a window of zeros could not be inverted
        return probe(empty, sample_rate, example_inputs)


def _warn(model: nn.Module, converted: nn.Module, report: Report, seen: Probe) -> None:
    """Says what is not right of a model whose layers were named."""
    name = type(model).__name__
    if not seen.inputs or seen.error:
        warnings.warn(
            f"the layers that were named are converted, but nothing is checked, as {name} could not be run {seen.error}; "
            "give example_inputs",
            stacklevel=3,
        )
        return
    report.findings = check_converted(model, converted, seen, report.sample_rate)
    if all(finding.passed for finding in report.findings):
        return
    rest = [
        str(p) for p in report.places if p.verdict != CONVERTED or not _is_replaced(converted, p.site.module)
    ]
    warnings.warn(
        f"the layers that were named are converted, but {name} is not the same at other rates "
        f"({'; '.join(map(str, report.findings[1:3]))}); left as they are: {shortened(rest) or 'nothing'}",
        stacklevel=3,
    )


def _is_replaced(converted: nn.Module, name: str) -> bool:
    try:
        return isinstance(converted.get_submodule(name), SampleRateAware)
    except AttributeError:
        return False


def _refuse_failures(model: nn.Module, report: Report) -> None:
    """Refuses a model that failed the check, with the suspects; warns of what the check may not have seen.

    Raises:
        InputError: it failed.
    """
    failed = [finding for finding in report.findings if not finding.passed]
    doubtful = report.of(DOUBTFUL)
    name = type(model).__name__
    loud = [f for f in failed if f.loud and not f.message]
    small = not doubtful and all(f.error < TOLERABLE and not f.message for f in failed)
    soft_too = any(f.error > USUAL for f in report.findings[1:] if not f.loud)
    reduced = any(place.name in REDUCTIONS for place in doubtful)
    if failed == loud and loud and not reduced and not (small and soft_too):
        suspects = shortened([str(p) for p in doubtful]) or "a limit of the level that no call shows"
        warnings.warn(
            f"{name} is converted, but with signals as loud as full scale it is another one at other rates ({'; '.join(map(str, loud))}): "
            f"{suspects}",
            stacklevel=3,
        )
        return
    figures = "; ".join(map(str, failed))
    rests = [finding for finding in report.findings[1:] if finding.error > USUAL]
    if (failed and small) or (rests and not failed):
        warnings.warn(
            f"{name} is converted, with a larger rest than usual ({'; '.join(map(str, rests))}); windows and kernels with jumps at their "
            "ends do that, and norms, logarithms and phases that make much of silent bands",
            stacklevel=3,
        )
    elif failed:
        suspects = shortened([str(p) for p in doubtful]) or (
            "how it counts samples, or what it makes of silent bands and of jumps at the ends of windows"
        )
        raise InputError(
            f"{name} was converted, but is not the same at other rates ({figures}); suspected: {suspects}; "
            f"check=False takes it all the same; {WAYS_OUT}"
        )
    hidden = [place for place in doubtful if place.hidden]
    if hidden:
        worst = max(finding.decibels for finding in report.findings)
        warnings.warn(
            f"{name} is converted ({worst:.0f} dB on the check's signals), but with loud or broad-band signals, or at their ends, it may "
            f"differ more between rates: {shortened([str(p) for p in hidden])}",
            stacklevel=3,
        )


def _say_of_outputs(model: nn.Module, report: Report, seen: Probe) -> None:
    """Warns of outputs whose length is not that at F0 in seconds, and of signals that are taken for frames."""
    name = type(model).__name__
    notes = [finding.note for finding in report.findings if finding.note]
    if notes:
        warnings.warn(
            f"{name} is converted, but counts samples in what it gives: {shortened(notes)}",
            stacklevel=3,
        )
    for number, slopes in enumerate(seen.outputs, 1):
        growth = float(Fraction(max(slopes, default=0.0)).limit_denominator(SIMPLE))
        if DENSE <= growth < SAMPLES:
            warnings.warn(
                f"output {number} of {name} has {growth:.3g} values for each sample; they are taken for frames, and come at "
                f"{growth * report.sample_rate:g} Hz at every rate",
                stacklevel=3,
            )


def _finished(converted: nn.Module, report: Report, seen: Probe, check: bool) -> nn.Module:
    """With its report; and with a `Watch`, where it was run and checked."""
    if check and report.findings:
        converted = watched(converted, seen, max(finding.error for finding in report.findings[1:]))
    return _with_report(converted, report)


def _with_report(model: nn.Module, report: Report) -> nn.Module:
    if not hasattr(model, "report"):
        model.report = report  # type: ignore[assignment]
    return model
