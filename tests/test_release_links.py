"""A clone without links, as Git for Windows makes it, and a zip of the source unpacked by Python: everything is there all the same."""

import os
import re
import shutil
import site
import stat
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("models", "metrics", "hub_configs", "recipes")
USES_ALL = (
    "import sfi_zoo, sfi_zoo.metrics.lee, sfi_zoo.models.parts.tcn;"
    "from sfi_zoo.training.recipe import read_recipe;"
    "model = sfi_zoo.load('convtasnet_naf_fd.music4');"
    "print(len(sfi_zoo.list_models()), read_recipe('bsroformer').model['architecture'], sfi_zoo.models.__file__)"
)


def run(*words: str | Path, folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [str(w) for w in words], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files() -> list[Path]:
    """What git would put into a clone: tracked files, and new ones that it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not in a git repository")
    return [Path(name) for name in listed.stdout.split("\0") if name and os.path.lexists(ROOT / name)]


def clone(folder: Path, links: bool) -> Path:
    """A clone with `core.symlinks` true or false: without, a link is a file that holds where it leads."""
    for name in files():
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() and not links:
            target.write_text(str(source.readlink()))
        else:
            shutil.copy(source, target, follow_symlinks=False)
    return folder


def unpacked_zip(folder: Path) -> Path:
    """A zip as GitHub makes it, with links as links, unpacked by Python, which knows of none."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for name in files():
            if (ROOT / name).is_symlink():
                info = zipfile.ZipInfo(str(name))
                info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                file.writestr(info, str((ROOT / name).readlink()))
            else:
                file.write(ROOT / name, name)
    zipfile.ZipFile(archive).extractall(folder)
    return folder


@pytest.fixture(scope="module", params=["clone", "zip"])
def without_links(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "source"
    made = clone(folder, links=False) if request.param == "clone" else unpacked_zip(folder)
    assert all((made / "sfi_zoo" / name).read_text() == f"../{name}" for name in LINKED)
    return made


@pytest.fixture(scope="module")
def wheel_of_a_good_clone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    return built(clone(tmp_path_factory.mktemp("good") / "source", links=True))


def built(source: Path) -> dict[str, int]:
    """Names and checksums of the files in the wheel."""
    out = source.parent / "wheel"
    quick = ("--no-deps", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *quick, "-w", out, source, folder=out.parent)
    (wheel,) = out.glob("*.whl")
    return {
        entry.filename: entry.CRC
        for entry in zipfile.ZipFile(wheel).infolist()
        if "RECORD" not in entry.filename
    }


def environment(home: Path, source: Path, *options: str) -> Path:
    """The Python of an environment where `source` is installed, and that sees what this one has installed."""
    venv.create(home)
    python = home / "bin" / "python"
    (own,) = home.glob("lib/python*/site-packages")
    (own / "parent.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    quick = ("--no-deps", "--quiet", "--force-reinstall")
    run(sys.executable, "-m", "pip", "--python", python, "install", *quick, *options, source, folder=home)
    return python


def test_it_is_imported_where_it_lies(without_links: Path) -> None:
    count, architecture, where = run(sys.executable, "-c", USES_ALL, folder=without_links).split()
    assert int(count) > 0 and architecture == "bsroformer"
    assert Path(where) == without_links / "models" / "__init__.py"


@pytest.mark.slow
def test_its_wheel_is_that_of_a_good_clone(
    without_links: Path, wheel_of_a_good_clone: dict[str, int]
) -> None:
    assert built(without_links) == wheel_of_a_good_clone
    assert {"sfi_zoo/recipes/bsroformer.toml", "sfi_zoo/models/parts/tcn.py"} <= set(wheel_of_a_good_clone)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-e",)], ids=["install", "install -e"])
def test_it_is_installed(without_links: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    python = environment(tmp_path / "environment", without_links, *options)
    count, architecture, where = run(python, "-c", USES_ALL, folder=tmp_path).split()
    assert int(count) > 0 and architecture == "bsroformer"
    home = without_links / "models" if options else tmp_path / "environment"
    assert Path(where).is_relative_to(home)


@pytest.mark.slow
@pytest.mark.usefixtures("mypy_cache")
def test_its_tests_run_and_its_types_are_checked(without_links: Path) -> None:
    """As CONTRIBUTING.md says, where the tools are."""
    run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/test_house.py",
        "tests/test_walks.py",
        folder=without_links,
    )
    written = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (command,) = re.findall(
        r"^python (-m pip install .* --target whole \.) && cd whole && mypy (.*)$", written, re.M
    )
    run(sys.executable, *command[0].split(), folder=without_links)
    checked = run(sys.executable, "-m", "mypy", *command[1].split(), folder=without_links / "whole")
    modules = [
        name for name in files() if name.suffix == ".py" and name.parts[0] in ("sfi_zoo", "models", "metrics")
    ]
    (count,) = re.findall(r"no issues found in (\d+) source files", checked)
    assert int(count) >= len(modules)  # a folder of data counts, too


def test_what_is_not_whole_says_so(tmp_path: Path) -> None:
    for name in files():
        if name.parts[0] == "sfi_zoo" and name.suffix == ".py":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-c", "import sfi_zoo"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert (
        "ImportError: sfi_zoo at" in done.stderr
        and "the folder models is missing; pip install" in done.stderr
    )
