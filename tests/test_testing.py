"""`sfi_zoo.testing`: figures that are known, modules that pass and modules that must not."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError, SFIConv1d
from sfi_zoo.layers.sample_rate import SampleRateAware
from sfi_zoo.testing import assert_sfi, exact_tones, sfi_error

RATES = [8000, 11025, 22050, 44100, 48000]


class Louder(SampleRateAware):
    """The input, a little louder at every rate but F0."""

    trained_rate = 16000.0

    def __init__(self, more: float, cut: int = 1) -> None:
        super().__init__()
        self.more, self.cut, self.current_rate = more, cut, self.trained_rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.current_rate == self.trained_rate else (1 + self.more) * x
        return y[..., :: self.cut]


@pytest.mark.parametrize("more", [1e-1, 1e-3])
def test_a_gain_at_other_rates_is_the_error(more: float) -> None:
    for error in sfi_error(Louder(more), RATES).values():
        assert error == pytest.approx(20 * math.log10(more), abs=0.05)


def test_the_tones_are_one_sound_at_every_rate() -> None:
    """By numpy: twice the rate has the same samples in between, and nothing above the highest frequency."""
    low, high = (exact_tones(rate, 1.0, 3000.0, 2).numpy() for rate in (8000, 16000))
    np.testing.assert_allclose(high[:, ::2], low, atol=1e-12)
    energy = np.abs(np.fft.rfft(high)) ** 2
    assert energy[:, 3100:].sum() < 1e-9 * energy.sum()


@pytest.mark.parametrize("module", ["encoder", "whole"])
def test_layers_pass_and_plain_ones_do_not(module: str) -> None:
    torch.manual_seed(0)
    if module == "encoder":
        converted = SFIConv1d(1, 32, 160, 80, sample_rate=16000, taper=1.0)
        rounded = SFIConv1d(1, 32, 160, 80, sample_rate=16000, stride_mode="round", flavour="reference")
    else:
        plain = nn.Sequential(
            nn.Conv1d(1, 32, 32, 16, bias=False), nn.ConvTranspose1d(32, 1, 32, 16, bias=False)
        )
        converted, rounded = sfi_zoo.make_sfi(plain, 16000), Louder(1.0)
    assert_sfi(converted, RATES, at_most_db=-70)
    with pytest.raises(AssertionError, match=r"11025 Hz: -?\d"):
        assert_sfi(rounded, RATES, at_most_db=-40)


def test_what_cannot_be_compared_is_told() -> None:
    for module, rates, reason in (
        (nn.Conv1d(1, 1, 3), [8000], "no SFI layer"),
        (Louder(0.0), [], "one rate or more"),
        (Louder(0.0, cut=100), [8000], r"8000 Hz: an output of shape \(1, 1, 80\)"),
        (nn.Sequential(Louder(-1.0), nn.Threshold(1e9, 0.0)), [8000], "silent"),
    ):
        with pytest.raises(InputError, match=reason):
            sfi_error(module, rates)


def test_a_module_keeps_its_mode_and_rate() -> None:
    module = Louder(0.1).train()
    sfi_error(module, [8000])
    assert module.training and module.current_rate == 16000
