"""From videos to tracklets, crops and a manifest."""

import csv
import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.helpers.full_disk import files_limited_to
from tests.helpers.videos import BrightBoxes, scene, walk, write_video

from vireid.data.listing import list_images
from vireid.errors import ConfigError
from vireid.times import parse_time
from vireid.types import Modality
from vireid.video import DetectOptions, Detector, Frame, People, VideoFile, detect_people
from vireid.video.crops import BestCrops, cut, hidden_shares
from vireid.video.manifest import COLUMNS
from vireid.video.sources import open_sources

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
from vireid.video import people

def killed(*args):
    os.kill(os.getpid(), signal.SIGKILL)

for moment in sys.argv[2:]:
    # Each in a child process.
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        continue
    class Killed(BrightBoxes):
        def boxes(self, frame):
            return killed() if str(self.calls) == moment else super().boxes(frame)
    if moment == "manifest":
        people.append_lines = killed
    if moment == "journal":
        people.Journal.add_written = killed
    detect(Path(sys.argv[1]), Path(sys.argv[1]).parent / moment, Killed())
    os._exit(0)
"""
MOMENTS = {
    "first": "0",
    "middle": "7",
    "late": "25",
    "crops without rows": "manifest",
    "rows without a note": "journal",
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, and the output of a process that was killed, for each moment."""
    folder = tmp_path_factory.mktemp("killed")
    # The first box leaves before the second comes: one tracklet is written before the kill.
    frames = [scene(10 + 4 * n) if n < 30 else scene(-99, 4 * (n - 30)) for n in range(80)]
    video = write_video(folder / "a.mp4", iter(frames))
    subprocess.run([sys.executable, "-c", KILLED, video, *MOMENTS.values()], check=True)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(killed: Path) -> tuple[People, Path]:
    """The same video in one go, and its output."""
    return detect(killed / "a.mp4", killed / "whole"), killed / "whole"


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=list(MOMENTS))
def test_a_killed_run_continues_with_the_same_result(
    killed: Path, uninterrupted: tuple[People, Path], moment: str
) -> None:
    whole, expected = uninterrupted
    out = killed / moment
    # Also a line that was half written.
    journals = list((out / ".detect").iterdir())
    with journals[0].open("ab") as journal:
        journal.write(b"[1.5,[[1")
    detector = BrightBoxes()
    people = detect(killed / "a.mp4", out, detector)
    if moment.isdigit():
        assert people.resumed == int(moment)
    assert detector.calls == whole.frames - people.resumed
    assert whole.tracklets == 2
    files = sorted(path.relative_to(expected) for path in expected.rglob("*"))
    assert files == sorted(path.relative_to(out) for path in out.rglob("*"))
    for file in files:
        # The journal notes later that crops are written, if that note is what was lost.
        if (expected / file).is_file() and (moment.isdigit() or file.suffix != ".jsonl"):
            assert (expected / file).read_bytes() == (out / file).read_bytes()


def test_two_sources_of_one_camera_at_the_same_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Two recorders name their files alike, and both are called "gate".
    videos = []
    for folder in ("north", "south"):
        (tmp_path / folder).mkdir()
        videos.append(write_video(tmp_path / folder / "rec.mp4", walk(20)))
    for video in videos:
        assert detect(video, tmp_path / "out").crops == 4
    said = capsys.readouterr().err
    assert f"'{videos[1]}' and '{videos[0]}' overlap in time by 0:00:02.0, and both are of" in said
    found = rows(tmp_path / "out")
    assert len({row["path"] for row in found}) == 8
    assert len({row["tracklet"] for row in found}) == 2


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "a.mp4", walk(40))
    whole = detect(video, tmp_path / "whole")
    # First the journal cannot be written any more.
    with files_limited_to(600), pytest.raises(OSError, match="File too large") as error:
        detect(video, tmp_path / "out")
    assert str(error.value.filename).startswith(str(tmp_path / "out"))
    people = detect(video, tmp_path / "out")
    assert 0 < people.resumed < whole.frames
    assert (tmp_path / "out/manifest.csv").read_bytes() == (
        tmp_path / "whole/manifest.csv"
    ).read_bytes()


