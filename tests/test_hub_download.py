"""Models by Hub id, over HTTP, by the real client: whole, spoilt in every way that we know of, and offline."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import sfi_zoo
from sfi_zoo import cli, hub
from sfi_zoo.errors import InputError
from sfi_zoo.hub.folder import CONFIG, WEIGHTS
from sfi_zoo.models.base import Separator
from tests.hub_fixtures import environment
from tests.hub_server import Fault, Proxy, commit, git
from tests.tiny_separators import tiny

ID = "org/tiny"


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="session")
def model() -> Separator:
    return tiny("convtasnet")


@pytest.fixture(scope="session")
def revisions(hub_root: Path, model: Separator, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two commits of org/tiny, the first with the tag v1 and three sources, the second as `model`."""
    folder = tmp_path_factory.mktemp("tiny")
    first = commit(hub_root, ID, files(hub.save(tiny("convtasnet", sources=("a", "b", "c")), folder / "1")))
    git(hub_root / "models" / ID, "tag", "v1")
    return [first, commit(hub_root, ID, files(hub.save(model, folder / "2")))]


@pytest.fixture(autouse=True)
def served(revisions: list[str], hub_client: list[float]) -> None:
    """All tests here need both."""


def refused(name: str = ID) -> str:
    with pytest.raises(InputError) as caught:
        hub.load(name)
    said = str(caught.value)
    assert said.startswith(f"{name}: ") and "\n" not in said
    return said


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def blobs(hub_cache: Path) -> list[str]:
    """What the cache holds of contents, also unfinished."""
    return sorted(path.name for path in hub_cache.glob("models--*/blobs/*"))


def test_a_model_by_id_is_the_model(model: Separator) -> None:
    loaded = sfi_zoo.load(ID)
    assert loaded.config == model.config and not loaded.training
    x = torch.randn(1, 1, 4000)
    with torch.no_grad():
        assert torch.equal(loaded(x, 22050), model(x, 22050))


def test_only_two_files_are_fetched(hub_proxy: Proxy) -> None:
    sfi_zoo.load(ID)
    got = [request.path.rsplit("/", 1)[1] for request in hub_proxy.requests if request.method == "GET"]
    assert got == [CONFIG, WEIGHTS]


@pytest.mark.parametrize("revision", ["v1", 0, "main", 1])
def test_a_revision_is_a_branch_a_tag_or_a_commit(revision: str | int, revisions: list[str]) -> None:
    named = revisions[revision] if isinstance(revision, int) else revision
    assert len(sfi_zoo.load(f"{ID}@{named}").sources) == (3 if revision in ("v1", 0) else 2)


def test_config_and_weights_are_of_one_commit(hub_proxy: Proxy, revisions: list[str]) -> None:
    """Also where the branch moves between the two."""
    sfi_zoo.load(ID)
    (path,) = {request.path for request in hub_proxy.requests if request.path.endswith(WEIGHTS)}
    assert path == f"/{ID}/resolve/{revisions[1]}/{WEIGHTS}"


def test_what_is_cached_is_not_fetched_again(hub_proxy: Proxy) -> None:
    sfi_zoo.load(ID)
    hub_proxy.requests.clear()
    sfi_zoo.load(ID)
    assert [request.method for request in hub_proxy.requests] == ["HEAD"]


