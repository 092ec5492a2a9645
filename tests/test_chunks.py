"""Chunked separation: as if the whole signal had been one pass, in memory that does not grow."""

import dataclasses
import inspect
import math

import pytest
import torch
from torch import nn

import sfi_zoo
from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Separator
from sfi_zoo.separation.chunks import plan_chunks, separate, separate_blocks
from sfi_zoo.separation.options import SeparationOptions
from tests.tiny_separators import tiny

RATE = 8000
QUARTER = SeparationOptions(1.0, 0.25, above="none")  # what the model gives, and nothing else


class Toy(nn.Module):
    """Two sources: the signal smoothed by a short filter, and what the filter took away."""

    sources = ("low", "rest")
    sample_rate = RATE
    frame_period = 0.005

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.hann_window(65)[None, None] / 32)
        self.lengths: list[int] = []

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        self.lengths.append(waveform.shape[-1])
        batch, channels, time = waveform.shape
        low = nn.functional.conv1d(waveform.reshape(-1, 1, time), self.kernel, padding=32)
        low = low.reshape(batch, channels, time)
        return torch.stack([low, waveform - low], 1)


class Framed(Toy):
    """A gain that depends on where a sample lies between two frames: notices any shift of the framing."""

    def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
        phase = torch.arange(waveform.shape[-1], dtype=torch.float64) / (self.frame_period * sample_rate)
        gain = torch.cos(2 * math.pi * phase).to(waveform)
        return torch.stack([waveform * gain, waveform * (1 - gain)], 1)


def noise(seconds: float, channels: int = 2, rate: float = RATE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(channels, round(seconds * rate), generator=generator)


def chunked(model: nn.Module, signal: torch.Tensor, rate: float = RATE) -> torch.Tensor:
    return separate(model, signal, rate, QUARTER)


# Lengths on both sides of every boundary: one chunk, one sample more, one hop more, an even number of hops.
@pytest.mark.parametrize("samples", [1, 100, 7999, 8000, 8001, 13999, 14000, 14001, 26000, 33333])
def test_chunks_of_a_short_linear_model_equal_one_pass(samples: int) -> None:
    signal, model = noise(5)[:, :samples], Toy()
    whole = model(signal[None], RATE)[0].detach()
    torch.testing.assert_close(chunked(model, signal), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_chunks_start_on_frames(rate: int) -> None:
    signal, model = noise(3.3, 1, rate), Framed()
    torch.testing.assert_close(chunked(model, signal, rate), model(signal[None], rate)[0], atol=1e-4, rtol=0)


def test_chunks_start_within_a_sample_of_a_frame_where_no_sample_is_on_one() -> None:
    plan = plan_chunks(44101, 110 / 44100, QUARTER)
    frames = plan.hop / (44101 * 110 / 44100)
    assert abs(frames - round(frames)) < 1 / 110


def test_fade_weights_and_their_mirror_image_sum_to_one() -> None:
    window = plan_chunks(RATE).window
    torch.testing.assert_close(window + window.flip(0), torch.ones_like(window), atol=1e-15, rtol=0)


def test_a_signal_of_one_chunk_is_one_pass() -> None:
    model = Toy()
    chunked(model, noise(1.0))
    assert model.lengths == [RATE]


def test_the_last_chunk_is_as_long_as_the_others() -> None:
    model = Toy()
    chunked(model, noise(2.51))
    assert model.lengths[-1] >= RATE


def test_no_chunk_is_longer_than_asked_plus_a_frame() -> None:
    model = Toy()
    chunked(model, noise(7.77))
    assert max(model.lengths) <= RATE + 0.005 * RATE


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_stems_have_the_channels_and_length_of_the_input(channels: int) -> None:
    assert chunked(Toy(), noise(2.3, channels)).shape == (2, channels, 18400)


def test_blocks_of_any_size_give_the_same_samples() -> None:
    signal, model = noise(4), Toy()
    pieces = signal.split([1, 0, 7000, 3, 15000, 9996], -1)
    blocks = separate_blocks(model, pieces, RATE, QUARTER, channels=2)
    torch.testing.assert_close(torch.cat(list(blocks), -1), chunked(model, signal), atol=0, rtol=0)


def test_blocks_are_read_only_as_they_are_needed() -> None:
    taken = []

    def blocks():
        for index in range(1000):
            taken.append(index)
            yield torch.ones(1, RATE)

    stream = separate_blocks(Toy(), blocks(), RATE, SeparationOptions(2.0, 0.5), channels=1)
    for _ in range(10):
        next(stream)
    assert len(taken) <= 10 * 1.5 + 3


def test_one_dimension_is_one_channel() -> None:
    assert separate(Toy(), noise(0.5)[0]).shape == (2, 1, 4000)


def test_without_a_sample_rate_it_is_the_trained_one() -> None:
    seen = []
    model = Toy()
    model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[1]))
    separate(model, noise(0.1))
    assert seen == [RATE]


