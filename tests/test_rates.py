"""Sampling frequencies: every kind of number, everywhere they are given; and the one a model or layer is set to."""

import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo import InputError, SFIConv1d, at_sample_rate, set_sample_rate
from sfi_zoo.audio.rates import hertz
from sfi_zoo.audio.resample import resample
from sfi_zoo.audio.resampling import RESAMPLER_TYPES, create_resampler
from sfi_zoo.filters import InterpolatedKernels, NeuralAnalogFrequency
from sfi_zoo.layers import SFISTFT, KernelInterpolatedConv1d, Resampled
from sfi_zoo.layers.sample_rate import SampleRateAware
from sfi_zoo.models.adaptation import MODES, Adapted
from sfi_zoo.models.base import Separator
from tests.tiny_separators import ARCHITECTURES, tiny

RATE = 12000
KINDS = (
    np.int32(RATE),
    np.uint64(RATE),
    np.float32(RATE),
    np.float64(RATE),
    np.array(RATE),
    np.array(float(RATE)),
    Fraction(RATE),
    float(RATE),
    torch.tensor(RATE),
    torch.tensor(float(RATE)),
    torch.tensor(RATE, dtype=torch.float64),
    nn.Parameter(torch.tensor(float(RATE)), requires_grad=False),
)
REFUSED = {  # what its message shows
    "got True": (True, np.True_, torch.tensor(True)),
    "got '12000'": (str(RATE),),
    "got (12000+0j)": (RATE + 0j,),
    "got [12000]": ([RATE],),
    "got array([12000, 12000])": (np.array([RATE, RATE]),),
    "got tensor([12000])": (torch.tensor([RATE]),),
    "nan": (float("nan"), np.nan, torch.tensor(float("nan"))),
    "inf": (float("inf"),),
    "-12000": (np.float32(-RATE), -RATE),
    "-0.5": (Fraction(-1, 2),),
    "401 digits": (10**400,),
}
SIGNAL = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))


def layer_of(kind: str) -> SampleRateAware:
    """One of those that know of rates, F0 = 16 kHz."""
    torch.manual_seed(0)
    if kind == "stft":
        return SFISTFT(64, 16, sample_rate=16000).eval()
    if kind == "resampled":
        return Resampled(nn.Conv1d(1, 1, 3, padding=1), 16000).eval()
    cls = {"conv": SFIConv1d, "interpolated": KernelInterpolatedConv1d}[kind]
    return cls(1, 4, 16, 8, sample_rate=16000).eval()


def forward(model: nn.Module, rate: Any) -> torch.Tensor:
    return model(SIGNAL[:, None], rate)


def stored(model: nn.Module, rate: Any) -> torch.Tensor:
    with at_sample_rate(model, rate):
        return model(SIGNAL[:, None])


TAKERS: dict[str, Callable[[Any], torch.Tensor]] = {
    **{
        f"{kind} layer": lambda rate, k=kind: forward(layer_of(k), rate)
        for kind in ("conv", "stft", "resampled")
    },
    "baseline layer": lambda rate: forward(layer_of("interpolated"), rate),
    "stored in a layer": lambda rate: stored(layer_of("conv"), rate),
    "F0 of a layer": lambda rate: SFIConv1d(1, 1, 8, sample_rate=rate).trained_rate + torch.zeros(()),
    "model": lambda rate: forward(tiny("convtasnet"), rate),
    "encode": lambda rate: tiny("openunmix").encode(SIGNAL[:, None], rate).values,
    "stored in a model": lambda rate: stored(tiny("convtasnet"), rate),
    "separate": lambda rate: tiny("convtasnet").separate(SIGNAL, rate),
    "in chunks": lambda rate: tiny("convtasnet").separate(SIGNAL, rate, chunk_seconds=0.1),
    **{f"mode {mode}": lambda rate, m=mode: forward(Adapted(tiny("convtasnet"), m), rate) for mode in MODES},
    "resample": lambda rate: resample(SIGNAL, rate, 16000),
    "resample to": lambda rate: resample(SIGNAL, 16000, rate),
    **{
        name: lambda rate, n=name: create_resampler(n)(SIGNAL, rate, 16000)
        for name in RESAMPLER_TYPES
        if name != "torchaudio"
    },
    "F0 of a bank": lambda rate: InterpolatedKernels(2, rate, 0.001).impulse_response(SIGNAL[0, :9].double()),
    "F0 of neural filters": lambda rate: NeuralAnalogFrequency(2, rate).frequency_response(
        SIGNAL[0, :9].double()
    ),
    "freeze": lambda rate: sfi_zoo.freeze(layer_of("conv"), rate)(SIGNAL[:, None]),
    "make_sfi": lambda rate: stored(
        sfi_zoo.make_sfi(nn.Sequential(nn.Conv1d(1, 2, 8, 4)), rate, ["0"]), 16000
    ),
}


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_every_kind_of_number_is_the_number(taker: Callable[[Any], torch.Tensor]) -> None:
    with torch.no_grad():
        torch.manual_seed(0)
        expected = taker(RATE)
        for rate in KINDS:
            torch.manual_seed(0)
            assert torch.equal(taker(rate), expected), repr(rate)


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_what_is_no_rate_is_refused_in_one_line_with_its_value(taker: Callable[[Any], torch.Tensor]) -> None:
    for shown, rates in REFUSED.items():
        for rate in rates:
            with pytest.raises(InputError, match=r"rate") as refused:
                taker(rate)
            assert shown in str(refused.value) and "\n" not in str(refused.value)


