"""Recognises the STFT modules of other libraries by what they hold and compute, and builds their SFI twins."""

import torch
from torch import Tensor, nn

from sfi_zoo.errors import InputError
from sfi_zoo.layers.stft import SFIISTFT, SFISTFT
from sfi_zoo.layers.surgery.converted import ConvertedISTFT, ConvertedSTFT

HOP_NAMES = ("hop_length", "n_hop", "hop_size", "hop")
TOLERANCE = 1e-5


def is_stft(module: nn.Module) -> bool:
    """Whether a module looks like an STFT or its inverse: an n_fft, a hop, a window, and no layers inside.

    So do `torchaudio.transforms.Spectrogram` and `InverseSpectrogram`, `openunmix.transforms.TorchSTFT` and `TorchISTFT`.
    """
    return (
        isinstance(getattr(module, "n_fft", None), int)
        and any(isinstance(getattr(module, name, None), int) for name in HOP_NAMES)
        and isinstance(getattr(module, "window", None), Tensor)
        and not list(module.children())
    )


def is_inverse(module: nn.Module) -> bool:
    """Whether it is the inverse: its name says so."""
    name = type(module).__name__.lower()
    return "istft" in name or "inverse" in name


@torch.no_grad()
def converted_stft(module: nn.Module, name: str, sample_rate: float) -> nn.Module:
    """The SFI twin of an STFT module. What the module computes is found by running it on noise.

    Args:
        module: as `is_stft` has it.
        name: in messages.
        sample_rate: F0 in Hz.

    Raises:
        InputError: the module does something else than an STFT, or its inverse, with the lengths it holds.
    """
    hop = next(getattr(module, n) for n in HOP_NAMES if isinstance(getattr(module, n, None), int))
    window: Tensor = module.window.detach()  # type: ignore[operator]
    options = {
        "n_fft": module.n_fft,
        "hop_length": hop,
        "win_length": len(window),
        "window": window,
        "center": getattr(module, "center", True),
        "sample_rate": sample_rate,
    }
    stft = SFISTFT(**options, pad_mode=getattr(module, "pad_mode", "reflect"))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 8 * int(module.n_fft), generator=generator).to(window)  # type: ignore[arg-type]
    twins = _inverses(SFIISTFT(**options)) if is_inverse(module) else _transforms(stft, module)
    given = stft(noise) if is_inverse(module) else noise
    for twin in twins:
        argument = torch.view_as_real(given) if is_inverse(module) and twin.as_real else given
        try:
            expected, got = module(argument), twin(argument)
        except Exception:  # another form of the argument, perhaps
            continue
        if expected.shape != got.shape or expected.is_complex() != got.is_complex():
            continue
        power = getattr(twin, "power", None) or 1
        twin.scale = float((expected * got.conj()).sum().real / got.abs().square().sum()) ** (1 / power)
        if (twin(argument) - expected).norm() <= TOLERANCE * expected.norm():
            return twin.train(module.training)
    raise InputError(
        f"{name} ({type(module).__name__}) does not compute an STFT with n_fft {module.n_fft}, hop {hop} and its window of "
        f"{len(window)} samples: padding or scaling of its own cannot be converted; leave it out of layers"
    )


def _transforms(stft: SFISTFT, module: nn.Module) -> list[ConvertedSTFT]:
    powers = {p for p in (getattr(module, "power", None), 1.0, 2.0) if p}
    return [
        ConvertedSTFT(stft, as_real=False, power=None, scale=1.0),
        ConvertedSTFT(stft, as_real=True, power=None, scale=1.0),
        *(ConvertedSTFT(stft, as_real=False, power=p, scale=1.0) for p in sorted(powers)),
    ]


def _inverses(istft: SFIISTFT) -> list[ConvertedISTFT]:
    return [ConvertedISTFT(istft, as_real=as_real, scale=1.0) for as_real in (False, True)]
