"""What the width of the compact taper buys (latent error) and what it costs (a short training run of Conv-TasNet per width).

    nice python benchmarks/taper_width.py --songs ../shared/music/pack32k/train        # 30 to 60 minutes on one core
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

import soundfile
import soxr
import torch
from plain_tasnet import PlainConvTasNet
from report import ROOT, band_limited, machine, relative_error, table, write_section
from torch import Tensor, nn

import sfi_zoo

F0 = 32000
LATENT_RATES = (8000, 11025, 16000, 44100, 48000)
SCORE_RATES = (F0, 8000, 16000, 44100)
VALID = ("EIF - Caesium", *(f"PJS - {n:03d}" for n in range(79, 89)))
SILENT = 1e-4  # of the energy of the mixture: a source below does not count
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


def load_songs(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """(4, time) int16 stems of all tracks: training and validation."""
    train, valid = [], []
    for path in sorted(folder.glob("*.ogg")):
        stems, rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert rate == F0, path
        (valid if path.stem.startswith(VALID) else train).append(torch.from_numpy(stems.T.copy()))
    if not train or not valid:
        raise SystemExit(f"{folder} holds no songs to train on, or none to validate on")
    return train, valid


def synthetic_songs() -> tuple[list[Tensor], list[Tensor]]:
    """Stand-ins for a quick look at whether everything runs."""
    from sfi_zoo.data.synthetic import song

    songs = [song(seed, duration=3, sample_rate=F0, channels=1) for seed in range(3)]
    stems = [torch.cat([torch.from_numpy(x) for x in s.values()]) for s in songs]
    tracks = [(x / x.abs().max() * 32767).to(torch.int16) for x in stems]
    return tracks[:2], tracks[2:]


def excerpt(track: Tensor, length: int, rng: torch.Generator) -> Tensor:
    """(4, length) at a random place, float32 in [-1, 1]."""
    start = int(torch.randint(max(1, track.shape[1] - length), (1,), generator=rng))
    x = track[:, start : start + length].float() / 32768
    return nn.functional.pad(x, (0, length - x.shape[1]))


def batch(tracks: list[Tensor], items: int, length: int, rng: torch.Generator) -> Tensor:
    """(items, 4, length): stems of one song, or (more often) of four, re-levelled by up to 6 dB; the mixture has unit variance."""
    weights = torch.tensor([float(t.shape[1]) for t in tracks])
    out = []
    for _ in range(items):
        picks = torch.multinomial(weights, 4, replacement=True, generator=rng)
        if torch.rand(1, generator=rng) < 0.4:
            stems = excerpt(tracks[picks[0]], length, rng)
        else:
            stems = torch.stack([excerpt(tracks[p], length, rng)[s] for s, p in enumerate(picks)])
        out.append(stems * 10 ** (torch.empty(4, 1).uniform_(-6, 6, generator=rng) / 20))
    return unit_variance(torch.stack(out))


def unit_variance(stems: Tensor) -> Tensor:
    """Scales (items, sources, time) so that each mixture has unit variance."""
    return stems / (stems.sum(1, keepdim=True).std(-1, keepdim=True) + 1e-4)


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
    """Mean SI-SDR on held-out excerpts of 4 s as they are (no remix), at several sampling frequencies, each against references of its own."""
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
                record = {"key": key, "name": name, "kernel": kernel, "taper": taper, "seed": seed, "loss": loss}
                record |= {"si_sdr": scores(model, songs[1], args.excerpts), "error": latent_errors(model)}
                record["seconds"] = round(time.time() - begin, 1)
                done[key] = record
                with args.log.open("a") as log:
                    log.write(json.dumps(record) + "\n")
                print(record, flush=True)
            records.append(done[key])
    return records


def summary(records: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """The Markdown table: mean over the seeds, and half the range between them where there are several."""

    def mean(values: list[float], form: str) -> str:
        if not values:
            return "-"
        spread = f" ± {(max(values) - min(values)) / 2:{form}}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):{form}}{spread}"

    rows = []
    for name, kernel, taper in ROWS:
        runs = [r for r in records if (r["name"], r["kernel"], r["taper"]) == (name, kernel, taper)]
        if not runs:
            continue
        errors = [
            f"{max(r['error'][str(f)] for r in runs):.1e}" if runs[0]["error"] else "-" for f in LATENT_RATES
        ]
        sdrs = [mean([r["si_sdr"][str(f)] for r in runs if str(f) in r["si_sdr"]], ".2f") for f in SCORE_RATES]
        rows.append([name, f"{kernel / 32:g} ms", *errors, mean([r["loss"] for r in runs], ".2f"), *sdrs])
    header = ["taper", "kernel", *(f"{f / 1000:g} kHz" for f in LATENT_RATES), "training loss"]
    header += [f"SI-SDR at {f / 1000:g} kHz" for f in SCORE_RATES]
    return (
        f"Conv-TasNet, {args.features} trained modulated Gaussians, hop 2.5 ms, mask network 64/128 x 6; {args.steps} steps of {args.items} x "
        f"{args.seconds:g} s of real songs at 32 kHz, the same batches in every row, {args.seeds} seed(s) (mean ± half the range). Columns in "
        "kHz: relative error of the trained encoder's output against 32 kHz for a signal below 3 kHz (worst seed). Training loss: negative "
        f"SI-SDR in dB over the last quarter of the steps, lower is better. SI-SDR: {args.excerpts} held-out excerpts of 4 s, in dB.\n\n"
        + table(header, rows)
    )


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, default=ROOT.parent / "shared/music/pack32k/train")
    parser.add_argument("--steps", type=int, default=400)
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
    text = summary(run(args, synthetic_songs() if args.quick else load_songs(args.songs)), args)
    print(f"\n{machine()}\n\n{text}")
    if args.write:
        write_section("taper width", text)


if __name__ == "__main__":
    main()
