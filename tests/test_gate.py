"""The gate over masks (`sfi_zoo.models.parts.gate`) beside sums written out in numpy, and in models."""

import numpy as np
import pytest
import torch
from torch import Tensor

import sfi_zoo
from sfi_zoo.errors import InputError
from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.models import create
from sfi_zoo.models.conv_tasnet import ConvTasNet
from sfi_zoo.models.parts.gate import EPSILON, GATE_DEPTH, GATE_HOLD, GATE_KNEE, GATE_SECONDS, gated, openness

PERIOD = 0.1  # seconds, so that 900 frames are 90 s


def example(frames: int = 900, sources: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Softmax masks whose last source comes and goes, and a complex latent."""
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, sources, 7, frames, generator=rng, dtype=torch.float64)
    scores[:, -1] -= torch.linspace(0.0, 6.0, frames)
    values = torch.randn(2, 7, frames, 2, generator=rng, dtype=torch.float64)
    return scores.softmax(1), torch.view_as_complex(values)


def by_hand(masks: np.ndarray, values: np.ndarray, threshold: float, period: float) -> np.ndarray:
    """The formula at the module's head, frame by frame."""
    power, reach = np.abs(values) ** 2, round(GATE_SECONDS / 2 / period)
    now = np.empty((*masks.shape[:2], 1, masks.shape[3]))
    for i, k, t in np.ndindex(masks.shape[0], masks.shape[1], masks.shape[3]):
        near = slice(max(0, t - reach), t + reach + 1)
        level = (masks[i, k, :, near] ** 2 * power[i, :, near]).sum() / power[i, :, near].sum()
        x = np.clip((10 * np.log10(level) - threshold + GATE_KNEE) / GATE_KNEE, 0, 1)
        now[i, k, :, t] = 3 * x**2 - 2 * x**3
    hold = round(GATE_HOLD / period)
    opened = np.stack(
        [now[..., max(0, t - hold) : t + hold + 1].max(-1) for t in range(now.shape[-1])], axis=-1
    )
    gains = 10 ** (-GATE_DEPTH * (1 - opened) / 20)
    weights = (opened + EPSILON) * masks
    return gains * masks + weights / weights.sum(1, keepdims=True) * ((1 - gains) * masks).sum(
        1, keepdims=True
    )


@pytest.mark.parametrize("frames", [1, 40, 900])
def test_the_formula(frames: int) -> None:
    masks, values = example(frames)
    found = gated(masks, values, -20.0, PERIOD)
    np.testing.assert_allclose(
        found, by_hand(masks.numpy(), values.numpy(), -20.0, PERIOD), rtol=1e-8, atol=1e-12
    )
    if frames == 900:  # it opens and closes
        opened = openness(masks, values, -20.0, PERIOD)[:, -1]
        assert opened.amin() == 0 and opened.amax() == 1


@pytest.mark.parametrize("kind", ["softmax", "relu", "linear"])
def test_the_sum_stays(kind: str) -> None:
    masks, values = example()
    if kind != "softmax":
        masks = masks - 0.1
    if kind == "relu":
        masks = masks.relu()
    found = gated(masks, values, -12.0, PERIOD)
    assert not torch.equal(found, masks)
    torch.testing.assert_close(found.sum(1), masks.sum(1), rtol=1e-10, atol=1e-12)


def test_it_does_nothing_where_all_are_loud_or_nothing_is_heard() -> None:
    masks, values = example()
    assert torch.equal(gated(masks, values, -80.0, PERIOD), masks)
    torch.testing.assert_close(gated(masks, torch.zeros_like(values), -20.0, PERIOD), masks)


def test_it_does_not_depend_on_the_level() -> None:
    masks, values = example()
    expected = gated(masks, values, -20.0, PERIOD)
    for gain in (1e-6, 1e4):
        torch.testing.assert_close(gated(masks, gain * values, -20.0, PERIOD), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_other_precisions(dtype: torch.dtype) -> None:
    masks, values = example()
    found = gated(masks.to(dtype), values.to(torch.complex64), -20.0, PERIOD)
    assert found.dtype == dtype
    expected = gated(masks, values, -20.0, PERIOD)
    assert (found.double() - expected).abs().max() < 4 * torch.finfo(dtype).eps


def model(**settings: object) -> ConvTasNet:
    """A small one with a bank that covers all frequencies."""
    torch.manual_seed(0)
    bank = {"frequency_range": [50.0, 7500.0]}
    sizes = {"features": 32, "kernel_size": 480, "stride": 160, "bottleneck": 8, "hidden": 8, "layers": 2}
    banks = {"encoder_filters": bank, "decoder_filters": bank}
    made = create("convtasnet", sample_rate=16000, repeats=1, **sizes | banks | settings)
    assert isinstance(made, ConvTasNet)
    return made.eval()


def quiet_last(separator: ConvTasNet, down: float = 5.0) -> ConvTasNet:
    """The scores of the last source are lower, so that its level is some 30 dB below the mixture."""
    with torch.no_grad():
        separator.masker.norm_4.bias.view(4, -1)[-1] -= down
    return separator


def test_a_quiet_stem_becomes_silent_and_the_stems_sum_to_what_they_did() -> None:
    plain, closed = (quiet_last(model(gate_db=threshold)) for threshold in (None, -14.0))
    closed.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 16000 * 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = plain(x, 16000), closed(x, 16000)
    level = 20 * torch.log10(after[0, -1].norm() / before[0, -1].norm())
    assert level == pytest.approx(-GATE_DEPTH, abs=0.1)
    torch.testing.assert_close(after.sum(1), before.sum(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [8000.0, 22050.0, 48000.0])
def test_it_opens_where_it_does_at_f0(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfi_zoo.models.parts.gate.GATE_HOLD", 0.2)
    separator = quiet_last(model(gate_db=-22.0))

    def chord(sample_rate: float) -> Tensor:  # it fades in, the same seconds at every rate
        t = torch.arange(round(6 * sample_rate), dtype=torch.float64) / sample_rate
        tones = sum(torch.sin(2 * torch.pi * f * t) for f in (200.0, 450.0, 1020.0, 2500.0))
        return (tones * (0.02 + t / 6))[None, None].float()

    def opened(sample_rate: float) -> Tensor:
        latent = separator.encode(chord(sample_rate), sample_rate)
        masks = torch.full((1, 4, *latent.values.shape[1:]), 0.3)
        masks[:, -1] = torch.linspace(-0.1, 0.15, latent.values.shape[-1]).clamp(min=0)
        return openness(masks, latent.values, -22.0, separator.frame_period)

    with torch.no_grad():
        found, expected = opened(rate), opened(16000.0)
    frames = min(found.shape[-1], expected.shape[-1])
    torch.testing.assert_close(found[..., :frames], expected[..., :frames], rtol=5e-3, atol=1e-4)
    assert expected.amin() == 0 and expected.amax() == 1


def test_derivatives_are_those_of_differences() -> None:
    """Forward mode, which the local errors take, in a direction that moves masks and latent."""
    masks, values = example()
    rng = torch.Generator().manual_seed(4)
    steps = (torch.randn(masks.shape, generator=rng, dtype=torch.float64), values.roll(1, 2))

    def moved(amount: Tensor) -> Tensor:
        return gated(masks + 0.01 * amount * steps[0], values + amount * steps[1], -20.0, PERIOD)

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    _, slope = torch.func.jvp(moved, (zero,), (one,))
    differences = (moved(zero + 1e-6) - moved(zero - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, differences, rtol=1e-6, atol=1e-7)


def test_it_can_be_frozen_and_exported() -> None:
    separator = quiet_last(model(gate_db=-14.0))
    x = torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(3))
    frozen = sfi_zoo.freeze(separator, 22050)
    with torch.no_grad():
        expected = separator(x, 22050)
        torch.testing.assert_close(frozen(x), expected, rtol=0, atol=1e-5)
        exported = torch.export.export(frozen, (x,)).module()
        torch.testing.assert_close(exported(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 32000, 44100])
def test_the_default_is_exported_for_every_length(rate: int) -> None:
    default = sfi_zoo.load(DEFAULT_MODEL).eval()
    frozen = sfi_zoo.freeze(default, rate)
    lengths = ({2: torch.export.Dim.DYNAMIC},)
    with torch.no_grad():
        program = torch.export.export(frozen, (torch.randn(1, 1, rate),), dynamic_shapes=lengths).module()
        for length in (rate // 2, 2 * rate + 321):
            x = 0.1 * torch.randn(1, 1, length, generator=torch.Generator().manual_seed(length))
            torch.testing.assert_close(program(x), default(x, rate), rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [0, -2.0, -100.0, True, "-20", float("nan"), float("inf")])
def test_thresholds_that_are_none(wrong: object) -> None:
    with pytest.raises(InputError, match="gate_db must be from -80 to -3 dB, or None"):
        model(gate_db=wrong)


def test_a_causal_network_is_refused() -> None:
    with pytest.raises(InputError, match="causal needs gate_db=None, got -20"):
        model(gate_db=-20.0, causal=True, norm="frame")


def test_it_is_kept_in_the_configuration(tmp_path: object) -> None:
    made = model(gate_db=-20.0)
    made.save_pretrained(tmp_path)
    assert sfi_zoo.load(str(tmp_path)).config.gate_db == -20.0


def test_levels_that_were_not_measured_are_told_of_when_compiled() -> None:
    fill = model(dead_fill="level").fill
    assert fill is not None
    compiled = torch.compile(fill, backend="eager")
    with pytest.raises(InputError, match="dead_fill has no levels yet"):
        compiled(torch.rand(1, 32, 10), torch.arange(32) < 8)
