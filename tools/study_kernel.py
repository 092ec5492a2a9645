"""Trains the kernel of the study's trainable resampler: five minutes, with the weights of one separator as they are.

    python tools/study_kernel.py MUSIC            # the tree that tools/unpack_music4.py makes

Its deviation from the windowed sinc is written to docs/study/trainable_kernel.safetensors. Loss: negative SI-SDR of the estimates in mode
resample, of two seconds of a training song at 8, 11.025, 16 or 24 kHz in turn; the way back to F is the windowed sinc, as in scoring.
"""

import argparse
import random
import time
from itertools import cycle
from pathlib import Path

import torch
from safetensors.torch import save_file

import sfi_zoo
from sfi_zoo.audio.io import read
from sfi_zoo.audio.resample import resample
from sfi_zoo.audio.resampling import TrainableKernel
from sfi_zoo.models.adaptation import Adapted

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "study" / "trainable_kernel.safetensors"
RATES, SECONDS, BATCH = (8000, 11025, 16000, 24000), 2, 2


def excerpt(track: Path, sources: tuple[str, ...], rate: int) -> torch.Tensor:
    """Two seconds of a track somewhere: (sources, time) at `rate`."""
    stems = torch.stack([read(track / f"{source}.wav")[0].mean(0) for source in sources])
    start = random.randrange(max(1, stems.shape[-1] - SECONDS * 32000))
    return resample(stems[:, start : start + SECONDS * 32000], 32000, rate)


def heard(references: torch.Tensor) -> torch.Tensor:
    """Which sources sound: (batch, sources) of (batch, sources, time)."""
    return references.square().sum(-1) > 1e-3


def loss_of(estimates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Negative SI-SDR in dB, the mean over sources that sound, with a floor under both energies: (batch, sources, time) each.

    Raises:
        ArithmeticError: it is not finite, as where nothing sounds.
    """
    power = references.square().sum(-1)
    target = (estimates * references).sum(-1, keepdim=True) / power.clamp(min=1e-3)[..., None] * references
    ratio = (target.square().sum(-1) + 1e-6) / ((target - estimates).square().sum(-1) + 1e-6)
    loss = -10 * torch.log10(ratio[heard(references)]).mean()
    if not loss.isfinite():
        raise ArithmeticError(f"the loss is {float(loss)}: the model, the kernel or a file is broken")
    return loss


def main() -> None:
    """Trains and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("music", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    torch.set_num_threads(1)
    model = sfi_zoo.load(ROOT / "hub_configs" / "convtasnet_mgf_native.music4").eval().requires_grad_(False)
    adapted = Adapted(model, "resample", TrainableKernel())
    optimizer = torch.optim.Adam(adapted.resampler.parameters(), lr=1e-4)
    tracks, end = sorted((args.music / "train").iterdir()), time.monotonic() + 60 * args.minutes
    losses, silent, rates = [], 0, cycle(RATES)
    while time.monotonic() < end:
        rate = next(rates)
        references = torch.stack([excerpt(random.choice(tracks), model.sources, rate) for _ in range(BATCH)])
        if not heard(references).any():  # no loss; told at the end
            silent += 1
            continue
        loss = loss_of(adapted(references.sum(1, keepdim=True), rate)[:, :, 0], references)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        if len(losses) % 40 == 0:
            print(
                f"{len(losses)} steps, mean loss of the last 40: {sum(losses[-40:]) / 40:.3f} dB", flush=True
            )
    print(f"{len(losses)} steps; {silent} batches were silent and left out")
    save_file({"deviation": adapted.resampler.deviation.detach().float()}, OUT)


if __name__ == "__main__":
    main()
