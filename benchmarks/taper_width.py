"""What the width of the compact taper buys (latent error) and what it costs (a short training run of Conv-TasNet per width).

    nice python benchmarks/taper_width.py --songs ../shared/music/pack32k/train        # 40 minutes on one core
    nice python benchmarks/taper_width.py --songs ... --write                          # the summary into docs/layers_accuracy.md

Every row sees the same songs, batches, steps, mask network and initial filters. One JSON line per run goes to `.work/taper_width.jsonl`;
runs that are there already are not repeated.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import soxr
import torch
from plain_tasnet import PlainConvTasNet
from report import ROOT, band_limited, machine, relative_error, write_section
from songs import F0, batch, excerpt, load_songs, synthetic_songs, unit_variance
from torch import Tensor, nn

import sfi_zoo
from sfi_zoo.wording import markdown_table

LATENT_RATES = (8000, 11025, 16000, 44100, 48000)
SCORE_RATES = (F0, 8000, 16000, 44100)
SILENT = 1e-4  # of the energy of the mixture: a source below does not count
PICTURE = ROOT / "docs" / "taper_width.png"
# (name, kernel in samples at 32 kHz, taper); None: a plain learned encoder and decoder
ROWS: tuple[tuple[str, int, float | None], ...] = (
    ("plain layers, as PyTorch starts them", 160, None),
    ("plain layers, started as a = 0", 160, None),
    ("a = 0", 160, 0.0),
    ("a = 0.1", 160, 0.1),
    ("a = 0.25", 160, 0.25),
    ("a = 0.5", 160, 0.5),
    ("a = 1 (Hann)", 160, 1.0),
    ("a = 0.25", 240, 0.25),
    ("a = 0.25", 320, 0.25),
    ("a = 1 (Hann)", 320, 1.0),
)
BASE = ROWS[2]


def si_sdr(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """SI-SDR in dB, limited to 30 dB so that its gradient stays finite, and which (item, source) count: (items, sources)."""
    ee, ss, es = estimate.square().sum(-1), target.square().sum(-1), (estimate * target).sum(-1)
    projected = es.square() / (ss + 1e-8)
    sdr = 10 * torch.log10((projected + 1e-8) / ((ee - projected).clamp(min=0) + 1e-3 * projected + 1e-8))
    return sdr, ss > SILENT * target.sum(1, keepdim=True).square().sum(-1)


def mean_active(values: Tensor, active: Tensor) -> Tensor:
    """Mean over the sources that are not silent."""
    return torch.where(active, values, 0.0).sum() / active.sum().clamp(min=1)


def build(name: str, kernel: int, taper: float | None, seed: int, features: int) -> nn.Module:
    """A separator; equal seeds give equal filters, mask networks and random numbers."""
    torch.manual_seed(seed)
    bank = {"gain": True}
    model = sfi_zoo.create(
        "convtasnet",
        latent="relu",
        features=features,
        kernel_size=kernel,
        stride=80,
        taper=taper or 0.0,
        encoder_filters=bank,
        decoder_filters=bank,
        bottleneck=64,
        hidden=128,
        layers=6,
        repeats=1,
    )
    # the decoder starts as the inverse of the encoder (but for the rectifier)
    model.decoder.filters.load_state_dict(model.encoder.filters.state_dict())
    model.decoder.filters.set_dual_gains(model.config.stride)
    return PlainConvTasNet(model, same_start="started" in name) if taper is None else model


def train(model: nn.Module, tracks: list[Tensor], seed: int, args: argparse.Namespace) -> float:
    """Trains; returns the mean loss (negative SI-SDR) of the last quarter of the steps."""
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    losses = []
    for step in range(args.steps):
        rate = min(1, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * rate
        targets = batch(tracks, args.items, round(args.seconds * F0), rng)
        estimates = model(targets.sum(1, keepdim=True))[:, :, 0]
        loss = -mean_active(*si_sdr(estimates, targets))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    return statistics.fmean(losses[-max(1, args.steps // 4) :])


def scores(model: nn.Module, tracks: list[Tensor], excerpts: int) -> dict[str, float]:
    """Mean SI-SDR on held-out excerpts of 4 s (no remix) at several sampling frequencies, each against references of its own."""
    rng = torch.Generator().manual_seed(1)
    stems = [excerpt(tracks[i % len(tracks)], 4 * F0, rng) for i in range(excerpts)]
    out = {}
    for rate in SCORE_RATES if hasattr(model, "encode") else (F0,):
        values, counts = [], []
        for x in stems:
            y = x if rate == F0 else torch.from_numpy(soxr.resample(x.T.numpy(), F0, rate).T.copy())
            targets = unit_variance(y[None])
            mixture = targets.sum(1, keepdim=True)
            with torch.no_grad():
                estimates = (model(mixture) if rate == F0 else model(mixture, rate))[:, :, 0]
            sdr, active = si_sdr(estimates[..., : targets.shape[-1]], targets)
            values.append(sdr)
            counts.append(active)
        out[str(rate)] = float(mean_active(torch.cat(values), torch.cat(counts)))
    return out


def latent_errors(model: nn.Module) -> dict[str, float]:
    """Relative error of the trained encoder's output against 32 kHz, on a signal band-limited to 3 kHz, in float64."""
    if not hasattr(model, "encode"):
        return {}
    encoder = model.encoder.double()
    with torch.no_grad():
        expected = encoder(band_limited(F0), F0)
        errors = {
            str(rate): relative_error(encoder(band_limited(rate), rate), expected) for rate in LATENT_RATES
        }
    encoder.float()
    return errors


