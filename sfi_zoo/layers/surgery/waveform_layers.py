"""Which layers of a model see or make the waveform: found by letting the model hear noise."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ALIKE = 0.99  # correlation of a signal with the noise, up to a shift, a gain and an offset
MOST_CHANNELS = 16


@dataclass
class Probe:
    """What was seen when a model ran on noise.

    Attributes:
        samples: length of the noise; 0 where the model could not be run.
        encoders: names of convolutions that see the noise itself.
        decoders: names of transposed convolutions that make the output of the model itself.
        lengths: length of what every convolution saw, and every transposed convolution made, in samples or frames.
        output: length of what the model made.
        direct: calls of torch.stft and torch.istft that are not made by an STFT module.
    """

    samples: int = 0
    encoders: list[str] = field(default_factory=list)
    decoders: list[str] = field(default_factory=list)
    lengths: dict[str, int] = field(default_factory=dict)
    output: int = 0
    direct: set[str] = field(default_factory=set)

    def is_waveform(self, length: int) -> bool:
        """Whether so many samples are about as many as the noise has."""
        return is_about(length, self.samples)


class _DirectCalls(TorchFunctionMode):
    """Notes calls of torch.stft and torch.istft."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.seen = 0, set[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.stft, torch.istft) and not self.inside:
            self.seen.add(f"torch.{func.__name__}")
        return func(*args, **(kwargs or {}))

    def enter(self, *_: object) -> None:
        self.inside += 1

    def leave(self, *_: object) -> None:
        self.inside -= 1


@torch.no_grad()
def probe(model: nn.Module, convolutions: list[str], stfts: list[str], sample_rate: float) -> Probe:
    """Runs `model` on about a second of white noise and looks at its convolutions.

    Noise of the shapes (1, 1, time), (1, 2, time) and (1, time) is tried until a run finds something.

    Args:
        model: a copy that is thrown away: running it may change it.
        convolutions: names of its `nn.Conv1d` and `nn.ConvTranspose1d`.
        stfts: names of its STFT modules, whose calls of torch.stft are their own.
        sample_rate: F0 in Hz.
    """
    model.eval()
    like = next(model.parameters(), torch.zeros(()))
    samples = 2 ** round(math.log2(sample_rate))  # U-Nets want powers of two
    best = Probe()
    for shape in ((1, 1, samples), (1, 2, samples), (1, samples)):
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
        found = _run(model, noise, convolutions, stfts)
        if found.encoders or found.decoders:
            return found
        best = best if best.samples else found
    return best


def _run(model: nn.Module, noise: Tensor, convolutions: list[str], stfts: list[str]) -> Probe:
    found, made, calls = Probe(), dict[str, Tensor](), _DirectCalls()

    def watch(name: str, transposed: bool) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            signal = output if transposed else inputs[0]
            found.lengths[name] = signal.shape[-1]
            if transposed:
                made[name] = signal
            elif contains(noise, signal):
                found.encoders.append(name)

        return hook

    hooks = []
    for name in convolutions:
        module = model.get_submodule(name)
        hooks.append(module.register_forward_hook(watch(name, isinstance(module, nn.ConvTranspose1d))))
    for name in stfts:
        module = model.get_submodule(name)
        hooks += [module.register_forward_pre_hook(calls.enter), module.register_forward_hook(calls.leave)]
    try:
        with torch.random.fork_rng(devices=[]), calls:
            output = model(noise)
    except Exception:  # whatever a model does with an input it was not made for
        return Probe()
    finally:
        for handle in hooks:
            handle.remove()
    outputs = [
        x for x in (output if isinstance(output, (tuple, list)) else [output]) if isinstance(x, Tensor)
    ]
    found.decoders = [n for n, signal in made.items() if any(contains(x, signal) for x in outputs)]
    found.encoders = list(dict.fromkeys(found.encoders))
    found.samples, found.direct = noise.shape[-1], calls.seen
    found.output = max((x.shape[-1] for x in outputs if x.ndim), default=0)
    return found


def contains(waveform: Tensor, signal: Tensor) -> bool:
    """Whether every row of the first item of `signal` is a row of `waveform`, up to a shift, a gain and an offset."""
    if waveform.ndim < 1 or signal.ndim < 2 or waveform.is_complex() or not waveform.is_floating_point():
        return False
    rows, signals = waveform.flatten(0, -2) if waveform.ndim > 1 else waveform[None], signal
    signals = signals.reshape(-1, *signals.shape[-2:])[0]
    length = rows.shape[-1]
    if not is_about(signals.shape[-1], length) or max(len(rows), len(signals)) > MOST_CHANNELS:
        return False
    period = length + signals.shape[-1]
    a, b = (torch.fft.rfft(_normalised(x), n=period) for x in (rows, signals))
    correlation = torch.fft.irfft(a[:, None].conj() * b, n=period).abs().amax(-1)  # (rows, signals)
    return bool((correlation.amax(0) > ALIKE).all())


def is_about(length: int, samples: int) -> bool:
    """Whether two signals are equally long, up to padding."""
    return 0.75 * samples < length < 1.5 * samples


def _normalised(x: Tensor) -> Tensor:
    x = x.detach().double()
    x = x - x.mean(-1, keepdim=True)
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-30)
