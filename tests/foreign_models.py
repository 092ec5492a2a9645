"""Models that others wrote, small and with random weights, and how their outputs at two sampling frequencies compare."""

import pytest
import torch
from torch import Tensor, nn

RATES = (8000, 16000, 22050, 44100, 48000)


def conv_tasnet(**options):
    torchaudio = pytest.importorskip("torchaudio")
    torch.manual_seed(0)
    sizes = {"enc_kernel_size": 16, "enc_num_feats": 32, "msk_num_feats": 8, "msk_num_hidden_feats": 16}
    return torchaudio.models.ConvTasNet(**sizes | {"msk_num_layers": 3, "msk_num_stacks": 1} | options).eval()


def hdemucs():
    torchaudio = pytest.importorskip("torchaudio")
    torch.manual_seed(0)
    return torchaudio.models.HDemucs(sources=["a", "b"], channels=4, nfft=2048, depth=6).eval()


def open_unmix(sample_rate: float):
    model = pytest.importorskip("openunmix.model")
    torch.manual_seed(0)
    options = {"nb_bins": 129, "nb_channels": 2, "hidden_size": 24, "nb_layers": 1, "max_bin": 100}
    targets = {name: model.OpenUnmix(**options) for name in ("vocals", "drums")}
    return model.Separator(targets, sample_rate=sample_rate, n_fft=256, n_hop=64, nb_channels=2).eval()


class Tied(nn.Module):
    """Encoder and decoder with one and the same kernels, and an attention whose convolution runs over channels."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.analysis = nn.Conv1d(channels, 12, 16, stride=8, bias=False)
        self.attention = nn.Conv1d(1, 1, 3, padding=1)
        self.synthesis = nn.ConvTranspose1d(12, channels, 16, stride=8, bias=False)
        self.synthesis.weight = self.analysis.weight

    def forward(self, x: Tensor) -> Tensor:
        z = self.analysis(x)
        gate = self.attention(z.mean(-1)[:, None]).sigmoid()[:, 0, :, None]
        return self.synthesis(z * gate)


def resampled(y: Tensor, samples: int) -> Tensor:
    """A signal that is silent at both ends at another number of samples, by its Fourier transform."""
    spectrum = torch.fft.rfft(y)
    kept = min(spectrum.shape[-1], samples // 2 + 1)
    out = spectrum.new_zeros(*y.shape[:-1], samples // 2 + 1)
    out[..., :kept] = spectrum[..., :kept]
    return torch.fft.irfft(out, n=samples) * (samples / y.shape[-1])


def below(y: Tensor, cutoff_hz: float, rate: float) -> Tensor:
    """What a signal has below a frequency."""
    spectrum = torch.fft.rfft(y)
    spectrum[..., int(cutoff_hz * y.shape[-1] / rate) :] = 0
    return torch.fft.irfft(spectrum, n=y.shape[-1])
