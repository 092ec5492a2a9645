"""How far a latent depends on the sampling frequency: every filter family and design, ours beside the published layers.

    python benchmarks/accuracy.py            # prints the table
    python benchmarks/accuracy.py --write    # and puts it into docs/layers_accuracy.md

One second of tones below 3 kHz, sampled at F, goes through an encoder of 440 filters of 5 ms with a hop of 2.5 ms at 32 kHz, in
float64. The figure is ||z_F - z_32k|| / ||z_32k|| over all features and frames, those that are silent at F included.
"""

import argparse
import sys

import torch
from report import band_limited, machine, relative_error, write_section

from sfi_zoo import InputError
from sfi_zoo.filters import FILTER_FAMILIES
from sfi_zoo.layers import SFIConv1d
from sfi_zoo.layers.designed import DEFAULT_TAPER
from sfi_zoo.wording import markdown_table

F0 = 32000
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 44100, 48000, 96000)
ODD_RATE = 44099  # its hop takes more phases than are designed one by one
BOUNDS = {8000: 2e-4}  # full Hann taper; 1e-5 at every other rate
BOUND = 1e-5
PUBLISHED = (
    ("modulated_gaussian", "time"),
    ("modulated_gaussian", "frequency"),
    ("multi_phase_gammatone", "time"),
    ("neural_analog_time", "time"),
    ("neural_analog_frequency", "frequency"),
)


def layer(family: str, filters: int, **options: object) -> SFIConv1d:
    """An encoder with untrained filters, the same at every call."""
    torch.manual_seed(0)
    return (
        SFIConv1d(
            in_channels=1,
            out_channels=filters,
            kernel_size=160,
            stride=80,
            padding=40,
            sample_rate=F0,
            filters=family,
            **options,
        )
        .double()
        .eval()
    )


def errors(encoder: SFIConv1d) -> dict[int, float]:
    """Relative error at every rate. A published time-domain design has no gain correction: its level is put right first."""
    level = encoder.flavour == "reference" and encoder.design == "time"
    with torch.no_grad():
        expected = encoder(band_limited(F0), F0)
        out = {}
        for rate in (*RATES, ODD_RATE):
            z = encoder(band_limited(rate), rate) * (F0 / rate if level else 1.0)
            frames = min(z.shape[-1], expected.shape[-1])  # a rounded hop gives another number of frames
            out[rate] = relative_error(z[..., :frames], expected[..., :frames])
    return out


def rows(filters: int) -> list[list[str]]:
    """One row per family, design and taper that there is, and per published layer."""
    out = []
    for family in FILTER_FAMILIES:
        for design in ("time", "frequency"):
            settings = {f"a = {taper:g}": {"taper": taper} for taper in (1.0, DEFAULT_TAPER, 0.0)}
            if (family, design) in PUBLISHED:
                settings["published"] = {"flavour": "reference"}
            try:
                trial = layer(family, filters, design=design)
                trial.weights(F0)
            except (InputError, NotImplementedError) as error:
                print(f"no row for {family}, design {design!r}: {error}", file=sys.stderr)
                continue
            if trial.filters.compact:
                settings = {"own window": {}}
            measured = {
                name: errors(layer(family, filters, design=design, **options))
                for name, options in settings.items()
            }
            for name, row in measured.items():
                out.append([family, design, name, *(f"{e:.1e}" for e in row.values()), verdict(name, row)])
    return out


def verdict(name: str, measured: dict[int, float]) -> str:
    """Whether a filter that ends smoothly meets the target, and where not."""
    if name not in ("a = 1", "own window"):
        return ""
    missed = [f"{rate / 1000:g}" for rate in RATES if measured[rate] > BOUNDS.get(rate, BOUND)]
    return "missed at " + ", ".join(missed) if missed else "met"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--filters", type=int, default=440)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/layers_accuracy.md")
    parser.add_argument("--quick", action="store_true", help="64 filters")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    header = ["filters", "design", "taper", *(f"{rate / 1000:g}" for rate in (*RATES, ODD_RATE)), "target"]
    text = (
        "Relative error of the latent against 32 kHz, by sampling frequency in kHz. Target for a full Hann taper (a = 1): at most "
        '2e-4 at 8 kHz, 1e-5 above.\n"own window": kernels that end by themselves, whatever the taper. "published": int() of kernel and '
        "hop, which drifts where they are no whole numbers\n(1.4 is no relation at all).\n\n"
        + markdown_table(header, rows(64 if args.quick else args.filters))
    )
    print(f"{machine()}\n\n{text}")
    if args.write:
        write_section("accuracy", text)


if __name__ == "__main__":
    main()
