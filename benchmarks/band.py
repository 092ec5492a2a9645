"""What stems hold above the model's band, and what they add up to: the tables of docs/separate.md.

    python benchmarks/band.py --music FOLDER         # of songs: SONG/{vocals,drums,bass,other}.ogg, 44.1 kHz

White noise and songs at 44.1, 48 and 96 kHz (songs resampled by soxr), 10 s each, mono; then the cost in CPU time, pairs interleaved.
Thirds of an octave count where the mixture holds more than 1e-10 of its energy: below that float32 has no digits left.
"""

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

import sfi_zoo
from sfi_zoo.models.base import Separator

RATES = (44100, 48000, 96000)
RECORDED = 44100
SECONDS, START = 10, 45
WAYS = {
    "none": {"above": "none"},
    "equal": {"above": "equal"},
    "masks": {"above": "masks"},
    "files": {"above": "masks", "ceiling": True, "consistency": "energy"},
}


def song(folder: Path, sources: tuple[str, ...], rate: int) -> torch.Tensor:
    """(sources, time): mono stems at `rate`."""
    stems = np.zeros((len(sources), SECONDS * RECORDED))
    for row, name in enumerate(sources):
        path = folder / f"{name}.ogg"
        if path.exists():
            data, _ = soundfile.read(path, start=START * RECORDED, frames=SECONDS * RECORDED, always_2d=True)
            stems[row, : len(data)] = data.mean(1)
    return torch.from_numpy(soxr.resample(stems.T, RECORDED, rate).T if rate != RECORDED else stems)


def noise(sources: tuple[str, ...], rate: int) -> torch.Tensor:
    """(sources, time): white."""
    return 0.05 * torch.randn(
        len(sources), SECONDS * rate, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def thirds(x: torch.Tensor, rate: int) -> torch.Tensor:
    """Energy in thirds of an octave from 50 Hz to 0.98 F / 2."""
    power = torch.fft.rfft(x.double() * torch.hann_window(x.shape[-1], dtype=torch.float64)).abs().square()
    f = torch.fft.rfftfreq(x.shape[-1], 1 / rate)
    edges = [50 * 2 ** (k / 3) for k in range(40) if 50 * 2 ** (k / 3) < 0.49 * rate] + [0.49 * rate]
    return torch.stack([power[(f >= a) & (f < b)].sum() for a, b in pairwise(edges)])


def si_sdr(reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """In dB, of every source; NaN for a silent reference."""
    scale = (reference * estimate).sum(-1) / reference.square().sum(-1)
    target = scale[:, None] * reference
    return 10 * torch.log10(target.square().sum(-1) / (estimate - target).square().sum(-1))


def high(x: torch.Tensor, rate: int, first: float = 16000.0) -> torch.Tensor:
    """What lies above `first` Hz."""
    spectrum = torch.fft.rfft(x.double())
    return torch.fft.irfft(spectrum * (torch.fft.rfftfreq(x.shape[-1], 1 / rate) > first), n=x.shape[-1])


def sdr(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """In dB."""
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum()))


def row(model: Separator, name: str, rate: int, stems: torch.Tensor) -> str:
    """One line of the table."""
    mixture = stems.sum(0).float()[None]
    there = {way: model.separate(mixture, rate, **settings)[:, 0] for way, settings in WAYS.items()}
    energies = thirds(mixture[0], rate)
    counted = energies > 1e-10 * energies.sum()

    def off(way: str) -> float:
        ratio = 10 * torch.log10(thirds(there[way].sum(0), rate) / energies)
        return float(ratio[counted].abs().max())

    error = float((there["files"].sum(0) - mixture[0]).abs().max() / mixture.abs().max())
    cells = [
        name,
        f"{rate / 1000:g}",
        *(f"{off(way):.2f}" for way in ("none", "masks", "files")),
        f"{error:.0e}",
    ]
    if name == "white noise":
        return " | ".join([*cells, "", "", "", ""])
    before = si_sdr(stems, there["none"].double())
    for way in ("masks", "files"):
        change = si_sdr(stems, there[way].double()) - before
        cells.append(f"{float(change[change.isfinite()].min()):+.3f}")
    drums = model.sources.index("drums")
    reference = high(stems[drums], rate)
    audible = reference.square().sum() > 1e-9 * stems.square().sum()
    for way in ("masks", "equal"):
        cells.append(f"{sdr(reference, high(there[way][drums], rate)):.1f}" if audible else "")
    return " | ".join(cells)


def cost(model: Separator, rate: int, repeats: int = 7) -> dict[str, float]:
    """CPU time of every way relative to "none": medians of pairs."""
    signal = 0.05 * torch.randn(2, 20 * rate)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for repeat in range(repeats + 1):
        for way, settings in WAYS.items():
            start = time.process_time()
            model.separate(signal, rate, **settings)
            if repeat:  # the first designs the filters
                seconds[way].append(time.process_time() - start)
    return {
        way: statistics.median(a / b for a, b in zip(seconds[way], seconds["none"], strict=True))
        for way in WAYS
    }


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--songs", nargs="+", default=["2.Lithium", "5.Rubidium", "7.Francium"])
    parser.add_argument(
        "--models",
        nargs="+",
        default=["convtasnet_mgf_hours.music4", "convtasnet_naf_fd.music4", "bsrnn.music4"],
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.models:
        model = sfi_zoo.load(name)
        print(f"\n{name}\n")
        print(
            "| signal | kHz | off, none (dB) | off, masks | off, files | sum, files |"
            " SI-SDR, masks | SI-SDR, files | drums, masks | drums, equal |"
        )
        print("|" + "---|" * 10)
        for rate in RATES:
            print(f"| {row(model, 'white noise', rate, noise(model.sources, rate))} |", flush=True)
            for title in arguments.songs:
                stems = song(arguments.music / title, model.sources, rate)
                print(f"| {row(model, title.split('.')[-1], rate, stems)} |", flush=True)
        for rate in (44100, 96000):
            costs = cost(model, rate)
            print(
                f"\ncost at {rate} Hz:",
                ", ".join(f"{way} {value:.3f}" for way, value in costs.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
