"""Detection, tracking and search measured on a tiny tree whose people are known."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.video import Tracks, read_cameras, report_video, score_detection, search
from PIL import Image
from tests.helpers.videos import BrightBoxes, scene

COLOURS = {1: (250, 240, 200), 2: (200, 240, 250)}
BANDS = {"visible-1": "visible", "thermal-1": "thermal"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Person 1, then person 2, walks past a visible and a thermal camera."""
    rows = []
    for camera, band in BANDS.items():
        (tmp_path / camera).mkdir()
        for number in range(40):
            person = 1 + number // 20
            left = 10 + 4 * (number % 20)
            name = f"{camera}/{number:06d}.jpg"
            Image.fromarray(scene(left, colour=COLOURS[person])).save(tmp_path / name, quality=95)
            rows.append([name, camera, band, person, left, 30, left + 24, 90, 1, 1])
    names = "frame,camera,band,identity,left,top,right,bottom,visible,inside"
    with (tmp_path / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names.split(","), *rows])
    return tmp_path


class MeanColour:
    """A model that tells the two colours apart."""

    def extract(self, images: list[np.ndarray], **options: object) -> SimpleNamespace:
        means = np.array([image.mean(axis=(0, 1)) - 200 for image in images], dtype=np.float32)
        return SimpleNamespace(values=means / np.linalg.norm(means, axis=1, keepdims=True))


def test_all_is_found_and_searched(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report_video([tree], {"bright": BrightBoxes()}, MeanColour())  # type: ignore[arg-type]
    for band in BANDS.values():
        own = found["bright"][band]
        assert (own.true, own.false, own.people.total()) == (40, 0, 40)
        assert (own.purity, len(own.votes), len(own.passages)) == (1.0, 2, 2)
    said = capsys.readouterr().out
    assert "| bright | thermal | 40 | 100.0 | 100.0 | 100.0 |" in said
    assert "| detector, tracker | thermal | 2 | 0 | 100.0 | 100.0 | 50.0 | 100.0 |" in said


def test_what_is_lost(tree: Path) -> None:
    cameras = read_cameras([tree])
    detector = BrightBoxes()
    # One tracklet of both people, another of half of the second one, and a box of nobody.
    tracks: list[Tracks] = []
    for camera in cameras:
        tracks.append([])
        for number, path in enumerate(camera.frames):
            boxes = np.vstack([detector.boxes(np.asarray(Image.open(path))), [0, 0, 9, 60, 0.9]])
            ids = [0 if number < 30 else 1, 2]
            tracks[-1].append((boxes.astype(np.float32), np.array(ids)))
    result = score_detection(cameras, tracks)["thermal"]
    assert (result.true, result.false) == (40, 40)
    assert result.purity == (20 + 10) / 40
    assert result.switches == 1
    results = dict(search(cameras, tracks, MeanColour()))  # type: ignore[arg-type]
    assert results["true boxes, true tracklets"]["thermal"].rank1 == 1
    # A box in two belongs to the tracklet of somebody else, and the first is mixed.
    assert results["detector, tracker"]["thermal"].pure_crops < 1
    # Nothing is found in the thermal video.
    blind = [
        own if camera.band == "visible" else [(b[:0], i[:0]) for b, i in own]
        for camera, own in zip(cameras, tracks, strict=True)
    ]
    lost = dict(search(cameras, blind, MeanColour()))["detector, tracker"]["thermal"]  # type: ignore[arg-type]
    assert (lost.passages, lost.missing, lost.rank1) == (2, 2, 0)
