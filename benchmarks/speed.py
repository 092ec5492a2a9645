"""Speed of the SFI layers beside their peers, as ratios (median of interleaved pairs).

    python benchmarks/speed.py                       # all of it, a few minutes
    python benchmarks/speed.py --only forward --threads 1 2

forward:  the layers in evaluation mode against `nn.Conv1d` / `nn.ConvTranspose1d` with the same numbers in samples: batch 1, 20 s, 256
          filters of 5 ms, hop 2.5 ms; beside it what other ways to a hop of 110.25 samples cost.
design:   taps of 440 filters in the frequency domain against the published way, new sampling frequency and training step.
stft:     `SFISTFT` and `SFIISTFT`, and what `freeze` gives of them, against torch's own with the nearest whole window: stereo, 20 s.
training: a training step of Conv-TasNet against the same network with plain layers.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import published_design
import torch
from plain_tasnet import PlainConvTasNet, overlap_add
from report import machine, relative_error
from timing import Comparison, compare
from torch import Tensor, nn
from torch.nn import functional

import sfi_zoo
from sfi_zoo.design import frequency_domain
from sfi_zoo.filters import AnalogFilterBank
from sfi_zoo.layers import SFIISTFT, SFISTFT, SFIConv1d, SFIConvTranspose1d, freeze
from sfi_zoo.wording import markdown_row, markdown_table

F0, KERNEL, STRIDE, FILTERS = 32000, 160, 80, 256
TARGETS = {32000: "≤ 1.05", 44100: "≤ 1.3"}
Row = tuple[str, str, Comparison]  # what is compared, the target, the times


def sizes(rate: int) -> tuple[int, int]:
    """Kernel and stride in whole samples at `rate`, as a plain layer would have them."""
    return KERNEL * rate // F0, STRIDE * rate // F0


def forward_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Both layers against the plain ones; then the other ways."""
    with torch.no_grad():
        for rate in (32000, 44100, 48000, 22050):
            kernel, stride = sizes(rate)
            padding, khz = (kernel - stride) // 2, f"{rate / 1000:g} kHz"
            ours, adjoint = layers(FILTERS, "centered")
            plain = nn.Conv1d(1, FILTERS, kernel, stride, padding, bias=False)
            back = nn.ConvTranspose1d(FILTERS, 1, kernel, stride, padding, bias=False)
            x = torch.randn(1, 1, round(args.seconds * rate))
            z = torch.randn(1, FILTERS, ours(x, rate).shape[-1])
            target = TARGETS.get(rate, "")
            pairs = {
                "SFIConv1d / nn.Conv1d": (partial(ours, x, rate), partial(plain, x)),
                "SFIConvTranspose1d / nn.ConvTranspose1d": (partial(adjoint, z, rate), partial(back, z)),
                "SFIConvTranspose1d / matrix product, overlap-add": (
                    partial(adjoint, z, rate),
                    partial(overlap_add, z, back),
                ),
            }
            for name, (first, second) in pairs.items():
                yield f"{name}, {khz}", target, compare(first, second, args.pairs)
        yield from other_ways(args)


def layers(filters: int, padding: Any, **options: Any) -> tuple[SFIConv1d, SFIConvTranspose1d]:
    """Analysis and synthesis in evaluation mode, 5 ms and 2.5 ms."""
    common = {"kernel_size": KERNEL, "stride": STRIDE, "padding": padding, "sample_rate": F0} | options
    return (
        SFIConv1d(in_channels=1, out_channels=filters, **common).eval(),
        SFIConvTranspose1d(in_channels=filters, out_channels=1, **common).eval(),
    )


