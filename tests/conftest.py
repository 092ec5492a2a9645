"""Fixtures that several files of tests share."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: the processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.half_separator import use_hub_of_half
from tests.hub_fixtures import (  # noqa: F401
    _proxy,
    hub_cache,
    hub_client,
    hub_proxy,
    hub_recorder,
    hub_root,
    olah_port,
)


@pytest.fixture
def hub_of_half(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub_of_half(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture
def mypy_cache(_mypy_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mypy finds out about torch is found out once in a session."""
    monkeypatch.setenv("MYPY_CACHE_DIR", str(_mypy_cache))
