"""Fresh processes that load one model by id at the same time, into one cache that is empty."""

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch

from sfi_zoo import hub
from sfi_zoo.hub.folder import WEIGHTS
from tests.hub_fixtures import environment
from tests.hub_server import Fault, Proxy, commit
from tests.tiny_separators import tiny

PROCESSES = 3
# loads every id that it is told, and answers with a digest of the weights
LOADER = """
import hashlib, sys, safetensors.torch, sfi_zoo
print("ready", flush=True)
for line in sys.stdin:
    weights = safetensors.torch.save(sfi_zoo.load(line.strip()).state_dict())
    print(hashlib.sha256(weights).hexdigest(), flush=True)
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Repository:
    """A model on the Hub: its id, its one commit, and the digest of its weights."""

    name: str
    revision: str
    digest: str


@pytest.fixture(scope="session")
def repositories(hub_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Repository]:
    made = []
    for count in (2, 3, 4):
        name = f"org/sources{count}"
        model = tiny("convtasnet", sources=tuple(f"s{number}" for number in range(count)))
        folder = hub.save(model, tmp_path_factory.mktemp("shared") / "model")
        revision = commit(hub_root, name, {file.name: file.read_bytes() for file in folder.iterdir()})
        digest = hashlib.sha256(safetensors.torch.save(model.state_dict())).hexdigest()
        made.append(Repository(name, revision, digest))
    return made


class Loader:
    """A fresh process that loads what it is asked for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, name: str) -> None:
        print(name, file=self.process.stdin, flush=True)

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def loader(variables: dict[str, str]) -> Iterator[Loader]:
    """One that is ready."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", LOADER]
    with subprocess.Popen(command, env=variables, text=True, stdin=pipe, stdout=pipe) as process:
        started = Loader(process)
        assert started.answer() == "ready"
        yield started


def asked(proxy: Proxy, method: str, path: str) -> int:
    """How often, until now."""
    return sum(request.method == method and request.path.endswith(path) for request in proxy.requests)


def test_processes_that_load_one_model_at_once_share_a_whole_cache(
    repositories: list[Repository], hub_proxy: Proxy, tmp_path: Path
) -> None:
    variables = environment(hub_proxy.url, tmp_path / "home")
    weights = [f"{repository.revision}/{WEIGHTS}" for repository in repositories]
    hold = threading.Event()  # the first download breaks off in its middle, when all have come to it
    hub_proxy.spoil("GET", weights[0], Fault(cut=5000, hold=hold))
    with ExitStack() as running:
        loaders = [running.enter_context(loader(variables)) for _ in range(PROCESSES)]
        for repository in repositories:
            for each in loaders:
                each.ask(repository.name)
            while repository is repositories[0] and asked(hub_proxy, "HEAD", weights[0]) < PROCESSES:
                assert all(each.process.poll() is None for each in loaders)
                time.sleep(0.02)
            hold.set()
            assert [each.answer() for each in loaders] == [repository.digest] * PROCESSES
    assert [asked(hub_proxy, "GET", path) for path in weights] == [2, 1, 1], (
        "fetched once, the first in two parts"
    )

    stored = [path for path in (tmp_path / "home" / "hub").glob("models--*/blobs/*") if path.is_file()]
    assert len(stored) == 2 * len(repositories), "config and weights, nothing unfinished"
    for path in (path for path in stored if len(path.name) == 64):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name

    hub_proxy.requests.clear()
    with loader(variables | {"HF_HUB_OFFLINE": "1"}) as alone:
        for repository in repositories:
            alone.ask(repository.name)
            assert alone.answer() == repository.digest
    assert not hub_proxy.requests