def other_ways(args: argparse.Namespace) -> Iterator[Row]:
    """What a hop of 110.25 samples costs otherwise, against the same plain layers."""
    rate = 44100
    kernel, stride = sizes(rate)
    plain = nn.Conv1d(1, FILTERS, kernel, stride, bias=False)
    back = nn.ConvTranspose1d(FILTERS, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, round(args.seconds * rate))
    z = torch.randn(1, FILTERS, plain(x).shape[-1])
    four = torch.randn(4, FILTERS, 1, kernel + 1)

    def stack(x: Tensor) -> Tensor:
        starts = [round(j * 110.25 - 0.5) for j in range(4)]
        parts = [functional.conv1d(x[..., s:], w, stride=441) for s, w in zip(starts, four, strict=True)]
        frames = min(part.shape[-1] for part in parts)
        return torch.stack([part[..., :frames] for part in parts], dim=-1).flatten(-2)

    def stack_back(z: Tensor) -> Tensor:
        frames = z.shape[-1] // 4
        y = z.new_zeros(1, 1, 441 * frames + kernel + 1)
        for j, w in enumerate(four):
            part = functional.conv_transpose1d(z[..., j : 4 * frames : 4], w, stride=441)
            start = round(j * 110.25 - 0.5)
            y[..., start : start + part.shape[-1]] += part
        return y

    yield (
        "a stack of four strided convolutions / nn.Conv1d, 44.1 kHz",
        "(1.7 once)",
        compare(partial(stack, x), partial(plain, x), args.pairs),
    )
    yield (
        "the same, transposed / matrix product, overlap-add, 44.1 kHz",
        "",
        compare(partial(stack_back, z), partial(overlap_add, z, back), args.pairs),
    )
    short = x[..., : round(min(2.0, args.seconds) * rate)]  # at stride 1 the output of 20 s takes 0.9 GB
    positions = torch.arange((short.shape[-1] - kernel) // 110.25) * 110.25
    index = positions.long()
    fraction = (positions - index).float()

    def interpolate() -> Tensor:
        y = functional.conv1d(short, plain.weight)
        return torch.lerp(y[..., index], y[..., index + 1], fraction)

    yield (
        "a stride-1 convolution, interpolated (linearly; at most 2 s) / nn.Conv1d, 44.1 kHz",
        "(100 once)",
        compare(interpolate, partial(plain, short), max(2, args.pairs // 10), warm_up=1),
    )


def design_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Published way / ours. No gradients at a new rate; forward and backward in training, at F0, as training is."""
    count = 440 if not args.quick else 32
    for flavour in ("native", "reference"):
        ours = layers(count, "centered", design="frequency", flavour=flavour)[0]
        bank = ours.filters
        for rate in (44100, 48000):
            kernel = sizes(rate)[0]
            peer = partial(published_first, bank, kernel, rate)
            with torch.no_grad():
                if flavour == "reference" and relative_error(first_design(ours, rate), peer()) > 1e-3:
                    raise SystemExit(
                        "the published design and our reference flavour differ: no fair comparison"
                    )
                what = f"published / ours ({flavour}): first design at {rate / 1000:g} kHz"
                yield what, "≥ 8", compare(peer, partial(first_design, ours, rate), args.pairs)
        inverse = published_design.pseudo_inverse(KERNEL)  # kept from step to step, as published
        gradient = torch.randn(count, KERNEL)
        peer, again = partial(published_design.taps, bank, inverse, F0), partial(designed, ours.train(), F0)
        what = f"published / ours ({flavour}): design in a training step at 32 kHz"
        pair = (partial(with_gradient, design, bank, gradient) for design in (peer, again))
        yield f"{what}, with its gradient", "≥ 20", compare(*pair, args.pairs)
        with torch.no_grad():
            yield f"{what}, without gradient", "", compare(peer, again, args.pairs)


def designed(layer: SFIConv1d, rate: int) -> Tensor:
    """The taps of the first delay: (filters, taps)."""
    return layer.weights(rate)[0][0]


def first_design(layer: SFIConv1d, rate: int) -> Tensor:
    """The same at a rate that is new to the layer."""
    layer.train().eval()  # forgets what has been designed
    frequency_domain._kept_band.cache_clear()
    return designed(layer, rate)


def published_first(bank: AnalogFilterBank, kernel: int, rate: int) -> Tensor:
    """Pseudo-inverse and taps."""
    return published_design.taps(bank, published_design.pseudo_inverse(kernel), rate)


def with_gradient(design: Callable[[], Tensor], bank: AnalogFilterBank, gradient: Tensor) -> None:
    """A design and the gradient of the filters' parameters."""
    bank.zero_grad()
    design().backward(gradient)


def stft_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Windows that are whole numbers of samples at F, that are not, and that are not beside a power of two."""
    seconds = args.seconds if not args.quick else 0.5
    for n_fft, hop, trained, rate in (
        (4096, 1024, 44100, 22050),
        (4096, 1024, 44100, 48000),
        (2048, 512, 44100, 48000),
        (1024, 256, 16000, 22050),
        (2048, 512, 32000, 32007),
    ):
        lengths = (n_fft, hop)
        transform, inverse = (
            kind(*lengths, sample_rate=trained, bins="nyquist") for kind in (SFISTFT, SFIISTFT)
        )
        whole, whole_hop = (round(n * rate / trained) for n in lengths)
        peer = {"n_fft": whole, "hop_length": whole_hop, "window": torch.hann_window(whole)}
        x = torch.randn(2, round(seconds * rate))
        z, plain_z = transform(x, rate), torch.stft(x, **peer, return_complex=True)
        of = f"window of {n_fft * rate / trained:g} samples, {rate / 1000:g} kHz"
        forth = partial(torch.stft, x, **peer, return_complex=True)
        back = partial(torch.istft, plain_z, **peer, length=x.shape[-1])
        with torch.no_grad():
            yield (
                f"SFISTFT / torch.stft, {of}",
                "≤ 2.5",
                compare(partial(transform, x, rate), forth, args.pairs),
            )
            ours = partial(inverse, z, rate, length=x.shape[-1])
            yield f"SFIISTFT / torch.istft, {of}", "≤ 2.5", compare(ours, back, args.pairs)
            frozen = freeze(nn.ModuleList([transform, inverse]), rate) if whole > 4096 else None
            if frozen is not None:
                yield (
                    f"frozen SFISTFT / torch.stft, {of}",
                    "≤ 3",
                    compare(partial(frozen[0], x), forth, args.pairs),
                )
                yield (
                    f"frozen SFIISTFT / torch.istft, {of}",
                    "≤ 3",
                    compare(partial(frozen[1], z), back, args.pairs),
                )


def training_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Forward, backward and an Adam step of Conv-TasNet."""
    network = {"bottleneck": 64, "hidden": 128, "layers": 6, "repeats": 1}
    seconds = 2.0 if not args.quick else 0.25
    for design, options in (("time", network), ("frequency", network), ("time", {}))[
        : 1 if args.quick else 3
    ]:
        features = FILTERS if not args.quick else 32
        sfi = sfi_zoo.create(
            "convtasnet",
            latent="relu",
            features=features,
            kernel_size=KERNEL,
            stride=STRIDE,
            design=design,
            **options,
        )
        x = torch.randn(4, 1, round(seconds * F0))
        size = "small" if options else "default"
        what = f"training step, design='{design}', {size} mask network, 4 x {seconds:g} s"
        ours = training_step(sfi, x)
        for name, fast in (
            ("plain Conv-TasNet", False),
            ("the same, decoder by matrix product, overlap-add", True),
        ):
            peer = training_step(PlainConvTasNet(sfi, overlap_add=fast), x)
            yield f"SFI / {name}, {what}", "≤ 1.1", compare(ours, peer, max(2, args.pairs // 3))


def training_step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward, backward, Adam."""
    optimizer = torch.optim.Adam(model.train().parameters())

    def run() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return run


SECTIONS = {"forward": forward_rows, "design": design_rows, "stft": stft_rows, "training": training_rows}


def main() -> None:
    """Prints a table per number of threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS))
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true", help="one pair of everything, small")
    args = parser.parse_args()
    if args.quick:
        args.pairs, args.seconds, args.threads = 1, 0.25, [1]
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(f"\n{machine()}, {args.pairs} pairs\n")
        print(
            markdown_table(("first / second", "target", "ratio", "quartiles", "first, ms", "second, ms"), []),
            flush=True,
        )
        for section in args.only:
            for what, target, times in SECTIONS[section](args):
                low, high = times.quartiles
                row = [what, target, f"{times.ratio:.2f}", f"{low:.2f} ... {high:.2f}"]
                row += [f"{1e3 * t:.2f}" for t in (times.first, times.second)]
                print(markdown_row(row), flush=True)


if __name__ == "__main__":
    main()
