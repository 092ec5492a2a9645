"""Resampling: right length, no delay, and the same signal as torchaudio's resampler gives."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sfi_zoo.audio.resample import (
    resample,
    resample_blocks,
    resampled_length,
    torchaudio_resample,
)
from sfi_zoo.errors import InputError

Resampler = Callable[..., Any]
RATES = [(44100, 48000), (48000, 8000), (8000, 48000), (32000, 11025), (192000, 4000), (22050, 96000)]
KAISER_BEST = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


def tone(rate: float, seconds: float = 1.0, frequency: float = 440.0) -> torch.Tensor:
    """A tone that fades in and out, so that the edges need no extrapolation."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * frequency * time) * torch.sin(math.pi * time / seconds) ** 2


def deviation(estimate: torch.Tensor, target: torch.Tensor) -> float:
    return float((estimate - target).norm() / target.norm())


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_soxr_gives_the_samples_of_the_same_signal(rate_in: int, rate_out: int) -> None:
    assert deviation(resample(tone(rate_in), rate_in, rate_out), tone(rate_out)) < 1e-5


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_soxr_agrees_with_torchaudio(rate_in: int, rate_out: int) -> None:
    signal = tone(rate_in)
    oracle = torchaudio_resample(signal, rate_in, rate_out, **KAISER_BEST)
    assert deviation(resample(signal, rate_in, rate_out), oracle) < 1e-4


@pytest.mark.parametrize("resampler", [resample, torchaudio_resample])
@pytest.mark.parametrize("length", [0, 1, 2, 999, 1000, 1001, 44101])
@pytest.mark.parametrize(("rate_in", "rate_out"), [*RATES, (8000, 8000)])
def test_the_length_is_rounded(resampler: Resampler, length: int, rate_in: int, rate_out: int) -> None:
    result = resampler(torch.zeros(2, length), rate_in, rate_out)
    assert result.shape == (2, math.floor(length * rate_out / rate_in + 0.5))


def test_soxr_takes_rates_that_are_not_whole() -> None:
    assert deviation(resample(tone(8000.5, 2), 8000.5, 32000), tone(32000, 2)) < 1e-4


@pytest.mark.parametrize("resampler", [resample, torchaudio_resample])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_tensor_keeps_its_dtype(resampler: Resampler, dtype: torch.dtype) -> None:
    assert resampler(torch.zeros(2, 80, dtype=dtype), 8000, 16000).dtype == dtype


@pytest.mark.parametrize("resampler", [resample, torchaudio_resample])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_stays_an_array(resampler: Resampler, dtype: type) -> None:
    result = resampler(np.zeros((2, 80), dtype), 8000, 16000)
    assert isinstance(result, np.ndarray) and result.dtype == dtype


def test_leading_axes_are_signals_of_their_own() -> None:
    signals = torch.randn(3, 2, 500, dtype=torch.float64)
    alone = resample(signals[1, 0], 8000, 11025)
    torch.testing.assert_close(resample(signals, 8000, 11025)[1, 0], alone, atol=0, rtol=0)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize("block", [1000, 7777])
def test_a_stream_gives_the_samples_of_the_whole(rate_in: int, rate_out: int, block: int) -> None:
    signal = torch.randn(2, 30001)
    blocks = list(resample_blocks(signal.split(block, -1), rate_in, rate_out, 2))
    torch.testing.assert_close(torch.cat(blocks, -1), resample(signal, rate_in, rate_out), atol=1e-6, rtol=0)


def test_torchaudio_is_differentiable() -> None:
    signal = torch.randn(800, requires_grad=True)
    torchaudio_resample(signal, 8000, 16000).sum().backward()
    assert signal.grad is not None


def test_soxr_refuses_to_lose_a_gradient() -> None:
    with pytest.raises(InputError, match="no gradient"):
        resample(torch.zeros(8, requires_grad=True), 8000, 16000)


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("resampler", [resample, torchaudio_resample])
def test_a_rate_that_is_none_is_refused(resampler: Resampler, rate: float) -> None:
    with pytest.raises(InputError, match="not a positive number"):
        resampler(torch.zeros(8), 8000, rate)


def test_torchaudio_refuses_rates_that_are_not_whole() -> None:
    with pytest.raises(InputError, match="whole numbers"):
        torchaudio_resample(torch.zeros(8), 8000, 16000.5)


def test_without_torchaudio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[torchaudio\]'.*torch 2\.11 or 2\.12"):
        torchaudio_resample(torch.zeros(8), 8000, 16000)


def test_the_length_of_a_long_signal_is_exact() -> None:
    assert resampled_length(3 * 10**15, 44100, 48000) == 3265306122448980
