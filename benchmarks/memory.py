"""Peak memory of the SFI layers beside the plain layers with the same numbers, as a ratio.

    python benchmarks/memory.py

Two measurements, each case in a process of its own:

allocator:  every allocation and release of PyTorch's CPU allocator, from the profiler's memory events, summed up: the highest point
            above what was held before. Exact and repeatable; it does not see scratch space that oneDNN takes from the system.
resident:   how far the peak resident set (VmHWM, reset after a first run) rises above the resident set before. It sees everything,
            but counts pages that were touched and what the C library keeps: good to a megabyte.

The filters are designed within what is measured (first call at that sampling frequency), as well as with the design cached.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from report import machine
from torch import nn

from sfi_zoo.layers import SFIConv1d, SFIConvTranspose1d
from sfi_zoo.wording import markdown_table

F0, KERNEL, STRIDE = 32000, 160, 80
MIB = 2**20


def case(kind: str, layer: str, mode: str, rate: int, args: argparse.Namespace) -> Callable[[], object]:
    """What is measured: a forward pass, or a training step's forward and backward.

    Args:
        kind: "sfi" or "plain".
        layer: "encoder" or "decoder".
        mode: "inference, first" (with the design), "inference, cached" or "training".
        rate: F in Hz.
        args: sizes.
    """
    torch.manual_seed(0)
    batch, seconds = (args.batch, args.training_seconds) if mode == "training" else (1, args.seconds)
    kernel, stride = KERNEL * rate // F0, STRIDE * rate // F0
    frames = round(seconds * F0 / STRIDE)
    if layer == "encoder":
        x = torch.randn(batch, 1, round(seconds * rate))
        sizes = (1, args.filters)
    else:
        x = torch.randn(batch, args.filters, frames, requires_grad=mode == "training")
        sizes = (args.filters, 1)
    module: nn.Module
    if kind == "plain":
        make = nn.Conv1d if layer == "encoder" else nn.ConvTranspose1d
        module = make(*sizes, kernel, stride, (kernel - stride) // 2, bias=False)
    else:
        made = SFIConv1d if layer == "encoder" else SFIConvTranspose1d
        module = made(*sizes, KERNEL, STRIDE, padding="centered", sample_rate=F0)
        module.sample_rate = rate
    module.train(mode == "training")

    def run() -> object:
        if mode == "training":
            module.zero_grad()
            x.grad = None
            return module(x).square().sum().backward()
        if mode == "inference, first":
            module.eval()  # forgets the design
        with torch.no_grad():
            return module(x)

    return run


def allocator_peak(run: Callable[[], object]) -> int:
    """Bytes, from the memory events of one run."""
    with torch.profiler.profile(profile_memory=True) as profile:
        result = run()
    del result
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def resident_peak(run: Callable[[], object]) -> int | None:
    """Bytes that the resident set rises to above what it was before; None where Linux' /proc is missing."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None

    def value(name: str) -> int:
        line = next(x for x in status.read_text().splitlines() if x.startswith(name))
        return int(line.split()[1]) * 1024

    try:
        reset.write_text("5")
    except OSError:
        return None
    before = value("VmRSS:")
    result = run()
    del result
    return value("VmHWM:") - before


def child(args: argparse.Namespace) -> None:
    """Measures one case and prints it as JSON."""
    kind, layer, mode, rate = json.loads(args.case)
    run = case(kind, layer, mode, rate, args)
    run()  # code pages, thread pools, oneDNN's primitives
    print(json.dumps({"resident": resident_peak(run), "allocator": allocator_peak(run)}))


def measure(kind: str, layer: str, mode: str, rate: int, args: argparse.Namespace) -> dict[str, int | None]:
    """One case in a process of its own."""
    options = ["--seconds", args.seconds, "--training-seconds", args.training_seconds, "--batch", args.batch]
    options += [
        "--filters",
        args.filters,
        "--threads",
        args.threads,
        "--case",
        json.dumps([kind, layer, mode, rate]),
    ]
    # freed blocks go back to the system at once, so that the resident set follows what is allocated
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, options)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="inference, batch 1")
    parser.add_argument("--training-seconds", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=4, help="training")
    parser.add_argument("--filters", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one case, small")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.case:
        child(args)
        return
    cases = [
        (layer, mode, rate)
        for layer in ("encoder", "decoder")
        for mode, rates in (
            ("inference, first", (32000, 44100)),
            ("inference, cached", (32000, 44100)),
            ("training", (32000,)),
        )
        for rate in rates
    ]
    if args.quick:
        args.seconds, args.filters, cases = 1.0, 16, cases[:1]
    rows = []
    for layer, mode, rate in cases:
        ours, plain = (measure(kind, layer, mode, rate, args) for kind in ("sfi", "plain"))
        ratios = []
        for name in ("allocator", "resident"):
            a, b = ours[name], plain[name]
            ratios += [f"{a / b:.2f}", f"{a / MIB:.1f} / {b / MIB:.1f}"] if a and b else ["-", "-"]
        rows.append([f"{layer}, {mode}, {rate / 1000:g} kHz", "≤ 1.1", *ratios])
    header = ("SFI / plain", "target", "allocator", "MiB", "resident", "MiB")
    print(f"{machine()}\n\n{markdown_table(header, rows)}")


if __name__ == "__main__":
    main()
