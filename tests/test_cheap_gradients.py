"""PReLU and depthwise convolution in training on a CPU: values and derivatives of PyTorch's own, and who computes them when."""

import pytest
import torch
from torch import func, nn
from torch.autograd import gradcheck, gradgradcheck

from sfi_zoo.models.parts.cheap_gradients import Depthwise, PReLU

CHANNELS, FRAMES = 6, 23
# size, stride, padding, dilation, bias
CONVOLUTIONS = [
    (3, 1, 1, 1, False),
    (3, 1, 4, 4, True),
    (3, 1, 0, 4, False),  # causal: the block pads
    (5, 1, 2, 1, True),
    (4, 1, 1, 2, False),
    (1, 1, 0, 1, True),
    (3, 1, 16, 16, False),  # the outer taps see next to nothing
    (3, 1, 64, 64, False),  # or nothing
    (5, 2, 2, 1, True),
]


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def prelu_pair(channels):
    own, plain = PReLU(channels).double(), nn.PReLU(channels).double()
    nn.init.uniform_(own.weight, -0.5, 1.5)
    plain.load_state_dict(own.state_dict())
    return own, plain


def depthwise_pair(size, stride, padding, dilation, bias):
    own = Depthwise(CHANNELS, size, stride, padding, dilation, bias).double()
    plain = nn.Conv1d(CHANNELS, CHANNELS, size, stride, padding, dilation, CHANNELS, bias).double()
    plain.load_state_dict(own.state_dict())
    return own, plain


PAIRS = [
    *(pytest.param(prelu_pair, (channels,), id=f"prelu-{channels}") for channels in (1, CHANNELS)),
    *(
        pytest.param(depthwise_pair, options, id="conv-{}-{}-{}-{}-{}".format(*options))
        for options in CONVOLUTIONS
    ),
]
pairs = pytest.mark.parametrize(("pair", "options"), PAIRS)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pairs
def test_values_and_gradients_are_those_of_pytorch(pair, options):
    own, plain = pair(*options)
    x = noise(2, CHANNELS, FRAMES)
    y, wanted = own(x), plain(x)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    gradient = torch.randn_like(y)
    got = torch.autograd.grad(y, (x, *own.parameters()), gradient)
    for a, b in zip(got, torch.autograd.grad(wanted, (x, *plain.parameters()), gradient), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pairs
def test_derivatives_of_first_and_second_order_are_right(pair, options):
    own, _ = pair(*options)
    names = [name for name, _ in own.named_parameters()]

    def call(x, *values):
        return func.functional_call(own, dict(zip(names, values, strict=True)), (x,))

    inputs = (noise(2, CHANNELS, 9), *(p.detach().requires_grad_() for p in own.parameters()))
    assert gradcheck(call, inputs, check_forward_ad=True)
    assert gradgradcheck(call, inputs)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of vmap, for addcmul_
@pairs
def test_function_transforms_see_through(pair, options):
    own, plain = pair(*options)
    x, slope = noise(3, 2, CHANNELS, FRAMES).detach(), noise(3, 2, CHANNELS, FRAMES).detach()
    for transform in (
        lambda layer: func.jvp(layer, (x[0],), (slope[0],))[1],
        lambda layer: func.grad(lambda z: layer(z).square().sum())(x[0]),
        lambda layer: func.vmap(layer)(x),
        lambda layer: func.vmap(func.grad(lambda z: layer(z).square().sum()))(x),
        lambda layer: torch.autograd.functional.jvp(layer, x[0], slope[0])[1],
    ):
        torch.testing.assert_close(transform(own), transform(plain), rtol=1e-10, atol=1e-10)


@pairs
def test_frozen_parameters_get_no_gradient(pair, options):
    own, plain = pair(*options)
    own.requires_grad_(False)
    x = noise(2, CHANNELS, FRAMES)
    (got,), (wanted,) = (torch.autograd.grad(layer(x).square().sum(), x) for layer in (own, plain))
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layer", [PReLU(), Depthwise(CHANNELS, 3, padding=2, dilation=2)])
def test_outside_of_training_pytorch_computes(layer):
    x = torch.randn(2, CHANNELS, FRAMES)
    own = layer(x)
    assert type(own.grad_fn).__name__ in {"_PReLUBackward", "AddBackward0"}
    with torch.no_grad():
        assert torch.equal(layer(x), type(layer).__mro__[1].forward(layer, x))
    layer.eval()
    assert layer(x).grad_fn.name() in {"PreluKernelBackward0", "ConvolutionBackward0"}
    torch.testing.assert_close(layer(x), own)
    layer.train()


@pytest.mark.parametrize("layer", [PReLU(), Depthwise(CHANNELS, 3, padding=2, dilation=2)])
def test_a_layer_in_training_is_exported_and_traced_as_pytorchs(layer):
    x = torch.randn(2, CHANNELS, FRAMES)
    program = torch.export.export(layer, (x,))
    assert {str(n.target) for n in program.graph.nodes if n.op == "call_function"} <= {
        "aten.prelu.default",
        "aten.conv1d.default",
    }
    torch.testing.assert_close(program.module()(x), layer(x))
    torch.testing.assert_close(torch.jit.trace(layer, x)(x), layer(x))


@pytest.mark.parametrize("layer", [PReLU(CHANNELS), Depthwise(CHANNELS, 3, padding=2, dilation=2)])
def test_under_autocast_in_bfloat16_gradients_are_those_of_float32_within_its_precision(layer):
    x, gradient = torch.randn(2, CHANNELS, FRAMES), torch.randn(2, CHANNELS, FRAMES)
    inputs = (x.requires_grad_(), *layer.parameters())
    wanted = torch.autograd.grad(layer(x), inputs, gradient)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x.bfloat16())
    assert y.dtype == torch.bfloat16
    for a, b in zip(torch.autograd.grad(y, inputs, gradient.bfloat16()), wanted, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 2e-2 * b.norm()
