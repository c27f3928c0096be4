"""Detection and tracking on SynVI video, whose boxes and identities are known.

A person counts if at least half of the box is inside the frame and half of the person is not
hidden by others; other people are neither found nor missed, and boxes on them are not false.
"""

from __future__ import annotations

import csv
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from vireid.data.images import read_image
from vireid.log import echo
from vireid.optional_packages import package
from vireid.video import Detector, Tracker
from vireid.video.tracking import SURE

__all__ = [
    "Changed",
    "Detection",
    "Truth",
    "inverted",
    "measure_video",
    "report_video",
    "stretched",
]

Frame = NDArray[np.uint8]
_HEIGHTS = (0, 80, 120, 160, 10_000)
"""Bounds of the groups of box heights, pixels."""
_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Truth:
    """The people of a frame.

    Attributes:
        boxes: float32 ``[n, 4]``.
        identities: int64 ``[n]``.
        counts: Who counts, bool ``[n]``.
    """

    boxes: NDArray[np.float32]
    identities: NDArray[np.int64]
    counts: NDArray[np.bool_]


@dataclass(slots=True)
class Detection:
    """What a detector finds in the frames of one band.

    Attributes:
        found: People found by group of heights.
        people: People by group of heights.
        true: Boxes that are people who count.
        false: Boxes that are nobody.
        idf1: IDF1 of tracking.
        switches: Identity switches.
        purity: Share of a tracklet's boxes that are of its most frequent person, over all.
        tracklets: Tracklets.
        passages: Times that a person comes into view.
    """

    found: Counter[int] = field(default_factory=Counter)
    people: Counter[int] = field(default_factory=Counter)
    true: int = 0
    false: int = 0
    idf1: float = 0.0
    switches: int = 0
    purity: float = 0.0
    tracklets: int = 0
    passages: int = 0


class Changed:
    """A detector that sees changed frames."""

    def __init__(self, detector: Detector, change: Callable[[Frame], Frame]) -> None:
        self._detector, self._change = detector, change
        self.name = f"{detector.name}, {change.__name__}"

    def boxes(self, frame: Frame) -> NDArray[np.float32]:
        """As :meth:`~vireid.video.Detector.boxes`."""
        return self._detector.boxes(self._change(frame))


def inverted(frame: Frame) -> Frame:
    """Dark for bright."""
    return np.asarray(255 - frame, dtype=np.uint8)


def stretched(frame: Frame) -> Frame:
    """The percentiles 1 and 99 become 0 and 255."""
    low, high = np.percentile(frame[::2, ::2], (1, 99))
    scaled = (frame.astype(np.float32) - low) * (255 / max(high - low, 1.0))
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)


def read_truth(tree: Path) -> tuple[dict[str, dict[str, Truth]], dict[str, str]]:
    """The people of each frame by camera, and the band of each camera."""
    rows: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    bands: dict[str, str] = {}
    with (tree / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["camera"]][row["frame"]].append(row)
            bands[row["camera"]] = row["band"]
    truth: dict[str, dict[str, Truth]] = {}
    for camera, own in rows.items():
        truth[camera] = {}
        for path in sorted((tree / camera).glob("*.jpg")):
            frame = path.relative_to(tree).as_posix()
            found = own.get(frame, [])
            sides = [[float(r[side]) for side in ("left", "top", "right", "bottom")] for r in found]
            truth[camera][frame] = Truth(
                np.array(sides, dtype=np.float32).reshape(-1, 4),
                np.array([int(r["identity"]) for r in found], dtype=np.int64),
                np.array(
                    [min(float(r["visible"]), float(r["inside"])) >= 0.5 for r in found], bool
                ),
            )
    return truth, bands


def overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union, float64 ``[n, m]``."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:4], other[None, :, 2:4])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(own[:, 2:4] - own[:, :2], 0, None).prod(axis=1) for own in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float64)