def run(args: argparse.Namespace, songs: tuple[list[Tensor], list[Tensor]]) -> list[dict[str, Any]]:
    """All runs that are not in the log yet; returns all."""
    settings = {"steps": args.steps, "items": args.items, "seconds": args.seconds, "lr": args.lr}
    settings |= {"features": args.features, "excerpts": args.excerpts}
    args.log.parent.mkdir(parents=True, exist_ok=True)
    lines = args.log.read_text().splitlines() if args.log.exists() else []
    done = {record["key"]: record for record in map(json.loads, lines)}
    records = []
    for seed in range(args.seeds):
        for name, kernel, taper in ROWS[: 3 if args.quick else None]:
            key = json.dumps([name, kernel, taper, seed, settings])
            if key not in done:
                begin = time.time()
                model = build(name, kernel, taper, seed, args.features)
                loss = train(model.train(), songs[0], seed, args)
                model.eval()
                record = {
                    "key": key,
                    "name": name,
                    "kernel": kernel,
                    "taper": taper,
                    "seed": seed,
                    "loss": loss,
                }
                record |= {"si_sdr": scores(model, songs[1], args.excerpts), "error": latent_errors(model)}
                record["seconds"] = round(time.time() - begin, 1)
                done[key] = record
                with args.log.open("a") as log:
                    log.write(json.dumps(record) + "\n")
                print(record, flush=True)
            records.append(done[key])
    return records


def of_row(records: list[dict[str, Any]], row: tuple[str, int, float | None]) -> list[dict[str, Any]]:
    """The runs of one row, a seed each, in the order of the seeds."""
    return [r for r in records if (r["name"], r["kernel"], r["taper"]) == row]


def mean(values: list[float], form: str = ".2f") -> str:
    """Mean and half the range; a dash where there is nothing."""
    if not values:
        return "-"
    spread = f" ± {(max(values) - min(values)) / 2:{form}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def summary(records: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """The Markdown table."""
    base = of_row(records, BASE)
    rows = []
    for row in ROWS:
        runs = of_row(records, row)
        if not runs:
            continue
        errors = [
            f"{max(r['error'][str(f)] for r in runs):.1e}" if runs[0]["error"] else "-" for f in LATENT_RATES
        ]
        sdrs = [mean([r["si_sdr"][str(f)] for r in runs if str(f) in r["si_sdr"]]) for f in SCORE_RATES]
        losses = [r["loss"] for r in runs]
        costs = [r["loss"] - b["loss"] for r, b in zip(runs, base, strict=False)]
        rows.append([row[0], f"{row[1] / 32:g} ms", *errors, mean(losses), mean(costs), *sdrs])
    header = [
        "taper",
        "kernel",
        *(f"{f / 1000:g} kHz" for f in LATENT_RATES),
        "training loss",
        "less that of a = 0",
    ]
    header += [f"SI-SDR at {f / 1000:g} kHz" for f in SCORE_RATES]
    return (
        f"Conv-TasNet, {args.features} trained modulated Gaussians, hop 2.5 ms, mask network 64/128 x 6; {args.steps} steps of "
        f"{args.items} x {args.seconds:g} s of real songs at 32 kHz, the same batches in every row; {args.seeds} seed(s), mean ± half "
        "the range. Columns in kHz: relative error of the trained encoder's output against 32 kHz, signal below 3 kHz (worst seed). "
        "Training loss: negative SI-SDR in dB over the last quarter of the steps, lower is better; beside it the difference to a = 0 with "
        f"the same seed. SI-SDR: mean over the sources of {args.excerpts} held-out excerpts of 4 s, in dB.\n\n"
        + markdown_table(header, rows)
    )


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """The trade as a picture: latent error at 8 kHz against the training loss it costs."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("the picture needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), constrained_layout=True)
    base = of_row(records, BASE)
    for kernel, marker in ((160, "o"), (240, "s"), (320, "D")):
        points = []
        for row in ROWS:
            runs = of_row(records, row)
            if row[1] == kernel and row[2] is not None and runs:
                cost = statistics.fmean(r["loss"] - b["loss"] for r, b in zip(runs, base, strict=False))
                points.append((max(r["error"]["8000"] for r in runs), cost))
                axes.annotate(f"  {row[0]}", points[-1], fontsize=8, va="bottom")
        axes.plot(*zip(*points, strict=True), marker + "-", label=f"kernel {kernel / 32:g} ms")
    axes.set(xscale="log", xlabel="relative error of the latent at 8 kHz against 32 kHz")
    axes.set_ylabel("training loss, dB above a = 0, 5 ms")
    axes.margins(x=0.12)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", type=Path, default=ROOT.parent / "shared/music/pack32k/train")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--excerpts", type=int, default=26)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log", type=Path, default=ROOT / ".work/taper_width.jsonl")
    parser.add_argument("--write", action="store_true", help="put the table into docs/layers_accuracy.md")
    parser.add_argument("--quick", action="store_true", help="two steps on synthetic songs, three rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        args.steps, args.items, args.seconds, args.features, args.excerpts, args.seeds = 2, 1, 1.0, 32, 1, 1
    records = run(args, synthetic_songs() if args.quick else load_songs(args.songs))
    text = summary(records, args)
    print(f"\n{machine()}\n\n{text}")
    if args.write:
        draw(records, PICTURE)
        write_section("taper width", f"{text}\n\n![latent error against training loss]({PICTURE.name})")


if __name__ == "__main__":
    main()
