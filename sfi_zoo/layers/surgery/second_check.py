"""A converted model against itself at F0, with inputs as long as those of a call: what a check of one length cannot see."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import at_sample_rate
from sfi_zoo.layers.surgery.example_inputs import PARTS, Arguments, ExampleInputs, Signal
from sfi_zoo.layers.surgery.probe import isolated, undisturbed, values_in
from sfi_zoo.layers.surgery.self_check import (
    ALIKE,
    BAND,
    SENSITIVE,
    Finding,
    Outputs,
    compare,
    guarded,
    noise_of,
    shifted,
)

BRIEF = 0.1  # seconds: in shorter signals the ends are most of what can be compared
LEFT_OUT = 50  # the signals are shorter than those of the call by less than a part of so many
LOWEST = 0.35  # of F: where the signals end, if that is below `BAND` F0
FULL = (torch.float32, torch.float64)  # rounding in half precision would hide what is wrong


def check_call(
    model: nn.Module,
    arguments: Arguments,
    rates: tuple[float, float],
    slopes: list[tuple[float, ...]],
    allowed: float,
    observer: AbstractContextManager[Any],
) -> Finding | None:
    r"""Runs a converted model, in evaluation, at F and at F0 on as many seconds of the same sound, and compares.

    The sound is noise below 0.3 F0. It lasts whole numbers of samples at both rates, so that it is exact at both: with F / F0 = p / q it
    has \(\lfloor N / p \rfloor p\) samples at F, N those of the call. Where that leaves out too much, p / q is the nearest of smaller
    numbers, and the model runs at F0 p / q instead of F.

    Args:
        model: it works at F; afterwards it is as it was.
        arguments: of the call.
        rates: F and F0 in Hz.
        slopes: growth per sample of every axis of every output.
        allowed: relative error that needs no second look.
        observer: stands around the run at F.

    Returns:
        How it compares; None where such signals cannot be given to it.
    """
    rate, trained_rate = rates
    try:
        inputs = ExampleInputs(arguments, rate)
    except InputError:
        return None
    if any(inputs.leaves[i].dtype not in FULL for i in inputs.axes) or torch.is_autocast_enabled("cpu"):
        return None
    if inputs.samples < BRIEF * rate:
        return None
    ratio = _ratio(rate / trained_rate, inputs.samples)
    if ratio == 1:  # too near to F0 for so short a signal
        return None
    periods = inputs.samples // ratio.numerator
    if len(inputs.axes) > 1:  # some may be parts of the longest
        periods -= periods % PARTS
    counts = periods * ratio.numerator, periods * ratio.denominator
    band = min(BAND, LOWEST * float(ratio))

    def run(at: Fraction | int, count: int, change: Callable[..., Any] = lambda x: x) -> Outputs:
        noise: Signal = lambda rows, n: change(noise_of(rows, n, round(n / at), band))  # noqa: E731
        same = {trained_rate: trained_rate, rate: rate if at == ratio else trained_rate}
        args, kwargs = inputs.arguments(count, noise, rates=same)
        watching = nullcontext() if at == 1 else observer
        with isolated(), undisturbed(model), at_sample_rate(model, float(at * trained_rate)), watching:
            model.eval()
            output = model.forward(*args, **kwargs)
        return Outputs(float(at * trained_rate), count, values_in(output))

    at_rate = run(ratio, counts[0])
    trained = run(1, counts[1])
    finding = guarded(rate, lambda: compare(at_rate, trained, slopes), allowed)
    if not finding.passed and not finding.message:
        sensitivity = compare(run(1, counts[1], shifted), trained, slopes).error
        finding = replace(finding, allowed=max(allowed, ALIKE, SENSITIVE * sensitivity))
    return finding


def _ratio(exact: float, samples: int) -> Fraction:
    """F / F0, or near to it, as a fraction whose numerator divides a number that is little less than `samples`."""
    ratio = Fraction(exact).limit_denominator(1_000_000)
    if samples % ratio.numerator * LEFT_OUT < samples:
        return ratio
    return 1 / (1 / ratio).limit_denominator(max(math.ceil(ratio), samples // LEFT_OUT))
