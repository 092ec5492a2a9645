"""Draws docs/frames.png and docs/masks.png, the pictures of docs/how_it_works.md, with the library itself.

python docs/make_how_pictures.py [FOLDER]      # needs matplotlib
"""

import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import sfi_zoo
from sfi_zoo import SFIConv1d
from sfi_zoo.data.synthetic import song
from sfi_zoo.metrics import Adapted, observe

TRAINED, ODD, LOW = 32000, 44100, 8000
SOURCE = "bass"


def _song(rate: float, seconds: float, **options: Any) -> torch.Tensor:
    """The mixture of a song from a formula: (1, 1, time)."""
    stems = song(3, seconds, rate, 1, **options).values()
    return torch.from_numpy(sum(stems))[None].float()


def frames() -> Figure:
    """Where the frames of a hop of 110.25 samples are, and what becomes of the latent, exact and rounded."""
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    drift, values = figure.subplots(1, 2)
    layers: dict[str, Any] = {}
    for mode in ("exact", "round"):
        torch.manual_seed(0)  # the same filter twice
        options = {"frequency_range": (180.0, 220.0)}
        layers[mode] = SFIConv1d(
            1, 1, 320, 80, 120, sample_rate=TRAINED, filter_options=options, stride_mode=mode
        ).eval()
    hop = 80 / TRAINED
    k = torch.arange(1200)
    drift.plot(k * hop, (k * int(hop * ODD) / ODD - k * hop) * 1e3, color="C1", label="rounded: 110 samples")
    times = layers["exact"].frame_times(len(k), ODD)
    drift.plot(times, (times - times[0] - k * hop) * 1e3, color="C0", label="exact: 110.25 samples")
    drift.set(xlabel="s", ylabel="off by, ms", title="where frames are at 44.1 kHz")
    drift.legend()
    late = slice(1000, 1060)
    with torch.no_grad():
        for label, mode, rate, style in (
            ("32 kHz", "exact", TRAINED, {"color": "black", "lw": 4, "alpha": 0.3}),
            ("44.1 kHz, exact", "exact", ODD, {"color": "C0"}),
            ("44.1 kHz, rounded", "round", ODD, {"color": "C1"}),
        ):
            latent = layers[mode](_song(rate, 3.0, max_frequency=3000), rate)[0, 0]
            values.plot(k[late] * hop, latent[late], label=label, **style)
    values.set(xlabel="frame number x 2.5 ms", yticks=[], title="one feature of the latent")
    values.legend(fontsize="small")
    return figure


def masks() -> Figure:
    """The mask of one source at F0, and at 8 kHz with layers that adapt and with layers that do not."""
    model = sfi_zoo.load("convtasnet_mgf_band.music4")
    cases = (
        ("32 kHz, as trained", "native", TRAINED),
        ("8 kHz, the layers adapt", "native", LOW),
        ("8 kHz, not adapted", "none", LOW),
    )
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axis, (title, mode, rate) in zip(figure.subplots(1, 3), cases, strict=True):
        seen = observe(Adapted(model, mode), _song(rate, 3.0), rate)
        mask = seen.masks[0, model.sources.index(SOURCE)].clone()
        mask[~seen.latent.grid.alive] = float("nan")
        order = seen.latent.grid.frequencies.argsort()
        hertz = seen.latent.grid.frequencies[order]
        axis.pcolormesh(seen.latent.grid.times, hertz.detach(), mask[order], vmin=0, vmax=1, rasterized=True)
        axis.set(title=title, xlabel="s", yscale="log", ylim=(60, TRAINED / 2), xlim=(0, 3))
        axis.axhline(rate / 2, color="red", lw=1)
    figure.axes[0].set_ylabel(f"Hz; mask of the {SOURCE}")
    return figure


def main(folder: Path) -> None:
    """Draw both."""
    for draw in (frames, masks):
        draw().savefig(folder / f"{draw.__name__}.png", dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
