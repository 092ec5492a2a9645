r"""A gate over masks: a source that is not in the music is turned down, and what was taken for it goes to the others.

Of a song without a bass a network still lets some bass through, 20 to 30 dB below the mixture. Over a few seconds such a leak is told from
a source by its level alone. With masks m_k, latent z, W frames on both sides (GATE_SECONDS in all), and H (GATE_HOLD):

    r_k(t) = 10 log10  sum_{|u - t| <= W} sum_f |m_k z|^2  /  sum_{|u - t| <= W} sum_f |z|^2      level of source k against the mixture
    s_k(t) = max_{|u - t| <= H} 3 x^2 - 2 x^3,   x = (r_k(u) - T) / GATE_KNEE + 1, within 0 ... 1    1 is open, 0 closed
    g_k(t) = 10^(-GATE_DEPTH (1 - s_k) / 20)
    m'_k   = g_k m_k + w_k sum_j (1 - g_j) m_j,     w_k = (s_k + eps) |m_k| / sum_j (s_j + eps) |m_j|

At the level T and above nothing happens, nor GATE_HOLD before and after: what is heard now and then is no leak, and stays as it is.
GATE_KNEE below T a source is turned down by GATE_DEPTH, and the sources that are open get what it loses, so that the stems sum to what
they summed to. Where all are below T nothing happens, either. A source that is really so quiet is turned down as well. Every item (each
channel of a stereo song) is by itself.

The statistics are energies over seconds and hertz, so the gate does the same at every sampling frequency. Its cost is a few passes over the
masks.

Source: ours; a downward expander (U. Zoelzer, DAFX, ch. 4) with the mixture as its reference.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sfi_zoo.errors import InputError

GATE_SECONDS = 5.0
GATE_HOLD = 10.0  # seconds
GATE_KNEE = 6.0  # dB
GATE_DEPTH = 30.0  # dB
LOWEST, HIGHEST = -80.0, -3.0  # dB, of T
EPSILON = 1e-6


def check_gate(threshold: float | None) -> None:
    """Raises InputError where a threshold is no level below the mixture."""
    if threshold is None:
        return
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not number or not LOWEST <= threshold <= HIGHEST:
        raise InputError(f"gate_db must be from {LOWEST:g} to {HIGHEST:g} dB, or None; got {threshold!r}")


def gated(masks: Tensor, values: Tensor, threshold: float, frame_period: float) -> Tensor:
    """The masks after the gate, m'.

    Args:
        masks: (items, sources, features, frames).
        values: of the latent, (items, features, frames), real or complex.
        threshold: T in dB.
        frame_period: seconds from one frame to the next.

    Returns:
        (items, sources, features, frames), in the dtype of `masks`, computed in float32 at least.
    """
    exact = masks.to(torch.promote_types(masks.dtype, torch.float32))
    opened = openness(exact, values, threshold, frame_period)[:, :, None]
    kept = exact * 10 ** (-GATE_DEPTH / 20 * (1 - opened))
    weights = (opened + EPSILON) * exact.abs()
    shares = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(exact.dtype).tiny)
    return (kept + shares * (exact - kept).sum(1, keepdim=True)).to(masks)


def openness(masks: Tensor, values: Tensor, threshold: float, frame_period: float) -> Tensor:
    """s, (items, sources, frames); for the arguments see `gated`."""
    parts = (values.real, values.imag) if values.is_complex() else (values,)
    power = torch.stack([part.to(masks.dtype).square() for part in parts]).sum(0)
    energies, whole = (masks.square() * power[:, None]).sum(2), power.sum(1, keepdim=True)
    reach = round(GATE_SECONDS / 2 / frame_period)
    # means over the window; zeros beyond the ends count in both alike
    around, heard = (functional.avg_pool1d(energy, 2 * reach + 1, 1, reach) for energy in (energies, whole))
    levels = 10 * torch.log10(around / heard.clamp(min=torch.finfo(heard.dtype).tiny) + 1e-12)
    x = ((levels - threshold) / GATE_KNEE + 1).clamp(0, 1)
    hold = round(GATE_HOLD / frame_period)
    opened = (x.square() * (3 - 2 * x))[:, :, None]  # max_pool1d is exported for one length alone
    return functional.max_pool2d(opened, (1, 2 * hold + 1), 1, (0, hold))[:, :, 0]
