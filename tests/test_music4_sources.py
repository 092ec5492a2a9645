"""The list of what the music4 songs are made of, and the check of a folder against it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.music4.check_sources import SOURCES, checksum, problems

LIST = json.loads(SOURCES.read_text())


ENTRIES = [*LIST["sources"], *LIST["packages"], *LIST["sound_fonts"]]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_every_source_says_what_may_be_done_with_it(entry: dict[str, object]):
    assert entry["licence"] and entry["credit"] and len(str(entry["sha256"])) == 64
    assert entry.get("package") or all(str(a).startswith("https://") for a in entry["address"])


def test_the_checksum_is_of_names_and_contents(tmp_path: Path):
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "b.ogg").write_bytes(b"2")
    (tmp_path / "kit" / "a.ogg").write_bytes(b"1")
    one, two = (hashlib.sha256(x).hexdigest() for x in (b"1", b"2"))
    expected = hashlib.sha256(f"{one}  kit/a.ogg\n{two}  kit/b.ogg\n".encode()).hexdigest()
    assert checksum(tmp_path, ["kit/*"]) == (2, expected)


@pytest.mark.parametrize("change", ["content", "name", "more", "gone", "none"])
def test_a_folder_that_differs_is_told(tmp_path: Path, change: str):
    file = tmp_path / "a" / "x.ogg"
    file.parent.mkdir()
    file.write_bytes(b"x")
    count, sum_ = checksum(tmp_path, ["a/*"])
    source = {"name": "A", "files": ["a/*"], "count": count, "sha256": sum_, "address": ["https://a"]}
    if change == "content":
        file.write_bytes(b"y")
    elif change == "name":
        file.rename(file.with_name("y.ogg"))
    elif change == "more":
        (file.parent / "y.ogg").write_bytes(b"")
    elif change == "gone":
        file.unlink()
    found = problems(tmp_path, [source])
    assert len(found) == (change != "none") and all(line.startswith("A: ") for line in found)
    assert change != "gone" or "not in" in found[0]


def test_a_folder_without_the_material_is_told_in_a_line(tmp_path: Path):
    tool = SOURCES.with_name("check_sources.py")
    done = subprocess.run([sys.executable, tool, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "PJS: not in" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_without_the_packages_is_told_with_what_to_download(tmp_path: Path):
    found = problems(tmp_path, LIST["packages"])
    assert len(found) == len(LIST["packages"])
    assert all(
        f"from Debian's package {e['package']} {e['version']}" in line
        for e, line in zip(LIST["packages"], found, strict=True)
    )


def test_what_is_left_out_says_why_and_is_in_no_package_that_is_used():
    used = {entry["package"] for entry in LIST["packages"]}
    for entry in LIST["not_used"]:
        assert entry["why"] and not used & set(entry["packages"])


@pytest.mark.skipif(not Path("/work/shared/music/eif").is_dir(), reason="needs the material")
@pytest.mark.slow
def test_the_material_is_what_was_listed():
    assert problems(Path("/work/shared/music"), LIST["sources"]) == []
