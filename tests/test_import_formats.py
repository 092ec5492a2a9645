"""What can be imported is written in one place; docs, help and messages say it all."""

from pathlib import Path

import pytest
import torch

import sfi_zoo.importers
from sfi_zoo import cli
from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint
from sfi_zoo.importers.formats import FORMATS, listed, named, table
from tests.pages import DOCS


def test_every_importer_is_of_one_format() -> None:
    folder = Path(sfi_zoo.importers.__file__).parent
    importers = {
        file.stem
        for file in folder.glob("*.py")
        if "def convert(" in file.read_text() or "def convert_folder(" in file.read_text()
    }
    assert sorted(name for format in FORMATS for name in format.modules) == sorted(importers)


def test_the_docs_have_the_table() -> None:
    assert table() in (DOCS / "import.md").read_text()


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["import", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for format in FORMATS:
        assert named(format).replace("`", "") in said


def test_a_file_of_no_format_is_told_all_of_them(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(InputError) as caught:
        import_checkpoint(tmp_path / "x.pt", tmp_path / "out")
    assert listed() in str(caught.value)
    assert "\n" not in str(caught.value)
