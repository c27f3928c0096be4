"""How the page looks: screenshots of its states, nothing cut off, and colours that can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from tests.app import test_page
from tests.app.people import Served
from tests.app.test_page import night, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

browser = test_page.browser
shots = test_page.shots
PAGE = Path(__file__).parents[2] / "src" / "vireid" / "app" / "page"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_screenshots(
    browser: Browser, server: Served, shots: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    with opened(browser, server.url, shots, width=width, scheme=scheme, still=True) as tab:
        name = f"{'wide' if width > 1000 else 'narrow'}-{scheme}"
        tab.page.wait_for_selector(".card")
        tab.shot(f"start-{name}")
        tab.search(night(3))
        tab.shot(f"found-{name}")
        tab.page.locator(".card button").first.click()
        with tab.page.expect_response("**/api/attention"):
            tab.page.get_by_label("Show PALM attention").check()
        tab.says("#attention-text", "Row 2 of 4")
        tab.shot(f"opened-{name}")
        tab.page.set_viewport_size({"width": 360, "height": 640})
        tab.shot(f"opened-360-{name}")
        tab.page.keyboard.press("Escape")
        tab.page.locator("#filters summary").click()
        tab.shot(f"found-360-{name}")
        moving = "getComputedStyle(document.getElementById('waiting'), '::after').animationName"
        assert tab.page.evaluate(moving) == "none"


def test_contrast() -> None:
    """WCAG 2.2, AA: 4.5 for text, 3 for the edges of what can be used, in light and in dark."""
    css = (PAGE / "app.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(schemes) == 2
    for colours in schemes:
        for ink, ground, least in (
            *(
                (ink, ground, 4.5)
                for ink in ("ink", "pale", "accent", "danger")
                for ground in ("paper", "card")
            ),
            ("on-accent", "accent", 4.5),
            ("card", "danger", 4.5),
            ("ink", "soft", 4.5),
            ("ink", "alarm", 4.5),
            ("edge", "card", 3),
            ("edge", "paper", 3),
            ("accent", "paper", 3),
        ):
            assert contrast(colours[ink], colours[ground]) >= least, (ink, ground, colours[ink])


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    levels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
