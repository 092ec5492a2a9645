"""A Hub on loopback: olah serves git repositories, a proxy before it spoils answers, and the real client is pointed at that.

olah has no ranges and no statuses but 200 and 404; the proxy adds what the tests need of both.
"""

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTED_WITHIN = 300  # seconds, of a machine that others use too
LARGE = ".safetensors"


def commit(root: Path, repo_id: str, files: dict[str, bytes]) -> str:
    """Commits files to root/models/org/name, a git repository, weights as LFS; returns the commit's hash."""
    folder = root / "models" / repo_id
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    for name, content in files.items():
        stored = content
        if name.endswith(LARGE):
            oid = hashlib.sha256(content).hexdigest()
            large = folder / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
            large.parent.mkdir(parents=True, exist_ok=True)
            large.write_bytes(content)
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
            stored = pointer.encode()
        (folder / name).write_bytes(stored)
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--allow-empty", "-m", "files")
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    """What git prints, without anybody's configuration."""
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env=os.environ | nobody,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def olah(root: Path, work: Path) -> Iterator[int]:
    """olah on a free port, serving root/models/<org>/<name>; `work` is for what it writes. Yields the port."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    (work / "olah.toml").write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{work}/repos"\nmirrors-path = ["{root}"]\n'
        "[accessibility]\noffline = true\n"
    )
    command = [sys.executable, "-m", "olah.server", "-c", "olah.toml", "--log-path", "logs"]
    with (work / "output").open("wb") as output:
        server = subprocess.Popen(command, cwd=work, stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + STARTED_WITHIN
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"olah did not start: {(work / 'output').read_text()[-2000:]}")
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Fault:
    """What becomes of one answer.

    Attributes:
        status: given instead of the answer.
        headers: beside it.
        cut: bytes of the content after which the connection ends.
        hold: before it ends, this is waited for.
        flip: the first byte of the content is another.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hold: threading.Event | None = None
    flip: bool = False


@dataclass
class Request:
    """What the proxy was asked."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


class Loopback:
    """An HTTP server in a thread; a subclass has `answer`.

    Attributes:
        url: where it is.
    """

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            do_HEAD = do_POST = do_PUT = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Proxy(Loopback):
    """Passes requests on to a server, and spoils the answers to those that `spoil` names.

    Attributes:
        requests: all there were.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.requests: list[Request] = []
        self._faults: dict[tuple[str, str], list[Fault]] = defaultdict(list)
        super().__init__()

    def spoil(self, method: str, file: str, *faults: Fault) -> None:
        """The next answers to `method` for paths that end in `file`, one fault each; the last one stays if it is the only one."""
        self._faults[method, file].extend(faults)

    def clear(self) -> None:
        """No faults, no requests."""
        self._faults.clear()
        self.requests.clear()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(handler.command, handler.path, {k.lower(): v for k, v in handler.headers.items()})
        self.requests.append(request)
        fault = self._fault(request)
        if fault.status is not None:
            handler.send_response(fault.status)
            for key, value in {"Content-Length": "0", **fault.headers}.items():
                handler.send_header(key, value)
            handler.end_headers()
            return
        status, headers, content = self._pass_on(request)
        start = 0
        if status == 200 and "range" in request.headers:
            start = int(request.headers["range"].removeprefix("bytes=").split("-")[0])
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
        if fault.flip:
            content = bytes([content[0] ^ 1]) + content[1:]
        content = content[start:]
        handler.send_response(status)
        length = headers.pop("content-length", "0") if request.method == "HEAD" else str(len(content))
        for key, value in {**headers, "Content-Length": length}.items():
            handler.send_header(key, value)
        handler.end_headers()
        part = content if fault.cut is None else content[: fault.cut]
        if request.method == "GET":
            handler.wfile.write(part)
            request.sent = len(part)
        if fault.hold is not None:
            fault.hold.wait(STARTED_WITHIN)
        if fault.cut is not None:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True

    def _fault(self, request: Request) -> Fault:
        for (method, file), faults in self._faults.items():
            if request.method == method and request.path.endswith(file) and faults:
                return faults.pop(0)
        return Fault()

    def _pass_on(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)
        try:
            connection.request(request.method, request.path)
            response = connection.getresponse()
            content = response.read()
            kept = {
                "etag",
                "x-repo-commit",
                "x-error-code",
                "x-error-message",
                "content-type",
                "content-length",
            }
            headers = {k.lower(): v for k, v in response.getheaders() if k.lower() in kept}
            return response.status, headers, content
        finally:
            connection.close()
