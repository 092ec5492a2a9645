"""The layers among PyTorch's own tools: compile, export, autocast, DDP, meta tensors, copies, function transforms."""

import copy
import io
import pickle

import pytest
import torch
from torch import func
from torch.autograd import forward_ad

from sfi_zoo import SFIConv1d, SFIConvTranspose1d, set_sample_rate
from tests.signals import relative_error

RATES = (32000, 44100, 44099)  # one phase, four phases, interpolated delays
CLASSES = (SFIConv1d, SFIConvTranspose1d)


def layer_and_input(cls, *, dtype=torch.float32, **options):
    torch.manual_seed(0)
    channels = (1, 6) if cls is SFIConv1d else (6, 1)
    given = {"filter_options": {"frequency_range": (200.0, 9000.0)}, "sample_rate": 32000, "bias": True}
    layer = cls(*channels, 160, 80, padding=40, **given | options).to(dtype).eval()
    shape = (2, 1, 3211) if cls is SFIConv1d else (2, 6, 31)
    return layer, torch.randn(shape, dtype=dtype)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", RATES)
def test_compiles_without_a_graph_break(cls, rate):
    layer, x = layer_and_input(cls)
    set_sample_rate(layer, rate)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert relative_error(compiled(x), layer(x)) < 1e-6
    longer = torch.cat([x, x], dim=-1)
    assert relative_error(compiled(longer), layer(longer)) < 1e-6


def test_a_compiled_layer_is_compiled_anew_for_another_rate():
    layer, x = layer_and_input(SFIConv1d)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for rate in (32000, 44100, 48000.0, 22050.5):
        assert torch.equal(compiled(x, rate), layer(x, rate))


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES)
def test_compiled_code_computes_the_same(cls):
    layer, x = layer_and_input(cls)
    set_sample_rate(layer, 44100)
    torch._dynamo.reset()
    assert relative_error(torch.compile(layer, fullgraph=True)(x), layer(x)) < 1e-5


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", RATES)
def test_exports_and_the_program_survives_a_file(cls, rate):
    layer, x = layer_and_input(cls)
    set_sample_rate(layer, rate)
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, (x,)), file)
    file.seek(0)
    assert relative_error(torch.export.load(file).module()(x), layer(x)) < 1e-6


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", RATES)
def test_kernels_are_designed_in_full_precision_under_autocast(cls, rate):
    layer, x = layer_and_input(cls)
    expected, taps = layer(x, rate), layer.weights(rate)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer.train()(x, rate)
        assert torch.equal(layer.weights(rate)[0], taps)
    assert relative_error(y.float(), expected) < 1e-2


@pytest.mark.parametrize("cls", CLASSES)
def test_copies_and_pickles_compute_the_same(cls):
    layer, x = layer_and_input(cls)
    set_sample_rate(layer, 22050)
    expected = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), expected)
    other, _ = layer_and_input(cls, filter_options={"frequency_range": (500.0, 7000.0)})
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x, 22050), expected)


@pytest.mark.parametrize("cls", CLASSES)
def test_meta_tensors_tell_the_shape(cls):
    layer, x = layer_and_input(cls)
    shape = layer(x, 44100).shape
    assert layer.to("meta")(x.to("meta"), 44100).shape == shape


def test_built_on_meta_and_filled_from_a_state_dict():
    reference, x = layer_and_input(SFIConv1d)
    with torch.device("meta"):
        layer, _ = layer_and_input(SFIConv1d)
    assert all(p.is_meta for p in layer.parameters())
    layer = layer.to_empty(device="cpu")
    layer.load_state_dict(reference.state_dict())
    assert torch.equal(layer(x, 48000), reference(x, 48000))


def test_distributed_data_parallel_gives_the_same_gradients(tmp_path):
    layer, x = layer_and_input(SFIConv1d)
    layer.train()
    layer(x, 16000).square().sum().backward()
    expected = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        torch.nn.parallel.DistributedDataParallel(layer)(x, 16000).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(torch.allclose(p.grad, g) for p, g in zip(layer.parameters(), expected, strict=True))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", RATES)
def test_function_transforms(cls, rate):
    layer, x = layer_and_input(cls, dtype=torch.float64)
    direction = torch.randn_like(x)
    _, along = func.jvp(lambda x: layer(x, rate), (x,), (direction,))
    silent = layer(torch.zeros_like(x), rate)  # affine in x: the bias drops out
    assert relative_error(along, layer(direction, rate) - silent) < 1e-12
    mapped = func.vmap(lambda x: layer(x, rate))(x)
    assert relative_error(mapped, layer(x, rate)) < 1e-12
    parameters = dict(layer.named_parameters())

    def loss(parameters):
        return func.functional_call(layer, parameters, (x, rate)).square().sum()

    gradients = func.grad(loss)(parameters)
    loss(parameters).backward()
    assert all(relative_error(gradients[name], p.grad) < 1e-9 for name, p in parameters.items())


def derivative_by_differences(f, rate, step, from_above=False):
    """d f / d ln F by Richardson extrapolation of central differences, or from values at and above F."""
    if from_above:
        at, first, second, third = (f(rate * (1 + n * step)) for n in range(4))
        return (18 * first - 11 * at - 9 * second + 2 * third) / (6 * step)

    def central(h):
        return (f(rate * (1 + h)) - f(rate * (1 - h))) / (2 * h)

    return (4 * central(step) - central(2 * step)) / 3


@pytest.mark.parametrize("design", ["time", "frequency"])
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("rate", RATES)
def test_derivative_with_respect_to_the_sampling_frequency(cls, rate, design):
    """Forward mode, the older dual numbers, and reverse mode, against finite differences of the layer itself."""
    layer, x = layer_and_input(cls, dtype=torch.float64, design=design, taper=1.0)
    if (
        cls is SFIConv1d
    ):  # differences at neighbouring rates pass through the interpolation of delays: keep far from Nyquist
        t = torch.arange(x.shape[-1], dtype=torch.float64) / rate
        x = sum(torch.sin(2 * torch.pi * f * t + f) for f in (300.0, 1000.0, 2500.0))[None, None]
    else:
        x = torch.cumsum(x, dim=1) / 10
    length = {} if cls is SFIConv1d else {"length": 2400}
    f = lambda F: layer(x, F, **length)  # noqa: E731
    F = torch.tensor(float(rate), dtype=torch.float64)
    value, slope = func.jvp(f, (F,), (F,))
    assert relative_error(value, f(rate)) < 1e-12  # the taps come by another way, which computes all entries
    with torch.no_grad():
        # at F0 the derivative is that from above: taps below come by another way, 1e-6 apart
        expected = derivative_by_differences(f, rate, 6e-6, from_above=rate == layer.trained_rate)
    assert relative_error(slope, expected) < 1e-5
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(f(forward_ad.make_dual(F, F))).tangent
    assert relative_error(dual, slope) < 1e-12
    direction = torch.randn_like(value)
    F.requires_grad_()
    (gradient,) = torch.autograd.grad((f(F) * direction).sum(), F)
    assert (gradient * rate).item() == pytest.approx((slope * direction).sum().item(), rel=1e-9)
