"""From videos to tracklets, crops and a manifest."""

import csv
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.videos import BrightBoxes, scene, walk, write_video

from vireid.data.listing import list_images
from vireid.errors import ConfigError
from vireid.types import Modality
from vireid.video import DetectOptions, Detector, People, VideoFile, detect_people

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def detect(video: Path, out: Path, detector: Detector | None = None) -> People:
    sources = [VideoFile(str(video), "gate", START)]
    return detect_people(sources, out, detector or BrightBoxes())


def test_a_video_becomes_crops_and_a_manifest(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(40))
    assert isinstance(BrightBoxes(), Detector)
    people = detect(video, tmp_path / "out")
    # 4 seconds at 5 frames/s, and 4 crops of the only person.
    assert (people.frames, people.tracklets, people.crops) == (20, 1, 4)
    found = rows(tmp_path / "out")
    assert {row["camera"] for row in found} == {"gate"}
    assert len({row["tracklet"] for row in found}) == 1
    for row in found:
        number = int(row["frame"])
        left, top, right, bottom = map(int, row["box"].split())
        assert abs(left - (10 + 2 * number)) <= 2
        assert abs(right - left - 24) <= 4
        with Image.open(tmp_path / "out" / row["path"]) as crop:
            assert crop.size == (right - left, bottom - top)
        assert row["source"] == str(video)
        assert row["time"].startswith(f"2026-01-02T03:04:0{5 + number // 10}")
    seconds = np.array([int(row["frame"]) / 10 for row in found])
    assert (np.diff(seconds) > 0.3).all()
    listed = list_images([str(tmp_path / "out/manifest.csv")])
    assert [image.modality for image in listed] == [Modality.VISIBLE] * 4
    assert all(image.path.is_file() for image in listed)


def test_a_finished_source_is_skipped(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(20))
    detect(video, tmp_path / "out")
    before = (tmp_path / "out/manifest.csv").read_bytes()
    detector = BrightBoxes()
    assert detect(video, tmp_path / "out", detector).skipped == [str(video)]
    assert detector.calls == 0
    assert (tmp_path / "out/manifest.csv").read_bytes() == before


def test_other_options_are_refused(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(20))
    detect(video, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"begun with the fps '5\.0', and now it is '2\.0'"):
        detect_people(
            [VideoFile(str(video), "gate", START)],
            tmp_path / "out",
            BrightBoxes(),
            DetectOptions(fps=2.0),
        )


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.helpers.videos import BrightBoxes
from tests.video.test_people import detect
class Killed(BrightBoxes):
    def boxes(self, frame):
        if self.calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().boxes(frame)
detect(Path(sys.argv[1]), Path(sys.argv[2]), Killed())
"""


@pytest.mark.parametrize("calls", [0, 7, 25])
def test_a_killed_run_continues_with_the_same_result(tmp_path: Path, calls: int) -> None:
    # The first box leaves before the second comes: one tracklet is written before the kill.
    frames = [scene(10 + 4 * n) if n < 30 else scene(-99, 4 * (n - 30)) for n in range(80)]
    video = write_video(tmp_path / "a.mp4", iter(frames))
    whole = detect(video, tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, str(video), str(tmp_path / "out"), str(calls)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    # Also a line that was half written.
    journals = list((tmp_path / "out/.detect").iterdir())
    with journals[0].open("ab") as journal:
        journal.write(b"[1.5,[[1")
    detector = BrightBoxes()
    people = detect(video, tmp_path / "out", detector)
    assert people.resumed == calls
    assert detector.calls == whole.frames - calls
    assert whole.tracklets == 2
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*"))
    assert files == sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*"))
    for file in files:
        if (tmp_path / "whole" / file).is_file():
            assert (tmp_path / "whole" / file).read_bytes() == (
                tmp_path / "out" / file
            ).read_bytes()
