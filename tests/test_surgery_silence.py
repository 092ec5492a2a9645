"""What a check of one output, one call, one level and silent ends does not see: each is converted right, refused, or told."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import sfi_zoo
from sfi_zoo.errors import InputError
from sfi_zoo.layers.surgery.probe import values_in
from tests.foreign_patterns import Net, Spectral
from tests.signals import band_limited, relative_error

F0, F = 8000, 11_025
Forward = Callable[..., Any]


def later(x: Tensor, samples: int = 8) -> Tensor:
    """Delayed by a fixed number of samples, by places that no call shows."""
    return x[..., (torch.arange(x.shape[-1]) - samples).clamp(min=0)]


def model(forward: Forward) -> nn.Module:
    return type(forward.__name__.strip("<>"), (Net,), {"forward": forward})().eval()


def frames(self: Any, x: Tensor) -> Tensor:
    return self.enc(x)


@dataclasses.dataclass
class Answer:
    wave: Tensor
    count: int = 0


@torch.jit.script
def muted_by_script(x: Tensor, samples: int) -> Tensor:
    return x * (torch.arange(x.shape[-1]) >= samples)


def clipped_by_index(self: Any, x: Tensor) -> Tensor:
    y = 10 * self.separate(x)
    y[y > 1] = 1
    y[y < -1] = -1
    return y


class Half(Net):
    """A decoder at half the rate, behind the same encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.slower = nn.ConvTranspose1d(16, 1, 16, 8, padding=4, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.separate(x), self.slower(self.enc(x))


def second_call(self: Any, x: Tensor) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    y = self.separate(x)
    return y if self.calls == 1 else y + 0.5 * later(y)


REFUSED: dict[str, tuple[Forward, str]] = {
    "a wrong wave beside louder frames": (
        lambda s, x: (later(s.separate(x)), 100 * s.enc(x)),
        "output 1 of 2",
    ),
    "the same in a dictionary": (
        lambda s, x: {"mask": s.enc(x).sigmoid(), "wave": later(s.separate(x))},
        "output 2 of 2",
    ),
    "a quiet stem": (lambda s, x: torch.cat([s.separate(x), 1e-3 * later(s.separate(x))], 1), "11025 Hz"),
    "an object": (lambda s, x: Answer(later(s.separate(x)), 3), "output 1 of 2"),
    "whole numbers for samples": (
        lambda s, x: ((later(s.separate(x)) * 3276).to(torch.int16), s.enc(x).mean(-1)),
        "output 1 of 2",
    ),
    "an array": (lambda s, x: later(s.separate(x)).detach().numpy(), "11025 Hz"),
    "seconds": (lambda s, x: {"wave": s.separate(x), "seconds": x.shape[-1] / 8000}, "output 2 of 2"),
    "a second call": (second_call, "the second call"),
    "muted by a mask": (
        lambda s, x: s.separate(x) * (torch.arange(x.shape[-1]) >= 300),
        "truth values or places",
    ),
    "muted by a script": (lambda s, x: muted_by_script(s.separate(x), 300), "11025 Hz"),
    "muted by numpy": (
        lambda s, x: torch.from_numpy(s.separate(x).numpy() * (np.arange(x.shape[-1]) >= 300).astype("f4")),
        "11025 Hz",
    ),
    "frames counted in Python": (
        lambda s, x: s.dec((z := s.enc(x)) * (torch.arange(z.shape[-1]) < x.shape[-1] // 16)),
        "6000 Hz.*suspected: how it counts samples",
    ),
    "nothing": (lambda s, x: (s.separate(x), None)[1], "no tensors and no numbers"),
}
TOLD: dict[str, tuple[Forward, str]] = {
    "clipped by places": (clipped_by_index, "truth values or places"),
    "clipped by numpy": (
        lambda s, x: torch.from_numpy(np.clip(10 * s.separate(x).numpy(), -1, 1)),
        "as loud as full scale .*loud signals: -",
    ),
    "a gate by the norm": (
        lambda s, x: s.separate(x) * (0.1 if x.norm() < 1e-3 else 1.0) * (1 + 0 * x.norm()),
        "norm .*counted in samples",
    ),
    "a crop at the end": (
        lambda s, x: s.separate(x)[..., :-100],
        "5192 samples come out at 11025 Hz, 5154.19 would be as long as at F0",
    ),
    "padding at the end": (lambda s, x: s.separate(functional.pad(x, (0, 96))), "samples come out at"),
    "a number of frames": (lambda s, x: (s.enc(x), x.shape[-1] // 16), "is 330 at 11025 Hz, at F0 240"),
    "half the rate": (Half.forward, "output 2 of Half has 0.5 values for each sample.*4000 Hz at every rate"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_figure(name: str) -> None:
    forward, said = REFUSED[name]
    with pytest.raises(InputError, match=said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sfi_zoo.make_sfi(model(forward), F0)


@pytest.mark.parametrize("name", TOLD)
def test_told(name: str) -> None:
    forward, said = TOLD[name]
    with pytest.warns(UserWarning, match=said):
        sfi_zoo.make_sfi(Half().eval() if forward is Half.forward else model(forward), F0)


def test_a_window_with_jumps_is_no_limit_of_the_level() -> None:
    """Soft signals have a rest, too: what loud ones show above -60 dB is no clipping."""
    hamming = Spectral(400, 160)
    hamming.window = torch.hamming_window(400)
    with pytest.warns(UserWarning, match="larger rest than usual.*loud signals: -5.*jumps") as told:
        sfi_zoo.make_sfi(hamming.eval(), F0)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["a crop at the end", "a number of frames", "half the rate"])
def test_told_where_layers_were_named(name: str) -> None:
    forward, said = TOLD[name]
    with pytest.warns(UserWarning, match=said):
        named = Half().eval() if forward is Half.forward else model(forward)
        sfi_zoo.make_sfi(named, F0, layers=["enc", "dec"])


def told_at(converted: nn.Module, *args: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as told, torch.no_grad(), sfi_zoo.at_sample_rate(converted, F):
        warnings.simplefilter("always")
        converted(*args)
    return [str(warning.message) for warning in told]


def by_lengths(self: Any, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    z = self.enc(x)
    if lengths is not None:
        z = z * (torch.arange(z.shape[-1])[None] < (lengths // 16)[:, None])[:, None]
    return self.dec(z)


def by_marks(self: Any, x: Tensor, marks: Tensor | None = None) -> Tensor:
    z = self.enc(x)
    return self.dec(z if marks is None else z * marks[:, None, ::16][..., : z.shape[-1]])


def by_option(self: Any, x: Tensor, more: bool = False) -> Tensor:
    y = self.separate(x)
    return y + later(y) if more else y


ARGUMENTS = {
    "lengths": (by_lengths, torch.tensor([6000])),
    "a whole number": (lambda s, x, n=None: by_lengths(s, x, None if n is None else torch.tensor([n])), 6000),
    "truth values": (by_marks, torch.arange(11_025)[None] < 6000),
    "an option": (by_option, True),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_come_later_and_count_samples_are_told(name: str) -> None:
    forward, argument = ARGUMENTS[name]
    converted, x = sfi_zoo.make_sfi(model(forward), F0), torch.randn(1, 1, 11_025)
    assert not told_at(converted, x)
    assert any("takes another way" in said for said in told_at(converted, x, argument))


def test_the_sampling_frequency_is_no_length() -> None:
    def forward(self: Any, x: Tensor, sample_rate: int) -> Tensor:
        return self.separate(x * (sample_rate / 8000))

    examples = torch.zeros(1, 1, 8000), 8000
    assert sfi_zoo.make_sfi(model(forward), F0, example_inputs=examples).report.findings


def test_a_sampling_frequency_that_is_not_that_of_the_frames_is_told() -> None:
    """The frames are those of F0 at every rate."""

    def forward(self: Any, x: Tensor, sample_rate: int = 8000) -> Tensor:
        z = self.enc(x)
        return self.dec(z * (torch.arange(z.shape[-1]) >= 0.2 * sample_rate / 16))

    converted, x = sfi_zoo.make_sfi(model(forward), F0), torch.randn(1, 1, 9000)
    assert not told_at(converted, x, 8000)
    assert any("takes another way" in said for said in told_at(converted, x, F))


def test_two_waveforms_are_not_the_same_one() -> None:
    def forward(self: Any, microphone: Tensor, reference: Tensor) -> Tensor:
        return self.separate(microphone + later(microphone - reference))

    with pytest.raises(InputError, match=r"not the same at other rates|truth values or places"):
        sfi_zoo.make_sfi(
            model(forward), F0, example_inputs=(torch.zeros(1, 1, 8000), torch.zeros(1, 1, 8000))
        )


@pytest.mark.parametrize("part", [1.0, 0.5, 0.3])
def test_a_shorter_second_waveform_is_converted(part: float) -> None:
    def forward(self: Any, x: Tensor, other: Tensor) -> Tensor:
        z = self.enc(x)
        return self.dec(z * (self.mid(z) + self.enc(other).abs().mean(-1, keepdim=True)).sigmoid())

    plain = model(forward)
    converted = sfi_zoo.make_sfi(
        plain, F0, example_inputs=(torch.zeros(1, 1, 8000), torch.zeros(1, 1, int(8000 * part)))
    )
    x, z = (band_limited(rate, 2000, seed=1).float() for rate in (F, F0))
    e, f = (band_limited(rate, 2000, seed=2).float()[..., : int(part * rate)] for rate in (F, F0))
    window = [torch.hann_window(n.shape[-1]) for n in (e, f)]
    with torch.no_grad(), sfi_zoo.at_sample_rate(converted, F):
        y = converted(x, e * window[0])
    assert y.shape[-1] == F
    spectra = [torch.fft.rfft(s)[..., :1500] / s.shape[-1] for s in (y, plain(z, f * window[1]))]
    assert relative_error(*spectra) < 2e-3


def test_a_vector_is_no_waveform() -> None:
    def forward(self: Any, x: Tensor, speaker: Tensor) -> Tensor:
        z = self.enc(x)
        return self.dec(z * (self.mid(z) + speaker.view(1, 16, 16).mean(-1, keepdim=True)).sigmoid())

    examples = torch.zeros(1, 1, 8000), torch.randn(1, 256)
    assert sfi_zoo.make_sfi(model(forward), F0, example_inputs=examples).report.findings


def test_layers_are_asked_for_their_sizes_as_plain_ones_are() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        (hop,), kernel = self.enc.stride, self.enc.kernel_size[0]
        z = self.enc(functional.pad(x, (0, 0 * (kernel - hop + self.dec.padding[0]))))
        return self.dec(z.view(len(z), 4, 4, -1).flatten(1, 2))

    converted = sfi_zoo.make_sfi(model(forward), F0)
    assert converted.enc.kernel_size == 32 and list(converted.enc.kernel_size) == [32]


def test_a_decoder_forgets_other_rates_at_the_rate_of_training() -> None:
    """The encoder is redirected elsewhere and plain there, the decoder is a layer: it knew only the lengths of other rates."""

    class Mixed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.dec(functional.conv1d(x, self.enc.weight, stride=16, padding=8))

    converted, x = sfi_zoo.make_sfi(Mixed().eval(), F0), torch.randn(1, 1, 3840)
    with sfi_zoo.at_sample_rate(converted, 6000):
        assert converted(torch.randn(1, 1, 2880)).shape[-1] == 2880
    assert converted(x).shape[-1] == 3840


def test_a_model_whose_forward_wants_half_precision_is_refused_in_a_sentence() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.separate(x.bfloat16()).float()

    with pytest.raises(InputError, match="could not be run on the check's signals in single precision"):
        sfi_zoo.make_sfi(model(forward).bfloat16(), F0)


def test_values_of_an_output() -> None:
    tree = [
        Answer(torch.ones(2), 5),
        {"a": (1.5, True, None, "word")},
        np.arange(3),
        np.float32(2),
        torch.nn.ReLU(),
        print,
    ]
    assert [x.tolist() for x in values_in(tree)] == [[1, 1], 5, 1.5, [0, 1, 2], 2]


def test_outputs_that_the_probe_has_not_counted_are_compared() -> None:
    """A list that grows with the signal: the probe has seen fewer of them than the check."""

    def forward(self: Any, x: Tensor) -> list[Tensor]:
        y = self.separate(x)
        return [y] * (1 if x.shape[-1] == 4096 else 2) + [later(y)] * (x.shape[-1] != 4096)

    with pytest.raises(InputError, match=r"an output of shape|output 3 of 3"):
        sfi_zoo.make_sfi(model(forward), F0)


def test_rates_too_near_to_compare_are_looked_at_by_their_calls() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.separate(functional.avg_pool1d(x, 3, 1, 1) if x.shape[-1] < 2000 else x)

    converted = sfi_zoo.make_sfi(model(forward), F0)
    with (
        pytest.warns(UserWarning, match="avg_pool1d"),
        torch.no_grad(),
        sfi_zoo.at_sample_rate(converted, F0 + 1),
    ):
        converted(torch.randn(1, 1, 1800))
