"""Every Python block of the README and of docs/ runs; the blocks of a page in docs/ follow each other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


README = blocks(ROOT / "README.md")


@pytest.mark.parametrize("block", README, ids=[block.splitlines()[-1][:40] for block in README])
def test_block_of_the_readme_runs(block):
    exec(compile(block, "README.md", "exec"), {})


def test_there_are_blocks():
    assert len(README) >= 3


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_lines_of_prose_are_160_characters_at_most(page):
    prose = re.sub(
        r"```.*?```", lambda block: "\n" * block[0].count("\n"), page.read_text("utf-8"), flags=re.DOTALL
    )
    long = [n for n, line in enumerate(prose.splitlines(), 1) if len(line) > 160 and not line.startswith("|")]
    assert not long, f"{page.name}: lines {long}"


def test_the_readme_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_the_page_on_layers_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(ROOT / "docs" / "layers.md"):
        exec(compile(block, "layers.md", "exec"), names)
    assert names["change"].shape == names["latent"].shape
    assert (tmp_path / "bank.png").stat().st_size > 10_000
