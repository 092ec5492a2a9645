"""Models as people put them together: a filter in front x an encoder x what it sees beside x a mask x a decoder x a layout x a way to crop.

Each choice is a function of tensors; a combination is one of each. All work at F0 = 8 kHz with frames 16 samples apart.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

F0, HOP, FEATURES = 8000, 16, 24


def _taps(n: int) -> Tensor:
    """A smooth filter with a gain of one at 0 Hz."""
    w = torch.hann_window(n + 2, periodic=False)[1:-1]
    return (w / w.sum())[None, None]


def _fir(x: Tensor) -> Tensor:
    return x - 0.5 * functional.conv1d(x, _taps(33), padding=16)


FRONT: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda x: x,
    "fir": _fir,
    "even fir, same": lambda x: functional.conv1d(x, _taps(8), padding="same"),
    "mean and std": lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-3),
    "peak": lambda x: x / (x.abs().amax(-1, keepdim=True) + 1e-3),
    "loudness by sum": lambda x: x / (x.square().sum(-1, keepdim=True).sqrt() + 1e-3),
    "preemphasis": lambda x: torch.cat([x[..., :1], x[..., 1:] - 0.9 * x[..., :-1]], -1),
    "difference": lambda x: functional.conv1d(functional.pad(x, (1, 0)), torch.tensor([[[-0.9, 1.0]]])),
    "delay": lambda x: functional.pad(x, (11, -11)),
    "mu law": lambda x: x.sign() * (1 + 255 * x.abs()).log() / 5.5,
    "decimate": lambda x: functional.interpolate(functional.avg_pool1d(x, 2), size=x.shape[-1]),
    "fft filter": lambda x: torch.fft.irfft(
        torch.fft.rfft(x) * torch.linspace(1, 0.2, x.shape[-1] // 2 + 1), n=x.shape[-1]
    ),
    "fade": lambda x: x * torch.linspace(0, 1, x.shape[-1]),
    "flip twice": lambda x: x.flip(-1).flip(-1),
    "moving average": lambda x: functional.avg_pool1d(x, 9, 1, padding=4),
    "matrix of frames": lambda x: (
        functional.pad(x, (0, -x.shape[-1] % 8)).unflatten(-1, (-1, 8)) @ torch.eye(8).roll(1, 0)
    ).flatten(-2)[..., : x.shape[-1]],
    "einsum": lambda x: torch.einsum("oi,bit->bot", torch.tensor([[0.7]]), x),
    "rms frames": lambda x: (
        x / (x.unfold(-1, 64, 16).square().mean((-1, -2), keepdim=False)[..., None] + 0.1)
    ),
}


def _stft(x: Tensor) -> Tensor:
    return torch.stft(x[:, 0], 64, HOP, 64, torch.hann_window(64), return_complex=True)


def _strided_twice(x: Tensor, w: Tensor) -> Tensor:
    y = functional.conv1d(x, w[..., :16], stride=4, padding=6)
    return functional.conv1d(y.relu(), w[..., :8].expand(-1, FEATURES, -1) / 5, stride=4, padding=2)


def _unshuffled(x: Tensor, w: Tensor) -> Tensor:
    y = functional.pad(x, (0, -x.shape[-1] % HOP)).unflatten(-1, (-1, HOP))[:, 0].mT
    return functional.conv1d(y, w[:, 0, :HOP, None])


def _fft_conv(x: Tensor, w: Tensor) -> Tensor:
    n = x.shape[-1] + w.shape[-1]
    y = torch.fft.irfft(torch.fft.rfft(x, n=n) * torch.fft.rfft(w[:, 0], n=n), n=n)
    return y[..., ::HOP][..., : x.shape[-1] // HOP]


def _framed(x: Tensor) -> Tensor:
    return functional.pad(x, (8, 8)).unfold(-1, 2 * HOP, HOP)[:, 0]


# (batch, 1, time) and (features, 1, taps) -> (batch, features, frames), real
ENCODERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "conv": lambda x, w: functional.conv1d(x, w, stride=HOP, padding=8),
    "long": lambda x, w: functional.conv1d(x, torch.cat([w, w.flip(-1)], -1), stride=HOP, padding=24),
    "unpadded": lambda x, w: functional.conv1d(x, w, stride=HOP),
    "padded by hand": lambda x, w: functional.conv1d(functional.pad(x, (8, 8)), w, stride=HOP),
    "padded behind": lambda x, w: functional.conv1d(functional.pad(x, (0, HOP)), w, stride=HOP),
    "two strides": lambda x, w: functional.conv1d(
        functional.conv1d(x, w, stride=4, padding=14), w.new_ones(24, 24, 1) / 24, stride=4
    ),
    "strided twice": _strided_twice,
    "dilated": lambda x, w: functional.conv1d(x, w[..., :16], stride=HOP, padding=8, dilation=2),
    "stft magnitude": lambda x, w: _stft(x).abs()[:, :FEATURES],
    "stft of a view": lambda x, w: (
        torch.view_as_real(x.squeeze(1).stft(64, HOP, window=torch.hann_window(64), return_complex=True))
        .square()
        .sum(-1)
        .sqrt()[:, :FEATURES]
    ),
    "linear frames": lambda x, w: functional.linear(_framed(x), w[:, 0]).mT,
    "matmul frames": lambda x, w: w[:, 0] @ _framed(x).mT,
    "conv2d": lambda x, w: functional.conv2d(x[:, None], w[:, None], stride=(1, HOP), padding=(0, 8))[
        :, :, 0
    ],
    "unshuffled": _unshuffled,
    "fft conv": _fft_conv,
    "pooled magnitude": lambda x, w: functional.avg_pool1d(
        functional.conv1d(x, w, padding=16).abs(), HOP, HOP
    ),
}


def _fit(y: Tensor, z: Tensor) -> Tensor:
    """As many frames as the latent has."""
    return functional.pad(y, (0, max(0, z.shape[-1] - y.shape[-1])))[..., : z.shape[-1]]


SIDE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda x, z: z,
    "stft": lambda x, z: (
        z
        * _fit(
            torch.stft(x[:, 0], 64, HOP, window=torch.hann_window(64), return_complex=True)
            .abs()
            .mean(1, True),
            z,
        ).sigmoid()
    ),
    "conv": lambda x, z: z + _fit(functional.conv1d(x, _taps(64).abs(), stride=HOP, padding=24), z),
    "level": lambda x, z: z * (1 + x.square().mean(-1, keepdim=True).sqrt()),
    "energy by sum": lambda x, z: z * (x.square().sum(-1, keepdim=True) / 8000).sigmoid(),
    "pooled": lambda x, z: z * _fit(functional.max_pool1d(x.abs(), 32, HOP, padding=8), z).sigmoid(),
    "unfolded": lambda x, z: z * _fit(x.unfold(-1, 32, HOP).square().mean(-1), z).sigmoid(),
    "every 16th sample": lambda x, z: z * _fit(x[..., ::HOP], z).sigmoid(),
    "strided view": lambda x, z: (
        z
        * _fit(
            x.contiguous().as_strided((x.shape[0], 1, x.shape[-1] // HOP), (x.shape[-1], x.shape[-1], HOP)), z
        ).sigmoid()
    ),
    "adaptive": lambda x, z: z * functional.adaptive_avg_pool1d(x.abs(), z.shape[-1]).sigmoid(),
    "interpolated": lambda x, z: z * functional.interpolate(x, size=z.shape[-1]).sigmoid(),
    "first samples": lambda x, z: z * (1 + x[..., :400].abs().mean(-1, keepdim=True)),
    "long filter": lambda x, z: (
        z + _fit(functional.conv1d(x, _taps(160), stride=HOP, padding=72), z).cumsum(-1) / 50
    ),
    "zero crossings": lambda x, z: z * (1 + (x[..., 1:] * x[..., :-1] < 0).float().mean(-1, keepdim=True)),
    "length": lambda x, z: z * (x.shape[-1] / 8000),
    "frames": lambda x, z: z * (1 + z.shape[-1] / 500),
    "index": lambda x, z: (
        z * x.index_select(-1, torch.arange(0, x.shape[-1], HOP))[..., : z.shape[-1]].abs().mean()
    ),
    "argmax": lambda x, z: z * (1 + x.argmax(-1, keepdim=True) / 8000),
}


MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: z.sigmoid(),
    "softmax over features": lambda z: z.softmax(1),
    "mean over frames": lambda z: (z - z.mean(-1, keepdim=True)).sigmoid(),
    "recurrent over frames": lambda z: (z.cumsum(-1) / torch.arange(1, z.shape[-1] + 1)).sigmoid(),
    "neighbours": lambda z: functional.avg_pool1d(z, 3, 1, padding=1).sigmoid(),
    "chunks of frames": lambda z: (
        functional.pad(z, (0, -z.shape[-1] % 8))
        .unflatten(-1, (-1, 8))
        .mean(-1)
        .repeat_interleave(8, -1)[..., : z.shape[-1]]
        .sigmoid()
    ),
}


def _phase_of(z: Tensor, x: Tensor) -> Tensor:
    phase = _stft(x)
    return _fit(z, phase).mean(1, True).sigmoid() * phase


def _gain(z: Tensor, x: Tensor, w: Tensor) -> Tensor:
    gain = z.mean(1, keepdim=True).sigmoid().repeat_interleave(HOP, -1)
    return x * functional.pad(gain, (0, max(0, x.shape[-1] - gain.shape[-1])))[..., : x.shape[-1]]


def _folded(z: Tensor, x: Tensor, w: Tensor) -> Tensor:
    frames, n = torch.einsum("bft,fk->bkt", z, w[:, 0]), (z.shape[-1] + 1) * HOP
    return functional.fold(frames, (1, n), (1, 2 * HOP), stride=(1, HOP))[:, :, 0]


def _two_steps(z: Tensor, x: Tensor, w: Tensor) -> Tensor:
    y = functional.conv_transpose1d(z, w.expand(-1, 4, -1)[..., :8], stride=4, padding=2)
    return functional.conv_transpose1d(y.relu(), w[:4, :, :8], stride=4, padding=2)


def _zeros_between(z: Tensor, x: Tensor, w: Tensor) -> Tensor:
    y = z.new_zeros(z.shape[0], z.shape[1], z.shape[2] * HOP)
    y[..., ::HOP] = z
    return functional.conv1d(y, w.transpose(0, 1).flip(-1), padding=HOP)


# (batch, features, frames), the signal and (features, 1, taps) -> (batch, 1, time)
DECODERS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "transposed": lambda z, x, w: functional.conv_transpose1d(z, w, stride=HOP, padding=8),
    "with a bias": lambda z, x, w: functional.conv_transpose1d(z, w, w.new_full((1,), 0.01), HOP, 8),
    "unpadded": lambda z, x, w: functional.conv_transpose1d(z, w, stride=HOP),
    "cut by hand": lambda z, x, w: functional.conv_transpose1d(z, w, stride=HOP)[..., 8:-8],
    "istft": lambda z, x, w: torch.istft(
        _phase_of(z, x), 64, HOP, 64, torch.hann_window(64), length=x.shape[-1]
    )[:, None],
    "istft without a length": lambda z, x, w: torch.istft(
        _phase_of(z, x), 64, HOP, 64, torch.hann_window(64)
    )[:, None],
    "upsampled": lambda z, x, w: functional.interpolate(z, scale_factor=float(HOP), mode="linear").mean(
        1, True
    ),
    "gain on samples": _gain,
    "linear and fold": _folded,
    "shuffled": lambda z, x, w: torch.einsum("bft,fk->btk", z, w[:, 0, :HOP]).flatten(1)[:, None],
    "two steps": _two_steps,
    "zeros between": _zeros_between,
}


def _as_long(y: Tensor, n: int) -> Tensor:
    return functional.pad(y, (0, n - y.shape[-1]))


CROPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "as long": lambda y, x: _as_long(y, x.shape[-1]),
    "not": lambda y, x: y,
    "residual": lambda y, x: x - _as_long(y, x.shape[-1]),
    "from sample 5": lambda y, x: _as_long(y[..., 5:], x.shape[-1]),
    "in the middle": lambda y, x: y[..., (y.shape[-1] - x.shape[-1]) // 2 :][..., : x.shape[-1]],
    "tanh": lambda y, x: _as_long(y, x.shape[-1]).tanh(),
    "smoothed": lambda y, x: functional.conv1d(_as_long(y, x.shape[-1]), _taps(5), padding=2),
    "normalised to the mixture": lambda y, x: (
        _as_long(y, x.shape[-1]) * (x.norm(dim=-1, keepdim=True) / (y.norm(dim=-1, keepdim=True) + 1e-6))
    ),
    "cut at the end": lambda y, x: _as_long(y, x.shape[-1])[..., :-40],
    "least squares": lambda y, x: (
        _as_long(y, x.shape[-1])
        * ((_as_long(y, x.shape[-1]) * x).sum(-1, keepdim=True) / (y.square().sum(-1, keepdim=True) + 1e-6))
    ),
}

LAYOUTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "(batch, 1, time)": lambda y, x: y,
    "(batch, time)": lambda y, x: y[:, 0],
    "(batch, time, sources)": lambda y, x: torch.cat([y, 0.5 * y], 1).mT,
    "(sources, batch, time)": lambda y, x: torch.stack([y[:, 0], 2 * y[:, 0]]),
    "dictionary": lambda y, x: {"a": y, "b": [y[:, 0]]},
    "with frames": lambda y, x: (y, y.new_ones(1)),
}


class Combination(NamedTuple):
    """One of each."""

    front: str
    encoder: str
    side: str
    mask: str
    decoder: str
    crop: str
    layout: str


PARTS = (
    tuple(FRONT),
    tuple(ENCODERS),
    tuple(SIDE),
    tuple(MASKS),
    tuple(DECODERS),
    tuple(CROPS),
    tuple(LAYOUTS),
)
PLAIN = Combination(*(part[0] for part in PARTS))


class Combined(nn.Module):
    """The model of a combination."""

    def __init__(self, chosen: Combination) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.chosen = chosen
        window = torch.hann_window(2 * HOP)
        self.encoder = nn.Parameter(0.2 * torch.randn(FEATURES, 1, 2 * HOP) * window)
        self.decoder = nn.Parameter(0.1 * torch.randn(FEATURES, 1, 2 * HOP) * window)

    def forward(self, x: Tensor) -> Any:
        """(batch, 1, time)."""
        c = self.chosen
        signal = FRONT[c.front](x)
        z = ENCODERS[c.encoder](signal, self.encoder)
        z = z * MASKS[c.mask](SIDE[c.side](signal, z))
        y = DECODERS[c.decoder](z, signal, self.decoder)
        return LAYOUTS[c.layout](CROPS[c.crop](y, x), x)


def one_by_one() -> Iterator[Combination]:
    """Every choice with the first of all others: what it does alone."""
    yield PLAIN
    for place, part in enumerate(PARTS):
        for choice in part[1:]:
            yield PLAIN._replace(**{PLAIN._fields[place]: choice})


def at_random(count: int, seed: int, plain: float = 0.5) -> Iterator[Combination]:
    """Combinations of several choices."""
    draw = random.Random(seed)
    for _ in itertools.repeat(None, count):
        yield Combination(*(part[0] if draw.random() < plain else draw.choice(part) for part in PARTS))
