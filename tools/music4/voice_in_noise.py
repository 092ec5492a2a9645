"""Voices in noise, for enhancers: the vocals of a folder of songs, and noise of a formula, as a data set of sources speech and noise.

    python tools/music4/voice_in_noise.py SONGS OUT [--subset test]

Writes OUT/<subset>/<track>/{speech,noise}.wav, mono, at the rate of the vocals; the mixture is their sum. The noise is that of a room full
of machines: its power falls by 6 dB per octave above 100 Hz, and its level moves slowly by a few dB. It lies 0, 5 or 10 dB below the voice,
in turn from song to song; seeds are the numbers of the songs, so the same songs give the same files. Songs without a voice are left out.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from sfi_zoo.data.layout import sound_files, track_folders

RATIOS = (0.0, 5.0, 10.0)  # dB, voice over noise
CORNER, LOWEST = 100.0, 20.0  # Hz
SWING, PERIOD = 3.0, 4.0  # dB and seconds of the level
SILENT = 1e-4  # root mean square of no voice
PEAK = 0.9  # of voice and noise together


def noise(samples: int, rate: float, seed: int) -> npt.NDArray[np.float64]:
    r"""Gaussian noise of power 1 / (1 + (f / 100 Hz)^2) above 20 Hz, with a level that swings by +-3 dB in 4 s. (samples,)."""
    generator = np.random.default_rng(seed)
    f = np.fft.rfftfreq(samples, 1 / rate)
    spectrum = np.fft.rfft(generator.standard_normal(samples)) / np.sqrt(1 + (f / CORNER) ** 2) * (f > LOWEST)
    swing = np.sin(2 * math.pi * (np.arange(samples) / rate / PERIOD + generator.random()))
    return np.fft.irfft(spectrum, n=samples) * 10 ** (SWING * swing / 20)


def voice_in_noise(
    voice: npt.NDArray[np.float64], rate: float, ratio: float, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Voice and noise, `ratio` dB apart, together below full scale. (samples,) each."""
    other = noise(len(voice), rate, seed)
    other *= np.sqrt(np.mean(voice**2) / np.mean(other**2)) * 10 ** (-ratio / 20)
    scale = min(1.0, PEAK / np.abs(voice + other).max())
    return voice * scale, other * scale


def main(arguments: list[str] | None = None) -> int:
    """Writes the data set; 2 where there is nothing to make it of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--subset", default="test")
    options = parser.parse_args(arguments)
    folder = options.songs / options.subset
    tracks = track_folders(folder) if folder.is_dir() else {}
    voices = {
        name: files["vocals"] for name, path in tracks.items() if "vocals" in (files := sound_files(path))
    }
    if not voices:
        print(f"{folder}: has no <track>/vocals.wav", file=sys.stderr)
        return 2
    for number, (name, path) in enumerate(voices.items()):
        voice, rate = soundfile.read(path, always_2d=True)
        mono = voice.mean(1)
        if math.sqrt(np.mean(mono**2)) < SILENT:
            print(f"{name}: no voice, left out")
            continue
        target = options.out / options.subset / name
        target.mkdir(parents=True, exist_ok=True)
        pair = voice_in_noise(mono, rate, RATIOS[number % len(RATIOS)], number)
        for source, signal in zip(("speech", "noise"), pair, strict=True):
            soundfile.write(target / f"{source}.wav", signal, rate, subtype="PCM_16")
    return 0


if __name__ == "__main__":
    sys.exit(main())