def measure_video(
    tree: Path, detector: Detector, *, fps: float = 5.0
) -> tuple[dict[str, Detection], Mapping[str, float]]:
    """Detect and track in all frames of a SynVI video.

    Args:
        tree: The tree.
        detector: The detector.
        fps: Its frames a second.

    Returns:
        What is found by band, and the seconds spent reading, detecting and tracking, a frame.
    """
    truth, bands = read_truth(tree)
    results: dict[str, Detection] = defaultdict(Detection)
    seconds: Counter[str] = Counter()
    frames = 0
    identity: dict[str, list[Any]] = defaultdict(list)
    clear: dict[str, list[Any]] = defaultdict(list)
    votes: dict[str, list[Counter[int]]] = defaultdict(list)
    evaluation = package("trackers.eval", extra="video")
    for camera, own in truth.items():
        result, tracker = results[bands[camera]], Tracker(fps)
        given: list[NDArray[np.int64]] = []
        tracked: list[NDArray[np.int64]] = []
        similar: list[NDArray[np.float64]] = []
        members: dict[int, Counter[int]] = defaultdict(Counter)
        last: dict[int, int] = {}
        for number, (path, people) in enumerate(tqdm(own.items(), desc=camera, leave=False)):
            began = time.process_time()
            image = np.asarray(read_image(tree / path))
            read = time.process_time()
            boxes = detector.boxes(image)
            detected = time.process_time()
            ids = tracker.update(boxes, number / fps)
            seconds["read"] += read - began  # type: ignore[assignment]
            seconds["detect"] += detected - read  # type: ignore[assignment]
            seconds["track"] += time.process_time() - detected  # type: ignore[assignment]
            frames += 1
            _count(result, people, boxes[boxes[:, 4] >= SURE])
            for one in people.identities[people.counts].tolist():
                result.passages += number - last.get(one, -100) > 10
                last[one] = number
            # Boxes on people who do not count, and those people, are left out.
            iou = overlaps(people.boxes, boxes)
            kept = ids >= 0
            if len(people.boxes):
                best = iou.argmax(axis=0) if len(boxes) else np.zeros(0, dtype=int)
                top = iou.max(axis=0) if len(boxes) else np.zeros(0)
                for one, box, tracklet in zip(best, top, ids.tolist(), strict=True):
                    if tracklet >= 0:
                        members[tracklet][int(people.identities[one]) if box >= _IOU else -1] += 1
                kept &= ~((top >= _IOU) & ~people.counts[best])
            given.append(people.identities[people.counts])
            tracked.append(ids[kept])
            similar.append(iou[people.counts][:, kept])
        identity[bands[camera]].append(
            evaluation.compute_identity_metrics(given, tracked, similar, _IOU)
        )
        clear[bands[camera]].append(evaluation.compute_clear_metrics(given, tracked, similar, _IOU))
        votes[bands[camera]] += members.values()
    for band, result in results.items():
        result.idf1 = float(evaluation.aggregate_identity_metrics(identity[band])["IDF1"])
        result.switches = sum(int(one["IDSW"]) for one in clear[band])
        result.tracklets = len(votes[band])
        # Tracklets of nobody are false boxes, and counted as such.
        real = [own for own in votes[band] if own.most_common(1)[0][0] != -1]
        largest = sum(own.most_common(1)[0][1] for own in real)
        result.purity = largest / max(1, sum(own.total() for own in real))
    return dict(results), {name: own / frames for name, own in seconds.items()}


def _count(result: Detection, people: Truth, boxes: NDArray[np.float32]) -> None:
    """Match the boxes of a frame with its people."""
    iou = overlaps(people.boxes, boxes)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    matched = {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if iou[row, column] >= _IOU
    }
    for row, (box, counts) in enumerate(zip(people.boxes, people.counts, strict=True)):
        if counts:
            group = int(np.digitize(box[3] - box[1], _HEIGHTS)) - 1
            result.people[group] += 1
            result.found[group] += row in matched
            result.true += row in matched
    spare = set(range(len(boxes))) - set(matched.values())
    # A second box on somebody is false, a first on somebody who does not count is not.
    ignored = iou[~people.counts].max(axis=0, initial=0) >= _IOU
    result.false += sum(not ignored[column] for column in spare)


def report_video(tree: Path, detectors: Mapping[str, Detector]) -> dict[str, dict[str, Detection]]:
    """Print the tables of some detectors.

    Args:
        tree: A SynVI video.
        detectors: Detectors by name.

    Returns:
        What each finds, by band.
    """
    echo(f"SynVI video '{tree.name}', IoU {_IOU}, boxes with a score of {SURE} or more")
    low = [f"{a}-{b}" for a, b in pairwise(_HEIGHTS)]
    low[-1] = f"{_HEIGHTS[-2]}+"
    heights = " | ".join(f"recall {name} px" for name in low)
    echo(
        f"| detector | band | people | recall | precision | {heights} | IDF1 | switches | purity"
        " | tracklets / passages |"
    )
    echo("|---" * 13 + "|")
    everything: dict[str, dict[str, Detection]] = {}
    timings = {}
    for name, detector in detectors.items():
        everything[name], timings[name] = measure_video(tree, detector)
        for band, own in everything[name].items():
            groups = " | ".join(
                f"{100 * own.found[i] / own.people[i]:.1f}" if own.people[i] else "-"
                for i in range(len(low))
            )
            people = own.people.total()
            echo(
                f"| {name} | {band} | {people:,} | {100 * own.true / max(1, people):.1f} |"
                f" {100 * own.true / max(1, own.true + own.false):.1f} | {groups} |"
                f" {100 * own.idf1:.1f} | {own.switches} | {100 * own.purity:.1f} |"
                f" {own.tracklets} / {own.passages} |"
            )
    for name, own_seconds in timings.items():
        each = ", ".join(f"{what} {1 / spent:.1f}" for what, spent in own_seconds.items())
        echo(f"{name}: frames a CPU second: {each}")
    return everything
