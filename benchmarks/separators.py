"""Separators beside their peers, one run side by side: real-time factors, sampling frequencies, modes, and peak memory.

    python benchmarks/separators.py [--only peers rates memory] [--threads 2] [--pairs 9] [--seconds 8]

peers:   ours against the packages that others use, with the same sizes and parameter counts, and against the published way to run the
         grouped SFI Conv-TasNet. Ratio of times ours / theirs, or theirs / ours where the target is a speed-up.
rates:   Conv-TasNet at 8 kHz against 48 kHz (whole, and its mask network alone), and native against resample mode at each rate.
memory:  peak resident set of `separate` on a stereo file of 10 minutes at 44.1 kHz, each architecture in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from published_design import pseudo_inverse, taps
from report import machine, relative_error
from timing import Comparison, compare
from torch import Tensor, nn
from torch.nn import functional

import sfi_zoo
from sfi_zoo.filters import ModulatedGaussian
from sfi_zoo.models.adaptation import Adapted
from sfi_zoo.models.base import Separator
from sfi_zoo.models.conv_tasnet import ConvTasNet
from sfi_zoo.wording import markdown_table

FOUR = ("vocals", "drums", "bass", "other")
MEMORY_LIMIT_GB = 1.5
Row = tuple[str, str, str, str]


def row(name: str, target: str, result: Comparison, inverse: bool = False) -> Row:
    """One line of a table; `inverse`: second / first, a speed-up."""
    low, high = result.quartiles
    ratio, low, high = (1 / result.ratio, 1 / high, 1 / low) if inverse else (result.ratio, low, high)
    times = f"{result.first * 1e3:.0f} / {result.second * 1e3:.0f} ms"
    return name, target, f"{ratio:.2f} ({low:.2f} ... {high:.2f})", times


def noise(seconds: float, rate: int, channels: int = 1) -> Tensor:
    return 0.1 * torch.randn(1, channels, round(seconds * rate), generator=torch.Generator().manual_seed(0))


def running(model: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    def run() -> Any:
        with torch.inference_mode():
            return model(*arguments)

    return run


def same_size(ours: nn.Module, theirs: nn.Module) -> None:
    """Raises SystemExit where the numbers of parameters differ: then times are not comparable."""
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    if counts[0] != counts[1]:
        raise SystemExit(f"not of the same size: {counts[0]} and {counts[1]} parameters")


def plain_tasnet(quick: bool, **settings: Any) -> ConvTasNet:
    """The paper's network with learned kernels, 2 ms at 32 kHz."""
    plain = {"latent": "linear", "filters": "interpolated", "kernel_size": 64, "stride": 32, "padding": 32}
    plain |= {"features": 512, "bottleneck": 128, "hidden": 512, "layers": 8, "repeats": 3, "mask": "sigmoid"}
    plain |= {"bias": True, "residual_bias": True, "dense_norms": False, "last_residual": False}
    if quick:
        plain |= {"features": 32, "hidden": 32, "repeats": 1}
    model: ConvTasNet = sfi_zoo.create(
        "convtasnet", sources=FOUR, sample_rate=32000, **plain | settings
    ).eval()
    return model


def torchaudio_peer(args: argparse.Namespace) -> Row:
    import torchaudio

    ours, c = plain_tasnet(args.quick), plain_tasnet(args.quick).config
    theirs = torchaudio.models.ConvTasNet(
        num_sources=4,
        enc_kernel_size=c.kernel_size,
        enc_num_feats=c.features,
        msk_num_hidden_feats=c.hidden,
        msk_num_stacks=c.repeats,
    ).eval()
    same_size(ours, theirs)
    x = noise(args.seconds, 32000)
    result = compare(running(ours, x, 32000), running(theirs, x), args.pairs)
    return row("Conv-TasNet at 32 kHz / torchaudio's", "≤ 1.0", result)


