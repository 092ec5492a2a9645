"""Folders that lie at the root of a clone and belong to the package: links in it lead there, and a wheel has the folders themselves.

Clones without links (`git clone -c core.symlinks=false`, the default of Git for Windows) and zips have a file of a line in the place of
each link; there the folders at the root are taken.
"""

from pathlib import Path

PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """`models`, `metrics`, `hub_configs` or `recipes`, wherever it is.

    Raises:
        ImportError: it is not there; the message says what to do.
    """
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise ImportError(
        f"sfi_zoo at {PACKAGE} is not whole: the folder {name} is missing; pip install the wheel or a clone of the repository,"
        " or keep the folders beside sfi_zoo"
    )
