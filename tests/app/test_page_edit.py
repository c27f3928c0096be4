"""Editing what is known of an image and of a tracklet on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.app import test_page
from tests.app.people import NOON, copy, hosted
from tests.app.test_page import Tab, opened

from vireid.features import FeatureExtractor
from vireid.gallery import Filters, open_gallery

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

browser = test_page.browser
shots = test_page.shots
STREET = Filters(cameras=("street",), identities=("person 5",))


@pytest.fixture
def made(gallery: Path, tmp_path: Path) -> Path:
    """A gallery in which the street's two images of a person are a tracklet."""
    made = copy(gallery, tmp_path)
    with open_gallery(made, write=True) as opened:
        opened.edit({row.info.id: {"tracklet": "t1"} for row in opened.rows(STREET)})
    return made


@pytest.fixture
def tab(browser: Browser, made: Path, extractor: FeatureExtractor, shots: Path) -> Iterator[Tab]:
    with hosted(made, extractor) as server, opened(browser, server.url, shots) as tab:
        tab.page.wait_for_selector(".card")
        yield tab


def test_editing_a_tracklet(tab: Tab, made: Path) -> None:
    page = tab.page
    page.locator(".card button").first.click()  # the newest: the tracklet's second image
    page.get_by_role("button", name="Edit…").click()
    tab.says("#editing-title", "Edit 5-street-1.png")
    form = page.locator("#editing")
    tab.says("#editing-all", "all 2 images of its tracklet")
    identity = form.get_by_label("Identity")
    identity.fill("x" * 300)
    form.get_by_role("button", name="Save").click()
    tab.says("#editing .fault", "at most 200 characters")
    tab.shot("editing-refused")
    assert page.evaluate("document.activeElement.name") == "identity"
    identity.fill("Ada")
    form.get_by_label("Camera").fill("gate")
    form.get_by_label("Note").fill("with a hat")
    # An hour later; the browser's time zone is that of the server.
    time = form.get_by_label("Taken at")
    time.fill(f"{NOON + timedelta(hours=6, minutes=30, seconds=2):%Y-%m-%dT%H:%M:%S}")
    form.get_by_text("all 2 images of its tracklet").click()
    tab.shot("editing")
    with page.expect_response("**/api/entries?order=newest*"):
        form.get_by_role("button", name="Save 2 images").click()
    tab.settled()
    tab.says("#detail-facts", "with a hat")
    page.keyboard.press("Escape")
    assert [("gate" in card, "Ada" in card) for card in tab.cards()[:3]] == [
        (True, True),
        (True, True),
        (False, False),
    ]
    assert page.get_by_role("checkbox", name="gate").count() == 1
    lines = made.with_name("audit.jsonl").read_text().splitlines()
    edits = [event for event in map(json.loads, lines) if event["action"] == "edit"]
    states = [event["state"] for event in edits]
    assert states == ["begun", "done", "begun", "done"]  # what was refused has not begun
    times = sorted(event["values"]["time"] for event in edits if event["state"] == "done")
    assert times == ["2026-05-31T18:30:00Z", "2026-05-31T18:30:02Z"]
    assert {event["values"]["camera"] for event in edits} == {"gate"}


def test_saving_a_tracklet_again_after_an_error_moves_its_times_once(tab: Tab, made: Path) -> None:
    page, patches = tab.page, 0

    def second_fails(route: Route) -> None:
        nonlocal patches
        patches += route.request.method == "PATCH"
        if route.request.method == "PATCH" and patches == 2:
            route.fulfill(status=507, json={"detail": "The disk is full."})
        else:
            route.continue_()

    page.route("**/api/entries/*", second_fails)
    page.locator(".card button").first.click()
    page.get_by_role("button", name="Edit…").click()
    tab.says("#editing-all", "all 2 images of its tracklet")
    form = page.locator("#editing")
    time = NOON + timedelta(hours=6, minutes=30, seconds=2)
    form.get_by_label("Taken at").fill(f"{time:%Y-%m-%dT%H:%M:%S}")
    form.get_by_text("all 2 images of its tracklet").click()
    form.get_by_role("button", name="Save 2 images").click()
    tab.says("#editing-problem", "1 of 2 images are changed. The disk is full.")
    form.get_by_role("button", name="Save 2 images").click()
    form.wait_for(state="hidden")
    with open_gallery(made) as gallery:
        times = sorted(f"{row.info.time:%H:%M:%S}" for row in gallery.rows(STREET))
    assert times == ["18:30:00", "18:30:02"]
