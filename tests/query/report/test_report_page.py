"""The report in a browser: nothing serious for axe, nothing beyond the edge of a phone, whole on paper, nothing fetched."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from query.database.store import Store
from query.report.writing import write_report
from tests.helpers.reporting import State, make_run

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium"),
]
STATE = State(used=4, unused=10, first=6, decided=True, matched=True, failed=("real",), mark="a rather long name of an image")
WIDTHS = (320, 360, 420, 500, 620, 768, 1024, 1280, 1680)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=[False, True], ids=["private", "public"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HTML file."""
    folder = tmp_path_factory.mktemp("report")
    out = folder / "report.html"
    with Store.open(make_run(folder / "run", STATE), read_only=True) as store:
        write_report(store, 1, out, public=request.param)
    return out


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (500, "light"), (1280, "dark")])
def test_axe_finds_nothing_serious_and_nothing_is_cut(browser: Any, report: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs axe-core-python")
    page = browser.new_page(viewport={"width": width, "height": 800}, bypass_csp=True, color_scheme=scheme)
    page.goto(report.as_uri())
    found = axe.Axe().run(page)["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []
    cut = "each => each.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"
    assert page.locator(".wide").evaluate_all(cut) == []  # no table is wider than its place
    page.close()


def test_no_window_scrolls_sideways(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_a_clean_pair_stands_beside_the_one_with_lines(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(report.as_uri())
    pairs = page.locator(".pictures")
    for pair in pairs.all():
        clean, joined = pair.locator("svg").all()
        assert (clean.locator("image").count(), clean.locator("line").count()) == (2, 0)
        assert joined.locator("use").count() == 2
        left, right = clean.bounding_box(), joined.bounding_box()
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] <= right["x"]
    assert pairs.count() > 0 or "public" in page.content()
    page.close()


def test_it_fetches_nothing_complains_of_nothing_and_shows_every_picture(browser: Any, report: Path) -> None:
    page, asked, note = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: note.append(message.text))
    page.goto(report.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert note == []
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.close()


def test_it_prints_without_cutting_a_pair(browser: Any, report: Path) -> None:
    page = browser.new_page(color_scheme="dark")  # paper is white for everybody
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    tallest = page.evaluate("Math.max(0, ...[...document.querySelectorAll('.pair, figure, tr')].map(each => each.offsetHeight))")
    assert tallest < 1000  # pixels of an A4 page within its margins at 96 dpi
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 688, "height": 1000})  # of an A4 page within its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.close()
