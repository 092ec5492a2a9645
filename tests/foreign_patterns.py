"""Patterns of foreign models at the waveform, small: those that convert, and those that are refused by name."""

import torch
from torch import Tensor, nn
from torch.nn import functional

F0 = 8000


class Net(nn.Module):
    """Encoder, mask, decoder; what stands before and after them is a pattern's own."""

    def __init__(self, features: int = 16, kernel: int = 32, stride: int = 16, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enc = nn.Conv1d(channels, features, kernel, stride, padding=kernel // 4, bias=False)
        self.mid = nn.Conv1d(features, features, 3, padding=1)
        self.dec = nn.ConvTranspose1d(features, channels, kernel, stride, padding=kernel // 4, bias=False)

    def separate(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        return self.dec(z * self.mid(z).sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x)


class Spectral(nn.Module):
    """A mask on `torch.stft`, as people write it."""

    def __init__(self, n_fft: int = 256, hop: int = 64, length: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.n_fft, self.hop, self.length = n_fft, hop, length
        self.register_buffer("window", torch.hann_window(n_fft))
        self.net = nn.Conv1d(n_fft // 2 + 1, n_fft // 2 + 1, 3, padding=1)

    def mask(self, z: Tensor) -> Tensor:
        return z * self.net(z.abs().log1p()).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        z = torch.stft(x[:, 0], self.n_fft, self.hop, window=self.window, return_complex=True)
        length = x.shape[-1] if self.length else None
        y = torch.istft(self.mask(z), self.n_fft, self.hop, window=self.window, length=length)
        return y[:, None]


# converted ----------------------------------------------------------------------------------------------------------


class Gain(Net):
    """A 1 x 1 convolution before the encoder: two convolutions see the waveform."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Conv1d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(self.gain(x))


class DCBlocker(Net):
    """A FIR filter before the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.fir = nn.Conv1d(1, 1, 65, padding=32, bias=False)
        with torch.no_grad():
            self.fir.weight.copy_(-torch.hann_window(67, periodic=False)[1:-1] / 33.5)
            self.fir.weight[..., 32] += 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(self.fir(x))


class PostFilter(Net):
    """A dilated FIR filter after the decoder."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.hann_window(9, periodic=False)[None, None, 1:-1] / 4
        return functional.conv1d(self.separate(x), kernel, padding=6, dilation=2)


class SidePath(Net):
    """The mask comes from `x.stft()`, the latent from a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Conv1d(65, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        side = x[:, 0].stft(128, 16, window=torch.hann_window(128), return_complex=True).abs()
        return self.dec(z * self.side(side[..., : z.shape[-1]]).sigmoid())


class Functional(Net):
    """Kernels that are computed in forward."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.enc.weight * torch.hann_window(32)
        z = functional.conv1d(input=x, weight=w, stride=(16,), padding=8)
        return functional.conv_transpose1d(z * self.mid(z).sigmoid(), w, stride=16, padding=8)


class WeightNorm(Net):
    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.utils.parametrizations.weight_norm(self.enc)


class Subclass(Net):
    """A decoder whose class adds an axis, as speechbrain's does."""

    class Decoder(nn.ConvTranspose1d):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z).squeeze(1)

    def __init__(self) -> None:
        super().__init__()
        self.dec = self.Decoder(16, 1, 32, 16, padding=8)

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x)[:, None]


class OutputSize(Net):
    """The decoder is told its length, as ESPnet's is."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        z = z * self.mid(z).sigmoid()
        named = self.dec(z, output_size=(len(z), 1, x.shape[-1]))
        return named + self.dec(z, [x.shape[-1]])


class FramesByLength(Spectral):
    """Frames beyond the end of each item are zero; their number is that of the samples, divided by the hop, as in ESPnet."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        lengths = torch.full((len(x),), x.shape[-1]) if lengths is None else lengths
        padded = lengths + 2 * (self.n_fft // 2)
        frames = torch.div(input=padded - self.n_fft, other=self.hop, rounding_mode="trunc") + 1
        last = lengths // self.hop
        z = torch.stft(x[:, 0], self.n_fft, self.hop, window=self.window, return_complex=True)
        k = torch.arange(z.shape[-1])
        z = z.masked_fill((k >= frames[:, None, None]) | (k > last[:, None, None]), 0)
        y = torch.istft(self.mask(z), self.n_fft, self.hop, window=self.window, length=x.shape[-1])
        return y[:, None]


class Flattened(Spectral):
    """All features of all frames along one axis: as many values as samples, or more, but none of them is one."""

    def mask(self, z: Tensor) -> Tensor:
        tokens = torch.view_as_real(z).flatten(1, 2)
        level = functional.layer_norm(tokens[..., 0], tokens.shape[1:2]).tanh() + tokens.norm(dim=-1)
        smooth = functional.conv1d(level[:, None], torch.ones(1, 1, 3) / 3, padding=1)
        return z * smooth.reshape(z.shape).sigmoid()


class MeanRemoved(Net):
    """The average over all samples, by pooling to one value."""

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x - functional.adaptive_avg_pool1d(x, 1))


class Residual(Net):
    def forward(self, x: Tensor) -> Tensor:
        return x - self.separate(x)


class Cascade(nn.Module):
    """Two models, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Spectral(), Spectral(128, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class TimeThenSources(Net):
    """(batch, time, sources)."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.separate(x)[:, 0]
        return torch.stack([y, x[:, 0] - y], dim=-1)


class Dictionary(Net):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.separate(x)
        return {"speech": y, "noise": x - y}


class Tuple(Net):
    """Samples and frames."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.enc(x)
        return self.dec(z * self.mid(z).sigmoid()), z


class PadsToHops(Net):
    """Pads to whole hops in samples, and cuts what comes out."""

    def forward(self, x: Tensor) -> Tensor:
        more = -x.shape[-1] % 16
        return self.separate(functional.pad(x, (0, more)))[..., : x.shape[-1]]


class SpectralPadsToHops(Spectral):
    """As SCNet: pads to whole hops, inverts without a length, cuts."""

    def __init__(self) -> None:
        super().__init__(length=False)

    def forward(self, x: Tensor) -> Tensor:
        more = -x.shape[-1] % self.hop
        y = super().forward(functional.pad(x, (0, more)))
        return y[..., :-more] if more else y


class Normalises(Net):
    """Mean and standard deviation of the waveform."""

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + 1e-5
        return self.separate((x - mean) / std) * std + mean


class ManyRows(Net):
    """18 output rows."""

    def __init__(self) -> None:
        super().__init__()
        self.dec = nn.ConvTranspose1d(16, 18, 32, 16, padding=8)


class TwoScales(Net):
    """Two encoders with one hop."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv1d(1, 16, 64, 16, padding=24)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x) + self.wide(x)
        return self.dec(z * self.mid(z).sigmoid())


class Causal(Net):
    """State that lives in frames: the mean of the frames of all calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.mean: Tensor

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        self.mean = 0.5 * self.mean + 0.5 * z.abs().mean((0, 2))
        return self.dec(z * (self.mid(z) + self.mean[:, None]).sigmoid())


class Chunked(Net):
    """A loop over the sources through one decoder, and chunks of frames by unfold."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        chunks = functional.pad(z, (0, -z.shape[-1] % 10)).unfold(-1, 10, 10)
        gain = chunks.mean(-1).repeat_interleave(10, -1)[..., : z.shape[-1]].sigmoid()
        return torch.cat([self.dec(z * g) for g in (gain, 1 - gain)], dim=1)


class Resolutions(Net):
    """Transforms of three sizes in a loop, one of them without a window, and the old form of complex numbers."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        for n_fft in (64, 128, 256):
            window = torch.hann_window(n_fft)
            y = torch.stft(x[:, 0], n_fft, 16, window=window, normalized=True, return_complex=True)
            level = torch.view_as_real(y).square().sum(-1).mean(1, keepdim=True)
            z = z * level[..., : z.shape[-1]].sigmoid()
        return self.dec(z)


class FilterBankInHalf(Net):
    """In half precision: rounding is 60 dB below, and no fault of the conversion."""

    def __init__(self) -> None:
        super().__init__()
        self.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x.to(self.enc.weight)).to(x)


CONVERTED = [
    Resolutions,
    Net,
    Spectral,
    Gain,
    DCBlocker,
    PostFilter,
    SidePath,
    Functional,
    WeightNorm,
    Subclass,
    OutputSize,
    FramesByLength,
    Flattened,
    MeanRemoved,
    Residual,
    Cascade,
    TimeThenSources,
    Dictionary,
    Tuple,
    PadsToHops,
    SpectralPadsToHops,
    Normalises,
    ManyRows,
    TwoScales,
    Causal,
    Chunked,
]


# refused ------------------------------------------------------------------------------------------------------------


class Unfolded(Net):
    """A spectrum cut by hand on the side."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Linear(33, 16)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        frames = functional.pad(x, (24, 24))[:, 0].unfold(-1, 64, 16) * torch.hann_window(64)
        gate = self.side(torch.fft.rfft(frames).abs()).mT[..., : z.shape[-1]]
        return self.dec(z * gate.sigmoid())


class SubPixel(Net):
    """Every frame is a piece of the signal."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        return (z * self.mid(z).sigmoid()).mT.reshape(len(x), 1, -1)


class PooledToFrames(Net):
    """As many averages as there are frames."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        return self.dec(z * functional.adaptive_avg_pool1d(x.square(), z.shape[-1]))


class Pooled(Net):
    """An envelope by pooling on the side."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        envelope = functional.avg_pool1d(x.abs(), 32, 16, padding=8)
        return self.dec(z * envelope.sigmoid())


class Convolved2d(Net):
    """A two-dimensional convolution on the waveform."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Conv2d(1, 16, (1, 32), (1, 16), padding=(0, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.dec(self.enc(x) * self.side(x[:, None])[:, :, 0].sigmoid())


class Decimated(Net):
    """Every second sample."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.separate(x[..., ::2]), scale_factor=2.0)


class Reshaped(nn.Module):
    """Frames by reshape, a linear layer, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Net()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        frames = functional.pad(x, (0, -x.shape[-1] % 16)).reshape(x.shape[0], -1, 16)
        return self.conv(x) + self.linear(frames).flatten(1)[:, None, : x.shape[-1]]


class OverlapAdd(Net):
    """A decoder that is a matrix, and frames added by fold."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Linear(16, 32, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.basis(self.enc(x).mT).mT
        length = (frames.shape[-1] - 1) * 16 + 32
        return functional.fold(frames, (1, length), (1, 32), stride=(1, 16))[:, :, 0]


class Segment(Net):
    """Pads to a segment of fixed length."""

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(functional.pad(x, (0, 20000 - x.shape[-1])))[..., : x.shape[-1]]


class LeftPadded(Net):
    """A causal encoder: padding in front, counted in samples."""

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(functional.pad(x, (21, 0)))[..., : x.shape[-1]]


class Zeros(Net):
    """The same by joining zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(torch.cat([x.new_zeros(*x.shape[:-1], 21), x], -1))[..., : x.shape[-1]]


class Cropped(Net):
    """What comes out is cut in front."""

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x)[..., 21:]


class Tail(Net):
    """It keeps the last samples for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tail", torch.zeros(1, 1, 16))
        self.tail: Tensor

    def forward(self, x: Tensor) -> Tensor:
        y = self.separate(torch.cat([self.tail, x], -1))
        self.tail = x[..., -16:].detach()
        return y[..., : x.shape[-1]]


class PreEmphasis(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x - 0.97 * functional.pad(x, (1, -1)))


class Summed(Net):
    """A level that grows with the number of samples."""

    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x / (x.square().sum(-1, keepdim=True) + 1e-3)) * 100


class Squared(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x).relu()


class Rolled(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x) + 0.5 * x.roll(7, -1)


class Cumulated(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x) + 0.01 * x.cumsum(-1)


class Recurrent(nn.Module):
    """An LSTM over samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.lstm, self.out = Net(), nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.out(self.lstm(x.mT)[0]).mT


class ChunksOfSamples(Net):
    """Long signals in chunks of 2000 samples."""

    def forward(self, x: Tensor) -> Tensor:
        pieces = [self.separate(piece) for piece in x.split(2000, -1)]
        return torch.cat([p[..., :2000] for p in pieces], -1)[..., : x.shape[-1]]


class WaveNet(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [nn.Conv1d(8, 8, 3, padding=d, dilation=d) for d in (1, 2, 4)]
        super().__init__(nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), *layers, nn.ReLU(), nn.Conv1d(8, 1, 1))


class WholeFFT(Net):
    """A filter by the spectrum of the whole signal."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        slope = torch.linspace(1, 0, spectrum.shape[-1])
        return self.separate(torch.fft.irfft(spectrum * slope, n=x.shape[-1]))


class Muted(Net):
    """The first samples are silenced: what a signal that is silent there does not show."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.separate(x).clone()
        y[..., :160] = 0
        return y


class FadedIn(Net):
    """A ramp of 160 samples, and ones."""

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.cat([torch.linspace(0, 1, 160), torch.ones(x.shape[-1] - 160)])
        return self.separate(x * ramp)


class Clipped(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.separate(x).clamp(-1, 1)


class BothWays(Net):
    """One convolution over samples, and over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.dec = nn.ConvTranspose1d(16, 1, 32, 16, padding=8)
        self.enc = nn.Conv1d(1, 16, 32, 16, padding=8)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        level = [self.enc(row) for row in (x, functional.pad(z.mean(1, keepdim=True), (0, 64)))][1]
        return self.dec(z * level.mean(-1, keepdim=True).sigmoid())


class TwoSided(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = torch.stft(x[:, 0], 64, 16, window=torch.hann_window(64), onesided=False, return_complex=True)
        return self.dec(self.enc(x) * z[:, :16, :1].abs().sigmoid())


WARNED = {
    Clipped: "clamp.*nonlinearity",
}

REFUSED = {
    Muted: "an assignment up to, or from, sample 160",
    FadedIn: "cat with 160 samples in front",
    Unfolded: "unfold.*frames of a fixed number of samples",
    Pooled: "avg_pool1d.*pools",
    PooledToFrames: "adaptive_avg_pool1d.*pools",
    SubPixel: "of .* samples come out.*suspected: reshape.*pieces of a fixed number",
    Convolved2d: "conv2d.*one-dimensional",
    Decimated: "__getitem__.*every n-th sample",
    Reshaped: "reshape.*pieces of a fixed number",
    OverlapAdd: "fold.*adds up frames",
    Segment: "pads to a fixed number of samples",
    LeftPadded: "pad by 21 samples in front",
    Zeros: "cat with 21 samples in front",
    Cropped: "a slice from sample 21 on",
    Tail: "__getitem__.*pieces of a fixed number of samples",
    PreEmphasis: "pad by 1 samples in front",
    Summed: "sum .*counted in samples",
    Squared: "relu.*nonlinearity at audio rate",
    Rolled: "roll.*moves by whole samples",
    Cumulated: "cumsum.*adds up over samples",
    Recurrent: "lstm.*recursive over samples",
    ChunksOfSamples: "split.*pieces of a fixed number of samples",
    WaveNet: "convolutions work at audio rate.*fallback",
    WholeFFT: "fft_rfft.*whole signal",
    BothWays: "samples at one time.*frames at another",
    TwoSided: "onesided=True",
}
