"""The review page in a real browser: what it shows is what the database says, and it can be worked with."""

import csv
import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from query.database.store import Store
from query.flow import DATABASE
from query.service.backend.reviews.blinded import Blinding
from tests.helpers.browsing import COPIED, GENERATED, ODD, REAL, SIZE, Watched, make_audit, make_large, serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'synthtrace[dev]'")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium"),
]
SIZES = {"laptop": {"width": 1280, "height": 800}, "tablet": {"width": 768, "height": 1024}}
TOKEN = "a-token-of-this-test"
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audit(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def store(out: Path) -> Iterator[Store]:
    with Store.open(out / DATABASE, read_only=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def service(out: Path) -> Iterator[str]:
    with serving(out / "generated", out / DATABASE) as origin:
        yield origin


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def watch(browser: Any, service: str) -> Iterator[Open]:
    """Opens watched pages; at the end none of them may have complained."""
    contexts, pages = [], []

    def opened(origin: str = service, size: str = "laptop", dark: bool = False) -> Watched:
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, accept_downloads=True, reduced_motion="reduce")
        context.set_default_timeout(10_000)
        contexts.append(context)
        pages.append(Watched(context.new_page(), origin))
        return pages[-1]

    yield opened
    for context in contexts:
        context.close()
    assert [page.complaints for page in pages] == [[]] * len(pages)


def ask(store: Store, query: str, **parameters: Any) -> list[Any]:
    """The first column of an answer."""
    return list(store.sql(query, parameters).columns[0].to_pylist())


def within(store: Store, view: str, threshold: float) -> dict[str, int]:
    """Row of the overview -> how many the database counts at most so far away."""
    nearest = "SELECT count(*) FROM {} WHERE view = $view AND NOT blank AND CAST(distance AS DOUBLE) <= $t"
    counts = {"generated": nearest.format("nearest_source")}
    for word in ("used", "not used", "unlabelled"):
        counts[word.replace(" ", "-")] = nearest.format("nearest_generated") + f" AND membership = '{word}'"
    if view == "phash":
        counts["pairs"] = "SELECT count(*) FROM distances WHERE view = $view AND distance <= $t"
    return {name: ask(store, query, view=view, t=threshold)[0] for name, query in counts.items()}


def shown_within(page: Any) -> dict[str, int]:
    """The same as the page shows it."""
    rows = page.locator(".spread-under")
    found = {row.get_attribute("data-row"): row.locator("b").inner_text() for row in rows.all()}
    return {name: int(words.replace(",", "")) for name, words in found.items() if "about" not in words}


def threshold_of(page: Any) -> float:
    return float(page.locator("#threshold-number").input_value())


@pytest.mark.parametrize("view", ["combined", "phash", "pixels"])
def test_overview_counts_what_the_database_counts(watch: Open, store: Store, view: str) -> None:
    page = watch().open(f"#/overview?view={view}")
    assert f"{REAL} real images and {GENERATED} generated images" in page.locator(".sentences").inner_text()
    assert "The set as a whole" in page.locator(".sentences .lead").first.inner_text()
    shown = page.get_by_label("Decisions on patients").locator("tbody th").all_inner_texts()
    least = ask(store, "SELECT p_value FROM patient_decisions ORDER BY (decision = 'used') DESC, p_value LIMIT 5")
    p_of = dict(zip(*(ask(store, f"SELECT {column} FROM patient_decisions") for column in ("patient", "p_value")), strict=True))
    assert [p_of[patient] for patient in shown] == least
    if view == "phash":
        assert page.locator(".mark-line").count() == 1  # 24 images known not to be used make a reference
    first = threshold_of(page)
    for value in (first, float(np.median(ask(store, "SELECT distance FROM nearest_generated WHERE view = $view", view=view)))):
        page.locator("#threshold-number").fill(repr(value))
        page.locator("#threshold-number").press("Enter")
        assert shown_within(page) == within(store, view, value)


def test_a_dragged_threshold_changes_the_counts(watch: Open, store: Store) -> None:
    page = watch().open("#/overview?view=phash")
    before = shown_within(page)
    page.locator(".spread-field").scroll_into_view_if_needed()
    field = page.locator(".spread-field").bounding_box()
    page.mouse.move(field["x"] + field["width"] * 0.2, field["y"] + 60)
    page.mouse.down()
    page.mouse.move(field["x"] + field["width"] * 0.7, field["y"] + 60, steps=4)
    page.mouse.up()
    dragged = threshold_of(page)
    assert shown_within(page) == within(store, "phash", dragged) != before
    page.locator("#threshold").focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert threshold_of(page) == dragged - 5
    assert shown_within(page) == within(store, "phash", dragged - 5)
    playwright.expect(page).to_have_url(re.compile(f"t={dragged - 5:.0f}$"))
    assert threshold_of(watch().open(page.evaluate("location.hash"))) == dragged - 5


def changing(watched: Watched) -> list[str]:
    """Addresses of the requests that are no GET, as they come."""
    sent: list[str] = []

    def look(request: Any) -> None:
        if request.method != "GET":
            sent.append(request.url)

    watched.page.on("request", look)
    return sent


def names_in(page: Any) -> list[str]:
    return list(page.locator(".images-table tbody .named .name").all_inner_texts())


def test_images_are_sorted_and_filtered_as_the_database_sorts_them(watch: Open, store: Store) -> None:
    page = watch().open("#/images?view=pixels")
    nearest = """SELECT real_image FROM nearest_generated JOIN images ON name = real_image AND role = 'real'
        WHERE view = 'pixels' {} ORDER BY distance, image_id"""
    everything = ask(store, nearest.format(""))
    assert names_in(page) == everything[:50]
    page.get_by_role("button", name="Next").click()
    playwright.expect(page.locator("#shown")).to_have_text(f"51 to {REAL} of {REAL}")
    assert names_in(page) == everything[50:]
    page.get_by_role("button", name="Previous").click()
    playwright.expect(page.locator("#shown")).to_have_text(f"1 to 50 of {REAL}")
    assert ODD in names_in(page)
    assert page.locator("tbody img[onerror]").count() == 0
    page.get_by_label("Membership").select_option("not used")
    expected = ask(store, nearest.format("AND membership = 'not used'"))
    playwright.expect(page.locator("#counted")).to_have_text(f"{len(expected)} real images of {REAL} match the filters")
    assert names_in(page) == expected
    page.get_by_role("button", name="Image", exact=True).click()
    playwright.expect(page.locator("th[aria-sort]")).to_contain_text("Image")
    assert names_in(page) == sorted(expected)
    page.get_by_role("searchbox").fill("real_03")
    playwright.expect(page.locator("#counted")).to_contain_text("10 real images")
    again = watch().open(page.evaluate("location.hash"))
    assert names_in(again) == names_in(page) == [f"real_03{i}.png" for i in range(10)]


def test_the_surest_matches_come_first_unless_asked_otherwise(watch: Open, store: Store) -> None:
    page = watch().open("#/images")
    by_match = """SELECT i.name FROM images AS i
        LEFT JOIN scores AS s ON s.image_id = i.image_id AND s.view = 'matched' AND s.score = 'match'
        LEFT JOIN neighbours AS v ON v.query_id = i.image_id AND v.view = 'matched' AND v.rank = 1
        LEFT JOIN neighbours AS c ON c.query_id = i.image_id AND c.view = 'combined' AND c.rank = 1
        WHERE i.role = 'real' ORDER BY s.value DESC NULLS LAST, coalesce(v.distance, c.distance), i.image_id LIMIT 50"""
    assert names_in(page) == ask(store, by_match)
    playwright.expect(page.locator("th[aria-sort=descending]")).to_contain_text("Match")
    assert page.locator("th", has_text="Match value").inner_text().endswith("not calibrated")  # patients are unknown
    page.locator(".main-link").first.click()
    playwright.expect(page.locator("#position")).to_have_text(f"1 of {REAL}, best match first")
    page.keyboard.press("j")
    playwright.expect(page.locator("h1")).to_contain_text(ask(store, by_match)[1])
    page = watch().open("#/images?view=combined")
    nearest = """SELECT real_image FROM nearest_generated JOIN images ON name = real_image AND role = 'real'
        WHERE view = 'combined' ORDER BY distance, image_id LIMIT 50"""
    assert names_in(page) == ask(store, nearest)


def test_without_close_matches_the_nearest_come_first(watch: Open, store: Store, out: Path, tmp_path: Path) -> None:
    db = tmp_path / DATABASE
    shutil.copy(out / DATABASE, db)
    with Store.open(db) as other:
        for of in ("matches", "matching", "neighbours WHERE view = 'matched'", "scores WHERE view = 'matched'"):
            other._execute(f"DELETE FROM {of}")
    with serving(out / "generated", db) as origin:
        page = watch(origin).open()
        page.get_by_role("link", name="Review them, nearest first").click()
        query = "SELECT real_image FROM nearest_generated WHERE view = 'combined' ORDER BY distance LIMIT 1"
        playwright.expect(page.locator("h1")).to_contain_text(ask(store, query)[0])
        page.close()


def test_every_column_sorts(watch: Open) -> None:
    page = watch().open("#/images")
    for i in range(page.locator(".sort").count()):
        button = page.locator(".sort").nth(i)
        button.click()
        playwright.expect(page.locator("th[aria-sort] .sort").first).to_contain_text(button.inner_text().strip(" ↑↓"))
        assert page.locator("tbody tr").count() == min(REAL, 50)


def test_a_pair_shows_its_distances_and_their_place(watch: Open, store: Store) -> None:
    page = watch().open(f"#/pair/{GENERATED}/0")  # the first real image and its copy
    for view in ("phash", "pixels"):
        pair = "SELECT distance FROM distances WHERE view = $view AND real_id = $real AND generated_id = 0"
        (distance,) = ask(store, pair, view=view, real=GENERATED)
        block = page.locator(f".place[data-view={view}]")
        assert (f"{distance:.0f} bits" if view == "phash" else f"{distance:.3f}") in block.inner_text()
        near = "SELECT count(*) FROM nearest_generated WHERE view = $view AND membership = 'not used' AND distance <= $d"
        (nearer,) = ask(store, near, view=view, d=distance)
        assert f"{nearer} of 24 (" in block.inner_text()
        playwright.expect(block.locator("svg .strip-tick")).to_have_count(24)  # drawn when the distances have come
    assert page.locator(".lines line").count() > 3
    for mode, pictures in (("Overlay", 2), ("Difference", 1)):
        page.get_by_role("button", name=mode).click()
        playwright.expect(page.locator(".glass img")).to_have_count(pictures)
        for image in page.locator(".glass img").all():
            playwright.expect(image).to_have_js_property("naturalWidth", SIZE)
    assert "mode=difference" in page.evaluate("location.hash")


def test_pictures_are_enlarged_flipped_and_freed_of_lines(watch: Open) -> None:
    page = watch().open(f"#/pair/{GENERATED}/0")
    page.keyboard.press("m")
    playwright.expect(page.locator(".lines line")).to_have_count(0)
    for _ in range(3):
        page.keyboard.press("+")
    playwright.expect(page.locator(".zooms output")).to_have_text("3×")
    playwright.expect(page.locator(".glass img").first).to_have_attribute("style", re.compile(r"scale\(3\)"))
    page.keyboard.press("z")
    playwright.expect(page.locator(".glass img").first).to_have_attribute("style", re.compile(r"scale\(1\)"))
    page.keyboard.press("o")
    over = page.locator(".glass img").nth(1)
    for expected in ("0", "1"):
        page.keyboard.press("b")
        playwright.expect(over).to_have_css("opacity", expected)


def test_single_keys_can_be_switched_off(watch: Open) -> None:
    page = watch().open(f"#/pair/{GENERATED}/0")
    page.get_by_role("button", name="Keys and help").click()
    page.get_by_label("Enable single-key shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("o")
    playwright.expect(page.locator(".choice [aria-pressed=true]").first).to_have_text("Side by side")


def test_colours_can_be_chosen_and_stay(watch: Open) -> None:
    watched = watch(dark=True)
    page = watched.open("#/overview")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    playwright.expect(page.locator("#theme")).to_have_text("Light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    assert watched.open("#/images").evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_from_start_to_review_by_keyboard_alone(watch: Open, service: str) -> None:
    page = watch().open()

    def tab_to(words: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if words in page.evaluate("document.activeElement.textContent"):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        raise AssertionError(f"{words!r} cannot be reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    tab_to("Review them, best match first")
    page.keyboard.press("Enter")
    page.wait_for_selector(".review-labels")
    first = page.evaluate("location.hash")
    page.keyboard.press("n")
    page.keyboard.type("the same vessels")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    playwright.expect(page).not_to_have_url(re.compile(re.escape(first) + "$"))  # on to the next pair
    playwright.expect(page.locator("#position")).to_contain_text("2 of")
    page.keyboard.press("k")
    playwright.expect(page.locator("[data-review=copy]")).to_have_attribute("aria-pressed", "true")
    assert page.locator("#note").input_value() == "the same vessels"
    page.keyboard.press("Escape")
    playwright.expect(page.locator("tbody tr").first.locator(".tag.copy")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector(".review-labels")
    page.keyboard.press("0")
    playwright.expect(page.locator("#review-said")).to_have_text("Not reviewed yet.")


def test_a_review_of_what_was_not_looked_at_skips_nothing(watch: Open, out: Path, tmp_path: Path) -> None:
    """Pairs leave such a list as they are reviewed, and yet the next one is the next one."""
    db = tmp_path / DATABASE
    shutil.copy(out / DATABASE, db)
    with serving(out / "generated", db) as origin:
        page = watch(origin).open("#/images?view=pixels&review=none")
        listed = page.request.get(f"{origin}/v1/images?role=real&sort=distance&view=pixels&limit=500").json()["images"]
        links = page.locator(".main-link")
        assert links.count() == 50
        links.last.click()  # the list is now known as far as this piece goes
        playwright.expect(page.locator("h1")).to_contain_text(listed[49]["name"])
        for image in listed[:50]:
            pair = f"{image['id']}/{image['nearest']['pixels']['id']}"
            page.request.put(f"{origin}/v1/reviews/{pair}", data={"review": "unrelated"}, headers={"origin": origin})
        for image in listed[50:53]:
            page.keyboard.press("3")
            playwright.expect(page.locator("h1")).to_contain_text(image["name"])
        page.close()


def test_an_upload_finds_the_planted_copy(watch: Open, out: Path) -> None:
    page = watch().open("#/search")
    page.get_by_label("Match the nearest images geometrically").check()
    for i in (0, COPIED - 1):
        name = ODD if i == 0 else f"real_{i:03d}.png"
        page.locator("#file").set_input_files(out.parent / "real" / name)
        playwright.expect(page.locator(".looked h2")).to_have_text(name)
        for view in ("phash", "pixels"):
            first = page.locator(f".hit[data-view={view}][data-rank='1']")
            assert first.get_attribute("data-name") == f"generated_{i:03d}.png"
            assert re.search(r"\d+ inliers? \(not calibrated\)", first.inner_text())
    assert "at most 5% of the 24 real images known not to be used" in page.locator(".looked").inner_text()


def test_a_file_that_is_no_image_gets_a_reason(watch: Open, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.png"
    wrong.write_text("no image")
    watched = watch()
    page = watched.open("#/search")
    page.locator("#file").set_input_files(wrong)
    playwright.expect(page.get_by_role("alert")).to_contain_text("Invalid input")
    assert len(page.locator("[role=alert] p").nth(1).inner_text()) > 10
    _forget(watched, "422")


def test_sql_and_analyses_answer_what_the_store_answers(watch: Open, store: Store) -> None:
    watched = watch()
    page = watched.open("#/sql")
    query = "SELECT name, width FROM images WHERE role = 'real' ORDER BY name"
    page.locator("#query").fill(query)
    page.locator("#query").press("Control+Enter")
    playwright.expect(page.locator("#rows")).to_have_text(f"{REAL} rows")
    expected = [[str(value) for value in row.values()] for row in store.sql(query).to_pylist()]
    assert [row.locator("td").all_inner_texts() for row in page.locator(".answer tbody tr").all()] == expected
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save as CSV").click()
    rows = list(csv.reader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8"))))
    assert rows == [["name", "width"], *expected]
    page.locator(".chart summary").click()
    playwright.expect(page.locator(".chart canvas")).to_have_count(1)
    again = watch().open(page.evaluate("location.hash"))
    assert again.locator("#query").input_value() == query
    again.locator("#ask").click()
    playwright.expect(again.locator("#rows")).to_have_text(f"{REAL} rows")
    page.get_by_label("Named analysis").select_option("most-copied")
    page.locator(".analysis input[name=limit]").fill("3")
    page.locator("#analyse").click()
    playwright.expect(page.locator("#rows")).to_have_text(f"{len(store.analyse('most-copied', limit=3))} rows")
    page.locator("#query").fill("SELECT nothing FROM nowhere")
    page.locator("#ask").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("nowhere")
    _forget(watched, "422")
    _forget(watched, "400")


ADDRESSES = ["query=SELECT+42&go=1", "query=SELECT+42", "analysis=most-copied&go=1", "analysis=most-copied&p.limit=3&go=1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_asks_nothing_of_the_database_until_somebody_presses_run(watch: Open, address: str) -> None:
    watched = watch()
    sent = changing(watched)
    page = watched.open(f"#/sql?{address}")
    playwright.expect(page.locator("#brought")).to_contain_text("press Run")
    page.wait_for_load_state("networkidle")
    assert sent == []
    page.locator("#analyse" if "analysis" in address else "#ask").click()
    page.wait_for_selector(".answer, .result .empty-title")
    assert len(sent) == 1


def test_no_address_changes_anything_or_breaks_the_page(watch: Open) -> None:
    watched = watch()
    sent = changing(watched)
    downloads: list[Any] = []
    watched.page.on("download", lambda download: downloads.append(download))
    for view in ("overview", "images", f"pair/{GENERATED}/0", "search", "reviews", "constructor", "%"):
        page = watched.open(f"#/{view}?review=copy&note=x&go=1&export=1&save=1&file=x&search=x&mode=difference")
        page.wait_for_load_state("networkidle")
    assert sent == downloads == []


def _forget(watched: Watched, status: str) -> None:
    """The browser itself reports answers that are errors; these were wanted."""
    watched.complaints[:] = [line for line in watched.complaints if f"status of {status}" not in line]


def test_a_review_survives_the_service_and_is_exported(watch: Open, out: Path, tmp_path: Path) -> None:
    db = tmp_path / DATABASE
    shutil.copy(out / DATABASE, db)
    with serving(out / "generated", db) as origin:
        page = watch(origin).open(f"#/pair/{GENERATED + 1}/1?at=0")
        page.keyboard.press("2")
        playwright.expect(page).to_have_url(re.compile("at=1"))
        page.close()
    with serving(out / "generated", db) as origin:
        page = watch(origin).open("#/reviews")
        assert page.locator("#review-count").inner_text() == "1 pair: 0 copy, 1 similar, 0 unrelated"
        assert page.locator(".review-table tbody tr").inner_text().split()[:2] == ["real_001.png", "generated_001.png"]
        with page.expect_download() as caught:
            page.locator("#export").click()
        (row,) = csv.DictReader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8")))
        assert {"real_001.png", "generated_001.png", "similar"} <= set(row.values())
        page.locator(".review-table a").first.click()
        playwright.expect(page.locator("[data-review=similar]")).to_have_attribute("aria-pressed", "true")
        page.close()


def test_a_wrong_token_and_then_the_right_one(watch: Open, out: Path, tmp_path: Path) -> None:
    db = tmp_path / DATABASE
    shutil.copy(out / DATABASE, db)
    with serving(out / "generated", db, token=TOKEN) as origin:
        watched = watch(origin)
        page = watched.page
        page.goto(f"{origin}/#/images")
        page.get_by_label("Token", exact=True).fill("wrong" * 4)
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#token-said")).to_have_text("Wrong token.")
        page.get_by_label("Token", exact=True).fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector(".images-table tbody tr")
        assert watched.open("#/images").locator("tbody tr").count() == 50  # the session is kept
        playwright.expect(page.locator("tbody img.thumb").first).to_have_attribute("src", re.compile("^blob:"))
        assert page.context.cookies() == []  # which would go to every port of this host
        page.close()
        _forget(watched, "401")


PLACES = {
    "overview": "#/overview?view=phash",
    "images": "#/images?search=real_00",
    "pair": f"#/pair/{GENERATED}/0?at=0",
    "search": "#/search",
    "sql": "#/sql",
    "reviews": "#/reviews",
}


WIDTHS = (320, 420, 620, 768, 1024, 1100, 1280, 1680)


def test_no_window_scrolls_sideways_and_the_header_is_one_row(watch: Open) -> None:
    watched = watch()
    for name, place in PLACES.items():
        page = watched.open(place)
        page.wait_for_load_state("networkidle")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
            assert page.locator(".top").bounding_box()["height"] < 60, (name, width)


def test_large_counts_stay_in_their_card(watch: Open) -> None:
    page = watch().open("#/overview?view=pixels")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.locator(".spread-under .of").first.evaluate("each => each.firstChild.textContent = 'of 250,000,000 '")
        page.locator(".spread-under b").first.evaluate("each => each.textContent = 'about 123,456,789'")
        card, count = page.get_by_label("Distances").bounding_box(), page.locator(".spread-under").first.bounding_box()
        assert count["x"] + count["width"] <= card["x"] + card["width"], width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_every_unit_is_explained(watch: Open) -> None:
    page = watch().open(f"#/pair/{GENERATED}/0?at=0")
    page.get_by_text("What these figures mean").click()
    told = page.locator(".terms dt").all_inner_texts()
    assert set(page.locator(".matched .figures dt").all_inner_texts()) <= set(told)
    assert set(page.locator(".place h3").all_inner_texts()) <= set(told)
    assert all(page.locator(".terms dd").all_inner_texts())
    page.get_by_role("button", name="matched", exact=True).click()
    assert "sd" not in page.locator(".others .near span").first.inner_text()  # a score has no unit


def test_a_blinded_reader_sees_two_pictures_and_the_own_labels(watch: Open, out: Path, tmp_path: Path) -> None:
    db = tmp_path / DATABASE
    shutil.copy(out / DATABASE, db)
    hidden = re.compile(r"real_\d|generated_|\.png|sha256|used|phash|pixels|patient|match")
    with serving(out / "generated", db, blinding=Blinding(seed=1, pairs=6)) as origin:
        watched = watch(origin, size="tablet")
        page = watched.page
        bodies: list[Any] = []
        page.on("response", lambda answer: bodies.append(answer))
        page.goto(f"{origin}/#/sql?query=SELECT+1")  # whatever the address says
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("h1")).to_have_text("Pair 1 of 6")
        playwright.expect(page.locator(".glass img")).to_have_count(2)
        page.keyboard.press("1")
        playwright.expect(page.locator("h1")).to_have_text("Pair 2 of 6")
        playwright.expect(page.locator("#labelled")).to_have_text("Ada: 1 of 6 (17%) pairs labelled")
        assert not hidden.search(page.locator("body").inner_text())
        json_bodies = [answer.text() for answer in bodies if answer.headers.get("content-type") == "application/json"]
        assert len(json_bodies) > 4
        assert [body for body in json_bodies if hidden.search(body)] == []
        page.reload()
        playwright.expect(page.locator("h1")).to_have_text("Pair 2 of 6")  # the next without a label
        axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs axe-core-python")
        worst = [one["id"] for one in axe.Axe().run(page)["violations"] if one["impact"] in ("serious", "critical")]
        assert worst == []
        for width in (320, 420, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        page.get_by_role("button", name="Another reader").click()
        page.get_by_label("Your name").fill("ada")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#reader-said")).to_contain_text("taken")
        page.close()
        _forget(watched, "409")
    with serving(out / "generated", db) as origin:
        page = watch(origin).open("#/reviews")
        assert "Ada: 1 copy" in page.get_by_label("Blinded readers", exact=True).inner_text()
        page.close()


@pytest.mark.parametrize(("size", "dark"), [("laptop", False), ("laptop", True), ("tablet", False)])
def test_axe_finds_nothing_serious(watch: Open, size: str, dark: bool) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs axe-core-python")
    watched = watch(size=size, dark=dark)
    for name, place in PLACES.items():
        page = watched.open(place)
        if name == "sql":
            page.locator("#ask").click()
            page.wait_for_selector(".answer")
        found = axe.Axe().run(page)
        assert len(found["passes"]) > 10
        worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        serious = [(one["id"], one["nodes"][0]["html"][:120]) for one in worst]
        assert serious == [], name


def test_ten_thousand_images_are_as_quick_as_a_few(watch: Open, out: Path, tmp_path: Path) -> None:
    db = make_large(out, tmp_path / "large", 10_000)

    def seconds(page: Any) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            button = page.locator(".sort").nth(3)
            before = page.locator("tbody").element_handle()
            button.click()
            before.wait_for_element_state("hidden")
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    small = seconds(watch().open("#/images"))
    with serving(out / "generated", db) as origin:
        page = watch(origin).open("#/images")
        assert "10,024 real images" in page.locator("#counted").inner_text()
        assert page.locator("tbody tr").count() == 50
        large = seconds(page)
        page.get_by_role("button", name="Next").click()
        playwright.expect(page.locator("#shown")).to_have_text("51 to 100 of 10,024")
        page.close()
    assert large < small + 0.5, (small, large)


# Without a database


def test_without_a_database_there_is_search_and_nothing_else(out: Path, watch: Open) -> None:
    with serving(out / "generated", None) as origin:
        page = watch(origin).open("#/overview")
        assert page.locator("h1").inner_text() == "Search with an image"
        assert page.locator("#tabs a").all_inner_texts() == ["Search"]
        assert "no database" in page.locator(".view").inner_text()
        page.locator("#file").set_input_files(next((out.parent / "real").glob("*.png")))
        page.wait_for_selector(".card.hit[data-view='combined-lookup']")
        assert page.locator(".card.hit .nothing").count() == page.locator(".card.hit").count()
        page.close()
