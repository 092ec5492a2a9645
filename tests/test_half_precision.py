"""Layers and separators in half precision: analog filters keep their parameters in float32, kernels are what they were."""

import copy
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sfi_zoo import SFIConv1d, SFIConvTranspose1d, freeze
from sfi_zoo.filters import FILTER_FAMILIES
from sfi_zoo.testing import assert_sfi
from tests.tiny_separators import ARCHITECTURES, tiny

F0 = 16000
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11}  # relative, of the worst number
EXACT = [name for name, family in FILTER_FAMILIES.items() if family.exact]


def layer(family: str = "modulated_gaussian", kind: Any = SFIConv1d, **options: Any) -> Any:
    torch.manual_seed(0)
    channels = (1, 16) if kind is SFIConv1d else (16, 1)
    design = "time" if FILTER_FAMILIES[family].gives("impulse_response") else "frequency"
    return kind(*channels, 640, 160, sample_rate=F0, filters=family, design=design, **options).eval()


def conversions(half: torch.dtype) -> dict[str, Any]:
    return {
        "named": lambda module: module.bfloat16() if half is torch.bfloat16 else module.half(),
        "to": lambda module: module.to(half),
        "to a tensor's": lambda module: module.to(torch.empty(0, dtype=half)),
        "inside another": lambda module: nn.Sequential(module).to(half)[0],
        "twice": lambda module: module.to(half).to("cpu").to(half),
    }


def relative(y: Tensor, wanted: Tensor) -> float:
    y, wanted = y.detach().double(), wanted.detach().double()
    return float((y - wanted).norm() / wanted.norm())


