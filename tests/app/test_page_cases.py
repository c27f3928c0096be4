"""Cases on the page: from a search to decisions, notes, a report, and a deleted entry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.app import test_page
from tests.app.people import copy, hosted
from tests.app.test_page import Tab, night, opened

from vireid.features import FeatureExtractor
from vireid.gallery import open_gallery
from vireid.gallery.cases import CaseQuery

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

browser = test_page.browser
shots = test_page.shots
NAME = "<b>Bicycle</b>, 30 May"


def test_a_case_from_search_to_erasure(
    browser: Browser, gallery: Path, extractor: FeatureExtractor, tmp_path: Path, shots: Path
) -> None:
    with (
        hosted(copy(gallery, tmp_path), extractor) as server,
        opened(browser, server.url, shots, still=True) as tab,
    ):
        page = tab.page
        tab.search(night(3))
        # Add the best result from its dialog to a new case.
        page.locator(".card button").first.click()
        page.get_by_role("button", name="Add to a case…").click()
        page.get_by_label("New case").fill(NAME)
        with page.expect_response("**/hits"):
            page.get_by_role("button", name="Open case").click()
        page.wait_for_selector("#cases", state="hidden")
        assert page.locator("#case-this").is_hidden()
        page.keyboard.press("Escape")
        tab.says("#case-bar", f"Case {NAME}")
        # Two more by their buttons on the page: one chosen with its near-duplicate, one rejected.
        tab.says(".card:nth-child(1) .chosen", "Added")
        with page.expect_response("**/hits"):
            page.locator(".card:nth-child(2) .chosen").click()
        with page.expect_response("**/hits"):
            page.locator(".card:last-child .rejected").click()
        tab.says(".card:last-child .rejected", "Rejected")
        looks(tab, "case-results")
        page.get_by_role("button", name="Show", exact=True).click()
        tab.says("#cases-title", NAME)
        page.get_by_label("New note").fill("by the door\n<i>twice</i>")
        with page.expect_response("**/notes"):
            page.get_by_role("button", name="Add note").click()
        tab.says(".case-notes", "<i>twice</i>")
        chosen = page.locator("#cases section", has_text="Chosen").locator(".card")
        before = chosen.count()
        assert page.locator("#cases .timeline .mark").count() == before
        looks(tab, "case")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Report: page").click()
        report = Path(saved.value.path()).read_text()
        assert "&lt;b&gt;Bicycle&lt;/b&gt;" in report
        assert "&lt;i&gt;twice&lt;/i&gt;" in report
        # A deleted entry is gone from the case.
        chosen.first.locator("button").first.click()
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("button", name="Delete 1 image").click()
        tab.says("#cases .facts", "1 image of this case was deleted from the gallery")
        assert chosen.count() == before - 1
        page.get_by_role("button", name="All cases").click()
        tab.says(".case-list", NAME)
        tab.shot("cases")
        page.locator(".case-list button").click()
        page.get_by_role("button", name="Delete case…").click()
        page.get_by_role("button", name="Delete it permanently").click()
        tab.says("#cases", "No cases yet.")
        page.locator("#cases").get_by_role("button", name="Close").click()
        assert page.locator("#case-bar").is_hidden()


def looks(tab: Tab, name: str) -> None:
    """Screenshots wide and narrow, light and dark; nothing may be cut off."""
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        tab.page.emulate_media(color_scheme=scheme)
        for width in (390, 1280):
            tab.page.set_viewport_size({"width": width, "height": 844})
            tab.shot(f"{name}-{'wide' if width > 1000 else 'narrow'}-{scheme}")


def test_query_images_beyond_the_limit_are_said(
    browser: Browser, gallery: Path, extractor: FeatureExtractor, tmp_path: Path, shots: Path
) -> None:
    made = copy(gallery, tmp_path)
    with open_gallery(made, write=True) as opened_gallery:
        queries = [CaseQuery(id=row.info.id, by="local") for row in opened_gallery.rows()][:3]
        case = opened_gallery.cases.create(NAME, by="local")
        opened_gallery.cases.add(case.id, queries=queries)

    def two_images(route: Route) -> None:
        answer = route.fetch()
        info = answer.json()
        route.fulfill(response=answer, json=info | {"limits": info["limits"] | {"images": 2}})

    with hosted(made, extractor) as server, opened(browser, server.url, shots) as tab:
        page = tab.page
        page.route("**/api/info", two_images)
        page.reload()
        page.wait_for_selector(".card")
        page.get_by_role("button", name="Cases").click()
        page.locator(".case-list button").click()
        with page.expect_response("**/api/search"):
            page.get_by_role("button", name="Search with its query").click()
        tab.says("#alert", "A query may contain at most 2 images; the last 1 of 3 are left out.")
        assert page.locator("#query li").count() == 2
