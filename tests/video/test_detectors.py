"""The detectors of the package vireid-models."""

from pathlib import Path

import numpy as np
import pytest
from tests.helpers.videos import portrait

from vireid.errors import ConfigError
from vireid.video import Detector, NanoDet, load_detector

FILE = Path(__file__).parents[2] / "models/src/vireid_models/nanodet/nanodet.xml"


@pytest.mark.parametrize("grey", [False, True])
def test_nanodet_finds_a_person_where_she_is(grey: bool) -> None:
    detector = load_detector(str(FILE))
    assert isinstance(detector, Detector)
    person = portrait()
    if grey:
        person = np.repeat(person.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    frame = np.full((700, 1300, 3), 128, dtype=np.uint8)
    frame[60:660, 700:1212] = person
    boxes = detector.boxes(frame)
    assert boxes.dtype == np.float32
    best = boxes[boxes[:, 4].argmax()]
    assert best[4] > 0.35
    np.testing.assert_allclose(best[:4], [700, 70, 1212, 660], atol=40)
    if grey:  # warm may be dark
        np.testing.assert_allclose(detector.boxes(255 - frame), boxes, atol=1)
    assert detector.boxes(np.zeros((90, 160, 3), dtype=np.uint8)).shape == (0, 5)


def test_decoding_against_a_loop() -> None:
    detector = NanoDet(FILE)
    rng = np.random.default_rng(0)
    for stride, side in ((8, 52), (16, 26), (32, 13)):
        scores = rng.uniform(0, 0.3, side * side).astype(np.float32)
        distances = rng.normal(0, 3, (side * side, 44)).astype(np.float32)
        expected = []
        for place in range(side * side):
            if scores[place] > 0.25:
                x, y = (place % side + 0.5) * stride, (place // side + 0.5) * stride
                sides = []
                for bins in distances[place].astype(np.float64).reshape(4, 11):
                    shares = np.exp(bins) / np.exp(bins).sum()
                    sides.append(stride * sum(n * share for n, share in enumerate(shares)))
                left, top, right, bottom = sides
                expected.append((x - left, y - top, x + right, y + bottom, scores[place]))
        found = detector._decoded(scores, distances, stride)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_other_weights_have_another_name(tmp_path: Path) -> None:
    # A run is only continued with the detector that it was begun with.
    (tmp_path / "a.xml").write_bytes(FILE.read_bytes())
    (tmp_path / "a.bin").write_bytes(FILE.with_suffix(".bin").read_bytes())
    name = load_detector(str(tmp_path / "a.xml")).name
    assert name == load_detector(str(FILE)).name
    (tmp_path / "a.bin").write_bytes(b"0")
    assert load_detector(str(tmp_path / "a.xml")).name != name


def test_an_unknown_detector() -> None:
    with pytest.raises(ConfigError, match=r"--detector 'yolo' is no installed detector; expected"):
        load_detector("yolo")
