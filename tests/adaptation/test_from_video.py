"""From the videos of two unlabelled cameras to an answer, by a network adapted to them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.videos import BrightBoxes, scene, write_video

from vireid.cli import main


def pairs(*, grey: bool) -> Iterator[NDArray[np.uint8]]:
    """Twice two people in bands of their own, at the same time, then nobody."""
    rng = np.random.default_rng(0)
    for _ in range(2):
        bands = rng.integers(160, 255, size=(2, 6, 1, 3))
        for number in range(24):
            image = scene()
            for left, own in zip((5 + 2 * number, 80 + 2 * number), bands, strict=True):
                image[30:90, left : left + 24] = np.repeat(own, 10, axis=0)
            yield image.mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, 2) if grey else image
        for _ in range(20):
            yield scene() * (not grey)


def test_from_two_videos_to_an_answer(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("vireid.cli.detect.load_detector", lambda name: BrightBoxes())
    manifests = []
    for name, grey in (("day", False), ("night", True)):
        video = write_video(tmp_path / f"{name}.mp4", pairs(grey=grey))
        words = ["--camera", name, "--start", "2026-05-04T12:00:00Z"]
        assert main(["detect", str(video), "--out", str(tmp_path / name), *words]) == 0
        manifests.append(str(tmp_path / name / "manifest.csv"))
    out, place = str(tmp_path / "adapted"), str(tmp_path / "people")
    words = ["--rounds", "1", "--within", "0", "--k1", "3", "--k2", "1", "--min-images", "2"]
    words += ["--identities", "2", "--images", "2", "--device", "cpu"]
    assert main(["adapt", str(finished), *manifests, "--out", out, *words]) == 0
    # Four crops of each of four tracklets a camera; the two of a pair are at the same time.
    said = capsys.readouterr().err
    assert "24 pairs of images are of one person and 4 pairs of tracklets of two" in said
    assert main(["gallery", "add", place, *manifests, "--run", out]) == 0
    crops = sorted(str(path) for path in (tmp_path / "night").rglob("*.jpg"))
    capsys.readouterr()
    assert main(["gallery", "search", place, crops[0], "--run", out, "--modality", "visible"]) == 0
    hits = capsys.readouterr().out
    assert "day" in hits
    assert "night" not in hits.replace(crops[0], "")
