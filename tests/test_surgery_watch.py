"""Models that take another way for other inputs: seen when they are converted, or told when it happens."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

import sfi_zoo
from sfi_zoo.errors import InputError
from sfi_zoo.layers.surgery.self_check import noise_of, spectrum
from sfi_zoo.layers.surgery.watch import MOST_KINDS, Watch, not_watched
from tests.signals import relative_error

F0, F, HOP = 8000, 11025, 16


class Net(nn.Module):
    """An encoder and a decoder, and another way for inputs that `other` is true of."""

    def __init__(
        self, other: Callable[[nn.Module, Tensor], bool], way: Callable[[nn.Module, Tensor], Tensor]
    ):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Conv1d(1, 12, 2 * HOP, HOP)
        self.decoder = nn.ConvTranspose1d(12, 1, 2 * HOP, HOP)
        self.other, self.way = other, way

    def net(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x) if self.other(self, x) else self.net(x)


class TransformNet(Net):
    """The same with a transform: calls are redirected."""

    def net(self, x: Tensor) -> Tensor:
        window = torch.hann_window(256)
        z = torch.stft(x[:, 0], 256, 64, window=window, return_complex=True)
        return torch.istft(z * 0.5, 256, 64, window=window, length=x.shape[-1])[:, None]


def pieces(self: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([self.net(part) for part in x.split(8000, -1)], -1)


def sliced(self: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([self.net(x[..., i : i + 8000]) for i in range(0, x.shape[-1], 8000)], -1)


def padded(self: nn.Module, x: Tensor) -> Tensor:
    return self.net(nn.functional.pad(x, (0, 8000)))[..., : x.shape[-1]]


def pooled(self: nn.Module, x: Tensor) -> Tensor:
    return self.net(nn.functional.avg_pool1d(x, 3, 1, 1))


def windows(self: nn.Module, x: Tensor) -> Tensor:
    return self.net(x.unfold(-1, 8000, 8000).flatten(0, 2)[:, None]).flatten()[None, None]


def rolled(self: nn.Module, x: Tensor) -> Tensor:
    return self.net(x.roll(5, -1))


WAYS = (pieces, sliced, pooled, windows, rolled)
LONG = lambda self, x: x.shape[-1] > 30_000  # noqa: E731
KINDS = {
    "long": (LONG, torch.randn(1, 1, 40_000)),
    "short": (lambda self, x: x.shape[-1] < 1500, torch.randn(1, 1, 1400)),
    "a batch": (lambda self, x: len(x) > 1, torch.randn(3, 1, 8000)),
    "training": (lambda self, x: self.training, torch.randn(1, 1, 8000)),
    "gradients": (lambda self, x: torch.is_grad_enabled(), torch.randn(1, 1, 8000)),
}


def run(model: nn.Module, x: Tensor, rate: int = F) -> Tensor:
    with sfi_zoo.at_sample_rate(model, rate):
        return model(x)


@pytest.mark.parametrize("net", [Net, TransformNet])
@pytest.mark.parametrize("way", WAYS)
def test_another_way_for_long_signals_is_told_once(net: type[Net], way: Callable[..., Tensor]) -> None:
    converted = sfi_zoo.make_sfi(net(LONG, way), F0)
    x = KINDS["long"][1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(converted, x[..., :20_000])
        run(converted, x, F0)  # there it is the model itself
    with pytest.warns(
        UserWarning, match=rf"takes another way with inputs of shapes .*in .*\.{way.__name__}, line 2"
    ):
        run(converted, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(converted, x)


@pytest.mark.parametrize("kind", KINDS)
def test_another_way_for_other_inputs_is_told(kind: str) -> None:
    other, x = KINDS[kind]
    model = Net(other, pooled)
    converted = sfi_zoo.make_sfi(model, F0).train(kind == "training")
    with (
        torch.set_grad_enabled(kind == "gradients"),
        pytest.warns(UserWarning, match=r"avg_pool1d in .*pooled"),
    ):
        run(converted, x)


@pytest.mark.parametrize("net", [Net, TransformNet])
@pytest.mark.parametrize("way", [pooled, windows, rolled])
def test_with_examples_as_long_as_the_signals_it_is_refused(
    net: type[Net], way: Callable[..., Tensor]
) -> None:
    with pytest.raises(InputError, match=way.__name__):
        sfi_zoo.make_sfi(net(LONG, way), F0, example_inputs=torch.zeros(1, 1, 40_000))


def test_a_way_that_only_the_longer_run_of_the_probe_takes_is_seen() -> None:
    model = Net(lambda self, x: x.shape[-1] > 5000, pooled)
    assert "avg_pool1d" in str(sfi_zoo.explain(model, F0))
    with pytest.raises(InputError, match="avg_pool1d"):
        sfi_zoo.make_sfi(model, F0)


def test_a_way_that_is_the_same_at_every_rate_is_converted() -> None:
    model = Net(lambda self, x: x.shape[-1] > 20_000, lambda self, x: self.net(1.0 * x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = sfi_zoo.make_sfi(model, F0, example_inputs=torch.zeros(1, 1, 25_000))
        run(converted, torch.randn(1, 1, 30_000))


def test_a_way_that_is_another_at_the_same_seconds_is_refused() -> None:
    """A limit in samples is another time at another rate."""
    model = Net(lambda self, x: x.shape[-1] > 20_000, lambda self, x: self.net(2.0 * x))
    with pytest.raises(InputError, match=r"6000 Hz: -\d+ dB"):
        sfi_zoo.make_sfi(model, F0, example_inputs=torch.zeros(1, 1, 25_000))


def test_looking_changes_nothing_and_is_not_in_the_way() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = (
                nn.Conv1d(1, 12, 2 * HOP, HOP),
                nn.ConvTranspose1d(12, 1, 2 * HOP, HOP),
            )
            self.norm, self.dropout, self.calls = nn.BatchNorm1d(12), nn.Dropout(0.5), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.decoder(self.dropout(self.norm(self.encoder(x))))

    converted = sfi_zoo.make_sfi(Counts(), F0).train()
    without = copy.deepcopy(converted)
    without._forward_pre_hooks.clear()
    x = torch.randn(2, 1, 11_025)
    results = []
    for model in (converted, without):
        torch.manual_seed(0)
        results.append((run(model, x), model.norm.running_mean, model.calls, torch.rand(1)))
    for seen, plain in zip(*results, strict=True):
        assert seen == plain if isinstance(seen, int) else torch.equal(seen, plain)
    kept = pickle.loads(pickle.dumps(sfi_zoo.make_sfi(nn.Sequential(nn.Conv1d(1, 4, 32, 16)), F0)))
    assert any(isinstance(hook, Watch) for hook in kept._forward_pre_hooks.values())
    assert not sfi_zoo.freeze(kept, F)._forward_pre_hooks


LIMITS = (7000, 12_000, 20_000)


class Pieces(Net):
    """It always works on pieces of a fixed number of samples."""

    def __init__(self, size: int) -> None:
        super().__init__(lambda self, x: False, pieces)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(part) for part in x.split(self.size, -1)], -1)


class ByLength(TransformNet):
    """Another transform, or another gain, for signals of more samples than a limit."""

    def __init__(self, limit: int, what: str) -> None:
        super().__init__(lambda self, x: False, pooled)
        self.limit, self.what = limit, what

    def forward(self, x: Tensor) -> Tensor:
        long = x.shape[-1] > self.limit
        if self.what == "gain":
            return self.net(x) * (0.25 if long else 1.0)
        n_fft = 512 if long else 256
        window = torch.hann_window(n_fft)
        z = torch.stft(x[:, 0], n_fft, n_fft // 4, window=window, return_complex=True)
        return torch.istft(z * z.abs(), n_fft, n_fft // 4, window=window, length=x.shape[-1])[:, None]


COUNTS_SAMPLES = [
    *(lambda size=size: Pieces(size) for size in (5000, 8000, 12_000, 16_000)),
    *(lambda limit=limit, what=what: ByLength(limit, what) for limit in LIMITS for what in ("n_fft", "gain")),
]


@pytest.mark.parametrize("model", COUNTS_SAMPLES)
@pytest.mark.parametrize("rate", [6000, 11_025, 16_000, 44_099])
def test_limits_and_pieces_in_samples_are_refused_or_told(model: Callable[[], nn.Module], rate: int) -> None:
    """Whatever the length of a call, it is told where its output is not that of as many seconds at F0."""
    model = model()
    try:
        converted = sfi_zoo.make_sfi(model, F0)
    except InputError as error:
        assert any(reason in str(error) for reason in ("not the same at other rates", "in the way: split in"))
        return
    up, down = Fraction(rate, F0).numerator, Fraction(rate, F0).denominator
    # as long at both rates
    for periods in sorted({math.ceil(seconds * rate / up) for seconds in (0.5, 1.0, 1.5, 2.0, 3.0)}):
        x = [noise_of(1, periods * n, periods * down, 0.25)[None].float() for n in (up, down)]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            y = run(converted, x[0], rate)
        z = model(x[1])
        error = relative_error(
            spectrum(y, rate, periods * down / F0, 2000), spectrum(z, F0, periods * down / F0, 2000)
        )
        assert told or error < 1e-3, (periods * up, error)


def test_what_differs_by_nothing_that_matters_is_not_told() -> None:
    converted = sfi_zoo.make_sfi(Net(LONG, padded), F0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(converted, KINDS["long"][1])


def test_what_was_never_run_is_not_said_to_be_checked() -> None:
    class Louder(Net):
        def forward(self, x: Tensor, gain: Tensor) -> Tensor:
            return self.net(x * gain)

    with pytest.warns(
        UserWarning, match=r"nothing is checked, as Louder could not be run .*missing 1 required"
    ):
        converted = sfi_zoo.make_sfi(Louder(LONG, pieces), F0, layers=["encoder", "decoder"])
    assert "missing 1 required" in converted.report.error
    with warnings.catch_warnings(), sfi_zoo.at_sample_rate(converted, F):
        warnings.simplefilter("error")
        converted(torch.randn(1, 1, 40_000), torch.ones(1))


def test_runs_that_do_not_reach_their_end_leave_the_next_to_be_looked_at() -> None:
    def breaks(self: nn.Module, x: Tensor) -> Tensor:
        if self.broken:
            raise RuntimeError
        return pooled(self, x)

    converted = sfi_zoo.make_sfi(Net(LONG, breaks), F0)
    x, converted.broken = KINDS["long"][1], True
    with pytest.raises(RuntimeError):
        run(converted, x)
    converted.broken = False
    with warnings.catch_warnings(), not_watched(converted):
        warnings.simplefilter("error")
        run(converted, x)
    with pytest.warns(UserWarning, match=r"avg_pool1d in .*pooled"):
        run(converted, x)


def test_words_that_are_others_at_every_call_do_not_make_it_look_forever() -> None:
    class Named(Net):
        def forward(self, x: Tensor, name: str) -> Tensor:
            self.runs = getattr(self, "runs", 0) + 1
            return self.net(x)

    converted = sfi_zoo.make_sfi(
        Named(LONG, pieces).eval(), F0, example_inputs=(torch.zeros(1, 1, 4000), "a song")
    )
    watch = next(hook for hook in converted._forward_pre_hooks.values() if isinstance(hook, Watch))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(MOST_KINDS + 5):
            with sfi_zoo.at_sample_rate(converted, F):
                converted(torch.zeros(1, 1, 400), f"song {number}")
    assert len(watch.kinds) == MOST_KINDS
