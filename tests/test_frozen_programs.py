"""Frozen layers and models as programs: scripted, traced, exported; what the pages promise of each, at lengths other than the example's."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sfi_zoo import SFIISTFT, SFISTFT, SFIConv1d, SFIConvTranspose1d, freeze, make_sfi
from sfi_zoo.layers.surgery import frozen_stft
from tests.tiny_separators import ARCHITECTURES, tiny

F0 = 16000


def documented() -> nn.Module:
    """The model of the pages."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 16, 32, 16), nn.ReLU(), nn.ConvTranspose1d(16, 1, 32, 16))
    return make_sfi(model, F0)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "analysis": lambda: SFIConv1d(1, 8, 160, 80, padding="centered", sample_rate=F0),
    "synthesis": lambda: SFIConvTranspose1d(8, 1, 160, 80, bias=False, sample_rate=F0),
    "grouped": lambda: SFIConv1d(2, 8, 32, 16, groups=2, sample_rate=F0),
    "transform": lambda: SFISTFT(512, 128, sample_rate=F0),
    "inverse": lambda: SFIISTFT(512, 128, sample_rate=F0),
    "documented": documented,
}


def inputs(name: str, length: int, seed: int = 0) -> Tensor:
    """Of about `length` samples at F0."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    match name:
        case "synthesis":
            return noise(1, 8, length // 80)
        case "inverse":
            return torch.complex(noise(1, 257, length // 128), noise(1, 257, length // 128))
        case "transform":
            return noise(1, length)
        case "grouped":
            return noise(1, 2, length)
    return noise(1, 1, length)


LENGTHS = (9600, 19200, 28817, 9595)


def assert_same(program: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        y, wanted = program(x), module(x)
    assert y.shape == wanted.shape
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=2e-6)  # sums are taken in another order in a trace


@pytest.mark.parametrize("rate", [F0, 48000, 44100, 22050])
@pytest.mark.parametrize("name", MODULES)
def test_frozen_layers_and_models_are_scripted(name: str, rate: int) -> None:
    frozen = freeze(MODULES[name]().eval(), rate)
    scripted = torch.jit.script(frozen)
    for length in LENGTHS:
        assert_same(scripted, frozen, inputs(name, length))


@pytest.mark.parametrize("name", ["transform", "inverse"])
def test_transforms_of_many_phases_are_traced_for_one_length(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(frozen_stft, "MOST_KERNEL_BYTES", 0)
    frozen, x = freeze(MODULES[name]().eval(), 44100), inputs(name, LENGTHS[0])
    assert frozen.by_fft
    assert_same(torch.jit.trace(frozen, (x,), check_trace=False), frozen, inputs(name, LENGTHS[0], seed=1))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_frozen_separators_are_traced_for_one_length(name: str) -> None:
    model = tiny(name).eval()
    frozen = freeze(model, model.trained_rate)
    x = torch.randn(1, getattr(model.config, "channels", 1), model.trained_rate)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.TracerWarning: sizes that checks look at
        traced = torch.jit.trace(frozen, (x,))
    assert_same(traced, frozen, torch.randn_like(x))


def exported(
    module: nn.Module, x: Tensor, length: object = torch.export.Dim.DYNAMIC
) -> Callable[[Tensor], Tensor]:
    with torch.no_grad():
        return torch.export.export(module, (x,), dynamic_shapes=({x.ndim - 1: length},)).module()


@pytest.mark.parametrize("rate", [F0, 48000, 24000])
@pytest.mark.parametrize("name", [name for name in MODULES if name != "documented"])
def test_layers_with_whole_hops_are_exported_for_every_length(name: str, rate: int) -> None:
    layer = MODULES[name]().eval()
    assert layer.frame_grid(rate).phases == 1
    frozen = freeze(layer, rate)
    program = exported(frozen, inputs(name, LENGTHS[0]))
    for length in LENGTHS:
        assert_same(program, frozen, inputs(name, length, seed=1))


def test_a_length_has_a_name_and_a_least_value() -> None:
    frozen = freeze(MODULES["analysis"]().eval(), 48000)
    named = torch.export.Dim("samples", min=4096)
    program = exported(frozen, inputs("analysis", LENGTHS[0]), named)
    for length in LENGTHS:
        assert_same(program, frozen, inputs("analysis", length, seed=1))


@pytest.mark.parametrize("name", ["synthesis", "inverse"])
def test_synthesis_is_exported_for_every_length_at_any_hop(name: str) -> None:
    frozen = freeze(MODULES[name]().eval(), 44100)
    program = exported(frozen, inputs(name, LENGTHS[0]))
    for length in LENGTHS:
        assert_same(program, frozen, inputs(name, length, seed=1))


def test_the_documented_model_is_exported_for_every_length_at_a_whole_hop() -> None:
    frozen = freeze(documented().eval(), 48000)
    program = exported(frozen, inputs("documented", LENGTHS[0]))
    for length in LENGTHS:
        assert_same(program, frozen, inputs("documented", length, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convtasnet", "dualpath", "spleeter"])
def test_these_separators_are_exported_for_every_length(name: str) -> None:
    model = tiny(name).eval()
    frozen = freeze(model, model.trained_rate)
    channels = getattr(model.config, "channels", 1)
    program = exported(frozen, torch.randn(1, channels, model.trained_rate))
    for samples in (model.trained_rate, 2 * model.trained_rate, model.trained_rate + 321):
        assert_same(program, frozen, torch.randn(1, channels, samples))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_frozen_separator_is_the_separator(name: str) -> None:
    model = tiny(name).eval()
    x = 0.1 * torch.randn(1, getattr(model.config, "channels", 1), 8000)
    with torch.no_grad():
        wanted = model(x, 44100)
        assert (freeze(model, 44100)(x) - wanted).norm() < 1e-3 * wanted.norm()
