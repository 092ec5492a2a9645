"""The wheel, built by way of the sdist, installed into a clean environment and used from another folder."""

import os
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


def run(*words: str | Path, folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, folder=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and sees what this one has installed."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, folder=home)
    # a path in a .pth is searched, but the .pth files there (an editable sfi_zoo among them) are not read
    (own,) = home.glob("lib/python*/site-packages")
    (own / "parent.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python.parent


def test_one_package_goes_into_site_packages(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"sfi_zoo"}
    assert {"sfi_zoo/py.typed", "sfi_zoo/models/base.py", "sfi_zoo/metrics/lee.py"} <= set(names)
    for folder in (ROOT / "hub_configs").iterdir():
        others = (folder / "source.json").exists()
        file = "source.json" if others else "model.safetensors"
        assert f"sfi_zoo/hub_configs/{folder.name}/{file}" in names
        assert not (others and f"sfi_zoo/hub_configs/{folder.name}/model.safetensors" in names)


def test_the_sdist_tells_what_changed_and_how_to_cite(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.split("/", 1)[-1] for name in file.getnames()}
    assert {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"} <= names
    assert not any(name.startswith("tests/") for name in names)


def test_it_separates_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "python",
        "-c",
        "import sfi_zoo, sfi_zoo.models, importlib.util as u;"
        "print(sfi_zoo.models.__file__, u.find_spec('models'), u.find_spec('metrics'))",
        folder=tmp_path,
    )
    assert where.startswith(str(installed.parent / "lib")) and where.endswith("None None\n")
    assert "convtasnet_naf_fd.music4" in run(installed / "sfi-zoo", "list", folder=tmp_path)
    run(installed / "sfi-zoo", "example", "song.wav", "--duration", "1", folder=tmp_path)
    run(installed / "sfi-zoo", "separate", "song.wav", "-o", "stems", folder=tmp_path)
    assert (tmp_path / "stems" / "song" / "vocals.wav").is_file()
