"""Checks a folder of the music4 material against the checksums of `sources.json`.

    python tools/music4/check_sources.py MATERIAL
    python tools/music4/check_sources.py --packages FOLDER

Each source names its address, commit, licence and credit, and has one checksum over its files: SHA-256 of the lines
"<SHA-256 of the file>  <path in the folder>", in the order of the paths. FOLDER has packages of Debian, each unpacked into a folder of its
name; a source there names its package and version instead of an address.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).with_name("sources.json")


def checksum(root: Path, patterns: list[str]) -> tuple[int, str]:
    """How many files match, and the checksum over them."""
    paths = sorted(p for pattern in patterns for p in root.glob(pattern) if p.is_file())
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(root).as_posix()}\n" for p in paths
    ]
    return len(paths), hashlib.sha256("".join(lines).encode()).hexdigest()


def problems(root: Path, sources: list[dict[str, Any]]) -> list[str]:
    """What differs, one line each."""
    found = []
    for source in sources:
        count, sum_ = checksum(root, source["files"])
        if not count:
            origin = source.get("address") or f"Debian's package {source['package']} {source['version']}"
            found.append(f"{source['name']}: not in {root}; from {origin}")
        elif (count, sum_) != (source["count"], source["sha256"]):
            found.append(
                f"{source['name']}: {count} files with checksum {sum_[:12]}, not {source['count']} with {source['sha256'][:12]}"
            )
    return found


def main() -> None:
    """Says for each source whether it is whole."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path)
    parser.add_argument("--packages", action="store_true", help="the folder has unpacked packages of Debian")
    args = parser.parse_args()
    sources = json.loads(SOURCES.read_text())["packages" if args.packages else "sources"]
    found = problems(args.material, sources)
    if found:
        parser.error("; ".join(found))
    print(f"{args.material}: {len(sources)} sources, whole")


if __name__ == "__main__":
    main()
