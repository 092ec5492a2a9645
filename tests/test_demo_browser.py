"""The page, `sfi-zoo demo`, in a browser: Debian's chromium, without which these tests are skipped."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from sfi_zoo import cli
from tests.hub_server import free_port

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
PATIENCE = 120_000  # ms for each wait: CI machines are shared
RATE, SECONDS = 22050, 2
SOURCES = ("vocals", "drums", "bass", "other")
PICTURES = os.environ.get(
    "SFI_ZOO_DEMO_PICTURES"
)  # a folder, docs for instance, that gets a picture of each tab

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs chromium: apt-get install chromium")


@dataclass
class Server:
    """`sfi-zoo demo` in a process of its own."""

    process: subprocess.Popen
    url: str
    errors: Path  # its standard error
    temporary: Path  # its TMPDIR

    def our_tracebacks(self) -> list[str]:
        """Those through our code. One of gradio's own queue ("... iteration") came once on a busy machine; the page went on."""
        _, *found = self.errors.read_text().split("Traceback (most recent call last):")
        return [text for text in found if "/sfi_zoo/" in text]


@dataclass(eq=False)
class Watched:
    """The page in a tab of the browser, and what happened there."""

    page: Any
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def separate(self) -> None:
        self.page.get_by_role("button", name="Separate", exact=True).click()

    def drop(self, song: Path) -> None:
        """Puts a song in the place of the one that is there."""
        clear = self.page.locator("#song").get_by_label("Clear")
        if clear.count():
            clear.click()
        self.page.locator("#song input[type=file]").set_input_files(song)
        self.page.locator("#song").get_by_label("Clear").wait_for()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("demo")
    temporary = folder / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "sfi_zoo.cli", "demo", "--port", str(free_port())]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url.endswith(f":{command[-1]}/"), (folder / "errors").read_text()
        yield Server(process, url, folder / "errors", temporary)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    heard = tmp_path_factory.mktemp("microphone") / "noise.wav"  # without a pause: any part of it will do
    soundfile.write(heard, 0.1 * np.random.default_rng(0).standard_normal(48000), 48000)
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=[*FLAGS, f"--use-file-for-fake-audio-capture={heard}"],
            viewport={"width": 1400, "height": 1000},
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture
def tab(server: Server, browser: Any) -> Iterator[Watched]:
    yield from opened(server, browser)


@pytest.fixture
def another_tab(server: Server, browser: Any) -> Iterator[Watched]:
    yield from opened(server, browser)


