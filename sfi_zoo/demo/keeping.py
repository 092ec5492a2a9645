"""What the page keeps on the disk: uploads and stems, each until it is old, or until all take too much; and uploads that never end."""

import asyncio
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfi_zoo.whole_files import NAME

AGE = 3600.0  # seconds that a file stays
MOST_BYTES = 4 * 2**30  # of all
FRESH = 60.0  # seconds that it stays in any case: somebody is about to hear it
EVERY = 60.0  # seconds between two sweeps
UPLOAD_SECONDS = 600.0  # that one upload may take


def sweep(folder: Path, age: float = AGE, most_bytes: int = MOST_BYTES, now: float | None = None) -> None:
    """Removes what is old; then, while the rest takes too much space, the oldest of it.

    Args:
        folder: of the page; each thing in it, a file or a folder, stays or goes as a whole, and is as old as the last change in it.
        age: in seconds, from which it goes.
        most_bytes: that all may take; what has changed within `FRESH`, or is being written, stays in any case.
        now: in seconds since the epoch; the present when omitted.
    """
    now = time.time() if now is None else now
    things = sorted((_last_change(path), str(path), path) for path in folder.iterdir())
    sizes = {path: _bytes(path) for _, _, path in things}
    total = sum(sizes.values())
    for changed, _, path in things:
        if now - changed > age or (total > most_bytes and now - changed > FRESH and not _in_use(path)):
            total -= sizes[path]
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def keep_sweeping(folder: Path, every: float = EVERY) -> threading.Event:
    """Sweeps a folder now and then, in a thread that ends with the process, or when the event is set."""
    end = threading.Event()

    def run() -> None:
        while not end.wait(every):
            with suppress(OSError):
                sweep(folder)

    threading.Thread(target=run, name="sfi-zoo-sweep", daemon=True).start()
    return end


class UploadsEnd:
    """An ASGI application around another: an upload that takes longer than `seconds` is answered with 408, and let go."""

    def __init__(self, app: Callable[..., Awaitable[None]], seconds: float = UPLOAD_SECONDS) -> None:
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Handles one request."""
        if scope["type"] != "http" or not scope["path"].endswith("/upload"):
            await self.app(scope, receive, send)
            return
        began = False

        async def sending(message: dict[str, Any]) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await asyncio.wait_for(self.app(scope, receive, sending), self.seconds)
        except asyncio.TimeoutError:
            if not began:
                text = f"an upload may take {self.seconds:g} s".encode()
                head = [(b"content-type", b"text/plain"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 408, "headers": head})
                await send({"type": "http.response.body", "body": text})


def _in_use(path: Path) -> bool:
    """Whether stems in it are not finished."""
    return any(NAME.fullmatch(place.name) for place in path.rglob(".sfi-zoo-*"))


def _last_change(path: Path) -> float:
    changed = 0.0
    for place in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        with suppress(OSError):
            changed = max(changed, place.lstat().st_mtime)
    return changed


def _bytes(path: Path) -> int:
    size = 0
    for place in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        with suppress(OSError):
            size += place.lstat().st_size
    return size
