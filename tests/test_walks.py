"""How far a call walks: the rate is looked at once, where it comes in, and what follows from it is worked out once and handed on."""

import inspect
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from torch import nn

from sfi_zoo import SFIISTFT, SFISTFT, SFIConv1d, SFIConvTranspose1d
from sfi_zoo.audio.rates import hertz
from sfi_zoo.design import native_design
from sfi_zoo.layers.designed import DesignedConv
from sfi_zoo.layers.geometry import layout
from sfi_zoo.layers.short_time import ShortTimeFourier

RATES = [16000, 44100, 44101.5, 11025]
CONVOLUTIONS = {
    "analysis": lambda **options: (SFIConv1d(1, 8, 160, 80, **options), torch.ones(1, 1, 8000)),
    "synthesis": lambda **options: (SFIConvTranspose1d(8, 1, 160, 80, **options), torch.ones(1, 8, 50)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "native": {},
    "in frequency": {"design": "frequency"},
    "reference": {"flavour": "reference"},
    "interpolate": {"stride_mode": "interpolate"},
    "interpolated": {"filters": "interpolated"},
}


def calls_in(work: Callable[[], object]) -> Counter[CodeType]:
    """How often each Python function is called."""
    counted: Counter[CodeType] = Counter()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            counted[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


def warm_calls(layer: nn.Module, x: torch.Tensor, rate: float) -> Counter[CodeType]:
    layer.eval()
    with torch.no_grad():
        layer(x, rate)
        return calls_in(lambda: layer(x, rate))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("direction", CONVOLUTIONS)
def test_a_warm_convolution_checks_the_rate_once_and_builds_its_layout_once(
    direction: str, options: dict[str, Any], rate: float
) -> None:
    layer, x = CONVOLUTIONS[direction](sample_rate=16000, **options)
    counted = warm_calls(layer, x, rate)
    assert counted[hertz.__code__] == 1
    assert counted[layout.__code__] == 1
    assert counted[DesignedConv._geometry.__code__] == 1
    assert counted[native_design.__code__] == 0


@pytest.mark.parametrize("rate", RATES)
def test_a_transform_checks_the_rate_once(rate: float) -> None:
    for layer, x in (
        (SFISTFT(256, sample_rate=16000), torch.ones(1, 8000)),
        (SFIISTFT(256, sample_rate=16000), torch.ones(1, 129, 20) + 0j),
    ):
        counted = warm_calls(layer, x, rate)
        assert counted[hertz.__code__] == 1
        assert counted[ShortTimeFourier._frames.__code__] == 1


def test_a_rate_that_is_set_is_checked_when_it_is_set() -> None:
    layer, x = CONVOLUTIONS["analysis"](sample_rate=16000)
    layer.eval().current_rate = 44100
    with torch.no_grad():
        layer(x)
        assert calls_in(lambda: layer(x))[hertz.__code__] == 0


def test_where_frames_are_is_asked_in_one_step() -> None:
    for layer in (SFIConv1d(1, 8, 160, 80, sample_rate=16000), SFISTFT(256, sample_rate=16000)):
        for ask in (layer.frame_grid, layer.alive, lambda rate, of=layer: of.frame_times(5, rate)):
            assert calls_in(lambda ask=ask: ask(44100))[hertz.__code__] == 1  # type: ignore[misc]


def test_a_design_is_told_what_to_do_by_name() -> None:
    assert [*inspect.signature(native_design).parameters] == ["bank", "kernel", "sampling", "level"]
