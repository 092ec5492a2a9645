"""What a scoring run costs beside the forward passes it cannot avoid, and what a second process gains.

    python benchmarks/scoring.py            # 20 clips of 10 s, 8 rates, a quarter of an hour
    python benchmarks/scoring.py --quick

cost:    all records of a clip (three LEE, SI-SDR, SDR, at all rates) against encoding, predicting and decoding what they need: at F0, at
         each F in each mode, and M(A_F z) at each F < F0. Once with the mode native alone, once with three modes and
         fixed masks, whose only pass is the decoder. Clips are rendered before, for both. The last column: seconds of one record for each
         minute of audio.
scaling: `sfi-zoo score` as one process and as two, one thread each: the time from the first record to the last, and that with the start.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from report import machine
from timing import compare

import sfi_zoo
from sfi_zoo.data.songs import Clip, SyntheticSongs
from sfi_zoo.metrics import MODES, Adapted
from sfi_zoo.metrics.observation import band_limited
from sfi_zoo.metrics.scoring.unit import FIXED_MASKS, Measures, records_of
from sfi_zoo.wording import markdown_row, markdown_table

MODEL = "convtasnet_mgf_native.music4"
RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)


def rendered(clip: Clip, rates: Sequence[float]) -> Clip:
    """The clip with its signals in memory."""
    signals = {rate: clip.at(rate) for rate in rates}
    return Clip(clip.name, signals.__getitem__)


@torch.no_grad()
def unavoidable(model: Any, clip: Clip, units: Sequence[tuple[str, float]]) -> None:
    """The passes that the units of a clip need, and nothing else."""
    trained_rate = float(model.trained_rate)

    def separated(mode: str, rate: float) -> Any:
        adapted, mixture = Adapted(model, mode), clip.at(rate)[0][None]
        latent = adapted.latent(mixture, rate)
        masked = model.predict_masks(latent) * latent.values[:, None]
        adapted.output(masked, rate, mixture.shape[-1])
        return latent, masked

    at_trained, masked = separated("native", trained_rate)
    if any(mode == FIXED_MASKS for mode, _ in units):
        model.decode(masked, trained_rate, clip.at(trained_rate)[0].shape[-1])
    for rate in dict.fromkeys(rate for _, rate in units):
        if rate < trained_rate:
            model.predict_masks(band_limited(at_trained, rate))
        for mode in (mode for mode, other in units if other == rate and rate != trained_rate):
            if mode == FIXED_MASKS:
                model.decode(masked, rate, clip.at(rate)[0].shape[-1])
            else:
                _, masked = separated(mode, rate)


def cost_rows(args: argparse.Namespace) -> Iterator[list[str]]:
    """Median over the clips of scored / unavoidable, each pair on one clip."""
    torch.set_num_threads(1)
    model = sfi_zoo.load(MODEL).eval()
    songs = SyntheticSongs(args.clips, args.seconds)
    for name, modes in (("native", MODES[:1]), ("three modes and fixed masks", (*MODES, FIXED_MASKS))):
        units = [(mode, float(rate)) for rate in args.rates for mode in modes]
        clips = (
            rendered(songs.clip(n, model.sources, 1), [*map(float, args.rates), model.trained_rate])
            for n in songs.names
        )
        found = []
        for clip in clips:

            def score(clip: Clip = clip, units: list[tuple[str, float]] = units) -> None:
                assert all("failed" not in record for record in records_of(model, clip, units, Measures()))

            found.append(
                compare(score, partial(unavoidable, model, clip, units), pairs=1, warm_up=0 if found else 1)
            )
        ratios = sorted(one.ratio for one in found)
        middle = ratios[len(ratios) // 2]
        quartiles = f"{ratios[len(ratios) // 4]:.2f} ... {ratios[3 * len(ratios) // 4]:.2f}"
        first, second = (sum(getattr(one, which) for one in found) for which in ("first", "second"))
        yield [
            f"scored / unavoidable, {name}",
            "≤ 1.15",
            f"{middle:.2f}",
            quartiles,
            f"{first:.1f}",
            f"{second:.1f}",
            f"{first / (len(found) * len(units) * args.seconds / 60):.2f}",
        ]


def scaling_rows(args: argparse.Namespace) -> Iterator[list[str]]:
    """One process against two, each run once (they take minutes): begin and end of their work, and of everything."""
    with tempfile.TemporaryDirectory() as folder:
        times = [measured(Path(folder) / str(count), count, args) for count in (1, 2)]
    for name, (one, two) in zip(
        ("from first record to last", "with the start"), zip(*times, strict=True), strict=True
    ):
        yield [
            f"1 process / 2 processes, {name}",
            "≥ 1.7",
            f"{one / two:.2f}",
            "",
            f"{one:.1f}",
            f"{two:.1f}",
            "",
        ]


def measured(out: Path, processes: int, args: argparse.Namespace) -> tuple[float, float]:
    """Seconds from the first record to the last, and of the whole run."""
    rates = ",".join(map(str, args.rates))
    options = ["--sample-rates", rates, "--tracks", str(args.clips), "--seconds", str(args.seconds)]
    command = [sys.executable, "-m", "sfi_zoo.cli", "score", MODEL, *options, "-o", str(out)]
    begin = time.perf_counter()
    running = [
        subprocess.Popen(
            command,
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    first = begin
    while any(process.poll() is None for process in running):
        if first == begin and any(out.glob("records-*.jsonl")):
            first = time.perf_counter()
        time.sleep(0.01)
    end = time.perf_counter()
    assert all(process.returncode == 0 for process in running)
    return end - first, end - begin


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterator[list[str]]]] = {
    "cost": cost_rows,
    "scaling": scaling_rows,
}


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS))
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rates", type=int, nargs="+", default=RATES)
    parser.add_argument("--quick", action="store_true", help="two clips of a second at two rates")
    args = parser.parse_args()
    if args.quick:
        args.clips, args.seconds, args.rates = 2, 1.0, [8000, 32000]
    print(f"{machine()}; {args.clips} clips of {args.seconds:g} s at {len(args.rates)} rates\n")
    print(
        markdown_table(
            ("first / second", "target", "ratio", "quartiles", "first, s", "second, s", "s / record / min"),
            [],
        ),
        flush=True,
    )
    for section in args.only:
        for row in SECTIONS[section](args):
            print(markdown_row(row), flush=True)


if __name__ == "__main__":
    main()
