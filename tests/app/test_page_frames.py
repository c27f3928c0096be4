"""Frames and videos on the page: people are offered, and one of them is searched for."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from tests.app import test_page
from tests.app.people import photograph
from tests.app.test_page import Tab, file
from tests.helpers.videos import write_video

browser = test_page.browser
shots = test_page.shots
tab = test_page.tab


def street(*people: tuple[int, int], width: int = 480, height: int = 200) -> Image.Image:
    """A dark frame of an infrared camera with people at these columns."""
    frame = Image.new("RGB", (width, height))
    for person, left in people:
        data = photograph(person, grey=True, frame=9)
        frame.paste(Image.open(io.BytesIO(data)), (left, height - 110))
    return frame


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_a_person_of_a_frame(tab: Tab) -> None:
    page = tab.page
    data = base64.b64encode(png(street((1, 60), (3, 300)))).decode()
    with page.expect_response("**/api/people"):
        page.evaluate(test_page.MOVED, [data, "drop"])
    tab.says("#people-title", "2 people were found")
    tab.shot("people")
    assert page.evaluate("document.activeElement.innerText").startswith("Person 1")
    boxes = page.locator("#people-boxes .box")
    assert boxes.count() == 2
    with page.expect_response("**/api/search"):
        page.locator("#people-list").get_by_role("button", name="Person 2").click()
    tab.settled()
    assert "person 3" in tab.cards()[0]
    tab.says("#detected", "Detected: infrared.")
    page.locator("#timeline svg").wait_for()
    assert page.locator("#query img").get_attribute("alt") == "Person 2 of drop.png.jpg"

    # A box by hand, around the other one: by the mouse, although it begins on the box found.
    page.get_by_role("button", name="New search").click()
    page.evaluate(test_page.MOVED, [data, "drop"])
    tab.says("#people-title", "2 people were found")
    stage = page.locator("#people-stage").bounding_box()
    assert stage
    x, y, scale = stage["x"], stage["y"], stage["width"] / 480
    page.mouse.move(x + 62 * scale, y + 92 * scale)
    page.mouse.down()
    page.mouse.move(x + 90 * scale, y + 120 * scale)
    page.mouse.move(x + 108 * scale, y + 186 * scale)
    page.mouse.up()
    tab.shot("people-box")
    with page.expect_response("**/api/search"):
        page.keyboard.press("Enter")  # the focus is on the button
    tab.settled()
    assert "person 1" in tab.cards()[0]

    # And by the keyboard: down to the feet, and a little narrower and wider.
    page.get_by_role("button", name="New search").click()
    page.set_input_files("#files", [file("a.png", png(street((3, 96), width=240, height=160)))])
    tab.says("#people-title", "1 person was found")
    page.get_by_role("button", name="Draw a box").press("Enter")
    own = page.get_by_role("application", name="Your box")
    for key in (*["ArrowDown"] * 11, "Shift+ArrowLeft", "Shift+ArrowRight"):
        own.press(key)
    with page.expect_response("**/api/search"):
        own.press("Enter")
    tab.settled()
    assert "person 3" in tab.cards()[0]


def test_a_person_of_a_video(tab: Tab, tmp_path: Path) -> None:
    page = tab.page
    frames = (np.asarray(street((2, 4 * n), width=160, height=120)) for n in range(24))
    video = write_video(tmp_path / "night.mp4", frames)
    page.set_input_files("#files", str(video))
    tab.says("#people-title", "1 tracklet was found")
    tab.says("#people-list", "0:00.2 to 0:02.2")
    tab.says("#people-when", "of 12")
    tab.shot("people-video")
    with page.expect_response("**/api/search"):
        page.locator("#people-boxes .box").first.click()
    tab.settled()
    assert "person 2" in tab.cards()[0]
    assert page.locator("#query li").count() > 1
    # What cannot be read is said, and the query stays.
    page.set_input_files("#files", {**file("x.mp4", video.read_bytes()[:900]), "mimeType": ""})
    tab.says("#alert", "'x.mp4' cannot be opened")
    assert page.locator("dialog[open]").count() == 0
    assert page.locator("#query li").count() > 1


def test_a_frame_without_people(tab: Tab) -> None:
    page = tab.page
    page.set_input_files("#files", [file("empty.png", png(street()))])
    tab.says("#people-title", "No person was found")
    page.keyboard.press("Escape")
    assert page.locator("#query li").count() == 0
    page.set_input_files("#files", [file("empty.png", png(street()))])
    with page.expect_response("**/api/search"):
        page.get_by_role("button", name="Search with the whole image").click()
    tab.says("#scene-remark", "'empty.png' seems to show no person")
    # One person who fills the picture is no scene.
    tab.search(file("wide.png", png(street((4, 10), width=70, height=112))))
    assert page.locator("#query li").count() == 2
