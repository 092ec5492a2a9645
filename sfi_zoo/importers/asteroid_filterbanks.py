r"""Filter banks of asteroid as kernels: whatever its encoders and decoders are made from, at F0 they are convolutions.

With parameters w (rows of L taps), frequencies in Hz, and v the Hamming window of L points:

    free           w
    stft           the file holds the kernels: windowed cosines, then sines
    analytic_free  w, then its Hilbert transforms, see `analytic`
    param_sinc     v(n) (sin(b u) - sin(a u)) / ((b - a) u), 1 at u = 0, then v(n) (cos(a u) - cos(b u)) / ((b - a) u), 0 at u = 0;
                   u = 2 pi n / F0, n = -(L - 1)/2 ... (L - 1)/2, a = min_low + |low|, b = min(a + min_band + |band|, F0 / 2)

Source: Pariente, Cornell, Deleforge and Vincent, "Filterbank design for end-to-end speech separation", ICASSP 2020, arXiv:1910.10400.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.importers.settings import Settings

FAMILIES = {
    **dict.fromkeys(("free", "FreeFB"), "free"),
    **dict.fromkeys(("stft", "STFTFB"), "stft"),
    **dict.fromkeys(("analytic_free", "AnalyticFreeFB"), "analytic_free"),
    **dict.fromkeys(("param_sinc", "ParamSincFB"), "param_sinc"),
}
SETTINGS = frozenset(
    {"fb_name", "n_filters", "kernel_size", "stride", "sample_rate", "min_low_hz", "min_band_hz"}
)
BANKS = ("encoder.filterbank.", "decoder.filterbank.")
MADE = ("torch_window", "window_", "n_")  # of the settings alone; older files lack some
LAST_HILBERT = (1, 7)  # the last torch with the FFT that asteroid's analytic filters were written for


def features(args: Settings) -> int:
    """N, the size of the latent.

    Raises:
        InputError: an unknown bank, or a number of filters that it cannot have.
    """
    family, filters = args.choice("fb_name", FAMILIES, "free"), args.get("n_filters", int)
    if family == "free":
        return int(filters)
    if filters < 2 or (family == "stft" and filters % 2):
        raise InputError(f"its model_args have n_filters={filters}, which {family} filters cannot have")
    return int(filters + 2 if family == "stft" else filters // 2 * 2)


def check_features(args: Settings) -> int:
    """N, where the network's sizes fit it.

    Raises:
        InputError: see `features`; or the network is made for another number.
    """
    count = features(args)
    for key in ("in_chan", "out_chan"):
        if args.get(key, (int, type(None)), None) not in (None, count):
            same = count == args.values["n_filters"]
            raise InputError(
                f"its model_args have {key}={args.values[key]}, not {'n_filters' if same else 'the features'} ({count})"
            )
    return count


def plain_kernels(state: Any) -> dict[str, Tensor]:
    """A state dict with encoder and decoder kernels (C, 1, L) as (C, L).

    Raises:
        InputError: not a dictionary of tensors.
    """
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError("its state_dict is not a dictionary of tensors")
    return {
        str(key): value[:, 0]
        if str(key).startswith(("encoder.", "decoder.")) and value.ndim == 3 and value.shape[1] == 1
        else value
        for key, value in state.items()
    }


def made_kernels(state: Any, args: Settings, sample_rate: int, software: Any) -> dict[str, Tensor]:
    """A state dict in which each filter bank is its kernels, `encoder.filterbank._filters` (N, L); what else it holds stays.

    Args:
        state: of the file.
        args: its `model_args`.
        sample_rate: F0 in Hz.
        software: the file's infos.software_versions.

    Raises:
        InputError: not a dictionary of tensors, or parameters that do not fit the settings.
    """
    kernels, family = plain_kernels(state), args.choice("fb_name", FAMILIES, "free")
    if family == "free":
        return kernels
    for bank in BANKS:
        for name in MADE:
            kernels.pop(bank + name, None)
        key = bank + "_filters"
        if family == "param_sinc":
            low, band = (_column(kernels, bank + name, args) for name in ("low_hz_", "band_hz_"))
            kernels[key] = sincs(low, band, args, sample_rate)
        elif family == "analytic_free" and key in kernels:
            kernels[key] = analytic(kernels[key], is_reversed(software))
    return kernels


def is_reversed(software: Any) -> bool:
    """Whether a file's analytic filters were trained, and are used by asteroid, as `analytic(reverse=True)`.

    Raises:
        InputError: the file does not say with which torch it was written.
    """
    version = software.get("torch_version") if isinstance(software, dict) else None
    numbers = re.match(r"(\d+)\.(\d+)", version) if isinstance(version, str) else None
    if numbers is None:
        raise InputError(
            "its analytic filters depend on the torch that they were trained with, and its infos.software_versions.torch_version does "
            "not say; load it with the asteroid that trained it, and serialize() it anew"
        )
    return (int(numbers[1]), int(numbers[2])) > LAST_HILBERT


def analytic(w: Tensor, reverse: bool) -> Tensor:
    r"""Filters and their partners, (C, L) -> (2 C, L).

    The Hilbert transform has the spectrum -j W_k. It is what asteroid computes with torch up to 1.7. With later ones its code takes
    conj W_k for it, which is the filter run backwards around the circle, w[-n mod L]: a model that was trained so is right so.

    Args:
        w: the filters.
        reverse: the second, not the first.
    """
    if reverse:
        return torch.cat([w, w.flip(-1).roll(1, -1)])
    spectrum = torch.fft.rfft(w.double())
    return torch.cat([w, torch.fft.irfft(-1j * spectrum, n=w.shape[-1]).to(w.dtype)])


def sincs(low: Tensor, band: Tensor, args: Settings, sample_rate: int) -> Tensor:
    """Band-pass filters from lower edges and widths in Hz, (C,) each -> (2 C, L); see the formula above.

    Raises:
        InputError: an even kernel, of which asteroid makes an odd one before it writes the file; or an unusable limit.
    """
    length = args.get("kernel_size", int)
    if length % 2 == 0 or length < 1:
        raise InputError(f"its model_args have kernel_size={length}; param_sinc filters are odd")
    lowest, narrowest = (args.get(key, (int, float), 50) for key in ("min_low_hz", "min_band_hz"))
    a = lowest + low.double().abs()
    b = (a + narrowest + band.double().abs()).clamp(lowest, sample_rate / 2)
    if not bool((b > a).all()):
        raise InputError(
            f"a band of its param_sinc filters begins above half its sample rate ({sample_rate})"
        )
    n = torch.arange(1, length // 2 + 1, dtype=torch.float64)
    window = 0.54 + 0.46 * (2 * math.pi * n / max(length - 1, 1)).cos()
    over = window * sample_rate / n / (b - a)[:, None] / (2 * math.pi)
    upper, lower = (2 * math.pi * edge[:, None] * n / sample_rate for edge in (b, a))
    even = (upper.sin() - lower.sin()) * over
    odd = (lower.cos() - upper.cos()) * over  # at n > 0; of the other sign before
    one, none = torch.ones(len(a), 1, dtype=torch.float64), torch.zeros(len(a), 1, dtype=torch.float64)
    cosines = torch.cat([even.flip(-1), one, even], dim=-1)
    sines = torch.cat([-odd.flip(-1), none, odd], dim=-1)
    return torch.cat([cosines, sines]).to(low.dtype)


def _column(kernels: dict[str, Tensor], key: str, args: Settings) -> Tensor:
    """Parameters (C, 1) of a bank, taken out, as (C,)."""
    value, want = kernels.pop(key, None), (args.get("n_filters", int) // 2, 1)
    if value is None:
        raise InputError(f"the weights do not fit: it misses {key}")
    if tuple(value.shape) != want or not value.is_floating_point():
        raise InputError(
            f"the weights do not fit: it has of another shape {key} {tuple(value.shape)} (want {want})"
        )
    if not bool(torch.isfinite(value).all()):
        raise InputError(f"the weights do not fit: it has not finite {key}")
    return value[:, 0]