def asteroid_peer(args: argparse.Namespace) -> Row:
    """Asteroid's has a ReLU after the encoder, biases in no encoder, and skip connections."""
    name = "Conv-TasNet at 32 kHz / asteroid's"
    try:
        from asteroid.models import ConvTasNet as Theirs
    except ImportError:
        return name, "≤ 1.0", "not measured", "asteroid is not installed"
    ours = plain_tasnet(args.quick, latent="relu", padding=0, mask="relu")
    c = ours.config
    theirs = Theirs(
        n_src=4, n_filters=c.features, kernel_size=64, stride=32, hid_chan=c.hidden, bn_chan=128, skip_chan=128,
        n_blocks=8, n_repeats=c.repeats, mask_act="relu", sample_rate=32000,
    ).eval()  # fmt: skip
    x = noise(args.seconds, 32000)
    result = compare(running(ours, x, 32000), running(theirs, x[:, 0]), args.pairs)
    return row(name, "≤ 1.0", result)


def open_unmix_peer(args: argparse.Namespace) -> Row:
    name = "Open-Unmix at 44.1 kHz, stereo / openunmix's"
    try:
        from openunmix import model as theirs
    except ImportError:
        return name, "≤ 1.0", "not measured", "openunmix is not installed"
    hidden = 32 if args.quick else 512
    ours: Separator = sfi_zoo.create("openunmix", sources=FOUR, channels=2, hidden=hidden).eval()
    options = {"nb_bins": 2049, "nb_channels": 2, "hidden_size": hidden, "max_bin": ours.config.seen_bins}
    targets = {source: theirs.OpenUnmix(**options) for source in FOUR}
    peer = theirs.Separator(targets, niter=0, n_fft=4096, n_hop=1024).eval()
    x = noise(args.seconds, 44100, 2)
    result = compare(running(ours, x, 44100), running(peer, x), args.pairs)
    return row(name, "≤ 1.0", result)


