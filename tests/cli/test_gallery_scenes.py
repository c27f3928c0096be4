"""``vireid gallery add`` of videos, images of scenes and crops in one command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.app.people import photograph, write_run
from tests.helpers.videos import BrightBoxes, scene, walk, write_video

from vireid.cli import main
from vireid.gallery import open_gallery
from vireid.types import ImageInfo


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> BrightBoxes:
    found = BrightBoxes()
    monkeypatch.setattr("vireid.cli.gallery.load_detector", lambda name: found)
    return found


def entries(place: Path) -> list[ImageInfo]:
    with open_gallery(place) as gallery:
        return [row.info for row in gallery.rows(features=False, thumbnails=False)]


def test_videos_and_crops_in_one_command(
    run: Path, tmp_path: Path, detector: BrightBoxes, capsys: pytest.CaptureFixture[str]
) -> None:
    place, mixed = tmp_path / "people", tmp_path / "mixed"
    mixed.mkdir()
    for person in range(2):
        (mixed / f"{person}.png").write_bytes(photograph(person))
    # A video by its content, not by its name.
    write_video(tmp_path / "a.mp4", walk(30)).rename(mixed / "recording")
    words = ["gallery", "add", str(place), "--run", str(run), str(mixed), "--camera", "gate"]
    words += ["--start", "2026-05-04T12:00:00Z", "--fps", "5"]
    assert main(words) == 0
    said = capsys.readouterr()
    folder = tmp_path / "people.people"
    assert (
        f"in 1 source, which is a video by its content. Its crops stay in '{folder}'." in said.out
    )
    crops = "Images are taken as crops of one person each, to which --start does not apply;"
    assert crops in said.out
    assert "not read" not in said.err
    found = entries(place)
    tracked = [info for info in found if info.tracklet]
    assert (len(found), len(tracked)) == (6, 4)
    assert {info.camera for info in found} == {"gate"}
    assert len({info.tracklet_key for info in tracked}) == 1
    assert all(info.path.parent.parent == folder / "gate" for info in tracked)
    assert all(str(info.time).startswith("2026-05-04 12:00:0") for info in tracked)
    calls = detector.calls
    assert main(words) == 0
    assert "6 were already there" in capsys.readouterr().out
    assert (detector.calls, len(entries(place))) == (calls, 6)


def test_scenes_are_said_to_be_scenes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "yard_visible"
    frames.mkdir()
    for number in range(6):
        image = scene(10 + 8 * number, colour=(250, 240, 200 + number))
        Image.fromarray(image).save(frames / f"{number}.png")
    words = ["gallery", "add", str(tmp_path / "g"), "--run", str(run), str(frames), "--scenes"]
    words += ["--camera", "yard", "--modality", "infrared", "--people", str(tmp_path / "crops")]
    assert main(words) == 0
    assert "People are detected in 1 source, as --scenes says. " in capsys.readouterr().out
    found = entries(tmp_path / "g")
    # Tracked through the folder, and of the given modality.
    assert len({info.tracklet for info in found}) == 1 < len(found)
    assert {str(info.modality) for info in found} == {"infrared"}
    assert (tmp_path / "crops/manifest.csv").exists()


KILLED = """
import os, signal, sys
import vireid.cli.gallery
from tests.helpers.videos import BrightBoxes
class Killed(BrightBoxes):
    def boxes(self, frame):
        if self.calls == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().boxes(frame)
killed = Killed()
vireid.cli.gallery.load_detector = lambda name: killed
vireid.cli.main(sys.argv[1:])
"""


def test_a_killed_addition_goes_on_without_doubles(
    run: Path, tmp_path: Path, detector: BrightBoxes
) -> None:
    videos = []
    for number in range(2):
        path = tmp_path / f"{number}.mp4"
        videos.append(str(write_video(path, walk(30, step=2 + number))))
    words = ["gallery", "add", str(tmp_path / "g"), "--run", str(run), *videos, "--camera", "a"]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(entries(tmp_path / "g")) == 4
    assert main(words) == 0
    assert detector.calls == 10
    whole = ["gallery", "add", str(tmp_path / "h"), "--run", str(run), *videos, "--camera", "a"]
    assert main(whole) == 0
    expected = sorted((info.sha256, info.tracklet) for info in entries(tmp_path / "h"))
    assert sorted((info.sha256, info.tracklet) for info in entries(tmp_path / "g")) == expected


def test_of_several_videos_a_damaged_one_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_video(tmp_path / "good.mp4", walk(20))
    (tmp_path / "bad.mp4").write_bytes(good.read_bytes()[:60])
    words = ["gallery", "add", str(tmp_path / "g"), "--run", str(run), "--camera", "a"]
    assert main([*words, str(tmp_path / "bad.mp4"), str(good)]) == 0
    assert f"'{tmp_path / 'bad.mp4'}' cannot be opened" in capsys.readouterr().err
    assert len(entries(tmp_path / "g")) == 4


def test_a_video_without_a_camera(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a.mp4", walk(4))
    words = ["gallery", "add", str(tmp_path / "g"), "--run", str(run), str(video)]
    assert main(words) == 2
    assert "has no camera; expected its name as --camera, or {camera} in" in capsys.readouterr().err
    assert main([*words, "--pattern", "auto"]) == 2
    assert "--pattern auto recognises the names of images" in capsys.readouterr().err
