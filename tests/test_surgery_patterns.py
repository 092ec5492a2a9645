"""Whatever a foreign model does at the waveform, it is converted right or refused by name; never silently wrong."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from sfi_zoo import InputError, at_sample_rate, explain, freeze, make_sfi
from sfi_zoo.layers import SampleRateAware
from tests.foreign_models import below, resampled
from tests.foreign_patterns import (
    CONVERTED,
    F0,
    REFUSED,
    WARNED,
    FilterBankInHalf,
    FramesByLength,
    Functional,
    Net,
    PostFilter,
    Segment,
    SidePath,
    Spectral,
    SpectralPadsToHops,
    WaveNet,
    WeightNorm,
)
from tests.signals import band_limited, relative_error

RATES = (6000, 11025, 48000)


def waveforms(model, rate):
    """All waveforms that a model gives of a sound below 2.4 kHz, time last."""
    x = band_limited(rate, 2400).float()
    with torch.no_grad():
        y = model(x)
    tensors = [t.movedim(-1, 1) if t.shape[-1] < 20 < t.shape[1] else t for t in pytree.tree_leaves(y)]
    return [t.movedim(1, -1) if t.shape[1] == x.shape[-1] else t for t in tensors]


def faded(y):
    """A signal of one second without its ends."""
    n = torch.arange(y.shape[-1], dtype=torch.float64) / y.shape[-1]
    return y.double() * (math.pi * n).sin() ** 6


def spectral_error(y, trained, rate):
    """Relative error below 0.9 of the lower Nyquist frequency of a second at `rate` against a second at F0."""
    limit = 0.45 * min(rate, F0)
    expected = below(resampled(faded(trained), rate), limit, rate)
    return relative_error(below(faded(y), limit, rate), expected)


@pytest.mark.parametrize("pattern", CONVERTED, ids=lambda p: p.__name__)
def test_converted_right(pattern):
    """At F0 the same; elsewhere as many samples as went in, and the spectrum of F0; frames are the same frames."""
    model = pattern().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = make_sfi(model, F0)
    trained = waveforms(copy.deepcopy(model), F0)
    again = copy.deepcopy(converted)
    assert all(relative_error(y, z) < 1e-5 for y, z in zip(waveforms(again, F0), trained, strict=True))
    for rate in RATES:
        again = copy.deepcopy(converted)
        with at_sample_rate(again, rate):
            outputs = waveforms(again, rate)
        for y, z in zip(outputs, trained, strict=True):
            if z.shape[-1] < F0:  # frames
                assert y.shape == z.shape and relative_error(y, z) < 1e-4
                continue
            assert y.shape == (*z.shape[:-1], rate)
            assert spectral_error(y, z, rate) < 1e-4


def test_lengths_of_a_batch_become_numbers_of_frames():
    """Items that end earlier end at the same time at every rate, also in what freeze gives."""
    model = FramesByLength().eval()
    lengths = {rate: torch.tensor([rate, round(0.7 * rate)]) for rate in (F0, *RATES)}

    def heard(network, rate):
        return waveforms(lambda x: network(x.expand(2, -1, -1), lengths[rate]), rate)[0]

    trained = heard(model, F0)
    converted = make_sfi(model, F0, example_inputs=(torch.zeros(2, 1, F0), lengths[F0]))
    for rate in RATES:
        with at_sample_rate(converted, rate):
            y = heard(converted, rate)
        assert y[1, :, round(0.75 * rate) :].abs().max() == 0
        assert spectral_error(y, trained, rate) < 1e-4
        assert relative_error(heard(freeze(converted, rate), rate), y) < 1e-4


@pytest.mark.parametrize("pattern", REFUSED, ids=lambda p: p.__name__)
def test_refused_by_name(pattern):
    with pytest.raises(InputError, match=REFUSED[pattern]) as error:
        make_sfi(pattern().eval(), F0)
    assert "fallback='resample'" in str(error.value) and "\n" not in str(error.value)
    assert "NoneType" not in str(error.value)


@pytest.mark.parametrize("pattern", WARNED, ids=lambda p: p.__name__)
def test_what_a_check_may_not_see_is_told(pattern):
    with pytest.warns(UserWarning, match=rf"is converted.*{WARNED[pattern]}"):
        make_sfi(pattern().eval(), F0)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_that_hooks_compute_are_copied():
    """Weight norm of the old kind leaves a weight with its graph, which cannot be copied; without it the network is the same."""
    normed, plain = Net().eval(), Net().eval()
    nn.utils.weight_norm(normed.enc)
    weight = normed.enc.weight
    converted, expected = make_sfi(normed, F0), make_sfi(plain, F0)
    assert normed.enc.weight is weight and weight.grad_fn is not None
    assert explain(normed, F0).convertible
    x = band_limited(11025, 2400).float()
    with torch.no_grad(), at_sample_rate(converted, 11025), at_sample_rate(expected, 11025):
        assert relative_error(converted(x), expected(x)) < 1e-5


def test_a_model_in_half_precision_is_checked_in_full():
    converted = make_sfi(FilterBankInHalf().eval(), F0)
    assert all(finding.error < 1e-4 for finding in converted.report.findings)
    with torch.no_grad(), at_sample_rate(converted, 11025):
        assert converted(band_limited(11025, 2400).float()).shape == (1, 1, 11025)


@pytest.mark.parametrize("pattern", [Segment, WaveNet], ids=lambda p: p.__name__)
def test_the_fallback_runs_what_is_refused(pattern):
    model = pattern().eval()
    wrapped = make_sfi(model, F0, fallback="resample")
    trained = waveforms(model, F0)[0]
    for rate in RATES:
        with at_sample_rate(wrapped, rate):
            y = waveforms(wrapped, rate)[0]
        assert y.shape[-1] == rate and spectral_error(y, trained, rate) < 1e-4
    assert wrapped.report.fallback == "WindowedSinc"


# a module like any other --------------------------------------------------------------------------------------------


def converted_functional():
    return make_sfi(Functional().eval(), F0)


def run(model, rate=11025):
    with torch.no_grad(), at_sample_rate(model, rate):
        return model(band_limited(rate, 2400).float())


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_redirected_models_are_copied_and_pickled(duplicate):
    model = converted_functional()
    expected = run(model)
    assert torch.equal(run(duplicate(model)), expected)


def test_parameters_are_those_of_the_model():
    """The state dict has its names, and what is loaded is used at once."""
    model, other = converted_functional(), converted_functional()
    assert list(model.state_dict()) == [f"model.{name}" for name in Functional().state_dict()]
    run(other)
    nn.init.normal_(model.model.enc.weight)
    other.load_state_dict(model.state_dict())
    assert torch.equal(run(other), run(model))


def test_gradients_reach_kernels_that_are_computed_in_forward():
    """The derivative along a direction, by the chain rule and by differences, in double precision."""
    model = make_sfi(Functional().double().eval(), F0)
    weight = model.model.enc.weight
    x = band_limited(11025, 2400, seconds=0.2)
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss():
        with at_sample_rate(model, 11025):
            return model(x).square().sum()

    loss().backward()
    along = float((weight.grad * direction).sum())
    step = 1e-6
    with torch.no_grad():
        weight += step * direction
        above = float(loss())
        weight -= 2 * step * direction
        below_ = float(loss())
    assert abs((above - below_) / (2 * step) - along) < 1e-6 * abs(along)


def test_it_moves_to_another_dtype_and_trains():
    model = converted_functional().double().train()
    assert model.model.training
    with at_sample_rate(model, 11025):
        y = model(band_limited(11025, 2400))
    assert y.dtype == torch.float64 and y.requires_grad


def test_at_its_own_rate_nothing_stands_between():
    model = Functional().eval()
    x = torch.randn(2, 1, 4000)
    with torch.no_grad():
        assert torch.equal(make_sfi(model, F0)(x), model(x))


def test_methods_run_redirected_too():
    converted = make_sfi(Spectral().eval(), F0)
    x = band_limited(11025, 2400).float()
    with torch.no_grad(), at_sample_rate(converted, 11025):
        assert torch.equal(converted.forward(x), converted(x))
    with pytest.raises(AttributeError):
        _ = converted.nothing_of_the_kind


def test_a_call_that_the_probe_has_not_seen_is_refused():
    class Switched(Net):
        loud = False

        def forward(self, x):
            if self.loud:
                return torch.stft(x[:, 0], 64, window=torch.ones(64), return_complex=True).abs()
            return functional_net(x)

    functional_net = Functional().eval()

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.f = Switched(), functional_net

        def forward(self, x):
            return self.inner(x)

    model = make_sfi(Outer().eval(), F0)
    model.model.inner.loud = True
    with pytest.raises(InputError, match=r"stft in .*Switched.forward.*was not seen"):
        run(model)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_call_that_a_checkpoint_would_repeat_is_refused(reentrant):
    """In the backward pass nothing is redirected: the gradient would be that of another call. Without gradients it works."""

    class Checkpointed(Net):
        def forward(self, x):
            z = checkpoint(
                lambda x, w: functional.conv1d(x, w, None, 16, 8), x, self.enc.weight, use_reentrant=reentrant
            )
            return self.dec(z * self.mid(z).sigmoid())

    model = make_sfi(Checkpointed().eval(), F0)
    assert run(model).shape == (1, 1, 11025)
    x = band_limited(11025, 2400).float()
    with at_sample_rate(model, 11025), pytest.raises(InputError, match=r"conv1d in .*activation checkpoint"):
        model(x.requires_grad_())
    with at_sample_rate(model, F0):
        model(x).square().sum().backward()


def test_it_trains_in_distributed_data_parallel(tmp_path):
    """One process: gradients are those without, at a rate that is not F0."""
    model, alone = converted_functional().train(), converted_functional().train()
    x = band_limited(11025, 2400, seconds=0.2).float()
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(model)
        for m in (parallel, alone):
            with at_sample_rate(m, 11025):
                m(x).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    pairs = [
        (p, q) for p, q in zip(model.parameters(), alone.parameters(), strict=True) if q.grad is not None
    ]
    assert len(pairs) > 1
    for p, q in pairs:
        assert torch.allclose(p.grad, q.grad, rtol=1e-5, atol=1e-7)


def test_several_inputs_and_another_layout():
    """(batch, time, channels), the number of samples, and an enrolment; the output has them in another order."""

    class Model(Net):
        def forward(self, mixture, samples, enrolment):
            x = mixture.mT
            speaker = self.enc(enrolment[:, None]).abs().mean(-1, keepdim=True)
            z = self.enc(x)
            y = self.dec(z * (self.mid(z) + speaker).sigmoid())
            assert int(samples) == x.shape[-1] == y.shape[-1]
            return {"estimate": y.mT}

    model = Model().eval()
    inputs = (torch.zeros(1, 8000, 1), torch.tensor([8000]), torch.zeros(1, 4000))
    for fallback in (None, "resample"):
        converted = make_sfi(model, F0, example_inputs=inputs, fallback=fallback)
        x, e = (band_limited(11025, 2400, seed=s).float()[0] for s in (1, 2))
        with at_sample_rate(converted, 11025), torch.no_grad():
            y = converted(x.mT[None], torch.tensor([11025]), e)["estimate"]
        assert y.shape == (1, 11025, 1)
    with pytest.raises(InputError, match=r"could not be run.*missing 2 required.*example_inputs"):
        make_sfi(model, F0)


@pytest.mark.parametrize("rate", [6000, 11025])
def test_the_fallback_is_differentiable_and_keeps_the_interface(rate):
    wrapped = make_sfi(WaveNet().eval(), F0, fallback="resample")
    x = torch.randn(1, 1, rate // 2, requires_grad=True)
    with at_sample_rate(wrapped, rate):
        wrapped(x).square().sum().backward()
    assert x.grad.norm() > 0
    duplicate = pickle.loads(pickle.dumps(wrapped))
    assert torch.equal(run(duplicate), run(wrapped))


# frozen -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [Functional, Spectral, SidePath, PostFilter, WeightNorm, SpectralPadsToHops],
    ids=lambda p: p.__name__,
)
@pytest.mark.parametrize("rate", [6000, 11025, 16000])
def test_frozen_calls_are_those_at_the_rate(pattern, rate):
    """Signals of no whole number of hops too, in the same length."""
    converted = make_sfi(pattern().eval(), F0)
    frozen = freeze(converted, rate)
    assert not any(isinstance(m, SampleRateAware) for m in frozen.modules())
    x = band_limited(rate, 2400).float()[..., : rate - 13]
    with torch.no_grad(), at_sample_rate(converted, rate):
        expected = converted(x)
        y = frozen(x)
    assert y.shape == expected.shape and relative_error(y, expected) < 1e-6


@pytest.mark.parametrize("pattern", [Functional, Spectral], ids=lambda p: p.__name__)
def test_frozen_calls_are_exported(pattern):
    frozen = freeze(make_sfi(pattern().eval(), F0), 11025)
    x = torch.randn(1, 1, 3000)
    exported = torch.export.export(frozen, (x,)).module()
    with torch.no_grad():
        assert relative_error(exported(x), frozen(x)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [Functional, Spectral], ids=lambda p: p.__name__)
def test_frozen_calls_in_onnxruntime(pattern, tmp_path):
    from tests.test_freeze import assert_same, in_onnxruntime

    frozen = freeze(make_sfi(pattern().eval(), F0), 16000)
    x = torch.randn(1, 1, 3200)
    with torch.no_grad():
        expected = frozen(x).numpy()
    assert_same(in_onnxruntime(frozen, x, tmp_path / "m.onnx"), expected)


def test_frozen_at_its_own_rate_it_is_the_model():
    assert type(freeze(make_sfi(Functional().eval(), F0), F0)) is Functional


def test_a_wrapped_model_stays_between_resamplings_at_one_rate():
    wrapped = make_sfi(WaveNet().eval(), F0, fallback="resample")
    frozen = freeze(wrapped, 16000)
    x = 0.1 * torch.randn(1, 1, 3200)
    with torch.no_grad():
        with at_sample_rate(wrapped, 16000):
            expected = wrapped(x)
        assert torch.equal(frozen(x), expected)
        assert relative_error(torch.export.export(frozen, (x,)).module()(x), expected) < 1e-6
    assert wrapped.current_rate == F0  # it was copied


def test_a_compiled_model_is_right_at_every_rate():
    converted = converted_functional()
    compiled = torch.compile(converted, backend="eager")
    for rate in (F0, 11025):
        assert relative_error(run_at(compiled, converted, rate), run(converted, rate)) < 1e-6


def run_at(model, converted, rate):
    with torch.no_grad(), at_sample_rate(converted, rate):
        return model(band_limited(rate, 2400).float())


def test_half_precision_on_the_way():
    """Autocast: the layers work in float32 where they need it."""
    converted = make_sfi(Spectral().eval(), F0)
    expected = run(converted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert relative_error(run(converted).float(), expected) < 2e-2


# the report ---------------------------------------------------------------------------------------------------------


def test_explain_names_every_place():
    from tests.foreign_patterns import Pooled

    report = explain(Pooled(), F0)
    text = str(report)
    assert not report.convertible
    for words in (
        "converted:",
        "module 'enc'",
        "module 'dec'",
        "in the way:",
        "avg_pool1d",
        "abs in",
        "(1, 1, time)",
    ):
        assert words in text


def test_a_converted_model_has_its_report():
    report = make_sfi(Net().eval(), F0).report
    assert report.layers == ["enc", "dec"] and len(report.findings) == 3
    assert all(f.passed for f in report.findings) and "checked" in str(report)


def test_without_the_check_what_is_in_the_way_is_a_warning():
    from tests.foreign_patterns import Pooled

    with pytest.warns(UserWarning, match="unchecked.*avg_pool1d"):
        converted = make_sfi(Pooled().eval(), F0, check=False)
    assert converted.report.findings == []


# bad input ----------------------------------------------------------------------------------------------------------


def scripted():
    return torch.jit.trace(Net().eval(), torch.zeros(1, 1, 800), check_trace=False)


def quantised():
    class Quantised(Net):
        pass

    Quantised.__module__ = "torch.ao.nn.quantized.modules"
    return Quantised()


def on_two_devices():
    model = Net()
    model.mid.to("meta")
    return model


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: nn.DataParallel(Net()), "DataParallel; convert its .module"),
        (lambda: torch.compile(Net()), r"is compiled.*_orig_mod"),
        (scripted, "traced or scripted"),
        (quantised, "quantised"),
        (on_two_devices, "several devices.*cpu, meta"),
        (lambda: torch.sin, "takes an nn.Module"),
        (lambda: nn.Linear(7, 7), "could not be run.*example_inputs"),
    ],
    ids=["parallel", "compiled", "traced", "quantised", "devices", "function", "no audio"],
)
def test_models_whose_calls_cannot_be_followed_are_named(model, named):
    for surgery in (make_sfi, explain) if named[:9] != "could not" else (make_sfi,):
        with pytest.raises(InputError, match=named):
            surgery(model(), F0)


def test_example_inputs_without_a_waveform_are_named():
    with pytest.raises(InputError, match=r"no waveform.*\(3,\)"):
        make_sfi(Net(), F0, example_inputs=torch.zeros(3))


def test_unknown_resamplers_are_named():
    with pytest.raises(InputError, match="unknown resampler 'sox'"):
        make_sfi(WaveNet(), F0, fallback="sox")


def test_what_a_model_says_of_every_shape_is_shown():
    class Six(nn.Module):
        def forward(self, x):
            raise ValueError(f"six microphones, not {x.shape[0]}")

    with pytest.raises(InputError, match=r"could not be run.*six microphones"):
        make_sfi(Six(), F0)
