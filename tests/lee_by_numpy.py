"""The three LEE of one clip from dumped masks and latents: numpy alone, written from the formulas of docs and DESIGN.md.

    python tests/lee_by_numpy.py dump.npz

A dump holds `rates` (F, F0) in Hz, the `margin`, and for F ("at_f") and F0 ("at_f0") masks (items, sources, features, frames), latents
(items, features, frames), times (frames,) and alive (features,); frequencies (features,); and M(A_F z_F0) as `predicted`.
"""

import json
import sys

import numpy as np

W = 16  # frames on each side of an instant


def moved(x, times, wanted, turn):
    """x (..., features, frames) at other instants: band-limited interpolation around each feature's own frequency."""
    period = (times[-1] - times[0]) / (len(times) - 1)
    position = (wanted - times[0]) / period
    if np.all(np.abs(position - np.round(position)) * period < 1e-6):
        return x[..., np.round(position).astype(int)]
    position = np.clip(position, 0, len(times) - 1)
    k = np.arange(-2 * W, len(times) + 2 * W)  # the first and the last frame go on
    u = position[None] - k[:, None]
    weights = np.where(np.abs(u) < W, np.sinc(u) * np.cos(np.pi * u / 2 / W) ** 2, 0)
    weights /= weights.sum(0)
    if np.iscomplexobj(x):
        x = x * np.exp(-1j * turn[:, None] * np.arange(len(times)))
    y = x[..., np.clip(k, 0, len(times) - 1)] @ weights
    return y * np.exp(1j * turn[:, None] * position) if np.iscomplexobj(x) else y


def lee(dump):
    """{"mask", "predictor", "masked_latent"}: linear."""
    f, f0 = dump["rates"]
    t, t0, frequencies = dump["at_f_times"], dump["at_f0_times"], dump["frequencies"]
    below = frequencies < dump["margin"] * min(f, f0) / 2
    keep = dump["at_f_alive"] & dump["at_f0_alive"] & below
    half = (t[-1] - t[0]) / (len(t) - 1) / 2
    frames = (t0 >= t[0] - half) & (t0 <= t[-1] + half)
    turn = 2 * np.pi * frequencies * (t0[-1] - t0[0]) / (len(t0) - 1)

    def ratio(a, times, b):
        a = moved(a[:, :, keep], times, t0[frames], turn[keep])
        b = b[:, :, keep][..., frames]
        return float(np.sum(np.abs(a - b) ** 2) / np.sum(np.abs(b) ** 2))

    m, m0 = dump["at_f_masks"], dump["at_f0_masks"]
    z, z0 = dump["at_f_latents"][:, None], dump["at_f0_latents"][:, None]
    predictor = np.sum(np.abs((dump["predicted"] - m0)[:, :, keep]) ** 2) / np.sum(
        np.abs(m0[:, :, keep]) ** 2
    )
    return {"mask": ratio(m, t, m0), "predictor": float(predictor), "masked_latent": ratio(m * z, t, m0 * z0)}


if __name__ == "__main__":
    print(json.dumps(lee(dict(np.load(sys.argv[1])))))
