"""Detection, tracking and search on SynVI video, whose boxes and identities are known.

A person counts if at least half of the box is inside the frame and half of the person is not
hidden by others; other people are neither found nor missed, and boxes on them are not false.
"""

from __future__ import annotations

import csv
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from vireid.data.images import read_image
from vireid.evaluation.metrics import rank_queries
from vireid.features import FeatureExtractor
from vireid.log import echo
from vireid.optional_packages import package
from vireid.types import Modality
from vireid.video import DetectOptions, Detector, Frame, Tracker
from vireid.video.crops import BestCrops, cut, hidden_shares
from vireid.video.detectors import frame_chroma
from vireid.video.tracking import SURE

__all__ = [
    "Camera",
    "Detection",
    "Search",
    "Tracks",
    "Truth",
    "read_cameras",
    "report_video",
    "score_detection",
    "search",
]

_HEIGHTS = (0, 80, 120, 160, 10_000)
"""Bounds of the groups of box heights, pixels."""
_IOU = 0.5
_OPTIONS = DetectOptions()
_FPS = _OPTIONS.fps
"""Frames a second of SynVI video."""
_APART = 10
"""Frames without a person that separate two passages."""

TRUE = "true boxes, true tracklets"

Tracks = list[tuple[NDArray[np.float32], NDArray[np.int64]]]
"""The boxes of each frame, float32 ``[n, 5]``, and the tracklet of each, -1 for none."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The people of a frame.

    Attributes:
        boxes: float32 ``[n, 4]``.
        passages: Number of each person's passage, int64 ``[n]``.
        counts: Who counts, bool ``[n]``.
    """

    boxes: NDArray[np.float32]
    passages: NDArray[np.int64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Camera:
    """The video of a camera.

    Attributes:
        name: Its folder.
        band: ``visible``, ``near-infrared`` or ``thermal``.
        frames: The frames, in order.
        truth: The people of each.
        identities: The person of each passage; those of several trees are different people.
    """

    name: str
    band: str
    frames: list[Path]
    truth: list[Truth]
    identities: dict[int, int]


@dataclass(slots=True)
class Detection:
    """What a detector and the tracker find in the frames of one band.

    Attributes:
        found: People found by group of heights.
        people: People by group of heights.
        true: Boxes that are people who count.
        false: Boxes that are nobody.
        idf1: IDF1 of tracking.
        switches: Identity switches.
        votes: The passage of each box of each tracklet; -1 for nobody.
        passages: Times that a person comes into view.
    """

    found: Counter[int] = field(default_factory=Counter)
    people: Counter[int] = field(default_factory=Counter)
    true: int = 0
    false: int = 0
    idf1: float = 0.0
    switches: int = 0
    votes: list[Counter[int]] = field(default_factory=list)
    passages: set[int] = field(default_factory=set)

    @property
    def purity(self) -> float:
        """Share of a tracklet's boxes that show its most frequent person, over all tracklets.

        Tracklets of nobody are left out: they are false boxes, and counted as such.
        """
        real = [own for own in self.votes if own.most_common(1)[0][0] != -1]
        largest = sum(own.most_common(1)[0][1] for own in real)
        return largest / max(1, sum(own.total() for own in real))


@dataclass(frozen=True, slots=True)
class Search:
    """Tracklets of the infrared cameras of a band searched in those of the visible cameras.

    Attributes:
        passages: Passages of people who are seen by a visible camera, too; each counts once.
        missing: Of these, passages without a tracklet.
        rank1: Mean over the passages; 0 for a missing one, the mean of the tracklets of others.
        average_precision: Likewise.
        chance: Rank-1 of a random order.
        pure_crops: Share of the crops that show the most frequent person of their tracklet.
    """

    passages: int
    missing: int
    rank1: float
    average_precision: float
    chance: float
    pure_crops: float


def read_cameras(trees: Sequence[Path]) -> list[Camera]:
    """Read the cameras of SynVI videos, with their people."""
    cameras, numbers = [], iter(range(10**9))
    for place, tree in enumerate(trees):
        rows: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
        bands: dict[str, str] = {}
        with (tree / "boxes.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                rows[row["camera"]][row["frame"]].append(row)
                bands[row["camera"]] = row["band"]
        for camera, own in rows.items():
            frames = sorted((tree / camera).glob("*.jpg"))
            seen: dict[str, tuple[int, int]] = {}
            identities: dict[int, int] = {}
            truth = []
            for index, path in enumerate(frames):
                found = own.get(path.relative_to(tree).as_posix(), [])
                for row in found:
                    last, passage = seen.get(person := row["identity"], (-_APART - 1, -1))
                    if index - last > _APART:
                        passage = next(numbers)
                        identities[passage] = 1000 * place + int(person)
                    seen[person] = index, passage
                sides = [[float(r[s]) for s in ("left", "top", "right", "bottom")] for r in found]
                truth.append(
                    Truth(
                        np.array(sides, dtype=np.float32).reshape(-1, 4),
                        np.array([seen[r["identity"]][1] for r in found], dtype=np.int64),
                        np.array(
                            [min(float(r["visible"]), float(r["inside"])) >= 0.5 for r in found],
                            dtype=bool,
                        ),
                    )
                )
            cameras.append(
                Camera(f"{tree.name}/{camera}", bands[camera], frames, truth, identities)
            )
    return cameras


def overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union, float64 ``[n, m]``."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:4], other[None, :, 2:4])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(own[:, 2:4] - own[:, :2], 0, None).prod(axis=1) for own in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float64)


def _matched(iou: NDArray[np.float64]) -> dict[int, int]:
    """The column of each row that has one, by the assignment of the largest sum."""
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if iou[row, column] >= _IOU
    }


def detect(
    cameras: Sequence[Camera], detector: Detector
) -> tuple[list[Tracks], Mapping[str, float]]:
    """Detect and track in all frames.

    Returns:
        The tracks of each camera, and the CPU seconds of reading, detecting and tracking, a frame.
    """
    seconds: Counter[str] = Counter()
    everything: list[Tracks] = []
    for camera in cameras:
        tracker, tracks = Tracker(_FPS), Tracks()
        for number, path in enumerate(
            tqdm(camera.frames, desc=camera.name, leave=False, mininterval=1)
        ):
            began = time.process_time()
            image = np.asarray(read_image(path))
            read = time.process_time()
            boxes = detector.boxes(image)
            detected = time.process_time()
            tracks.append((boxes, tracker.update(boxes, number / _FPS)))
            seconds["read"] += read - began  # type: ignore[assignment]
            seconds["detect"] += detected - read  # type: ignore[assignment]
            seconds["track"] += time.process_time() - detected  # type: ignore[assignment]
        everything.append(tracks)
    frames = sum(map(len, everything))
    return everything, {name: own / frames for name, own in seconds.items()}


def score_detection(
    cameras: Sequence[Camera], everything: Sequence[Tracks]
) -> dict[str, Detection]:
    """Compare boxes and tracklets with the people, by band."""
    results: dict[str, Detection] = defaultdict(Detection)
    evaluation = package("trackers.eval", extra="video")
    identity: dict[str, list[Any]] = defaultdict(list)
    clear: dict[str, list[Any]] = defaultdict(list)
    for camera, tracks in zip(cameras, everything, strict=True):
        result = results[camera.band]
        given, tracked, similar = [], [], []
        members: dict[int, Counter[int]] = defaultdict(Counter)
        for people, (boxes, ids) in zip(camera.truth, tracks, strict=True):
            iou = overlaps(people.boxes, boxes)
            sure = boxes[:, 4] >= SURE
            _count(result, people, boxes[sure], iou[:, sure])
            labels = _labels(people, iou)
            for label, tracklet in zip(labels.tolist(), ids.tolist(), strict=True):
                if tracklet >= 0:
                    members[tracklet][label] += 1
            # Boxes on people who do not count, and those people, are left out.
            kept = (ids >= 0) & ~np.isin(labels, people.passages[~people.counts])
            given.append(people.passages[people.counts])
            tracked.append(ids[kept])
            similar.append(iou[people.counts][:, kept])
        identity[camera.band].append(
            evaluation.compute_identity_metrics(given, tracked, similar, _IOU)
        )
        clear[camera.band].append(evaluation.compute_clear_metrics(given, tracked, similar, _IOU))
        result.votes += members.values()
    for band, result in results.items():
        result.idf1 = float(evaluation.aggregate_identity_metrics(identity[band])["IDF1"])
        result.switches = sum(int(one["IDSW"]) for one in clear[band])
    return dict(results)


def _labels(people: Truth, iou: NDArray[np.float64]) -> NDArray[np.int64]:
    """The passage that each box shows; -1 for nobody."""
    if not iou.size:
        return np.full(iou.shape[1], -1, dtype=np.int64)
    return np.where(iou.max(axis=0) >= _IOU, people.passages[iou.argmax(axis=0)], -1)


def _count(
    result: Detection, people: Truth, boxes: NDArray[np.float32], iou: NDArray[np.float64]
) -> None:
    """Match the boxes of a frame with its people."""
    matched = _matched(iou)
    for row, (box, counts) in enumerate(zip(people.boxes, people.counts, strict=True)):
        if counts:
            group = int(np.digitize(box[3] - box[1], _HEIGHTS)) - 1
            result.people[group] += 1
            result.found[group] += row in matched
            result.true += row in matched
    result.passages.update(people.passages[people.counts].tolist())
    spare = set(range(len(boxes))) - set(matched.values())
    # A second box on somebody is false, a first on somebody who does not count is not.
    ignored = iou[~people.counts].max(axis=0, initial=0) >= _IOU
    result.false += sum(not ignored[column] for column in spare)


@dataclass(slots=True)
class _Tracklet:
    """A tracklet with its best crops.

    Attributes:
        band: Of its camera.
        labels: The passage that its box in each frame shows; -1 for nobody.
        best: Its crops.
    """

    band: str
    best: BestCrops
    labels: dict[int, int] = field(default_factory=dict)

    @property
    def passage(self) -> int:
        """The most frequent one; -1 for nobody."""
        return Counter(self.labels.values()).most_common(1)[0][0]


def _tracklets(camera: Camera, tracks: Tracks) -> list[_Tracklet]:
    """Cut the crops of all tracklets out of the frames."""
    found: dict[int, _Tracklet] = {}
    for number, (path, people, (boxes, ids)) in enumerate(
        zip(camera.frames, camera.truth, tracks, strict=True)
    ):
        if not (ids >= 0).any():
            continue
        frame = Frame(np.asarray(read_image(path)), number, number / _FPS, None, "")
        chroma, labels = frame_chroma(frame.image), _labels(people, overlaps(people.boxes, boxes))
        for row, hidden, label, tracklet in zip(
            boxes, hidden_shares(boxes).tolist(), labels.tolist(), ids.tolist(), strict=True
        ):
            if tracklet >= 0 and (crop := cut(frame, row, hidden, chroma)):
                own = found.setdefault(
                    tracklet, _Tracklet(camera.band, BestCrops(_OPTIONS.crops, frame.seconds))
                )
                own.labels[number] = label
                if crop.box[3] - crop.box[1] >= _OPTIONS.min_height:
                    own.best.add(crop)
    return [own for own in found.values() if own.best.crops]


def _tracks_of_truth(camera: Camera, tracks: Tracks | None) -> Tracks:
    """True tracklets: of the true boxes of people who count, or of those boxes that show them."""
    answer = Tracks()
    for index, people in enumerate(camera.truth):
        if tracks is None:
            boxes = people.boxes[people.counts]
            scored = np.c_[boxes, np.ones(len(boxes))].astype(np.float32)
            answer.append((scored, people.passages[people.counts]))
            continue
        boxes = tracks[index][0]
        ids = np.full(len(boxes), -1, dtype=np.int64)
        for row, column in _matched(overlaps(people.boxes, boxes)).items():
            ids[column] = people.passages[row]
        answer.append((boxes, ids))
    return answer


def _tracked(tracks: Tracks) -> Tracks:
    """The same boxes with the tracklets of the tracker."""
    tracker = Tracker(_FPS)
    return [(boxes, tracker.update(boxes, n / _FPS)) for n, (boxes, _) in enumerate(tracks)]


def search(
    cameras: Sequence[Camera], everything: Sequence[Tracks], extractor: FeatureExtractor
) -> Iterator[tuple[str, dict[str, Search]]]:
    """Search the tracklets of the infrared cameras in those of the visible ones.

    Yields:
        Where boxes and tracklets come from, and the results by band.
    """
    perfect = [_tracks_of_truth(camera, None) for camera in cameras]
    variants = {
        TRUE: perfect,
        "true boxes, tracker": list(map(_tracked, perfect)),
        "detector, true tracklets": list(map(_tracks_of_truth, cameras, everything)),
        "detector, tracker": everything,
    }
    people = {passage: one for own in cameras for passage, one in own.identities.items()}
    expected: dict[str, set[int]] = {}
    for name, given in variants.items():
        found = [
            t for camera, own in zip(cameras, given, strict=True) for t in _tracklets(camera, own)
        ]
        features = _mean_features(found, extractor)
        day = [n for n, own in enumerate(found) if own.band == "visible"]
        identities = np.array([people.get(own.passage, -1) for own in found], dtype=np.int64)
        results = {}
        for band in ("near-infrared", "thermal"):
            night = [n for n, own in enumerate(found) if own.band == band and own.passage >= 0]
            scores: dict[int, list[tuple[float, float]]] = defaultdict(list)
            chance = 0.0
            if night and day:
                ranks = rank_queries(
                    features[night] @ features[day].T, identities[night], identities[day]
                )
                chance = float(ranks.matches.mean() / len(day))
                precisions = np.nan_to_num(ranks.average_precision)  # of no match: 0
                for n, first, precision in zip(night, ranks.first_image, precisions, strict=True):
                    scores[found[n].passage].append((float(first == 1), float(precision)))
            if name == TRUE:
                by_day = set(identities[day].tolist())
                expected[band] = {own for own in scores if people[own] in by_day}
            if not expected[band]:
                continue
            none = [(0.0, 0.0)]
            means = [np.mean(scores.get(own, none), axis=0) for own in expected[band]]
            rank1, precision = np.mean(means, axis=0).tolist()
            pure = [
                found[n].labels[crop.frame.number] == found[n].passage
                for n in night
                for crop in found[n].best.best()
            ]
            results[band] = Search(
                passages=len(expected[band]),
                missing=len(expected[band] - set(scores)),
                rank1=rank1,
                average_precision=precision,
                chance=chance,
                pure_crops=sum(pure) / max(1, len(pure)),
            )
        yield name, results


def _mean_features(
    tracklets: Sequence[_Tracklet], extractor: FeatureExtractor
) -> NDArray[np.float32]:
    """The normalised mean of the features of each tracklet's best crops, float32 ``[n, d]``."""
    crops = [own.best.best() for own in tracklets]
    images = [crop.image for own in crops for crop in own]
    modalities = [
        Modality.VISIBLE if own.band == "visible" else Modality.INFRARED
        for own, chosen in zip(tracklets, crops, strict=True)
        for _ in chosen
    ]
    values = extractor.extract(images, modality=modalities, progress=False).values
    starts = np.cumsum([0, *map(len, crops[:-1])])
    means = np.add.reduceat(values, starts, axis=0)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)


