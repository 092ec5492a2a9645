"""The songs of the study: 5 s of each, cut from the test songs of tools/unpack_music4.py and from renders of ../shared/music/midi.

    python tools/study.py songs kept MUSIC RENDERS TREE      # TREE/test/<track>/{vocals,drums,bass,other}.wav

RENDERS is what `../shared/music/midi/render_midi.py RENDERS --seeds 2 --first-seed 900` writes (32 kHz, mono), not the one of tools/music4,
which draws in another order: seed 900 for the half kept, 901 for fresh.
"""

from pathlib import Path

import soundfile

SECONDS = 5.0
SOURCES = ("vocals", "drums", "bass", "other")
MIDDLE = None
STARTS: dict[
    str, dict[str, float | None]
] = {  # in seconds; by hand where all sources sound, or in the middle
    "chosen": {
        "EIF - Rubidium 098s": 18.5,
        "EIF - Rubidium 218s": 11.0,
        "EIF - Sodium 270s": 1.0,
        "PJS - 089": 1.5,
        "PJS - 090": 4.0,
        "PJS - 092": 7.5,
    },
    "kept": {
        "MIDI - freedoom1_D_E3M3 v900": 60.5,
        "MIDI - freedoom1_D_E3M5 v900": 59.0,
        "MIDI - freedoom2_D_COUNTD v900": 9.5,
        "MIDI - freedoom2_D_RUNNIN v900": 28.5,
        "PJS - 095": 10.5,
        "PJS - 096": 1.5,
        "PJS - 097": 2.0,
        "PJS - 099": 1.5,
    },
    "fresh": dict.fromkeys(
        (
            *("EIF - Rubidium 170s", "EIF - Sodium 178s", "EIF - Sodium 240s"),
            *(f"PJS - {n:03d}" for n in (91, 93, 94, 98, 100)),
            *(f"MIDI - freedoom1_D_E3M{n} v901" for n in (1, 2, 4, 6, 7, 8, 9)),
        ),
        MIDDLE,
    ),
}
SYNTHETIC = {"chosen": (0,), "kept": (2,), "fresh": (3, 4)}  # seeds of the songs from a formula


def cut(half: str, music: Path, renders: Path, tree: Path) -> None:
    """Writes the songs of a half that are no formula."""
    for track, start in STARTS[half].items():
        folder = (renders / "train" if track.startswith("MIDI") else music / "test") / track
        (tree / "test" / track).mkdir(parents=True, exist_ok=True)
        for source in SOURCES:
            signal, rate = soundfile.read(folder / f"{source}.wav", dtype="int16")
            length = round(SECONDS * rate)
            first = (len(signal) - length) // 2 if start is MIDDLE else round(start * rate)
            part = signal[first : first + length]
            soundfile.write(tree / "test" / track / f"{source}.wav", part, rate, subtype="PCM_16")