def test_an_interrupted_download_goes_on_where_it_was(
    hub_proxy: Proxy, monkeypatch: pytest.MonkeyPatch, model: Separator
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    hub_proxy.spoil("GET", WEIGHTS, Fault(cut=5000), Fault(cut=3000))
    assert sfi_zoo.load(ID).config == model.config
    first, second, third = [r for r in hub_proxy.requests if r.method == "GET" and r.path.endswith(WEIGHTS)]
    assert "range" not in first.headers
    starts = [int(r.headers["range"].removeprefix("bytes=").rstrip("-")) for r in (second, third)]
    assert 0 < starts[0] <= 5000 < starts[1] <= starts[0] + 3000
    assert third.sent == len(weights_served(hub_proxy)) - starts[1]


def test_a_process_that_is_killed_in_a_download_leaves_nothing_that_loads(
    hub_proxy: Proxy, hub_cache: Path, model: Separator
) -> None:
    hold = threading.Event()
    hub_proxy.spoil("GET", WEIGHTS, Fault(cut=4000, hold=hold))
    script = f"import huggingface_hub; huggingface_hub.hf_hub_download({ID!r}, {WEIGHTS!r})"
    variables = environment(hub_proxy.url, hub_cache.parent, HF_HUB_CACHE=str(hub_cache))
    with subprocess.Popen([sys.executable, "-c", script], env=variables) as process:
        while not any(request.sent for request in hub_proxy.requests):
            assert process.poll() is None
            threading.Event().wait(0.02)  # not time.sleep, which notes down waits here
        process.kill()
    hold.set()
    assert [name for name in blobs(hub_cache) if not name.endswith(".incomplete")] == []
    assert torch.equal(state_of(sfi_zoo.load(ID)), state_of(model))


def state_of(model: Separator) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def weights_served(hub_proxy: Proxy) -> bytes:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", hub_proxy.upstream)
    connection.request("GET", f"/{ID}/resolve/main/{WEIGHTS}")
    return connection.getresponse().read()


def test_a_download_that_breaks_again_and_again_leaves_nothing_behind(
    hub_proxy: Proxy, hub_cache: Path
) -> None:
    hub_proxy.spoil("GET", WEIGHTS, *[Fault(cut=100)] * 20)
    assert "connection to the Hub broke" in refused()
    assert [name for name in blobs(hub_cache) if name.endswith(".incomplete") or len(name) == 64] == []
    hub_proxy.clear()
    assert sfi_zoo.load(ID).sources == ("a", "b")


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_content_with_a_wrong_checksum_is_refused_and_forgotten(
    file: str, hub_proxy: Proxy, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_proxy.spoil("GET", file, Fault(flip=True))
    assert f"{file} has a wrong checksum" in refused()
    with monkeypatch.context() as still:
        offline(still)
        assert f"{file} is not cached" in refused()
    assert sfi_zoo.load(ID).sources == ("a", "b")


def test_a_cache_that_was_spoilt_later_is_noticed(hub_cache: Path) -> None:
    sfi_zoo.load(ID)
    (blob,) = [path for path in hub_cache.glob("models--*/blobs/*") if len(path.name) == 64]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert "wrong checksum" in refused()
    assert sfi_zoo.load(ID).sources == ("a", "b")


def test_an_answer_of_another_length_is_refused(hub_proxy: Proxy, hub_cache: Path) -> None:
    size = len(weights_served(hub_proxy))
    hub_proxy.spoil(
        "HEAD", WEIGHTS, Fault(status=200, headers=head_of(hub_proxy) | {"Content-Length": str(size + 1)})
    )
    assert f"{WEIGHTS} came incomplete" in refused()
    assert not [name for name in blobs(hub_cache) if len(name) == 64]


def head_of(hub_proxy: Proxy) -> dict[str, str]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", hub_proxy.upstream)
    connection.request("HEAD", f"/{ID}/resolve/main/{WEIGHTS}")
    answer = connection.getresponse()
    return {"ETag": answer.headers["etag"], "X-Repo-Commit": answer.headers["x-repo-commit"]}


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "no such repository on the Hub"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "no such revision"),
        (404, {"X-Error-Code": "EntryNotFound"}, f"has no {CONFIG}"),
        (401, {}, "hf auth login"),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            "does not accept the token",
        ),
        (403, {"X-Error-Code": "GatedRepo"}, "is gated"),
        (403, {"X-Error-Message": "no"}, "does not permit it"),
        (429, {}, "too many requests (429)"),
        (500, {}, "out of order (500)"),
        (503, {}, "out of order (503)"),
        (418, {}, "418"),
        (200, {}, "does not answer as a Hub does"),
    ],
)
def test_a_status_is_one_line_with_the_way_out(
    status: int, headers: dict[str, str], reason: str, hub_proxy: Proxy, hub_cache: Path
) -> None:
    hub_proxy.spoil("HEAD", CONFIG, *[Fault(status, headers)] * 20)
    assert reason in refused()
    assert not blobs(hub_cache)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_status_in_place_of_content_is_one_line_too(status: int, hub_proxy: Proxy, hub_cache: Path) -> None:
    hub_proxy.spoil("GET", WEIGHTS, *[Fault(status)] * 20)
    assert str(status) in refused() or status == 401
    assert not [name for name in blobs(hub_cache) if len(name) == 64]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_is_out_of_order_for_a_moment_is_asked_again(
    status: int, method: str, hub_proxy: Proxy, hub_client: list[float]
) -> None:
    hub_proxy.spoil(method, CONFIG, Fault(status), Fault(status))
    hub_proxy.spoil(method, WEIGHTS, Fault(status), Fault(status))
    assert sfi_zoo.load(ID).sources == ("a", "b")
    assert hub_client and min(hub_client) >= 1, "without a wait the Hub would be asked too much"