def report_video(
    trees: Sequence[Path],
    detectors: Mapping[str, Detector],
    extractor: FeatureExtractor | None = None,
) -> dict[str, dict[str, Detection]]:
    """Print the tables of some detectors.

    Args:
        trees: SynVI videos.
        detectors: Detectors by name.
        extractor: The model that searches the tracklets of the first one.

    Returns:
        What each finds, by band.
    """
    cameras = read_cameras(trees)
    echo(
        f"SynVI video {', '.join(tree.name for tree in trees)}, IoU {_IOU}, boxes with a score of"
        f" {SURE} or more"
    )
    low = [f"{a}-{b}" for a, b in pairwise(_HEIGHTS)]
    low[-1] = f"{_HEIGHTS[-2]}+"
    heights = " | ".join(f"recall {name} px" for name in low)
    echo(
        f"| detector | band | people | recall | precision | {heights} | IDF1 | switches | purity"
        " | tracklets / passages |"
    )
    echo("|---" * 13 + "|")
    everything: dict[str, dict[str, Detection]] = {}
    timings, first = {}, None
    for name, detector in detectors.items():
        tracks, timings[name] = detect(cameras, detector)
        first = first or tracks
        everything[name] = score_detection(cameras, tracks)
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
                f" {len(own.votes)} / {len(own.passages)} |"
            )
    for name, own_seconds in timings.items():
        each = ", ".join(f"{what} {1 / spent:.1f}" for what, spent in own_seconds.items())
        echo(f"{name}: frames a CPU second: {each}")
    if extractor and first:
        _report_search(cameras, first, extractor)
    return everything


def _report_search(
    cameras: Sequence[Camera], tracks: Sequence[Tracks], extractor: FeatureExtractor
) -> None:
    """Print what is found of the people of the infrared cameras in the visible ones."""
    echo("\nTracklets of the infrared cameras searched in those of the visible ones")
    echo("| boxes, tracklets | band | passages | missing | Rank-1 | mAP | chance | pure crops |")
    echo("|---" * 8 + "|")
    for name, results in search(cameras, tracks, extractor):
        for band, own in results.items():
            echo(
                f"| {name} | {band} | {own.passages} | {own.missing} | {100 * own.rank1:.1f} |"
                f" {100 * own.average_precision:.1f} | {100 * own.chance:.1f} |"
                f" {100 * own.pure_crops:.1f} |"
            )
