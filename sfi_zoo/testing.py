"""For test suites, ours and yours: how far a module is from being independent of the sampling frequency.

from sfi_zoo.testing import assert_sfi

def test_my_encoder():
    assert_sfi(my_encoder, [8000, 22050, 44100], at_most_db=-60)
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers.sample_rate import SampleRateAware, at_sample_rate, check_sample_rate
from sfi_zoo.layers.surgery.self_check import spectrum

TONES, SEED = 40, 3
HIGHEST = 0.35  # of the lowest rate: where the signal ends
COMPARED = 0.42  # of the lowest rate: where spectra are compared up to
SLACK = 2  # frames, or samples at F0, that an output may be longer or shorter


def sfi_error(
    module: nn.Module,
    rates: Sequence[float],
    *,
    trained_rate: float | None = None,
    channels: int = 1,
    seconds: float = 1.0,
) -> dict[float, float]:
    """Relative error of a module's output at each rate against its output at F0, in dB.

        e(F) = 10 log10 (|y_F - y_F0|^2 / |y_F0|^2)

    The input is one and the same sound at every rate: tones below 0.35 of the lowest rate, from a formula, so no resampler takes
    part. Where the output is as long as the input, y is its Fourier transform up to 0.42 of the lowest rate; else frames are compared
    one by one.

    Args:
        module: takes (1, channels, time), gives one tensor whose last axis is time or frames; SFI layers inside hear of the rate by
            `at_sample_rate`. It is put into evaluation mode meanwhile.
        rates: F in Hz, one or more.
        trained_rate: F0 in Hz; that of the first SFI layer inside when omitted.
        channels: of the input.
        seconds: length of the input.

    Returns:
        F -> error in dB, no less than -300.

    Raises:
        InputError: no rate, no SFI layer, or outputs that cannot be compared: other shapes, silence, another length in seconds.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, SampleRateAware)]
    if not layers:
        raise InputError(f"{type(module).__name__} holds no SFI layer, so it cannot hear of a rate")
    if not rates:
        raise InputError("sfi_error needs one rate or more")
    trained = check_sample_rate(layers[0].trained_rate if trained_rate is None else trained_rate)
    lowest = min([trained, *(check_sample_rate(rate) for rate in rates)])
    floating = [p for p in [*module.parameters(), *module.buffers()] if p.is_floating_point()]
    # the narrowest: analog filters stay in float32 where the rest is in half precision
    tensor = min(floating, key=lambda p: torch.finfo(p.dtype).bits, default=torch.ones(()))
    before = module.training

    def run(rate: float) -> tuple[Tensor, int]:
        x = exact_tones(rate, seconds, HIGHEST * lowest, channels)[None].to(tensor)
        with at_sample_rate(module, rate), torch.no_grad():
            y = module(x)
        if not isinstance(y, Tensor):
            raise InputError(
                f"{type(module).__name__} gives a {type(y).__name__}; wrap it so that it gives one tensor"
            )
        return y, x.shape[-1]

    try:
        module.eval()
        reference, samples = run(trained)
        is_sound = abs(reference.shape[-1] - samples) <= SLACK
        errors = {}
        for rate in rates:
            y, count = run(rate)
            if is_sound:
                if abs(y.shape[-1] - count) > max(SLACK, SLACK * rate / trained):
                    raise InputError(f"{rate:g} Hz: {y.shape[-1]} of {count} samples come out")
                top = COMPARED * lowest
                errors[rate] = _decibels(
                    spectrum(y, rate, seconds, top), spectrum(reference, trained, seconds, top)
                )
            else:
                frames = min(y.shape[-1], reference.shape[-1])
                if (
                    y.shape[:-1] != reference.shape[:-1]
                    or max(y.shape[-1], reference.shape[-1]) - frames > SLACK
                ):
                    raise InputError(
                        f"{rate:g} Hz: an output of shape {tuple(y.shape)} comes out, at F0 {tuple(reference.shape)}"
                    )
                errors[rate] = _decibels(y[..., :frames], reference[..., :frames])
    finally:
        module.train(before)
    return errors


def assert_sfi(
    module: nn.Module,
    rates: Sequence[float],
    *,
    at_most_db: float = -60.0,
    trained_rate: float | None = None,
    channels: int = 1,
    seconds: float = 1.0,
) -> None:
    """Fails where `sfi_error` is above `at_most_db` at a rate; the message has the error at each.

    Args:
        module: see `sfi_error`.
        rates: F in Hz.
        at_most_db: what is allowed; float32 reaches about -120.
        trained_rate: see `sfi_error`.
        channels: see `sfi_error`.
        seconds: see `sfi_error`.

    Raises:
        AssertionError: it is not independent enough.
        InputError: see `sfi_error`.
    """
    errors = sfi_error(module, rates, trained_rate=trained_rate, channels=channels, seconds=seconds)
    if any(not error <= at_most_db for error in errors.values()):
        said = ", ".join(f"{rate:g} Hz: {error:.1f} dB" for rate, error in errors.items())
        raise AssertionError(
            f"{type(module).__name__} differs from itself at F0 by more than {at_most_db:g} dB: {said}"
        )


def exact_tones(rate: float, seconds: float, highest: float, rows: int = 1) -> Tensor:
    """Tones below `highest` Hz under smooth envelopes, the same sound at every rate: (rows, time) float64, silent at both ends."""
    generator = torch.Generator().manual_seed(SEED)
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    draws = torch.rand(3, rows, TONES, 1, generator=generator, dtype=torch.float64)
    frequency, centre = highest * (0.02 + 0.93 * draws[0]), seconds * (0.3 + 0.4 * draws[1])
    tones = (2 * math.pi * (frequency * t + draws[2])).cos() * (
        -0.5 * ((t - centre) / (0.08 * seconds)) ** 2
    ).exp()
    fade = (((torch.minimum(t, seconds - t) / seconds - 0.08) / 0.1).clamp(0, 1) * math.pi / 2).sin() ** 2
    return 0.05 * tones.sum(1) * fade


def _decibels(y: Tensor, reference: Tensor) -> float:
    y, reference = y.to(torch.complex128), reference.to(torch.complex128)
    whole = float(reference.abs().square().sum())
    if not whole:
        raise InputError("the output at F0 is silent, so nothing can be compared")
    ratio = float((y - reference).abs().square().sum()) / whole
    return math.inf if math.isnan(ratio) else 10 * math.log10(max(ratio, 1e-30))