def test_silence_gives_silence() -> None:
    class Dividing(Toy):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            return super().forward(waveform, sample_rate) / waveform.norm()

    assert not chunked(Dividing(), torch.zeros(2, 20000)).any()


def test_a_double_model_gives_double_stems() -> None:
    assert separate(Toy().double(), noise(0.2)).dtype == torch.float64


def test_a_bfloat16_model_gives_float32_stems() -> None:
    assert separate(Toy().bfloat16(), noise(0.2)).dtype == torch.float32


def test_every_submodule_returns_to_the_mode_it_had() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    model[1].eval()
    toy = Toy().train()
    toy.extra = model
    separate(toy, noise(0.2))
    assert [toy.training, model[0].training, model[1].training] == [True, True, False]


def test_kernels_designed_and_kept_in_inference_still_take_gradients() -> None:
    model = sfi_zoo.create(
        "convtasnet", features=8, kernel_size=64, stride=32, bottleneck=4, hidden=4, layers=1, repeats=1
    ).eval()
    separate(model, noise(0.2, 1))
    signal = noise(0.2, 1)[None].requires_grad_()
    model(signal, RATE).sum().backward()
    assert signal.grad is not None


def test_stems_can_be_trained_on() -> None:
    """They are no inference tensors, which autograd refuses."""
    gain = torch.ones((), requires_grad=True)
    (gain * separate(Toy(), noise(2.2), RATE, QUARTER)).square().sum().backward()
    assert gain.grad is not None


def test_the_input_is_left_alone() -> None:
    class Identity(Toy):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            return torch.stack([waveform, waveform], 1)

    signal = noise(3)
    kept = signal.clone()
    chunked(Identity(), signal).mul_(2)
    assert torch.equal(signal, kept)


def test_progress_ends_at_the_whole_duration() -> None:
    calls = []
    separate(Toy(), noise(3.3), RATE, QUARTER, progress=lambda *call: calls.append(call))
    assert calls[-1] == (3.3, 3.3) and calls == sorted(calls)


def test_what_progress_raises_ends_the_work() -> None:
    def stop(done: float, total: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        separate(Toy(), noise(3), progress=stop)


@pytest.mark.parametrize("rate", [math.nan, math.inf, 0, -8000, 3999, 192001])
def test_a_sample_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match=r"outside 4000\.\.192000 Hz"):
        separate(Toy(), noise(0.1), rate)


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        (torch.zeros(2, 0), "empty"),
        (torch.zeros(0), "empty"),
        (torch.zeros(1, 2, 3), r"shape \(1, 2, 3\)"),
        (torch.zeros(2, 9, dtype=torch.int16), "floating point"),
    ],
)
def test_a_waveform_of_the_wrong_kind_is_refused(signal: torch.Tensor, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        separate(Toy(), signal)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_sample_that_is_not_finite_is_refused_with_its_place(value: float) -> None:
    signal = noise(2)
    signal[1, 12000] = value
    with pytest.raises(InputError, match=r"at 1\.500 s, channel 2"):
        separate(Toy(), signal)


@pytest.mark.parametrize(("chunk", "overlap"), [(0, 0), (math.nan, 0), (2, 1.5), (2, -1), (2, math.nan)])
def test_a_chunk_length_that_makes_no_sense_is_refused(chunk: float, overlap: float) -> None:
    with pytest.raises(InputError, match="_seconds is"):
        SeparationOptions(chunk, overlap)


@pytest.mark.parametrize(("chunk", "overlap"), [(12, 1.5), (6, 1.5), (2, 0.5)])
def test_an_overlap_that_is_not_asked_for_is_at_most_a_quarter_of_a_chunk(
    chunk: float, overlap: float
) -> None:
    assert SeparationOptions(chunk).overlap == overlap


def test_a_separator_takes_every_option_by_its_name_and_no_other() -> None:
    """The method spells them out, for editors and `help`; the dataclass is what they are."""
    taken = inspect.signature(Separator.separate).parameters
    for field in dataclasses.fields(SeparationOptions):
        assert taken[field.name].default in (field.default, None), field.name
    assert set(taken) == {f.name for f in dataclasses.fields(SeparationOptions)} | {
        "self",
        "waveform",
        "sample_rate",
        "progress",
    }
    with pytest.raises(TypeError, match="chunk_second"):
        tiny("convtasnet").separate(noise(0.1), RATE, chunk_second=1.0)


def test_a_model_that_overflows_is_an_error_not_a_file_of_nan() -> None:
    class Squaring(Toy):
        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            return super().forward(waveform**2, sample_rate)

    with pytest.raises(InputError, match="non-finite"):
        separate(Squaring(), torch.full((1, 800), 1e30))