def test_a_disk_that_is_full_while_crops_are_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(160, 256, (120, 160, 3), dtype=np.uint8)
    video = write_video(tmp_path / "a.mp4", (noise for _ in range(20)))
    whole = detect(video, tmp_path / "whole")
    assert whole.crops == 4
    # The journal fits, crops do not.
    with files_limited_to(4_000), pytest.raises(OSError, match="File too large"):
        detect(video, tmp_path / "out")
    assert rows(tmp_path / "out") == []
    assert list((tmp_path / "out").rglob("*.jpg")) == []
    people = detect(video, tmp_path / "out")
    assert people.resumed == whole.frames
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


def test_no_room_for_a_crop(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(40))
    detect(video, tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    # Where the crops' folder must be is a file.
    (out / "manifest.csv").write_bytes((",".join(COLUMNS) + "\n").encode())
    (out / "gate").write_bytes(b"")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        detect(video, out)
    assert rows(out) == []
    (out / "gate").unlink()
    detect(video, out)
    assert rows(out) == rows(tmp_path / "whole")


def test_memory_of_a_tracklet_is_bounded(tmp_path: Path) -> None:
    # Somebody stands there for 100 seconds: the crops of each minute are written.
    video = write_video(tmp_path / "a.mp4", (scene(50) for _ in range(100)), rate=1)
    people = detect_people(
        [VideoFile(str(video), "gate", START)],
        tmp_path / "out",
        BrightBoxes(),
        DetectOptions(fps=1.0),
    )
    assert people.tracklets == 1
    times = [parse_time(row["time"]) - START for row in rows(tmp_path / "out")]
    assert len(times) == 8
    assert sum(time < timedelta(seconds=62) for time in times) == 4


def test_another_folder_is_not_written_to(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(4))
    with pytest.raises(ConfigError, match=r"holds other files and no manifest\.csv; expected"):
        detect(video, tmp_path)


def test_images_of_scenes(tmp_path: Path) -> None:
    for number, lefts in enumerate([(10,), (10, 90), ()]):
        Image.fromarray(scene(*lefts)).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    people = detect_people(
        open_sources(files, camera="gate"), tmp_path / "out", BrightBoxes(), DetectOptions(fps=1.0)
    )
    assert (people.frames, people.tracklets, people.crops) == (3, 3, 3)
    found = rows(tmp_path / "out")
    assert sorted(row["source"] for row in found) == [files[0], files[1], files[1]]
    assert {row["time"] for row in found} == {""}
    assert people.timeless == 3


def test_low_boxes_are_counted(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", walk(20))
    people = detect_people(
        [VideoFile(str(video), "gate")],
        tmp_path / "out",
        BrightBoxes(),
        DetectOptions(min_height=80),
    )
    assert (people.crops, people.small) == (0, 9)


def test_the_best_crops_are_sharp_whole_and_apart() -> None:
    best = BestCrops(number=3, first=0.0)
    rng = np.random.default_rng(0)
    qualities = rng.random(200)
    for number, quality in enumerate(qualities):
        frame = Frame(scene(50), number, number / 5, None, "")
        crop = cut(frame, np.array([50, 30, 74, 90, 0.9], dtype=np.float32), 0.0, 5.0)
        assert crop is not None
        best.add(dataclasses.replace(crop, quality=float(quality)))
        assert len(best.crops) <= 12
    chosen = best.best()
    assert len(chosen) == 3
    assert (np.diff([crop.frame.seconds for crop in chosen]) > 39.8 / 6 - 1).all()
    assert np.mean([crop.quality for crop in chosen]) > 0.8


def test_quality_of_a_crop() -> None:
    sharp = rng_image()
    blurred = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(3)))
    box = np.array([50, 30, 74, 90, 0.9], dtype=np.float32)

    def quality(image: np.ndarray, row: np.ndarray, hidden: float = 0.0) -> float:
        crop = cut(Frame(image, 0, 0.0, None, ""), row, hidden, 5.0)
        assert crop is not None
        return crop.quality

    assert quality(sharp, box) > 2 * quality(blurred, box)
    assert quality(sharp, box) > quality(sharp, box, hidden=0.5)
    # Cut by the edge of the frame.
    assert quality(sharp, box) > quality(
        sharp, box + np.array([-62, 0, -62, 0, 0], dtype=np.float32)
    )
    boxes = np.array([[0, 0, 20, 50, 1], [10, 10, 30, 60, 1], [90, 0, 99, 9, 1]], dtype=np.float32)
    np.testing.assert_allclose(hidden_shares(boxes), [0.4, 0, 0])


def rng_image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
