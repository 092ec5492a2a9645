"""The loopback Hub as fixtures: `hub_root` holds its repositories, `hub_proxy` serves them, `hub_client` is the real one, pointed at it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub_recorder import TOKEN, Recorder
from tests.hub_server import Proxy, olah


@pytest.fixture(scope="session")
def hub_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="session")
def olah_port(hub_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("olah")
    with olah(hub_root, tmp_path_factory.mktemp("olah")) as port:
        yield port


@pytest.fixture(scope="session")
def _proxy(olah_port: int) -> Iterator[Proxy]:
    proxy = Proxy(olah_port)
    yield proxy
    proxy.close()


@pytest.fixture
def hub_proxy(_proxy: Proxy) -> Proxy:
    _proxy.clear()
    return _proxy


def point(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """What the environment variables do to a client that is imported after them: HF_ENDPOINT, HF_HOME, HF_HUB_DISABLE_XET."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def hub_cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub_client(hub_proxy: Proxy, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client, without its waits, which are noted in the list."""
    waits: list[float] = []
    point(monkeypatch, hub_proxy.url, hub_cache)
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def environment(url: str, home: Path, **more: str) -> dict[str, Any]:
    """That of a fresh process."""
    import os

    return os.environ | {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        **more,
    }


@pytest.fixture
def hub_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The client's uploads, with a token."""
    recorder = Recorder()
    point(monkeypatch, recorder.url, tmp_path / "recorder_cache")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield recorder
    recorder.close()
