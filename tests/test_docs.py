"""What the pages in docs/ say runs, and the site builds without a warning and without a network."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfi_zoo import filters, models
from sfi_zoo.metrics.registry import METRICS
from tests.pages import DOCS, blocks_of, run_page

ELSEWHERE = {
    "layers.md": "test_readme.py",
    "add_a_filter_family.md": "test_add_a_filter_family.py",
    "hub.md": "test_hub_page.py",
}
PAGES = sorted(path for path in DOCS.glob("*.md") if path.name not in ELSEWHERE)
WITH_CODE = [page for page in PAGES if blocks_of(page)]
MOST_NOT_RUN = 1  # blocks of a page that cannot run in the tests


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; what a page registers is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(models, "_REGISTERED", {})
    monkeypatch.setattr(filters, "FILTER_FAMILIES", dict(filters.FILTER_FAMILIES))
    before = dict(METRICS)
    yield tmp_path
    METRICS.clear()
    METRICS.update(before)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, reader: Path) -> None:
    before = set(sys.modules)
    try:
        run_page(page, reader)
    finally:
        for name in set(sys.modules) - before:  # files of the page that it has imported
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(reader)):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_few_blocks_are_left_out(page: Path) -> None:
    assert sum(not block.runs for block in blocks_of(page)) <= MOST_NOT_RUN


def test_pages_that_run_elsewhere_do() -> None:
    for page, test in ELSEWHERE.items():
        assert page in (Path(__file__).parent / test).read_text()
        assert (DOCS / page).is_file()


# the site ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=DOCS.parent,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_asks_the_network_for_nothing(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = re.findall(
            r'<(?:script|img|iframe)[^>]*src="(https?:[^"]*)|<link[^>]*stylesheet[^>]*href="(https?:[^"]*)',
            page.read_text(),
        )
        assert not found, (page, found)


def test_the_reference_has_what_the_package_exports(site: Path) -> None:
    import sfi_zoo
    from sfi_zoo import layers, metrics

    text = "".join(page.read_text() for page in (site / "api").rglob("index.html"))
    documented = set(re.findall(r'id="sfi_zoo[\w.]*\.(\w+)"', text))
    exported = [(layers, name) for name in layers.__all__] + [(metrics, name) for name in metrics.__all__]
    names = {*sfi_zoo._EXPORTS, *(name for module, name in exported if callable(getattr(module, name)))}
    assert sorted(names - documented) == []


def test_results_are_those_of_the_published_models(site: Path) -> None:
    import json

    text = (site / "results_rates" / "index.html").read_text()
    board = (site / "results" / "index.html").read_text()
    assert 'class="sfi-board"' in board
    for scores in (DOCS.parent / "hub_configs").glob("*/scores.json"):
        rows = json.loads(scores.read_text())["rows"]
        native = [row for row in rows if row["mode"] == "native"]
        assert scores.parent.name in text and scores.parent.name in board
        for row in native:
            assert f"{row['si_sdr_improvement_db']:.2f}" in text


RESULTS = (
    "results",
    "results_sources",
    "results_rates",
    "results_study",
    "results_study_fresh",
    "results_study_range",
    "results_study_more",
)
HOWTOS = {"howto_separate", "howto_swap", "howto_compare", "which"}
CHROMIUM = Path("/usr/bin/chromium")
TALLEST = 3000  # px, in a window of 1280


def test_there_is_a_how_to_for_each_of_the_three_people_and_all_its_blocks_run() -> None:
    pages = {page.stem: page for page in WITH_CODE if page.stem in HOWTOS}
    assert set(pages) == HOWTOS
    for page in pages.values():
        assert all(block.runs for block in blocks_of(page)), page
        assert page.stem in (DOCS.parent / "mkdocs.yml").read_text()


def test_pages_of_results_are_short_and_fit_a_phone_without_a_request(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        wide = browser.new_page(viewport={"width": 1280, "height": 900})
        narrow = browser.new_page(viewport={"width": 390, "height": 900})
        asked: list[str] = []
        wide.on("request", lambda request: asked.append(request.url))
        for name in RESULTS:
            place = (site / name / "index.html").as_uri()
            for page in (wide, narrow):
                page.goto(place)
                page.wait_for_timeout(300)
            assert wide.evaluate("document.documentElement.scrollHeight") < TALLEST, name
            assert narrow.evaluate("document.documentElement.scrollWidth") <= 390, name
        assert [url for url in asked if url.startswith("http")] == []
        browser.close()


def test_the_table_in_the_readme_is_made_of_the_scores() -> None:
    spec = importlib.util.spec_from_file_location("results_hook", DOCS / "results_hook.py")
    assert spec and spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    assert hook.in_readme(readme) == readme, "run python docs/results_hook.py"
