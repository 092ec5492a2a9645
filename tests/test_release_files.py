"""CITATION.cff is valid, CHANGELOG.md tells of this version, and both agree with the package."""

import re
from pathlib import Path

import pytest

import sfi_zoo

ROOT = Path(__file__).parent.parent
tomllib = pytest.importorskip("tomllib")  # of Python 3.11


def test_the_citation_is_valid_and_of_this_version() -> None:
    Citation = pytest.importorskip("cffconvert").Citation
    citation = Citation((ROOT / "CITATION.cff").read_text())
    citation.validate()
    assert citation.cffobj["version"] == sfi_zoo.__version__
    papers = (ROOT / "CITATION.cff").read_text()
    for paper in ("2105.04079", "2306.10718", "116.20230082", "2506.03550", "2601.14684"):
        assert paper in papers


def test_the_changelog_is_one() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sfi_zoo.__version__ in [version for version, _ in sections]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_package_has_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == sfi_zoo.__version__


def test_the_docs_extra_is_part_of_dev() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["docs"]) <= set(extras["dev"])
