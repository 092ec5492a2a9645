"""Speed on one device, a GPU where there is one: layers beside torch's own, `separate` beside `forward`, a training step.

    python benchmarks/on_device.py [--device cuda] [--quick]

Times are medians; the device is waited for. "Busy" is the share of a training step's time in which the device computes: time of its
kernels (from the profiler) over the time of the step; on a CPU, processor time over time and threads.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from report import machine
from torch import nn
from torch.profiler import ProfilerActivity, profile

import sfi_zoo
from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.layers import SFISTFT, SFIConv1d, SFIConvTranspose1d
from sfi_zoo.training.objective import Objective
from sfi_zoo.training.recipe import LossConfig
from sfi_zoo.wording import markdown_table

F0, KERNEL, STRIDE, FILTERS = 32000, 160, 80, 256
TRAINED = {"features": 240, "kernel_size": 960, "hidden": 192, "layers": 6}  # of the zoo's rows
QUICK = {"features": 16, "kernel_size": 960, "hidden": 16, "bottleneck": 16, "layers": 2}


def waited(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call until the device has finished."""
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def medians(
    first: Callable[[], Any], second: Callable[[], Any], args: argparse.Namespace
) -> tuple[float, float]:
    """Of both, run in turn."""
    times: list[tuple[float, float]] = []
    for _ in range(args.pairs + 2):
        times.append((waited(first, args.device), waited(second, args.device)))
    one, other = zip(*times[2:], strict=True)  # the first two warm up
    return median(one), median(other)


@torch.no_grad()
def layer_rows(args: argparse.Namespace) -> list[list[str]]:
    """Layers in evaluation mode against plain ones with the same numbers in samples."""
    rows = []
    for rate in (32000, 22050, 44100, 48000, 192000):
        kernel, stride = (n * rate // F0 for n in (KERNEL, STRIDE))
        common = {"kernel_size": KERNEL, "stride": STRIDE, "sample_rate": F0}
        ours = SFIConv1d(1, FILTERS, **common).eval().to(args.device)
        back = SFIConvTranspose1d(FILTERS, 1, **common).eval().to(args.device)
        plain = nn.Conv1d(1, FILTERS, kernel, stride, bias=False).to(args.device)
        plain_back = nn.ConvTranspose1d(FILTERS, 1, kernel, stride, bias=False).to(args.device)
        x = torch.randn(4, 1, round(args.seconds * rate), device=args.device)
        z = ours(x, rate)
        transform = SFISTFT(1024, 256, sample_rate=F0).to(args.device)
        whole, hop = (max(1, round(n * rate / F0)) for n in (1024, 256))
        peer = partial(torch.stft, x[:, 0], whole, hop, window=torch.hann_window(whole, device=args.device))
        for name, one, other in (
            ("SFIConv1d / nn.Conv1d", partial(ours, x, rate), partial(plain, x)),
            ("SFIConvTranspose1d / nn.ConvTranspose1d", partial(back, z, rate), partial(plain_back, z)),
            ("SFISTFT / torch.stft", partial(transform, x[:, 0], rate), partial(peer, return_complex=True)),
        ):
            rows.append([f"{name}, {rate / 1000:g} kHz", *written(*medians(one, other, args))])
    return rows


@torch.no_grad()
def separator_rows(args: argparse.Namespace) -> list[list[str]]:
    """`separate` against `forward`, the default model."""
    model = sfi_zoo.load(DEFAULT_MODEL, args.device)
    rows = []
    for rate in (8000, 44100, 48000):
        x = torch.randn(1, round(min(args.seconds, 8) * rate))
        there = x[None].to(args.device)
        times = medians(
            partial(model.separate, x, rate, device=args.device), partial(model, there, rate), args
        )
        rows.append([f"separate / forward, default model, {rate / 1000:g} kHz", *written(*times)])
    return rows


def training_row(args: argparse.Namespace) -> list[str]:
    """Examples a second of the zoo's Conv-TasNet, and how busy the device is."""
    batch, seconds = (2, 0.5) if args.quick else (32, 4.0)
    if args.device.type == "cpu":
        batch = 2
    model = sfi_zoo.create("convtasnet", **(QUICK if args.quick else TRAINED)).to(args.device).train()
    objective = Objective(model, LossConfig())
    optimizer = torch.optim.Adam(model.parameters())
    targets = torch.randn(batch, len(model.config.sources), 1, round(seconds * F0), device=args.device)

    def step() -> None:
        optimizer.zero_grad()
        objective(targets).mean().backward()
        optimizer.step()

    for _ in range(2):
        waited(step, args.device)
    begin = time.process_time()
    times = [waited(step, args.device) for _ in range(max(2, args.pairs // 2))]
    used = time.process_time() - begin
    busy = used / sum(times) / torch.get_num_threads()
    if args.device.type == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            whole = waited(step, args.device)
        busy = sum(e.self_device_time_total for e in trace.key_averages()) / 1e6 / whole
    what = f"training step, batch {batch} of {seconds:g} s: {batch / median(times):.1f} examples a second, {100 * busy:.0f} % busy"
    return [what, "", f"{1000 * median(times):.1f}", ""]


def written(one: float, other: float) -> list[str]:
    """Ratio, and both in ms."""
    return [f"{one / other:.2f}", f"{1000 * one:.2f}", f"{1000 * other:.2f}"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.pairs = 0.5, 2
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else "CPU"
    print(f"{name}; {machine()}\n")
    rows = [*layer_rows(args), *separator_rows(args), training_row(args)]
    print(markdown_table(("first / second", "ratio", "first, ms", "second, ms"), rows))


if __name__ == "__main__":
    main()
