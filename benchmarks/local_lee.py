"""Is the local mask LEE the limit of the finite one? LEE(F0 e^t) / t^2 over the local one, for ever smaller t, both ways from F0.

    python benchmarks/local_lee.py NAME... [--seconds 0.5,1,2,4,8] [--rates 32000,48000] [--modes native,resample]

The finite side has no derivative in it: the clip is resampled to F0 e^t, encoded there, and P is on both ends as in
`sfi_zoo.metrics.local`: above the margin the latent is that at F0, times H(f; F0 e^t) / H(f; F0) where the clip has a higher rate than F0.
At a clip rate of F0 its band stays, and what moves are aliases alone, which turn with 2 pi F tau: t must be below 1 / (2 pi F tau).
With --smooth the slopes of PReLUs are 1: a finite step crosses their kinks, which leaves a residue of first order in t; what is left is of
second order, and (4 LEE(t / 2) - LEE(t)) / 3, the last column, of fourth.
At such rates layers interpolate between the delays of few designs, to 1e-6 of the value, which is not enough for its slope: here to 1e-15.
"""

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

import sfi_zoo
from sfi_zoo.audio.resampling import WindowedSinc
from sfi_zoo.data.songs import SyntheticSongs, channels_of
from sfi_zoo.metrics.local import FAINT, ROLLOFF, SILENCE, band_response, local_mask_lee, motion
from sfi_zoo.metrics.observation import ALIVE_MARGIN
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import Latent, LatentGrid, Separator

STEPS = (1e-2, 1e-4, 1e-6, 1e-7)
EXTRAPOLATED = 1e-2  # t of the last column
NODES = 40


@contextmanager
def exact_delays() -> Iterator[None]:
    """Layers with taps at any delay to rounding."""
    with mock.patch("sfi_zoo.layers.designed.interpolation_nodes", lambda *_: NODES):
        yield


@torch.no_grad()
@exact_delays()
def finite(model: Separator, waveform: Tensor, waveform_rate: float, t: float) -> float:
    """Finite mask LEE between F0 e^t and F0: (batch, channels, time) float64 at `waveform_rate` -> a number."""
    trained = float(model.trained_rate)
    resampler = WindowedSinc(rolloff=ROLLOFF if waveform_rate > trained else 1.0)
    padded = functional.pad(waveform, (0, round(SILENCE * waveform_rate)))
    latents = [
        model.encode(resampler(padded, waveform_rate, rate), rate)
        for rate in (trained, trained * math.exp(t))
    ]
    grid, frames = latents[0].grid, min(z.values.shape[-1] for z in latents)
    grid = LatentGrid(grid.times[:frames], grid.frequencies, grid.alive)
    z0, z1 = (z.values[..., :frames] for z in latents)
    shared = grid.alive & (grid.frequencies < ALIVE_MARGIN * trained / 2)
    gain = torch.ones_like(grid.frequencies)
    if waveform_rate > trained:
        response = [band_response(resampler, grid.frequencies, f) for f in (trained, trained * math.exp(t))]
        gain = torch.where(response[0] > FAINT, response[1] / response[0], gain)
    moved = torch.where(shared[:, None], z1, z0 * gain[:, None])
    counted = grid.times * waveform_rate < waveform.shape[-1]
    m0, m1 = (model.predict_masks(Latent(z, grid))[:, :, shared][..., counted] for z in (z0, moved))
    return float((m1 - m0).abs().square().sum() / m0.abs().square().sum())


def ratios(model: Separator, waveform: Tensor, waveform_rate: float, steps: tuple[float, ...]) -> list[float]:
    """The mean of LEE(F0 e^t) / t^2 over both signs of t, over the local LEE, for each step."""
    local = local_mask_lee(motion(model, waveform, waveform_rate, float(model.trained_rate))).value()
    return [
        sum(finite(model, waveform, waveform_rate, sign * t) for sign in (1, -1)) / 2 / t**2 / local
        for t in steps
    ]


def without_kinks(model: Separator) -> Separator:
    """The model with PReLUs that are the identity: of other masks, which are smooth in what goes in."""
    for module in model.modules():
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.ones_(module.weight)
    return model


def extrapolated(model: Separator, waveform: Tensor, waveform_rate: float) -> float:
    """Richardson's figure for t to 0 of `ratios`, whose error is even in t: from two steps."""
    whole, half = ratios(model, waveform, waveform_rate, (EXTRAPOLATED, EXTRAPOLATED / 2))
    return (4 * half - whole) / 3


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seconds", default="0.5,1,2,4,8")
    parser.add_argument("--rates", default="32000,48000")
    parser.add_argument("--modes", default="native,resample")
    parser.add_argument("--steps", default=",".join(f"{t:g}" for t in STEPS))
    parser.add_argument("--smooth", action="store_true", help="PReLUs are the identity")
    args = parser.parse_args()
    steps = tuple(float(t) for t in args.steps.split(","))
    columns = [*(f"t = {t:g}" for t in steps), f"extrapolated from t = {EXTRAPOLATED:g}"]
    print("model, mode, clip at, seconds, local LEE,", ", ".join(columns))
    for name in args.names:
        own = sfi_zoo.load(name).double().eval()
        own = without_kinks(own) if args.smooth else own
        for rate in map(float, args.rates.split(",")):
            for mode in args.modes.split(","):
                model = Adapted(own, mode, "windowed_sinc") if mode == "resample" else own
                for seconds in map(float, args.seconds.split(",")):
                    songs = SyntheticSongs(1, seconds)
                    mixture = (
                        songs.clip(songs.names[0], own.sources, channels_of(own)).at(rate)[0].double()[None]
                    )
                    local = local_mask_lee(motion(model, mixture, rate, float(own.trained_rate))).value()
                    found = [*ratios(model, mixture, rate, steps), extrapolated(model, mixture, rate)]
                    figures = ", ".join(f"{x:.3f}" for x in found)
                    print(f"{name}, {mode}, {rate:g}, {seconds:g}, {local:.3g}, {figures}", flush=True)


if __name__ == "__main__":
    main()