class PublishedWay(nn.Module):
    """The grouped SFI Conv-TasNet as published runs it, written from its description.

    At every call the kernels are designed anew, the latent of the mixture is expanded to a copy for each source, and the grouped mask
    network, here with the layers of torch, sees the copies.

    Args:
        model: sets all sizes; its weights are shared.
    """

    def __init__(self, model: ConvTasNet) -> None:
        super().__init__()
        self.model, self.masker = model, model.masker
        self.inverse = {
            rate: pseudo_inverse(model.config.kernel_size * rate // 32000) for rate in (8000, 32000)
        }

    def forward(self, waveform: Tensor, rate: int) -> Tensor:
        """(1, 1, time) -> (sources, 1, time)."""
        c = self.model.config
        stride = c.stride * rate // c.sample_rate
        padding = (c.kernel_size - c.stride) * rate // c.sample_rate // 2
        analysis, synthesis = (
            taps(layer.filters, self.inverse[rate], rate)[:, None]
            for layer in (self.model.encoder, self.model.decoder)
        )
        z = functional.conv1d(waveform, analysis, stride=stride, padding=padding).relu()
        z = z.expand(len(c.sources), -1, -1).contiguous()
        m = self.masker
        x = m.norm_1(m.prelu_1(z).flatten(0, 1)[None])
        x = m.norm_2(m.prelu_2(convolved(m.bottleneck, x)))
        total: Tensor | float = 0.0
        for block in m.blocks:
            h = block.norm_1(block.prelu_1(convolved(block.expand, x)))
            h = block.norm_2(block.prelu_2(block.depthwise(h)))
            x = x + convolved(block.residual, h)
            total = total + convolved(block.skip, h)
        scores = m.norm_4(m.prelu_4(convolved(m.output, m.norm_3(m.prelu_3(total)))))
        masks = scores.unflatten(1, (len(c.sources), -1)).softmax(1)
        return functional.conv_transpose1d(masks[0] * z, synthesis, stride=stride, padding=padding)


def convolved(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer of the mask network as `nn.Conv1d` runs it."""
    return nn.Conv1d.forward(layer, x)


def published_peer(args: argparse.Namespace) -> Iterator[Row]:
    """The published size: 440 filters of 5 ms, 4,315,628 parameters."""
    sizes = {"features": 440, "bottleneck": 160, "hidden": 160, "layers": 6, "repeats": 2, "norm_groups": 8}
    if args.quick:
        sizes |= {"features": 16, "bottleneck": 8, "hidden": 8, "layers": 2}
    published = {"kernel_size": 160, "stride": 80, "branches": 4, "latent": "relu"}
    published |= {"design": "frequency", "flavour": "reference"}
    ours: ConvTasNet = sfi_zoo.create(
        "convtasnet", sources=FOUR, sample_rate=32000, **published | sizes
    ).eval()
    assert isinstance(ours.encoder.filters, ModulatedGaussian)
    count = sum(p.numel() for p in ours.parameters())
    theirs = PublishedWay(ours)
    for rate in (32000, 8000):
        x = noise(args.seconds, rate)
        a, b = running(ours, x, rate)()[0], running(theirs, x, rate)()
        error = relative_error(a[..., : b.shape[-1]], b)
        if error > 1e-2:
            raise SystemExit(f"the published way gives something else at {rate} Hz: {error:.1e}")
        result = compare(running(ours, x, rate), running(theirs, x, rate), args.pairs)
        name = f"published way / grouped SFI Conv-TasNet, {count:,} parameters, {rate // 1000} kHz"
        yield row(name, "≥ 1.2", result, inverse=True)


def peers(args: argparse.Namespace) -> None:
    rows = [torchaudio_peer(args), asteroid_peer(args), open_unmix_peer(args), *published_peer(args)]
    print("\n" + markdown_table(["pair", "target", "ratio (quartiles)", "times"], rows))


def rates(args: argparse.Namespace) -> None:
    model = plain_tasnet(args.quick, kernel_size=80, stride=40, padding=None)
    slow, fast = noise(args.seconds, 8000), noise(args.seconds, 48000)
    whole = compare(running(model, slow, 8000), running(model, fast, 48000), args.pairs)
    with torch.inference_mode():
        latents = [model.encode(slow, 8000), model.encode(fast, 48000)]
    network = compare(*(running(model.predict_masks, latent) for latent in latents), args.pairs)
    rows = [
        row("8 kHz / 48 kHz without encoder and decoder", "0.85 ... 1.15", network),
        row("8 kHz / 48 kHz, all of it", "", whole),
    ]
    for rate in (8000, 16000, 44100, 48000):
        x = noise(args.seconds, rate)
        resampling = Adapted(model, "resample")
        result = compare(running(model, x, rate), running(resampling, x, rate), args.pairs)
        rows.append(row(f"native / resample, {rate / 1000:g} kHz", "under 1.0", result))
    print("\n" + markdown_table(["pair", "target", "ratio (quartiles)", "times"], rows))


SMALL: dict[str, dict[str, Any]] = {
    name: {} for name in ("convtasnet", "sudormrf", "bsrnn", "bsroformer", "openunmix")
}


def memory(args: argparse.Namespace) -> None:
    rows = []
    for name in SMALL:
        seconds = 1 if args.quick else 600
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            "--file-seconds",
            str(seconds),
            "--threads",
            str(args.threads),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        count, peak, took = map(float, done.stdout.split())
        rows.append(
            (name, f"{int(count):,}", f"≤ {MEMORY_LIMIT_GB} GB", f"{peak:.2f} GB", f"{took / seconds:.2f}")
        )
    print(
        "\n"
        + markdown_table(
            [
                "architecture, its default size",
                "parameters",
                "target",
                "peak resident set",
                "real-time factor",
            ],
            rows,
        )
    )


def one(name: str, seconds: int) -> None:
    """In a process of its own: parameters, peak resident set in GB, and seconds it took."""
    import time

    import numpy as np
    import soundfile

    from sfi_zoo.separation.files import separate_file

    torch.manual_seed(0)
    model = sfi_zoo.create(name, **SMALL[name]).eval()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.wav"
        with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as sound:
            for _ in range(seconds):
                sound.write(rng.uniform(-0.3, 0.3, (44100, 2)))
        begin = time.perf_counter()
        separate_file(model, path, Path(folder) / "out")
        took = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(sum(p.numel() for p in model.parameters()), peak / 1e9, took)


PARTS = {"peers": peers, "rates": rates, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="of signal")
    parser.add_argument("--quick", action="store_true", help="everything once, small: to see that it runs")
    parser.add_argument("--one", choices=SMALL, help=argparse.SUPPRESS)
    parser.add_argument("--file-seconds", type=int, default=600, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        one(args.one, args.file_seconds)
        return
    if args.quick:
        args.pairs, args.seconds = 1, 0.5
    torch.manual_seed(0)
    for part in args.only:
        PARTS[part](args)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