def opened(server: Server, browser: Any) -> Iterator[Watched]:
    page = browser.new_page()
    watched = Watched(page)
    page.on("console", lambda m: watched.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("request", lambda request: watched.hosts.add(urlsplit(request.url).hostname or "127.0.0.1"))
    page.goto(server.url)
    page.get_by_role("button", name="Separate", exact=True).wait_for()
    yield watched
    page.close()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    assert cli.main(["example", str(path), "--sample-rate", str(RATE), "--duration", str(SECONDS)]) == 0
    return path


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(3000)  # what moves comes to rest
        page.screenshot(path=Path(PICTURES) / f"demo_{name}.png", full_page=True)


def test_a_song_is_dropped_separated_heard_and_downloaded(tab: Watched, song: Path, tmp_path: Path) -> None:
    tab.drop(song)
    tab.separate()
    tab.page.get_by_text(f"separated at {RATE} Hz").wait_for()
    for number, source in enumerate(SOURCES):
        player = tab.page.locator(".stem").nth(number)
        player.get_by_label("Play", exact=True).wait_for()
        assert source in player.inner_text()
        with tab.page.expect_download() as download:
            player.get_by_label("Download").click()
        assert download.value.suggested_filename == f"{source}.wav"
        download.value.save_as(tmp_path / f"{source}.wav")
        info = soundfile.info(tmp_path / f"{source}.wav")
        assert (info.samplerate, info.channels, info.frames) == (RATE, 2, RATE * SECONDS)
    picture(tab.page, "separate")
    mixed(tab.page)
    with tab.page.expect_download() as download:
        tab.page.locator("#archive").click()
    download.value.save_as(tmp_path / "stems.zip")
    with zipfile.ZipFile(tmp_path / "stems.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{source}.wav" for source in SOURCES)
        assert archive.read("bass.wav") == (tmp_path / "bass.wav").read_bytes()
    player.get_by_label("Play", exact=True).click()
    player.get_by_label("Pause", exact=True).wait_for()
    read(tab.page)
    assert tab.errors == []
    assert tab.hosts == {"127.0.0.1"}


def read(page: Any) -> None:
    """The spectrograms: a mouse and arrow keys read them, at any width; the axis of frequency is set."""
    told, canvas = page.locator("#spectrograms .told"), page.locator("#spectrograms canvas").first
    assert page.locator("#spectrograms canvas").count() == 1 + len(SOURCES)
    canvas.hover()
    said = re.compile(r"the song, \d+ Hz: ([\d.]+) s, ([\d.]+) kHz: (-\d+ dB|under -90 dB)")
    told.filter(has_text=said).wait_for()
    before = said.search(told.inner_text())
    assert before is not None and float(before[1]) == pytest.approx(SECONDS / 2, rel=0.15)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    after = said.search(told.inner_text())
    assert after is not None and float(after[1]) > float(before[1]) and float(after[2]) > float(before[2])
    page.locator("#spectrograms").get_by_label("Highest frequency").fill("0.5")
    page.locator("#spectrograms .top").filter(has_text=f"{0.5 * 1.08 * RATE / 2000:.3g} kHz").wait_for()
    colours = (
        "c => new Set(new Uint32Array(c.getContext('2d').getImageData(40, 40, 200, 60).data.buffer)).size"
    )
    assert canvas.evaluate(colours) > 20
    size = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.querySelector('#spectrograms canvas').clientWidth < 390")
    assert canvas.evaluate("c => c.clientWidth") > 250
    picture(page, "phone")
    page.set_viewport_size(size)


def mixed(page: Any) -> None:
    """The mixer: all play together; mute, solo and level do what they say, to the players themselves."""

    def heard() -> list[float]:
        players = "players => players.map(p => p.muted ? 0 : p.volume)"
        return page.locator("#mixer audio").evaluate_all(players)

    mixer = page.locator("#mixer")
    mixer.get_by_role("button", name="Play together").click()
    page.wait_for_function("[...document.querySelectorAll('#mixer audio')].every(p => p.currentTime > 0)")
    assert heard() == [1, 1, 1, 1]
    mixer.get_by_label("Mute drums").click()
    assert heard() == [1, 0, 1, 1]
    mixer.get_by_label("Solo bass").click()
    assert heard() == [0, 0, 1, 0]
    mixer.get_by_label("Solo bass").click()
    mixer.get_by_label("Mute drums").click()
    mixer.get_by_label("Level of other").fill("0.25")
    assert heard() == [1, 1, 1, 0.25]


def test_the_leaderboard_is_sorted_and_the_study_drawn(tab: Watched) -> None:
    tab.page.get_by_role("tab", name="Leaderboard").click()
    board = tab.page.locator(".sfi-board").first
    rows = board.locator("tbody tr")
    rows.first.wait_for()
    picture(tab.page, "leaderboard")
    head = board.locator("th[data-mode=native]").first  # lost
    column = head.evaluate(
        "head => [...head.closest('thead').querySelectorAll('th:not(.group)')].indexOf(head)"
    )
    for order in ("ascending", "descending"):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        values = rows.evaluate_all(f"rows => rows.map(row => Number(row.cells[{column}].dataset.value))")
        assert len(values) > 10 and values == sorted(values, reverse=order == "descending")
    board.locator("summary").filter(has_text="convtasnet_naf_fd.music4").click()
    assert board.locator(".panels svg").locator("visible=true").count() == 4
    board.locator("fieldset input[value=none]").uncheck()
    assert board.locator("td[data-mode=none]").first.is_hidden()
    tab.page.get_by_text("Does a LEE tell what SDR is lost?").first.click()
    tab.page.locator(".vega-embed").nth(2).wait_for()
    linear = tab.page.get_by_text(re.compile(r"^r = ")).first.text_content()
    tab.page.get_by_label("dB", exact=True).check()
    tab.page.wait_for_function(
        "before => [...document.querySelectorAll('.vega-embed text')].some(text => /^r = /.test(text.textContent))"
        " && ![...document.querySelectorAll('.vega-embed text')].some(text => text.textContent == before)",
        arg=linear,
    )
    assert tab.errors == []
    assert tab.hosts == {"127.0.0.1"}


def test_bad_input_is_told_and_the_next_song_is_separated(
    tab: Watched, server: Server, song: Path, tmp_path: Path
) -> None:
    def told(text: str) -> None:
        tab.separate()
        tab.page.locator("#summary").filter(has_text="Not separated").filter(has_text=text).wait_for()

    assert tab.page.get_by_role("button", name="Separate", exact=True).is_disabled()  # it waits for a song
    no_song = tmp_path / "<b>no song.wav"
    no_song.write_text("words")
    tab.drop(no_song)
    told("no song.wav: not a sound file that can be read")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    tab.drop(tmp_path / "silent.wav")
    told("silent.wav: is silent, there is nothing to separate")
    tab.drop(song)
    rate = tab.page.get_by_label("SF in Hz")
    rate.fill("3000")
    rate.press("Enter")
    told("SF: a sample rate of 3000 Hz is outside 4000..192000 Hz")
    rate.fill("8000")
    rate.press("Enter")
    tab.separate()
    tab.page.get_by_text("separated at 8000 Hz").wait_for()
    tab.page.get_by_text("Not separated").wait_for(state="detached")  # it goes by itself
    tab.page.locator("#mixer").wait_for()
    levels = tab.page.locator("#spectrograms figure").first
    spectrogram = levels.get_attribute("data-levels")
    rate.fill("3000")
    rate.press("Enter")
    told("SF: a sample rate of 3000 Hz is outside 4000..192000 Hz")
    assert levels.get_attribute("data-levels") == spectrogram  # what was seen and heard stays
    assert tab.page.locator("#mixer").count() == 1
    assert server.our_tracebacks() == []


def test_two_people_at_once_get_each_their_own(
    tab: Watched, another_tab: Watched, song: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.wav"
    assert cli.main(["example", str(other), "--sample-rate", "16000", "--duration", "1"]) == 0
    people = {tab: (song, RATE), another_tab: (other, 16000)}
    for person, (dropped, _) in people.items():
        person.drop(dropped)
    for person in people:
        person.separate()
    for person, (_, rate) in people.items():
        person.page.get_by_text(f"separated at {rate} Hz").wait_for()
        person.page.locator("#spectrograms figcaption").first.filter(
            has_text=f"the song, {rate} Hz"
        ).wait_for()
        assert person.errors == []


def test_a_recording_is_separated(tab: Watched) -> None:
    tab.page.locator("#song").get_by_label("Record audio").click()
    tab.page.get_by_role("button", name="Record", exact=True).click()
    tab.page.locator("#song").get_by_text(re.compile(r"^0:0[1-9]")).first.wait_for()  # it runs
    with tab.page.expect_response(lambda response: "/upload" in response.url) as uploaded:
        tab.page.get_by_role("button", name="Stop", exact=True).click()
    uploaded.value.finished()
    tab.page.locator("#song").get_by_label("Play", exact=True).wait_for()
    tab.separate()
    tab.page.get_by_text(re.compile(r"separated at \d+ Hz")).wait_for()
    assert tab.errors == []


def test_sigterm_ends_it_and_nothing_stays(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 128 + signal.SIGTERM
    assert [path for path in server.temporary.iterdir() if "sfi-zoo" in path.name] == []
