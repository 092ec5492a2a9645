"""The page on a disk and a machine that others use: what it keeps is bounded, uploads end, a start that is not answered is tried again."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from sfi_zoo import InputError
from sfi_zoo.demo.keeping import AGE, FRESH, UploadsEnd, keep_sweeping, sweep

HOUR = 3600.0


def thing(folder: Path, name: str, size: int, changed: float) -> Path:
    """A separation: a folder with a stem."""
    (folder / name / "song").mkdir(parents=True)
    (folder / name / "song" / "stem.wav").write_bytes(bytes(size))
    for path in (folder / name / "song" / "stem.wav", folder / name / "song", folder / name):
        os.utime(path, (changed, changed))
    return folder / name


def test_what_is_old_goes_and_the_oldest_of_what_is_too_much(tmp_path: Path) -> None:
    now = 1e9
    old, older, newer, fresh = (
        thing(tmp_path, name, 1000, now - ago)
        for name, ago in (("old", AGE + 1), ("older", 300), ("newer", 200), ("fresh", FRESH / 2))
    )
    (tmp_path / "file").write_bytes(bytes(1000))
    os.utime(tmp_path / "file", (now - AGE - 1, now - AGE - 1))
    sweep(tmp_path, now=now)
    assert sorted(tmp_path.iterdir()) == sorted([older, newer, fresh]) and not old.exists()
    room = sum(path.lstat().st_size for path in tmp_path.rglob("*")) - 1
    sweep(tmp_path, most_bytes=room, now=now)
    assert sorted(tmp_path.iterdir()) == sorted([newer, fresh])
    sweep(tmp_path, most_bytes=0, now=now)
    assert list(tmp_path.iterdir()) == [fresh]


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    now = 1e9
    work = thing(tmp_path, "work", 10, now - 300)
    (work / ".sfi-zoo-0123456789ab.partial").mkdir()
    os.utime(work, (now - 300, now - 300))
    os.utime(work / ".sfi-zoo-0123456789ab.partial", (now - 300, now - 300))
    sweep(tmp_path, most_bytes=0, now=now)
    assert work.exists()
    sweep(tmp_path, most_bytes=0, now=now + AGE)
    assert not work.exists()


def test_a_day_of_the_page_takes_no_more_than_its_last_hour(tmp_path: Path) -> None:
    """24 h in simulated time, a separation every five minutes: 288 of them, of which an hour holds 13."""
    kept = []
    for minute in range(0, 24 * 60, 5):
        now = 1e9 + 60 * minute
        thing(tmp_path, f"song {minute}", 1000, now)
        sweep(tmp_path, age=HOUR, most_bytes=10**9, now=now)
        kept.append(len(list(tmp_path.iterdir())))
    assert max(kept) == 13 and set(kept[13:]) == {13}
    kept.clear()
    for minute in range(24 * 60, 25 * 60, 5):
        now = 1e9 + 60 * minute
        thing(tmp_path, f"song {minute}", 1000, now)
        sweep(tmp_path, age=HOUR, most_bytes=100_000, now=now)
        kept.append(sum(path.lstat().st_size for path in tmp_path.rglob("*")))
    assert max(kept) <= 100_000 < 13 * (max(kept) // len(list(tmp_path.iterdir())))


def test_the_thread_sweeps_and_ends(tmp_path: Path) -> None:
    old = thing(tmp_path, "old", 10, 1.0)
    end = keep_sweeping(tmp_path, every=0.01)
    while old.exists():
        pass
    end.set()


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    mine = thing(tmp_path, "mine", 10, 1.0)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "link").symlink_to(mine)
    sweep(tmp_path / "kept", age=-1)
    assert mine.exists() and list((tmp_path / "kept").iterdir()) == []


def answered(path: str, seconds: float, began: bool = False) -> list[dict[str, Any]]:
    """What is sent to who uploads without end."""
    sent: list[dict[str, Any]] = []

    async def endless(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await asyncio.sleep(0.01)
        await send({"type": "done"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(UploadsEnd(endless, seconds)({"type": "http", "path": path}, None, send))
    return sent


def test_an_upload_without_end_is_let_go() -> None:
    assert [message.get("status") for message in answered("/gradio_api/upload", 0.05)] == [408, None]
    assert [message.get("status") for message in answered("/gradio_api/upload", 0.05, began=True)] == [200]
    assert answered("/gradio_api/upload", 60)[-1] == {"type": "done"}
    assert answered("/gradio_api/queue", 0.05)[-1] == {"type": "done"}


@pytest.mark.parametrize("failures", [1, 99])
def test_a_start_that_is_not_answered_is_tried_again(
    failures: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    gradio = pytest.importorskip("gradio")
    from sfi_zoo.demo.app import started

    with gradio.Blocks() as blocks:
        gradio.Markdown("x")
    answers = iter([False] * failures + [True] * 9)
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: next(answers))
    try:
        if failures == 1:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", started(blocks, "127.0.0.1", None, False))
        else:
            with pytest.raises(InputError, match=r"does not answer on this machine.*tried 3 times") as caught:
                started(blocks, "127.0.0.1", None, False)
            assert "\n" not in str(caught.value)
    finally:
        blocks.close(verbose=False)
    assert capsys.readouterr().err.count("another try\n") == min(failures, 2)