def test_a_hub_that_is_out_of_order_does_without_what_is_cached(hub_proxy: Proxy) -> None:
    sfi_zoo.load(ID)
    hub_proxy.spoil("HEAD", CONFIG, *[Fault(503)] * 20)
    assert sfi_zoo.load(ID).sources == ("a", "b")


def test_offline_a_cached_model_loads_and_the_hub_is_not_asked(
    hub_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sfi_zoo.load(ID)
    sfi_zoo.load(f"{ID}@v1")
    hub_proxy.requests.clear()
    offline(monkeypatch)
    assert len(sfi_zoo.load(ID).sources) == 2
    assert len(sfi_zoo.load(f"{ID}@v1").sources) == 3
    assert not hub_proxy.requests


def test_offline_and_not_cached_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    assert f"{CONFIG} is not cached and HF_HUB_OFFLINE" in refused()
    assert f"{CONFIG} is not cached" in refused(f"{ID}@v1")


def test_offline_with_half_of_a_model_says_what_is_not_there(
    hub_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_proxy.spoil("GET", WEIGHTS, Fault(404))
    refused()
    offline(monkeypatch)
    assert f"{WEIGHTS} is not cached" in refused()


@pytest.mark.parametrize("options", [{}, {"local_files_only": True}])
def test_a_forced_download_that_cannot_be_is_one_line(options: dict[str, bool], hub_proxy: Proxy) -> None:
    sfi_zoo.load(ID)
    hub_proxy.spoil("HEAD", CONFIG, *[Fault(503)] * 20)
    with pytest.raises(hub.HubError, match=f"^{ID}: (the Hub is out of order|Cannot pass)"):
        Separator.from_pretrained(ID, force_download=True, **options)


def test_an_error_of_the_xet_client_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CAS\nclient")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    assert refused() == f"{ID}: CAS client"


def test_no_server_is_one_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    nobody = "http://127.0.0.1:9"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nobody)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        nobody + "/{repo_id}/resolve/{revision}/{filename}",
    )
    assert f"the Hub cannot be reached ({nobody})" in refused()
    assert [record.getMessage() for record in caplog.records] == [
        f"{ID}: the Hub does not answer; trying again"
    ]


def test_a_cache_that_cannot_be_written_is_one_line(hub_cache: Path) -> None:
    hub_cache.write_text("a file")
    assert "cache" in refused()


@pytest.mark.parametrize("name", ["org/..", "org/a--b", "org/tiny.git", "-org/tiny"])
def test_an_id_that_is_none_is_one_line(name: str, hub_proxy: Proxy) -> None:
    assert "valid" in refused(name) or "no such repository" in refused(name)


def test_a_pickle_beside_is_never_asked_for(hub_root: Path, hub_proxy: Proxy, revisions: list[str]) -> None:
    first = json.dumps({"architecture": "convtasnet"} | tiny("convtasnet").config_dict()).encode()
    commit(hub_root, "org/pickle", {CONFIG: first, "pytorch_model.bin": b"\x80\x04."})
    refused("org/pickle")
    assert not [request for request in hub_proxy.requests if request.path.endswith(".bin")]


def test_the_command_line_says_one_line_and_ends_with_2(
    hub_proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_proxy.spoil("HEAD", CONFIG, Fault(404, {"X-Error-Code": "RepoNotFound"}))
    assert cli.main(["info", "org/none"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sfi-zoo: org/none: ") and said.count("\n") == 1 and "Traceback" not in said


def test_fresh_processes_follow_the_environment(hub_proxy: Proxy, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME, HF_TOKEN; offline with HF_HUB_OFFLINE."""

    def info(**more: str) -> str:
        command = [sys.executable, "-m", "sfi_zoo.cli", "info", f"{ID}@v1", "--json"]
        variables = environment(hub_proxy.url, tmp_path / "home", **more)
        return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout

    online = info(HF_TOKEN="hf_" + "x" * 34)
    assert json.loads(online)["sources"] == ["a", "b", "c"]
    assert {r.headers.get("authorization") for r in hub_proxy.requests} == {"Bearer hf_" + "x" * 34}
    assert (tmp_path / "home" / "hub" / "models--org--tiny").is_dir()
    hub_proxy.requests.clear()
    assert info(HF_HUB_OFFLINE="1") == online
    assert not hub_proxy.requests
