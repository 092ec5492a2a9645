"""Collections: parts of a data set that differ in kind, told apart by the names of their tracks.

Sampling with a temperature T draws collection c with the probability

    p_c = l_c^T / sum_d l_d^T,    l_c: seconds of music in c

and a track of it in proportion to its length: T = 1 is proportional to length throughout, T = 0 gives every collection the same share.
Source: Arivazhagan et al., arXiv:1907.05019, who balance languages so.
"""

import fnmatch
from collections import defaultdict
from collections.abc import Sequence

from sfi_zoo.data.tracks import Track
from sfi_zoo.errors import InputError

REST = "*"


def patterns_of(text: str) -> tuple[str, ...]:
    """The shell patterns in "EIF*, PJS*"; what none of them matches is the last collection, "*".

    Raises:
        InputError: an empty pattern, or one that comes twice.
    """
    patterns = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    if "" in patterns or len(set(patterns)) < len(patterns):
        raise InputError(f'[data] collections must be distinct patterns such as "EIF*, PJS*", got {text!r}')
    return patterns if REST in patterns else (*patterns, REST)


def by_collection(tracks: Sequence[Track], patterns: Sequence[str]) -> dict[str, list[Track]]:
    """Tracks under the first pattern that their name matches; collections without a track are left out."""
    found: dict[str, list[Track]] = {pattern: [] for pattern in patterns}
    for track in tracks:
        found[next(p for p in patterns if fnmatch.fnmatch(track.name, p))].append(track)
    return {pattern: members for pattern, members in found.items() if members}


def track_shares(tracks: Sequence[Track], patterns: Sequence[str], temperature: float) -> list[float]:
    """With what probability each track is drawn; they sum to one."""
    seconds: defaultdict[str, float] = defaultdict(float)
    home: dict[int, str] = {}
    for pattern, members in by_collection(tracks, patterns).items():
        for track in members:
            home[id(track)] = pattern
            seconds[pattern] += track.frames / track.sample_rate
    total = sum(length**temperature for length in seconds.values())
    return [seconds[home[id(t)]] ** (temperature - 1) / total * t.frames / t.sample_rate for t in tracks]
