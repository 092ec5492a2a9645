"""Unpacks ../shared/music/pack32k into a folder of the MUSDB layout: mono, 32 kHz, 16-bit WAV, 1 GB, in less than a minute.

    python tools/unpack_music4.py ../shared/music/pack32k OUT

PACK/{train,test}/<track>.ogg has vocals, drums, bass and other as its four channels. OUT/{train,test}/<track>/ gets a file for each and
`mixture.wav`, their exact sum; OUT/mus.yaml names the validation tracks. `sfi_zoo.data` reads OUT as it is, and so does musdb:

    musdb.DB(OUT, is_wav=True, setup_file="mus.yaml", subsets="train", split="valid")
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

SOURCES = ("vocals", "drums", "bass", "other")
VALID = ("EIF - Caesium", *(f"PJS - {n:03d}" for n in range(79, 89)))  # beginnings of names


def unpack(ogg: Path, folder: Path) -> int:
    """Writes a track as five files and returns its sample rate in Hz.

    Stems are quantised before they are summed, so the mixture is exactly their sum; where it (or a stem) would clip, all are lowered
    together.
    """
    stems, rate = soundfile.read(ogg, always_2d=True)
    peak = max(np.abs(stems).max(), np.abs(stems.sum(1)).max(), 1.0)
    samples = np.round(stems.T * (2**15 - 4) / peak).astype(np.int16)  # four roundings may add up to 2
    folder.mkdir(parents=True, exist_ok=True)
    for name, signal in zip((*SOURCES, "mixture"), (*samples, samples.sum(0, dtype=np.int16)), strict=True):
        soundfile.write(folder / f"{name}.wav", signal, rate, subtype="PCM_16")
    return rate


def main() -> None:
    """Both subsets, then the setup file (JSON is YAML)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    files = sorted(args.pack.glob("*/*.ogg"))
    if not files:
        parser.error(f"{args.pack} has no train/<track>.ogg")
    rates = {unpack(ogg, args.out / ogg.parent.name / ogg.stem) for ogg in files}
    stem_ids = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}  # as musdb numbers them
    setup = {
        "sample_rate": rates.pop(),
        "sources": {name: f"{name}.wav" for name in SOURCES},
        "mixture": "mixture.wav",
        "stem_ids": stem_ids,
        "targets": {name: {name: 1} for name in SOURCES},
        "validation_tracks": [ogg.stem for ogg in files if ogg.stem.startswith(VALID)],
    }
    (args.out / "mus.yaml").write_text(json.dumps(setup, indent=2) + "\n")
    print(f"{args.out}: {len(files)} tracks, {len(setup['validation_tracks'])} of them for validation")


if __name__ == "__main__":
    main()
