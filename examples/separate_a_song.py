"""Separates a song, writes its stems, and says how loud each is.

    python examples/separate_a_song.py [SONG [OUT]]

Without a song of yours one is made from a formula, 22.05 kHz: the model was trained at 32 kHz and is not told so.
"""

import sys
from pathlib import Path

import soundfile
import torch

import sfi_zoo
from sfi_zoo.data.synthetic import song


def main() -> None:
    """Separate, write, print."""
    given = [Path(argument) for argument in sys.argv[1:]]
    path, out = [*given, *(Path("song.wav"), Path("stems"))[len(given) :]]
    if not path.exists():
        soundfile.write(path, sum(song(seed=1, duration=4, sample_rate=22050).values()).T, 22050)
    samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    model = sfi_zoo.load("convtasnet_mgf_gate.music4")
    stems = model.separate(torch.from_numpy(samples.T), sample_rate, progress=show)
    out.mkdir(parents=True, exist_ok=True)
    for name, stem in zip(model.sources, stems, strict=True):
        soundfile.write(out / f"{name}.wav", stem.T.numpy(), sample_rate)
        print(f"{out / name}.wav: {10 * stem.square().mean().log10():.1f} dB")


def show(done: float, total: float | None) -> None:
    """Progress, in seconds of the song."""
    print(f"{done:.1f} s of {total:.1f}" if total else f"{done:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
