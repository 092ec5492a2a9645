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


def test_the_page_on_layers_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(ROOT / "docs" / "layers.md"):
        exec(compile(block, "layers.md", "exec"), names)
    assert names["change"].shape == names["latent"].shape
    assert (tmp_path / "bank.png").stat().st_size > 10_000