def test_a_whole_number_stays_whole() -> None:
    assert [type(hertz(rate)) for rate in (8000, np.int16(8000), 8000.0, Fraction(8000))] == [
        int,
        int,
        float,
        float,
    ]


def test_a_fraction_is_the_nearest_number() -> None:
    assert hertz(Fraction(44_100_000, 1001)) == 44_100_000 / 1001


# the rate a separator is set to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_separator_obeys_the_rate_it_is_set_to(name: str) -> None:
    model, x = tiny(name), SIGNAL[:, None]
    expected, at_trained = model(x, RATE), model(x)
    with at_sample_rate(model, RATE):
        assert model.current_rate == RATE != model.trained_rate
        assert torch.equal(model(x), expected)
        assert torch.equal(
            model.separate(SIGNAL[0], chunk_seconds=1), model.separate(SIGNAL[0], RATE, chunk_seconds=1)
        )
        latent = model.encode(x)
        assert torch.equal(latent.values, model.encode(x, RATE).values)
        decoded = model.decode(latent.values[:, None], None, x.shape[-1])
        assert torch.equal(decoded, model.decode(latent.values[:, None], RATE, x.shape[-1]))
        assert torch.equal(model(x, model.trained_rate), at_trained)  # an explicit argument wins
    assert model.current_rate == model.trained_rate and torch.equal(model(x), at_trained)
    assert not torch.equal(expected, at_trained)
    set_sample_rate(model, RATE)
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_an_adapted_separator_obeys_it_too(mode: str) -> None:
    model, x = Adapted(tiny("convtasnet"), mode), SIGNAL[:, None]
    expected = model(x, RATE)
    with at_sample_rate(model, RATE):
        assert torch.equal(model(x), expected)
    with at_sample_rate(model, RATE), at_sample_rate(model, 8000):
        pass
    assert model.current_rate == model.trained_rate == model.model.current_rate


class Own(Separator):
    """Its F0 stands in no config."""

    trained_rate = 22050  # type: ignore[assignment]


def test_a_separator_of_somebody_s_own_obeys_it() -> None:
    model = Own()
    with at_sample_rate(model, 44100):
        assert model.check_rate(None) == 44100
    assert model.check_rate(None) == model.trained_rate


def test_a_rate_out_of_range_is_refused_when_it_is_used() -> None:
    model = tiny("convtasnet")
    with at_sample_rate(model, 1000), pytest.raises(InputError, match="1000 Hz is outside 4000"):
        model(SIGNAL[:, None])


def test_inside_what_resamples_layers_run_at_the_trained_rate() -> None:
    inner = layer_of("conv")
    outer = Resampled(inner, 16000, output="frames")
    with torch.no_grad(), at_sample_rate(outer, 8000):
        low = outer(SIGNAL[:, None])
    assert torch.equal(low, outer(SIGNAL[:, None], 8000)) and inner.current_rate == 16000


# former names ---------------------------------------------------------------------------------------------------------


def test_former_names_work_and_warn() -> None:
    model, layer = tiny("convtasnet"), layer_of("conv")
    with pytest.warns(DeprecationWarning, match=r"ConvTasNet\.sample_rate is now trained_rate"):
        assert model.sample_rate == model.trained_rate
    with pytest.warns(DeprecationWarning, match=r"SFIConv1d\.sample_rate is now current_rate") as told:
        layer.sample_rate = 8000
    assert told[0].filename == __file__
    with pytest.warns(DeprecationWarning):
        assert layer.sample_rate == layer.current_rate == 8000


class Former(Separator):
    """One of somebody's own, written before the names changed."""

    sources = ("a",)
    frame_period = None

    @property
    def sample_rate(self) -> int:
        return 22050


def test_a_model_with_the_former_name_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="Former has F0 as sample_rate; call it trained_rate"):
        assert Former().trained_rate == Former().check_rate(None) == 22050


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_of_ours_uses_a_former_name(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        model = tiny(name)
        model.separate(SIGNAL, 8000, chunk_seconds=1)
        Adapted(model, "resample").separate(SIGNAL, 8000, chunk_seconds=1)
