"""What has to be the same on another device: `SFI_ZOO_TEST_DEVICE=cuda python -m pytest tests/test_on_device.py` (tools/on_gpu.sh).

The reference is computed on the CPU in double precision. Without the variable the device is the CPU in single precision, so that these
tests are known to run.
"""

import copy
import os

import pytest
import torch
from torch import nn

from sfi_zoo import (
    SFIISTFT,
    SFISTFT,
    SFIConv1d,
    SFIConvTranspose1d,
    at_sample_rate,
    freeze,
    make_sfi,
)
from sfi_zoo.layers import KernelInterpolatedConv1d
from sfi_zoo.metrics import mask_lee, masked_latent_lee, observe, predictor_lee
from sfi_zoo.training.objective import Objective
from sfi_zoo.training.recipe import LossConfig
from tests.signals import band_limited, relative_error
from tests.tiny_separators import ARCHITECTURES, tiny

DEVICE = torch.device(os.environ.get("SFI_ZOO_TEST_DEVICE", "cpu"))
F0 = 16000
RATES = (8000, 16000, 22050, 44099, 192000)
CLOSE = 2e-5  # single precision, with sums over thousands of values in another order


@pytest.fixture(autouse=True)
def whole_single_precision():
    """TF32, which convolutions on a GPU use unless told, has 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def on_both(module, x, *arguments):
    """Output in single precision on the device, and in double precision on the CPU."""
    exact = module.double()(x.double(), *arguments)
    there = copy.deepcopy(module).float().to(DEVICE)
    found = there(x.float().to(DEVICE), *arguments)
    assert found.device.type == DEVICE.type
    return found.cpu(), exact


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "layer",
    [
        SFIConv1d(1, 12, 80, 40, sample_rate=F0),
        SFIConv1d(1, 12, 80, 40, sample_rate=F0, design="frequency"),
        SFISTFT(400, 100, sample_rate=F0, bins="nyquist"),
        KernelInterpolatedConv1d(1, 4, 80, 40, sample_rate=F0),
    ],
    ids=["time", "frequency", "stft", "interpolated"],
)
@torch.no_grad()
def test_analysis(layer, rate):
    found, exact = on_both(layer.eval(), torch.randn(2, 1, rate // 4), rate)
    assert relative_error(found, exact) < CLOSE


@pytest.mark.parametrize("rate", RATES)
@torch.no_grad()
def test_synthesis(rate):
    layer, inverse = SFIConvTranspose1d(12, 1, 80, 40, sample_rate=F0), SFIISTFT(400, 100, sample_rate=F0)
    found, exact = on_both(layer.eval(), torch.randn(2, 12, 100), rate)
    assert relative_error(found, exact) < CLOSE
    z = torch.randn(2, 201, 40, dtype=torch.complex128)
    exact = inverse(z, rate)
    assert relative_error(inverse(z.to(DEVICE, torch.complex64), rate).cpu(), exact) < CLOSE


def test_192_khz_in_many_channels():
    layer = SFIConv1d(1, 256, 80, 40, sample_rate=F0)
    found, exact = on_both(layer.eval(), torch.randn(8, 1, 38400), 192000)
    assert relative_error(found, exact) < CLOSE


def test_gradients():
    """Of the filters' parameters and of the rate."""
    layer = SFIConv1d(1, 6, 80, 40, sample_rate=F0).double()
    there = copy.deepcopy(layer).float().to(DEVICE)
    x = torch.randn(2, 1, 4000, dtype=torch.float64)
    layer(x, 22050).square().sum().backward()
    there(x.float().to(DEVICE), 22050).square().sum().backward()
    for expected, found in zip(layer.parameters(), there.parameters(), strict=True):
        assert relative_error(found.grad.cpu(), expected.grad) < 50 * CLOSE


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_separators(name):
    model = tiny(name)
    x = torch.randn(1, 1, 22050)
    found, exact = on_both(model, x, 44100)
    assert relative_error(found, exact) < 1e-3  # masks of random networks are steep
    stems = model.float().to(DEVICE).separate(x[0].float(), 44100, device=DEVICE)
    assert stems.shape == (2, 1, 22050) and bool(stems.isfinite().all())


@pytest.mark.parametrize("name", ["convtasnet", "bsrnn"])
def test_lee(name):
    """LEEs of a clip on the device are those of the CPU."""
    values = []
    for device in (torch.device("cpu"), DEVICE):
        model = tiny(name).to(device)
        clips = {
            rate: band_limited(rate, seconds=0.5).float().to(device) for rate in (22050, model.trained_rate)
        }
        observed, trained = (observe(model, clips[rate], rate) for rate in clips)
        sums = [mask_lee(observed, trained), masked_latent_lee(observed, trained)]
        sums.append(predictor_lee(model.predict_masks, trained, 8000))
        values.append([s.value() for s in sums])
    assert values[1] == pytest.approx(values[0], rel=0.05, abs=1e-7)


class MaskingNet(nn.Module):
    """As people write them: `torch.stft`, a network, `torch.istft`."""

    def __init__(self):
        super().__init__()
        self.gains = nn.Conv1d(129, 129, 1)
        self.register_buffer("window", torch.hann_window(256))

    def forward(self, x):
        z = torch.stft(x, 256, 64, window=self.window, return_complex=True)
        return torch.istft(z * self.gains(z.abs()).sigmoid(), 256, 64, window=self.window, length=x.shape[-1])


@torch.no_grad()
def test_surgery():
    plain = MaskingNet().eval()
    converted = make_sfi(plain, F0).to(DEVICE)
    x = torch.randn(2, F0)
    assert relative_error(converted(x.to(DEVICE)).cpu(), plain(x)) < CLOSE
    low, high = (band_limited(rate)[0].float() for rate in (F0, 48000))
    with at_sample_rate(converted, 48000):
        there = converted(high.to(DEVICE)).cpu()
    assert relative_error(there[..., ::3][..., :F0], plain(low)) < 1e-3
    frozen = freeze(converted, 48000)
    assert relative_error(frozen(high.to(DEVICE)).cpu(), there) < CLOSE


def test_a_training_step():
    """Gradients of one step against those in double precision; then a few steps that get somewhere."""
    model = tiny("convtasnet").train()
    exact = Objective(copy.deepcopy(model).double(), LossConfig())
    there = Objective(model.to(DEVICE), LossConfig())
    targets = torch.randn(2, 2, 1, 16000, dtype=torch.float64)
    optimizer = torch.optim.Adam(there.parameters(), lr=1e-2)
    exact(targets).mean().backward()
    losses = []
    for step in range(5):
        optimizer.zero_grad()
        loss = there(targets.float().to(DEVICE)).mean()
        loss.backward()
        if step == 0:
            for expected, found in zip(exact.parameters(), there.parameters(), strict=True):
                if expected.grad is not None:
                    assert (found.grad.cpu() - expected.grad).norm() < 1e-2 * expected.grad.norm() + 1e-6
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_autocast():
    dtype = torch.bfloat16
    model = tiny("convtasnet").to(DEVICE)
    x = torch.randn(1, 1, 22050, device=DEVICE)
    with torch.no_grad():
        exact = model(x, 22050)
        with torch.autocast(DEVICE.type, dtype=dtype):
            rounded = model(x, 22050)
    assert relative_error(rounded.float(), exact) < 0.1


@pytest.mark.slow
def test_compiled():
    model = tiny("convtasnet").to(DEVICE)
    x = torch.randn(1, 1, 22050, device=DEVICE)
    torch._dynamo.reset()
    with torch.no_grad():
        assert relative_error(torch.compile(model)(x, 22050), model(x, 22050)) < 1e-4
