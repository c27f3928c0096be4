"""What the page says where images, the server or the token are wrong, or nothing is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app import test_page
from tests.app.people import TOKEN, Served, photograph
from tests.app.test_page import Tab, file, night, opened

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

browser = test_page.browser
shots = test_page.shots
tab = test_page.tab


def test_what_cannot_be_searched_with(tab: Tab) -> None:
    tab.page.set_input_files("#files", [file("large.png", b"x" * 10_100_000)])
    tab.says("#alert", "'large.png' is too large; the limit is 10 MB")
    tab.search(night(1))
    shown = tab.cards()
    tab.page.set_input_files("#files", [file("notes.jpg", b"just text")])
    tab.says("#alert", "'notes.jpg' cannot be read: it is text that begins with 'just text'")
    tab.page.set_input_files("#files", [file("torn.png", photograph(1)[:-400])])
    tab.says("#alert", "'torn.png'")
    tab.page.set_input_files("#files", [night(1)] * 8)
    tab.says("#alert", "A query may contain at most 8 images")
    # The former query and its results are still there.
    assert tab.page.locator("#query img").get_attribute("alt") == "night.png"
    assert tab.cards() == shown
    tab.search(night(2))
    assert tab.page.locator("#alert").is_hidden()


def test_a_server_that_does_not_answer(tab: Tab) -> None:
    tab.page.route("**/api/search", lambda route: route.abort())
    tab.page.set_input_files("#files", [night(1)])
    tab.says("#alert", "The server does not respond. Is vireid serve still running?")
    tab.page.unroute("**/api/search")
    with tab.page.expect_response("**/api/search"):
        tab.page.get_by_role("button", name="Try again").click()
    tab.settled()
    assert tab.page.locator("#alert").is_hidden()
    assert "person 1" in tab.cards()[0]


def test_a_busy_server_is_asked_again(tab: Tab) -> None:
    asked: list[int] = []

    def busy(route: object) -> None:
        asked.append(1)
        if len(asked) < 3:
            route.fulfill(status=503, headers={"Retry-After": "0.01"}, json={"detail": "busy"})  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    tab.page.route("**/api/search", busy)
    tab.page.set_input_files("#files", [night(1)])
    tab.says(".card", "person 1")
    tab.settled()
    assert len(asked) == 3


def test_a_token_and_an_empty_gallery(browser: Browser, strict: Served, shots: Path) -> None:
    with opened(browser, strict.url, shots) as tab:
        page = tab.page
        tab.says("#token-title", "Access token required")
        page.keyboard.press("Escape")  # nothing works without it
        page.get_by_role("textbox", name="Token").fill("a-wrong-one-of-some-length")
        page.keyboard.press("Enter")
        tab.says("#token-problem", "Invalid token.")
        tab.shot("token")
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        tab.says("#empty", "This gallery is empty.")
        tab.says("#logged", "Signed in as 'ada'.")
        tab.shot("empty")
        # The tab keeps it; no address ever holds it.
        page.reload()
        tab.says("#empty", "This gallery is empty.")
        assert TOKEN not in page.url
        tab.search(night(1))
        tab.says("#results-title", "No results")
