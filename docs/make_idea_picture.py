"""Draws docs/idea.png: one analog filter, its taps at three sampling frequencies, and one latent for all of them.

python docs/make_idea_picture.py      # needs matplotlib
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from sfi_zoo import SFIConv1d
from sfi_zoo.data.synthetic import song
from sfi_zoo.filters import ModulatedGaussian

RATES = (8000, 16000, 44100)


def main() -> None:
    """Draw."""
    torch.manual_seed(0)
    bank = ModulatedGaussian(1, frequency_range=(900.0, 1000.0), bandwidth=120.0)
    layer = SFIConv1d(1, 1, 320, 160, 80, sample_rate=32000, filters=bank).eval()
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), constrained_layout=True)
    t = torch.linspace(-0.005, 0.005, 1000)
    with torch.no_grad():
        axes[0].plot(t * 1e3, bank.impulse_response(t)[0], color="black")
        for rate in RATES:
            taps, first = layer.weights(rate)
            delays = layer.frame_grid(rate).delays()
            n = torch.arange(first, first + taps.shape[-1])
            axes[1].plot(
                (delays[0] - n) / rate * 1e3, taps[0, 0] * rate, "o", ms=3, label=f"{rate / 1000:g} kHz"
            )
            waveform = torch.from_numpy(song(3, 2.0, rate, 1, max_frequency=3000)["vocals"])[None].float()
            axes[2].plot(
                layer.frame_times(399),
                layer(waveform, rate)[0, 0, :399],
                lw=3.5 - RATES.index(rate),
                label=rate,
            )
    titles = (
        "stored: one analog filter h(t)",
        "designed: taps for whatever rate comes",
        "the same latent at every rate",
    )
    for axis, title, label in zip(axes, titles, ("ms", "ms", "s"), strict=True):
        axis.set_title(title)
        axis.set_xlabel(label)
        axis.set_yticks([])
    axes[1].legend()
    figure.savefig(Path(__file__).with_name("idea.png"), dpi=90)


if __name__ == "__main__":
    main()
