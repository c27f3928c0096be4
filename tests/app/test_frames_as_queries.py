"""People in uploaded frames and videos, over REST; and searches with pictures of several people."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.app.people import copy, photograph
from tests.app.visitor import Visitor
from tests.helpers.videos import SIZE, BrightBoxes, scene, walk, write_video

from vireid.cli import gallery_search, main
from vireid.errors import VideoError
from vireid.video import frames, scenes


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def look(visitor: Visitor, data: bytes, name: str = "x.png", **form: Any) -> Any:
    answer = visitor.ask("POST", "/api/people", files={"file": (name, data)}, data=form)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(visitor: Visitor, data: bytes, **form: Any) -> tuple[int, str]:
    return visitor.refused("POST", "/api/people", files={"file": ("x.mp4", data)}, data=form)


def pixels(encoded: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def test_the_people_of_a_frame(ada: Visitor) -> None:
    frame = scene(100, 20)
    found = look(ada, png(frame))
    assert (found["video"], found["crop"], found["width"], found["height"]) == (
        False,
        False,
        160,
        120,
    )
    [view] = found["views"]
    assert pixels(view["image"]).shape == (*SIZE, 3)
    assert (view["people"], view["boxes"]) == ([0, 1], [[20, 32, 44, 92], [100, 30, 124, 90]])
    for person, (left, top, right, bottom) in zip(found["people"], view["boxes"], strict=True):
        [crop] = person["crops"]
        difference = pixels(crop).astype(int) - frame[top:bottom, left:right]
        assert abs(difference).mean() < 3
        assert person["modality"] == "visible"
    event = ada.events()[-1]
    del event["time"]
    assert event == {
        "user": "ada",
        "action": "people",
        "video": False,
        "frames": 1,
        "box": [],
        "people": 2,
    }


def test_the_people_of_a_video(ada: Visitor, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(40)).read_bytes()
    found = look(ada, video, "walk.mp4")
    assert (found["video"], found["crop"], found["frames"]) == (True, False, 20)
    [person] = found["people"]
    # A tracklet begins in its second frame.
    assert (person["frames"], person["first"], person["last"]) == (19, 0.2, 3.8)
    assert 2 <= len(person["crops"]) <= 4
    assert 8 <= len(found["views"]) <= 16
    view = found["views"][-1]
    [box] = view["boxes"]
    assert abs(box[0] - (10 + 20 * view["seconds"])) <= 2
    # The same box drawn by hand is cut out of the same frame.
    cut = look(ada, video, box=box, seconds=view["seconds"])
    [crop] = cut["people"][0]["crops"]
    assert (cut["seconds"], pixels(crop).shape) == (
        view["seconds"],
        (box[3] - box[1], box[2] - box[0], 3),
    )
    assert cut["views"] == []
    assert pixels(crop)[:8].mean() > 200
    assert ada.events()[-1]["box"] == box


def test_what_is_no_single_person(ada: Visitor) -> None:
    """A crop goes through; of a scene is said how many people it shows."""
    crop = scene(0)[30:90, 0:24]
    for pixels, remarks in (
        (crop, []),
        (np.pad(crop, ((4, 4), (14, 14), (0, 0))), []),  # not the shape of a crop, but filled
        (scene(20), ["'me.png' seems to show 1 person on a small part of it, and is searched"]),
        (scene(20, 100), ["'me.png' seems to show 2 people, and is searched as a whole"]),
        (scene(), ["'me.png' seems to show no person, and is searched as a whole"]),
    ):
        said = ada.search(png(pixels), limit=1)["query_remarks"]
        assert len(said) == len(remarks)
        assert all(one.startswith(words) for one, words in zip(said, remarks, strict=True))
    assert ada.search(photograph(1), limit=1)["query_remarks"] == []
    assert look(ada, png(crop))["crop"]


def test_what_cannot_be_looked_at(ada: Visitor, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(20)).read_bytes()
    status, said = refused(ada, b"just text")
    assert status == 415
    assert "expected an image (JPEG" in said
    assert said.endswith(") or a video; leave it out.")
    status, said = refused(ada, video[:2000])
    assert (status, "'x.mp4' cannot be opened" in said) == (422, True)
    status, said = refused(ada, png(scene(20)), box=[150, 100, 400, 100])
    assert (status, "within 160 x 120 pixels" in said) == (422, True)
    for box in ([1, 2, 3], [0, 0, 10**30, 50], [-1, 0, 50, 50]):
        assert refused(ada, png(scene(20)), box=box)[0] == 422
    for seconds in (9, 86_400, 1e300):
        assert refused(ada, video, box=[0, 0, 50, 50], seconds=seconds)[0] == 422
    playlist = f"ffconcat version 1.0\nfile '{tmp_path / 'a.mp4'}'\n".encode()
    assert refused(ada, playlist)[0] == 415
    assert look(ada, png(scene()))["people"] == []
    low = scene(20, 100)
    low[70:, 90:] = low[0, 0]  # the second one is 38 pixels high
    found = look(ada, png(low))
    assert len(found["people"]) == 1
    assert found["remarks"] == ["1 person lower than 48 pixels left out."]


def test_one_upload_is_looked_through_at_a_time(
    ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ada.handlers, "_detecting", 4)
    form = {"file": ("x.png", png(scene(20)))}
    answer = ada.ask("POST", "/api/people", files=form)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    monkeypatch.setattr(ada.handlers, "_detecting", 3)
    assert ada.ask("POST", "/api/people", files=form).status_code == 200
    assert ada.handlers._detecting == 3


def test_missing_packages_are_named(
    ada: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "a.mp4", walk(20)).read_bytes()
    missing = {name: sys.modules.get(name) for name in ("av", "trackers")}
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else True)
    status, said = refused(ada, video)
    assert (status, "'av' needs the packages av" in said) == (501, True)
    assert "pip install 'vireid[video]'" in said
    monkeypatch.setitem(sys.modules, "av", missing.pop("av"))
    # A frame of the video can still be looked at, and a box be drawn on it.
    found = look(ada, video)
    assert found["people"] == []
    assert found["views"]
    assert "People cannot be found: 'trackers' needs the packages" in found["remarks"][0]


def test_the_shell_notices_several_people(
    run: Path,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    people = copy(gallery, tmp_path)
    (tmp_path / "crop.png").write_bytes(photograph(1))
    for number in range(5):
        (tmp_path / f"scene{number}.png").write_bytes(png(scene(20, 100)))
    asked = []

    def detector() -> BrightBoxes:
        asked.append(BrightBoxes())
        return asked[0]

    monkeypatch.setattr(gallery_search, "default_detector", detector)
    words = ["gallery", "search", str(people), "--run", str(run)]
    assert main([*words, str(tmp_path / "crop.png")]) == 0
    assert "vireid detect" not in capsys.readouterr().err
    assert not asked  # nor the detector loaded
    assert main([*words, str(tmp_path / "scene*.png")]) == 0
    said = capsys.readouterr().err
    assert "'scene0.png' seems to show 2 people, and is searched as a whole." in said
    assert "'scene3.png'" not in said
    assert "The same holds for 2 more. To search with one of the people, cut them out" in said


def test_videos_are_read_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_video(tmp_path / "a.mp4", walk(40)).read_bytes()
    video = scenes.MemoryVideo(data, "a.mp4", seconds=60)
    found = scenes.people_of_video(video, BrightBoxes(), seconds=2)
    assert found.seconds == 2
    assert found.remarks == ["Only the first 2 s of it were looked at."]
    # Each frame takes 9 of 30 seconds.
    clock = [0.0]
    for module in (frames, scenes):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    video = scenes.MemoryVideo(data, "a.mp4", seconds=30)

    class Slow(BrightBoxes):
        def boxes(self, frame: Any) -> Any:
            clock[0] += 9
            return super().boxes(frame)

    found = scenes.people_of_video(video, Slow(), seconds=60)
    assert 4 <= found.frames < 15
    [remark] = found.remarks
    assert f"only the first {found.seconds:.1f} s of it were looked at" in remark
    monkeypatch.setattr(scenes, "_VIDEO_PIXELS", 100)
    with pytest.raises(VideoError, match=r"frames of more than 0.0001 million pixels"):
        scenes.MemoryVideo(data, "a.mp4", seconds=60)
