"""The page over what ``make demo`` leaves behind: a trained network, and people whom it never saw.

Runs where ``VIREID_DEMO`` names the demo's folder. The README's image is made here, into the
folder that ``VIREID_SHOTS`` names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.app import test_page
from tests.app.people import served
from tests.app.test_page import file, opened

from vireid.cli import main
from vireid.data.layouts import SysuMM01
from vireid.evaluation import protocols_for, search
from vireid.features import load
from vireid.types import ImageRecord, Modality

if TYPE_CHECKING:
    from playwright.sync_api import Browser

browser = test_page.browser
shots = test_page.shots

DEMO = Path(os.environ.get("VIREID_DEMO", "none"))
RUN = DEMO / "runs" / "dlis"


@pytest.mark.skipif(not DEMO.is_dir(), reason="VIREID_DEMO names no folder of `make demo`")
def test_the_right_person_is_first_where_the_evaluation_says_so(
    browser: Browser, shots: Path, tmp_path: Path
) -> None:
    place = tmp_path / "people"
    assert main(["gallery", "add", str(place), "--run", str(RUN), str(DEMO / "people.csv")]) == 0
    query = best_query()
    with served(place, RUN, ["--read-only"]) as server, opened(browser, server.url, shots) as tab:
        tab.says("#gallery-size", "1,918 images")
        tab.page.locator("#filters").get_by_text("visible", exact=True).click()
        tab.search(file(query.path.name, query.path.read_bytes()))
        tab.says("#detected", "Detected: infrared.")
        first = tab.cards()[0].split("\n")
        assert first[0] == "1"
        assert first[-1] == f"identity {query.identity}"
        tab.page.set_viewport_size({"width": 1280, "height": 900})
        tab.shot("gallery-page")
        tab.page.locator(".card button").first.click()
        with tab.page.expect_response("**/api/attention"):
            tab.page.get_by_label("Show PALM attention").check()
        tab.says("#attention-text", "Row")
        tab.shot("gallery-attention")


def best_query() -> ImageRecord:
    """The infrared image of a person unseen in training that finds this person best."""
    layout = SysuMM01(DEMO / "synvi")
    [protocol, *_] = protocols_for(layout)
    found = search(load(RUN).extract(layout.test(), progress=False), protocol)
    record: ImageRecord = protocol.records[found.trial.query[found.worst_first()[-1]]]
    assert record.modality is Modality.INFRARED
    return record
