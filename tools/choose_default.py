"""Which row of the zoo should be the default: the rule, and its table from records of `sfi-zoo score` on validation songs.

    sfi-zoo score ROW... --data VALIDATION --modes native --sample-rates 8000,11025,32000,44100 -o results
    python tools/choose_default.py results --collections "EIF*, PJS*, MIDI*"

The rule was written before any row was scored by it, and never sees a test song. With G(c) the SI-SDR improvement at F0 and L(c, F) what is
lost at F (the estimate at F0, resampled to F, less the estimate at F, in SI-SDR), both means over songs and heard sources of collection c,

    V = mean over c of G(c)  -  max(0, L(8 kHz))  -  max(0, max over F >= 11.025 kHz of L(F)),    L(F) = mean over c of L(c, F)

in dB: a decibel that is lost weighs as one that is not gained, at 8 kHz and at the worst of the other rates. The default is the row with
the highest V; rows within 0.1 dB of it are alike, and of those it is the one with the smallest share of pairs worse than the mixture, then
the one that takes the least time for a second of music at 44.1 kHz (`--speed` measures it: median of CPU times, one thread).
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.scoring.records import read_records
from sfi_zoo.metrics.scoring.rows import differences
from sfi_zoo.training.collections import patterns_of

LOW, OTHERS = 8000.0, 11025.0  # Hz: the rate that counts by itself, and from where on the worst counts
ALIKE = 0.1  # dB
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Merit:
    """What the rule looks at, of one row.

    Attributes:
        name: of the row.
        gained: collection -> G(c) in dB.
        lost: F in Hz -> L(F) in dB.
        worse: share of the pairs at F0 whose estimate is worse than the mixture.
        seconds: of CPU time for a second of music at 44.1 kHz; 0 where it was not measured.
    """

    name: str
    gained: Mapping[str, float]
    lost: Mapping[float, float]
    worse: float
    seconds: float = 0.0

    @property
    def value(self) -> float:
        """V in dB."""
        others = [lost for rate, lost in self.lost.items() if rate >= OTHERS]
        return _mean(self.gained.values()) - max(0.0, self.lost[LOW]) - max(0.0, *others)


def merit_of(records: Iterable[Record], patterns: Sequence[str], seconds: float = 0.0) -> Merit:
    """The merit of one row.

    Args:
        records: of `sfi-zoo score` in the native mode, all of one row.
        patterns: of collections, see `sfi_zoo.training.collections.patterns_of`; those without a song are left out.
        seconds: of CPU time for a second of music.

    Raises:
        InputError: a song that failed, or a rate that the rule needs was not scored.
    """
    native = [record for record in records if record["mode"] == "native"]
    if not native:
        raise InputError("no records in the native mode; score with --modes native")
    name, trained = native[0]["model"], float(native[0]["trained_rate"])
    failed = [record["track"] for record in native if "failed" in record]
    if failed:
        raise InputError(f"{name}: {failed[0]} and {len(failed) - 1} others failed; score it again")
    rates = {float(record["sample_rate"]) for record in native}
    if not {LOW, trained} <= rates or not any(rate >= OTHERS and rate != trained for rate in rates):
        wanted = f"{LOW:g}, {OTHERS:g}, {trained:g},44100"
        raise InputError(f"{name}: scored at {sorted(rates)} Hz; the rule needs --sample-rates {wanted}")
    gained: dict[str, float] = {}
    lost: dict[float, list[float]] = {rate: [] for rate in sorted(rates - {trained})}
    pairs: list[float] = []
    for pattern in patterns:
        # a song is of the first pattern that it matches
        songs = [r for r in native if next(p for p in patterns if fnmatch(r["track"], p)) == pattern]
        gains = _finite(songs, trained, "estimate", "mixture")
        if not gains:
            continue
        gained[pattern], pairs = _mean(gains), pairs + gains
        for rate, values in lost.items():
            values.append(_mean(_finite(songs, rate, "trained", "estimate")))
    if not gained:
        raise InputError(f"{name}: no song in which a source is heard")
    worse = sum(gain < 0 for gain in pairs) / len(pairs)
    return Merit(name, gained, {rate: _mean(values) for rate, values in lost.items()}, worse, seconds)


def chosen(merits: Sequence[Merit]) -> Merit:
    """The row that the rule takes."""
    best = max(merit.value for merit in merits)
    alike = [merit for merit in merits if merit.value >= best - ALIKE]
    return min(alike, key=lambda merit: (merit.worse, merit.seconds, -merit.value, merit.name))


def table(merits: Sequence[Merit]) -> str:
    """Markdown, the best first, the chosen one in bold."""
    collections, rates = list(merits[0].gained), list(merits[0].lost)
    heads = ["row", "V", *(f"gained, {c}" for c in collections), *(f"lost, {rate:g} Hz" for rate in rates)]
    heads += ["worse than the mixture", "s a second"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    winner = chosen(merits).name
    for m in sorted(merits, key=lambda m: -m.value):
        cells = [f"**{m.name}**" if m.name == winner else m.name, f"{m.value:.2f}"]
        cells += [f"{m.gained[c]:.2f}" for c in collections] + [f"{m.lost[rate]:.2f}" for rate in rates]
        cells += [f"{m.worse:.0%}", f"{m.seconds:.3f}" if m.seconds else "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speed_of(name: str, duration: float = 5.0, repeats: int = 3) -> float:
    """Seconds of CPU time for a second of mono music at 44.1 kHz on one thread: the median of some, after one that does not count."""
    import torch

    import sfi_zoo

    torch.set_num_threads(1)
    model = sfi_zoo.load(name).eval()
    waveform = torch.randn(1, 1, round(duration * 44100), generator=torch.manual_seed(0))
    times = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        model.separate(waveform, 44100)
        times.append(time.process_time() - begin)
    return statistics.median(times[1:]) / duration


def _finite(records: Iterable[Record], rate: float, plus: str, minus: str) -> list[float]:
    """Differences of SI-SDR over songs and sources; without silent references, and without those that are all that is heard."""
    return [
        x
        for record in records
        if float(record["sample_rate"]) == rate
        for x in differences(dict(record), "si_sdr", plus, minus)
        if x is not None and math.isfinite(x)
    ]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


def main() -> None:
    """The table, and the choice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of sfi-zoo score -o, on validation songs")
    parser.add_argument("--collections", default="EIF*, PJS*, MIDI*")
    parser.add_argument("--speed", action="store_true", help="measure it, where rows are alike")
    args = parser.parse_args()
    try:
        records = read_records(args.results)
        names = list(dict.fromkeys(record["model"] for record in records))
        merits = [
            merit_of(
                [record for record in records if record["model"] == name],
                patterns_of(args.collections),
                speed_of(name) if args.speed else 0.0,
            )
            for name in names
        ]
        if not merits:
            raise InputError(f"{args.results}: no records")
    except InputError as error:
        parser.error(str(error))
    print(table(merits))
    print(f"\nThe default by the rule: {chosen(merits).name}")


if __name__ == "__main__":
    main()
