"""The page in a real browser, over a real server.

Screenshots go to the folder that ``VIREID_SHOTS`` names, or else to a temporary one.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from tests.app.people import PEOPLE, Served, photograph
from tests.reports import test_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Page, Route

browser = test_report.browser
PAGE = Path(__file__).parents[2] / "src" / "vireid" / "app" / "page"


def file(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": data}


def night(person: int) -> FilePayload:
    return file("night.png", photograph(person, grey=True, frame=9))


class Tab:
    """The page in a browser tab, with what is done on it in most tests."""

    def __init__(self, page: Page, shots: Path) -> None:
        self.page = page
        self._shots = shots

    def search(self, *images: FilePayload) -> None:
        with self.page.expect_response("**/api/search"):
            self.page.set_input_files("#files", list(images))
        self.settled()

    def settled(self) -> None:
        self.page.wait_for_selector("#results[aria-busy=false]")

    def cards(self) -> list[str]:
        """What stands under each image, in order."""
        return self.page.locator(".card > button:first-child").all_inner_texts()

    def says(self, selector: str, text: str) -> None:
        self.page.locator(selector).filter(has_text=text).first.wait_for()

    def shot(self, name: str) -> None:
        """A screenshot, once all images in the window are there; nothing may be cut off."""
        self.page.wait_for_function(
            """() => [...document.images].every((image) => {
                 const { top, bottom, height } = image.getBoundingClientRect();
                 const seen = height > 0 && bottom > 0 && top < innerHeight;
                 return !seen || (image.complete && image.naturalWidth > 0);
               })"""
        )
        wide = "Math.max(0, ...[...document.querySelectorAll('html, dialog[open]')]" + (
            ".map((box) => box.scrollWidth - box.clientWidth))"
        )
        assert self.page.evaluate(wide) == 0
        self.page.screenshot(path=self._shots / f"{name}.png")


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("VIREID_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def opened(
    browser: Browser,
    url: str,
    shots: Path,
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    still: bool = False,
) -> Iterator[Tab]:
    """A tab with the page; a script error or a breach of the content policy fails the test."""
    with browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
        reduced_motion="reduce" if still else "no-preference",
    ) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(url)
        yield Tab(page, shots)
        # The browser itself notes answers that are no 200, such as the ones that tests provoke.
        assert [fault for fault in faults if "Failed to load resource" not in fault] == []


@pytest.fixture
def tab(browser: Browser, server: Served, shots: Path) -> Iterator[Tab]:
    with opened(browser, server.url, shots) as found:
        found.page.wait_for_selector(".card")
        yield found


def test_an_infrared_query(tab: Tab) -> None:
    tab.says("#results-title", "Gallery")
    tab.search(night(3))
    tab.says("#results-title", f"All {3 * PEOPLE} images")
    tab.says("#remark", "Scores are cosine similarities of features, not probabilities.")
    tab.says("#verdict", "likely match")
    tab.says("#detected", "Detected: infrared.")
    first, *_, last = (card.split("\n") for card in tab.cards())
    assert first[0] == "1"
    assert first[-1] == "person 3"
    assert "likely the same person" in first
    assert "probably not the same person" in last
    assert float(re.findall(r"[01]\.\d{3}", tab.cards()[0])[0]) > 0.99
    # The two frames from the street are one group, opened on demand.
    more = tab.page.locator(".alike").first
    assert more.inner_text() == "1 near-duplicate"
    before = len(tab.cards())
    more.click()
    assert (more.get_attribute("aria-expanded"), len(tab.cards())) == ("true", before + 1)
    more.click()
    assert (more.get_attribute("aria-expanded"), len(tab.cards())) == ("false", before)
    with tab.page.expect_response("**/api/search"):
        group = tab.page.locator("#modality")
        group.get_by_text("visible").click()
    tab.settled()
    tab.page.wait_for_selector("#detected:empty", state="attached")
    tab.says("#remark", "No verdict: these modalities are not calibrated.")
    tab.page.wait_for_selector("#verdict:empty", state="attached")


def test_filters(tab: Tab) -> None:
    tab.search(night(3))
    with tab.page.expect_response("**/api/search"):
        tab.page.get_by_role("checkbox", name="hall").check()
    tab.settled()
    assert len(tab.cards()) == PEOPLE
    assert all("hall" in card for card in tab.cards())
    tab.says("#filters-count", "(1)")
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    with tab.page.expect_response("**/api/search"):
        tab.page.get_by_label("Note contains").fill("nobody wrote this")
    tab.says("#empty", "No images match these filters.")
    tab.says("#results-title", "No results")
    with tab.page.expect_response("**/api/search"):
        tab.page.locator("#empty").get_by_role("button", name="Clear all filters").click()
    tab.settled()
    # Leaving the field that was typed into has not searched, and logged, the same once more.
    assert sum(url.endswith("/api/search") for url in asked) == 2
    assert len(tab.cards()) == 2 * PEOPLE


def test_attention(tab: Tab) -> None:
    tab.search(night(2))
    tab.page.locator(".card button").first.click()
    tab.says("#detail-title", f"Result 1 of {2 * PEOPLE}")
    with tab.page.expect_response("**/api/attention"):
        tab.page.get_by_label("Show PALM attention").check()
    tab.says("#attention-text", "Row 2 of 4, column 2 of 2")
    canvas = tab.page.get_by_role("application", name="Attention over the query")
    before = canvas.screenshot()
    canvas.click(position={"x": 5, "y": 5})
    tab.says("#attention-text", "Row 1 of 4, column 1 of 2")
    canvas.press("ArrowDown")
    canvas.press("ArrowRight")
    canvas.press("ArrowRight")
    tab.says("#attention-text", "Row 2 of 4, column 2 of 2")
    assert near(canvas.screenshot(), before)
    canvas.press("ArrowDown")
    assert not near(canvas.screenshot(), before)
    with tab.page.expect_response("**/api/attention"):
        tab.page.get_by_role("button", name="Next").click()
    # The images of a result follow one another.
    tab.says("#detail-title", f"Result 1 of {2 * PEOPLE}, image 2 of 2")
    tab.page.get_by_role("button", name="Next").click()
    tab.says("#detail-title", f"Result 2 of {2 * PEOPLE}")
    tab.page.get_by_role("button", name="Close").click()
    assert tab.page.locator("dialog[open]").count() == 0


def test_stepping_by_the_arrow_keys(tab: Tab) -> None:
    page = tab.page
    tab.search(night(2))
    page.locator(".card button").first.click()
    tab.says("#detail-title", "image 1 of 2")
    page.keyboard.press("ArrowLeft")  # there is none before
    page.keyboard.press("ArrowRight")
    tab.says("#detail-title", "image 2 of 2")
    # At the end the button cannot be used any more; the focus goes to the other one.
    back = page.get_by_role("button", name="Previous")
    back.press("Enter")
    tab.says("#detail-title", "image 1 of 2")
    assert page.evaluate("document.activeElement.id") == "next"


def near(one: bytes, other: bytes) -> bool:
    first, second = (np.asarray(Image.open(io.BytesIO(data)), dtype=float) for data in (one, other))
    return float(abs(first - second).mean()) < 0.5


def test_a_network_without_palm_says_so(tab: Tab) -> None:
    def without(route: object) -> None:
        answer = route.fetch()  # type: ignore[attr-defined]
        route.fulfill(response=answer, json=answer.json() | {"attention": False})  # type: ignore[attr-defined]

    tab.page.route("**/api/info", without)
    tab.page.reload()
    tab.page.wait_for_selector(".card")
    tab.search(night(2))
    tab.page.locator(".card button").first.click()
    tab.says("#attention-text", "This model has no PALM")


def test_searching_on_and_back(tab: Tab) -> None:
    tab.search(night(4))
    tab.page.locator(".card button").first.click()
    with tab.page.expect_response("**/api/search"):
        tab.page.get_by_role("button", name="Search with this image").click()
    tab.settled()
    assert len(tab.cards()[0].split("person 4")) == 2
    assert tab.page.locator("#query img").get_attribute("alt") != "night.png"
    tab.says("#remark", "The query image is in the gallery and is excluded.")
    tab.page.locator(".card button").last.click()
    with tab.page.expect_response("**/api/search"):
        tab.page.get_by_role("button", name="Add to query").click()
    tab.settled()
    assert tab.page.locator("#query li").count() == 2
    tab.page.locator(".card button").first.click()
    tab.says("#query-figure figcaption", "Query (first of 2)")
    tab.page.keyboard.press("Escape")
    tab.says("#remark", "No verdict: the calibration is for searches with one image.")
    with tab.page.expect_response("**/api/search"):
        tab.page.get_by_role("button", name="Remove").last.click()
    tab.settled()
    with tab.page.expect_response("**/api/search"):
        tab.page.go_back()
        tab.page.go_back()
        tab.page.go_back()
    tab.says("#detected", "Detected: infrared.")
    assert tab.page.locator("#query img").get_attribute("alt") == "night.png"
    tab.page.get_by_role("button", name="New search").click()
    tab.says("#results-title", "Gallery")


MOVED = """([data, kind]) => {
  const moved = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  moved.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
  const made = { dataTransfer: moved, clipboardData: moved, bubbles: true, cancelable: true };
  const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
  document.querySelector("#drop").dispatchEvent(new Kind(kind, made));
}"""
"""Drops or pastes an image."""


def test_dropping_and_pasting(tab: Tab) -> None:
    data = base64.b64encode(photograph(5, grey=True)).decode()
    for number, kind in enumerate(("drop", "paste"), 1):
        with tab.page.expect_response("**/api/search"):
            tab.page.evaluate(MOVED, [data, kind])
        tab.settled()
        assert tab.page.locator("#query li").count() == number
        assert "person 5" in tab.cards()[0]


def test_the_keyboard_alone(tab: Tab) -> None:
    page = tab.page
    # The browser is told at once that choosers are handled: told only when the key is pressed, it
    # may hear of the key first.
    page.on("filechooser", lambda _: None)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reach(page, "files")
    focused = "getComputedStyle(document.querySelector('label[for=files]')).outlineStyle"
    assert page.evaluate(focused) == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    with page.expect_response("**/api/search"):
        chooser.value.set_files([night(5)])
    tab.settled()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.card button')"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    tab.says("#detail-title", "Result 1 of")
    reach(page, "attention-on")
    with page.expect_response("**/api/attention"):
        page.keyboard.press("Space")
    tab.says("#attention-text", "Row 2 of 4")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowUp")
    tab.says("#attention-text", "Row 1 of 4")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    # Back where it was.
    assert page.evaluate("document.activeElement.matches('.card button')")


def reach(page: Page, id: str) -> None:
    """Go to an element by the Tab key."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == id:
            return
    raise AssertionError(f"#{id} cannot be reached by the Tab key")