def signal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_numpy(bank: Any, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """z_k = sum_n x[n] h(tau_k - n / F) / F with h(t) = 2 sqrt(2 pi) b exp(-(2 pi b t)^2 / 2) cos(2 pi f t + phi), cut at +-T / 2."""
    f = 1000 * bank.center_khz.detach().double().numpy()[:, None]
    b, phi = np.exp(bank.log_bandwidth_hz.detach().double().numpy())[:, None], bank.phase.detach().numpy()
    t = ((kernel - 1) / 2 - np.arange(kernel)) / F0
    h = 2 * math.sqrt(2 * math.pi) * b * np.exp(-((2 * np.pi * b * t) ** 2) / 2)
    h = h * np.cos(2 * np.pi * f * t + phi.astype(np.float64)[:, None]) / F0
    frames = (len(x) - kernel) // stride + 1
    return np.stack([h @ x[k * stride : k * stride + kernel] for k in range(frames)], axis=-1)


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_a_layer_in_half_precision_gives_what_numpy_gives_in_float64(half: torch.dtype) -> None:
    below = {"frequency_range": (50.0, 7000.0)}
    analysis, x = layer(taper=0.0, bias=False, filter_options=below), signal(1, 4000).to(half)
    wanted = torch.from_numpy(by_numpy(analysis.filters, x[0].double().numpy(), 640, 160))
    assert relative(analysis.to(half)(x), wanted) < ROUNDING[half]
    for parameter in analysis.filters.parameters():  # what it would be with rounded frequencies
        parameter.data = parameter.data.to(half).float()
    assert relative(analysis(x), wanted) > 2 * ROUNDING[half]


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("rate", [F0, 44100, 44101.5])
@pytest.mark.parametrize("kind", [SFIConv1d, SFIConvTranspose1d])
@pytest.mark.parametrize("family", FILTER_FAMILIES)
def test_every_family_in_half_precision_is_the_layer_in_float64(
    family: str, kind: Any, rate: float, half: torch.dtype
) -> None:
    full = layer(family, kind)
    x = (
        signal(2, 1, rate // 4 if isinstance(rate, int) else 11025)
        if kind is SFIConv1d
        else signal(2, 16, 20)
    )
    x = x.to(half)
    wanted = copy.deepcopy(full).double()(x.double(), rate)
    y = full.to(half)(x, rate)
    assert y.dtype == half and full.dtype == half
    assert relative(y, wanted) < ROUNDING[half]


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("way", conversions(torch.float16))
@pytest.mark.parametrize("family", EXACT)
def test_parameters_of_filters_come_through_every_conversion(
    family: str, way: str, half: torch.dtype
) -> None:
    plain = layer(family)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    converted = conversions(half)[way](plain)
    assert converted.bias.dtype == half and converted.dtype == half
    for name, value in converted.filters.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, before[f"filters.{name}"]), name
    for again in (converted.float(), converted.double().float()):
        assert again.dtype == torch.float32
        assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize("family", EXACT)
def test_a_layer_is_made_in_half_precision(family: str) -> None:
    asked = layer(family, dtype=torch.bfloat16)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        default = layer(family)
    finally:
        torch.set_default_dtype(before)
    for made in (asked, default):
        assert {p.dtype for p in made.filters.parameters()} == {torch.float32}
        assert made(signal(1, 4000).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("family", FILTER_FAMILIES)
def test_states_copies_and_pickles(family: str) -> None:
    half, x = layer(family).bfloat16(), signal(1, 4000).bfloat16()
    y = half(x, 44100)
    file = io.BytesIO()
    torch.save(half, file)
    file.seek(0)
    unpickled = torch.load(file, weights_only=False)
    fresh = layer(family).bfloat16()
    fresh.load_state_dict(half.state_dict())
    for other in (copy.deepcopy(half), unpickled, fresh):
        assert other.dtype == torch.bfloat16 and torch.equal(other(x, 44100), y)
    # a state from when the filters were rounded, too
    rounded = {name: value.bfloat16() for name, value in half.state_dict().items()}
    fresh.load_state_dict(rounded)
    assert all(torch.equal(value, rounded[name].to(value)) for name, value in fresh.state_dict().items())


def test_another_device_is_no_other_precision() -> None:
    moved = layer().bfloat16().to("meta")
    assert moved.dtype == torch.bfloat16 and moved.filters.phase.dtype == torch.float32
    assert moved.filters.phase.is_meta and layer().to("meta").dtype == torch.float32


def test_it_trains() -> None:
    half = layer().bfloat16().train()
    half(signal(1, 4000).bfloat16(), 44100).float().square().sum().backward()
    assert half.filters.center_khz.grad.dtype == torch.float32 and half.bias.grad.dtype == torch.bfloat16
    assert bool(half.filters.center_khz.grad.any())


@pytest.mark.parametrize("rate", [F0, 44100])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_frozen_in_its_precision(rate: int, bias: bool) -> None:
    half, x = layer(bias=bias).bfloat16(), signal(1, 1, 8000).bfloat16()
    frozen = freeze(half, rate)
    assert {p.dtype for p in frozen.parameters()} == {torch.bfloat16}
    assert relative(frozen(x), half(x, rate)) < 2e-2


def test_beside_plain_layers_it_is_still_independent_of_the_rate() -> None:
    module = nn.Sequential(layer(taper=1.0), nn.Conv1d(16, 4, 1)).bfloat16()
    assert_sfi(module, [8000, 44100], at_most_db=-30)


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_separator_in_half_precision(name: str, half: torch.dtype) -> None:
    full = tiny(name).eval()
    x = 0.1 * signal(1, getattr(full.config, "channels", 1), F0).float()
    with torch.no_grad():
        for rate in (full.trained_rate, 44100):
            y = copy.deepcopy(full).to(half)(x.to(half), rate)
            assert y.dtype == torch.float32
            assert relative(y, full(x, rate)) < 0.02
            frozen = freeze(copy.deepcopy(full).to(half), rate)
            assert relative(frozen(x), full(x, rate)) < 0.02
        assert relative(copy.deepcopy(full).to(half).separate(x[0], 44100), full.separate(x[0], 44100)) < 0.02
