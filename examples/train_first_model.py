"""Trains the bundled `convtasnet_mgf.music4`: SFI Conv-TasNet, native modulated Gaussians, 32 kHz, on ../shared/music.

    nice python examples/train_first_model.py ../shared/music/pack32k/train --minutes 40 --out local/first

What makes it fit into an hour of one CPU core: the encoder is linear and its filters stay fixed, so the songs are encoded once and the
network trains on latents. Mixing stems, changing their level and lowering the sampling frequency (dropping the channels above a
random Nyquist frequency) are exact there. The decoder starts as the inverse of the encoder, so energies in the waveform are energies
of the latent weighted by the decoder's gains, and the scale-invariant SDR can be taken on latents:

    <a, b> = sum_c gain_c Re(a_c conj b_c),  SI-SDR = 10 log10 |alpha s|^2 / |alpha s - e|^2, alpha = <e, s> / <s, s>
"""

import argparse
import json
import math
import time
from pathlib import Path

import soundfile
import torch
from torch import Tensor

import sfi_zoo
from sfi_zoo.models.filterbank import compressed_magnitude

FILTERS = {
    "scale": "log1p",
    "corner_hz": 8000.0,
    "frequency_range": [30.0, 15900.0],
    "bandwidth": [18.0, 40.0],
}
VALID = ("EIF - Caesium", *(f"PJS - {n:03d}" for n in range(79, 89)))
FRAMES, BATCH, EMA = 400, 4, 0.998


def encode_folder(model: torch.nn.Module, folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Latents of all tracks, (sources, features, frames, 2) float16: training and validation."""
    train, valid = [], []
    for path in sorted(folder.glob("*.ogg")):
        stems, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == model.sample_rate, path
        with torch.no_grad():
            values = model.encode(torch.from_numpy(stems.T.copy())[None], rate).values
        (valid if path.stem.startswith(VALID) else train).append(torch.view_as_real(values).half())
    return train, valid


def excerpt(track: Tensor, rng: torch.Generator) -> Tensor:
    """FRAMES frames of all sources at a random place."""
    start = int(torch.randint(max(1, track.shape[2] - FRAMES), (1,), generator=rng))
    return track[:, :, start : start + FRAMES]


def batch(tracks: list[Tensor], frequencies: Tensor, rng: torch.Generator) -> Tensor:
    """(BATCH, sources, features, FRAMES) complex targets: remixed, re-levelled, some at a lower sampling frequency."""
    lengths = torch.tensor([float(t.shape[2]) for t in tracks])
    items = []
    for _ in range(BATCH):
        same = torch.rand(1, generator=rng) < 0.4
        picks = torch.multinomial(lengths, 4, replacement=True, generator=rng)
        if same:
            stems = excerpt(tracks[picks[0]], rng).float()
        else:
            stems = torch.stack([excerpt(tracks[p], rng)[s].float() for s, p in enumerate(picks)])
        gains = 10 ** (torch.empty(4).uniform_(-6, 6, generator=rng) / 20)
        items.append(torch.view_as_complex(stems.contiguous()) * gains[:, None, None])
    z = torch.stack(items)
    nyquist = torch.empty(BATCH).uniform_(3500, 16000, generator=rng)
    nyquist[torch.rand(BATCH, generator=rng) > 0.35] = math.inf
    return z * (frequencies < nyquist[:, None])[:, None, :, None]


def inner(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted real inner product over features and frames."""
    return ((a.real * b.real + a.imag * b.imag) * weights[:, None]).sum((-1, -2))


def si_sdr(estimate: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """SI-SDR in dB over (features, frames), limited to 30 dB."""
    ee, ss, es = (
        inner(estimate, estimate, weights),
        inner(target, target, weights),
        inner(estimate, target, weights),
    )
    projected = es.square() / (ss + 1e-8)
    return 10 * torch.log10((projected + 1e-8) / ((ee - projected).clamp(min=0) + 1e-3 * projected + 1e-8))


def loss_of(model: torch.nn.Module, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Training loss, SI-SDR per (item, source), and which of them count (targets that are not silent)."""
    mixture = targets.sum(1)
    masks = model.masker(compressed_magnitude(mixture))
    estimates = masks * mixture[:, None]
    energy, total = inner(targets, targets, weights), inner(mixture, mixture, weights)[:, None]
    active = energy > 1e-4 * total
    sdr = si_sdr(estimates, targets, weights)
    error = estimates - targets
    snr_loss = 10 * torch.log10((inner(error, error, weights) + 1e-6) / (energy + 1e-2 * total + 1e-6))
    loss = torch.where(active, -sdr, 0.0).sum() / active.sum() + 0.2 * snr_loss.mean()
    return loss, sdr, active


def main() -> None:
    """Train, log, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    model = sfi_zoo.create("convtasnet", encoder_filters=FILTERS, decoder_filters=FILTERS)
    train, valid = encode_folder(model.eval(), args.data)
    minutes = sum(t.shape[2] for t in train) * model.frame_period / 60
    print(f"{len(train)} + {len(valid)} tracks, {minutes:.1f} min to train on", flush=True)
    frequencies = model.encoder.filters.center_frequencies()[: model.config.features]
    weights = model.decoder.filters.log_gain.detach().exp()
    with torch.no_grad():  # whiten the input of the network: affine part of its first norm from the data
        m = compressed_magnitude(batch(train, torch.zeros_like(frequencies), rng).sum(1))
        m = torch.nn.functional.group_norm(m, 1)
        model.masker.norm_1.weight.copy_(1 / m.std((0, 2)))
        model.masker.norm_1.bias.copy_(-m.mean((0, 2)) / m.std((0, 2)))
    parameters = list(model.masker.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-3)
    average = [p.detach().clone() for p in parameters]
    fixed = torch.Generator().manual_seed(1)
    validation = [batch(valid, frequencies, fixed) for _ in range(6)]
    args.out.mkdir(parents=True, exist_ok=True)
    log = (args.out / "log.jsonl").open("a")
    begin, step, recent = time.time(), 0, []
    while (elapsed := (time.time() - begin) / 60 / args.minutes) < 1:
        rate = min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * elapsed))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate + 1e-6
        loss, _, _ = loss_of(model, batch(train, frequencies, rng), weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        with torch.no_grad():
            keep = min(EMA, step / (step + 10))
            for a, p in zip(average, parameters, strict=True):
                a.lerp_(p, 1 - keep)
        recent.append(loss.item())
        step += 1
        if step % 250 == 0 or step == 20:
            current = [p.detach().clone() for p in parameters]
            with torch.no_grad():
                for p, a in zip(parameters, average, strict=True):
                    p.copy_(a)
                sums, counts = torch.zeros(4), torch.zeros(4)
                for targets in validation:
                    _, sdr, active = loss_of(model, targets, weights)
                    base = si_sdr(targets.sum(1, keepdim=True).expand_as(targets), targets, weights)
                    sums += torch.where(active, sdr - base, 0.0).sum(0)
                    counts += active.sum(0)
                sfi_zoo.save(model, args.out / "model", half=True)
                for p, c in zip(parameters, current, strict=True):
                    p.copy_(c)
            improvement = dict(
                zip(model.sources, [round(x, 2) for x in (sums / counts).tolist()], strict=True)
            )
            record = {
                "step": step,
                "minutes": round((time.time() - begin) / 60, 1),
                "loss": round(sum(recent) / len(recent), 3),
                "valid_si_sdr_improvement": improvement,
            }
            recent = []
            print(record, flush=True)
            log.write(json.dumps(record) + "\n")
            log.flush()


if __name__ == "__main__":
    main()