def test_adding_and_forgetting(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("button", name="Add images").click()
    new = [file(f"{n}.png", photograph(9, frame=n)) for n in range(10)]
    page.set_input_files("#adding-files", [*new, new[0], file("text.jpg", b"text")])
    page.locator("#adding").get_by_label("Camera").fill("yard")
    page.locator("#adding").get_by_label("Identity").fill("new one")
    page.get_by_role("button", name="Add 12 images").click()
    tab.says("#adding-text", "Done: 10 of 12 added, 1 already known, 1 refused.")
    tab.says("#adding-refused", "'text.jpg' cannot be read: it is text")
    assert page.locator("#adding-bar").get_attribute("value") == "12"
    tab.shot("adding")
    page.locator("#adding").get_by_role("button", name="Close").last.click()
    tab.says("#gallery-size", f"{3 * PEOPLE + 10} images")
    assert page.get_by_role("checkbox", name="yard").count() == 1

    tab.search(night(9))
    assert "new one" in tab.cards()[0]
    page.locator(".card button").first.click()
    page.get_by_role("button", name="Delete…").click()
    tab.says("#deleting-text", "will be deleted from this gallery. This cannot be undone.")
    tab.says("#deleting-do", "Delete 1 image")
    page.get_by_role("radio", name="all 10 images of identity new one").check()
    tab.says("#deleting-text", "10 images of identity new one")
    tab.shot("deleting")
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#detail[open]").count() == 1
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("radio", name="all 10 images of identity new one").check()
    with page.expect_response("**/api/search"):
        page.get_by_role("button", name="Delete 10 images").click()
    tab.settled()
    tab.says("#gallery-size", f"{3 * PEOPLE} images")
    assert not any("new one" in card for card in tab.cards())
    tab.says("#status", "result")


def test_adding_can_be_stopped(tab: Tab) -> None:
    """What is on its way arrives; the rest can be added later, and nothing is mixed in between."""
    page = tab.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/entries", hold)
    page.get_by_role("button", name="Add images").click()
    page.set_input_files("#adding-files", [file(f"{n}.png", photograph(8)) for n in range(10)])
    page.locator("#adding").get_by_label("Camera").fill(" yard ")
    page.get_by_role("button", name="Add 10 images").click()
    page.get_by_role("button", name="Stop").click()
    assert page.locator("#adding-files").is_disabled()
    [first] = held
    body = first.request.post_data_buffer or b""
    assert (body.count(b"filename="), b"\r\n\r\nyard\r\n" in body) == (8, True)
    known = {"status": "known", "detail": "", "entry": None}
    outcomes = [{"name": f"{n}.png", **known} for n in range(8)]
    first.fulfill(json=outcomes)
    tab.says("#adding-text", "Stopped: 0 of 10 added, 8 already known.")
    tab.says("#adding-start", "Add 2 images")
    assert len(held) == 1
    page.unroute("**/api/entries")
    page.locator("#adding").get_by_role("button", name="Close").last.click()
    assert page.locator("dialog[open]").count() == 0


def test_the_gallery_is_leafed_through_to_its_end(tab: Tab) -> None:
    page = tab.page
    entry = page.evaluate("fetch('api/entries?limit=1').then((answer) => answer.json())")
    asked = []

    def many(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        asked.append((offset, limit))
        entries = entry["entries"] * min(limit, 45 - offset)
        route.fulfill(json={"total": 45, "entries": entries})

    page.route("**/api/entries?*", many)
    page.reload()
    more = page.get_by_role("button", name="Show more")
    for count in (20, 40, 45):
        page.wait_for_function("(n) => document.querySelectorAll('.card').length === n", arg=count)
        tab.settled()
        if count < 45:
            more.click()
    assert asked == [(0, 20), (20, 20), (40, 20)]
    assert more.is_hidden()
    page.locator(".card button").first.click()
    tab.says("#detail-title", "Image 1 of 45")


def test_a_report_a_timeline_and_the_docs(tab: Tab) -> None:
    tab.search(night(3))
    tab.page.locator("#timeline svg").wait_for()
    marks = tab.page.locator("#timeline .mark")
    assert marks.count() > 1
    marks.last.focus()
    tab.page.keyboard.press("Enter")
    tab.says("#detail-title", "Result ")
    tab.page.keyboard.press("Escape")
    tab.shot("timeline")
    with tab.page.expect_download() as saved:
        tab.page.locator("#export").get_by_role("button", name="page").click()
    assert saved.value.suggested_filename == "search.html"
    assert "Asked by" in Path(saved.value.path()).read_text()
    tab.page.locator("#clear-query").click()
    tab.settled()
    assert not tab.page.locator("#timeline").is_visible()
    assert not tab.page.locator("#export").is_visible()
    with tab.page.expect_navigation():
        tab.page.get_by_role("link", name="REST API").click()
    tab.says("h2", "PATCH /api/entries/{id}")


def test_results_come_into_view_on_a_phone(browser: Browser, server: Served, shots: Path) -> None:
    with opened(browser, server.url, shots, width=390) as tab:
        tab.page.wait_for_selector(".card")
        tab.page.locator("#filters summary").click()
        with tab.page.expect_response("**/api/entries?*"):
            tab.page.get_by_role("checkbox", name="hall").check()
        tab.settled()
        in_view = "document.getElementById('results').getBoundingClientRect().top"
        tab.page.wait_for_function(f"() => {in_view} >= 0 && {in_view} < 100")
        # A text is applied while it is typed; Enter brings the results into view.
        identity = tab.page.locator("#filters").get_by_label("Identity")
        with tab.page.expect_response("**/api/entries?*"):
            identity.fill("person 3")
        tab.settled()
        tab.page.evaluate("window.scrollTo(0, 0)")
        assert tab.page.evaluate(f"{in_view} > innerHeight / 2")
        tab.page.keyboard.press("Enter")
        # As far up as the page, with one result, is long.
        tab.page.wait_for_function(f"() => {in_view} >= 0 && {in_view} <= innerHeight / 2")
