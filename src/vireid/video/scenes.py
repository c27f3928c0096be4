"""The people of one frame or short video, in memory: from them a query is chosen."""

from __future__ import annotations

import io
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.errors import ConfigError, ExportError, VideoError, many
from vireid.models import name_installed
from vireid.types import Modality
from vireid.video.crops import BestCrops, Crop, cut, hidden_shares
from vireid.video.detectors import Detector, frame_chroma, installed_detector
from vireid.video.frames import Frame, VideoFile, opened
from vireid.video.tracking import SURE, Tracker

__all__ = [
    "CROP_HEIGHT",
    "CROP_RATIO",
    "MemoryVideo",
    "NoDetector",
    "Person",
    "Scene",
    "View",
    "cut_out",
    "default_detector",
    "describe_people",
    "has_shape_of_crop",
    "people_of_image",
    "people_of_video",
]

CROP_RATIO = 1.5
"""Least height / width of an image that is taken for a crop of one person, unseen."""
CROP_HEIGHT = 1024
"""Most rows of such an image: higher ones are photographs."""
_FILLS = 1 / 3
"""The share of an image that the box of its only person covers if it is a crop."""
_MOST_PEOPLE = 50
_VIEWS = 8
"""Frames to look at; up to twice as many are kept."""
_VIEW_SIDE = 1280
_FPS = 5.0
_CROPS = 4
_MIN_HEIGHT = 48
_VIDEO_PIXELS = 4096 * 2304


class MemoryVideo(VideoFile):
    """A video in memory whose origin is unknown, read within limits and from no other file.

    Args:
        data: The content of the file.
        name: Its name, for messages.
        seconds: How long decoding may take.

    Attributes:
        remarks: What is damaged in the frames that were read.
    """

    def __init__(self, data: bytes, name: str, *, seconds: float) -> None:
        self.name = self.place = name
        self.camera = ""
        self.until = time.monotonic() + seconds
        self.remarks: list[str] = []
        self._data = data
        self._examine(None)

    def _opened(self) -> AbstractContextManager[tuple[Any, Any]]:
        return opened(io.BytesIO(self._data), name=self.name, pixels=_VIDEO_PIXELS)

    def _say(self, remark: str) -> None:
        self.remarks.append(remark)


class NoDetector:
    """Stands for a detector that is not installed: nobody is found, and the problem says why.

    Args:
        reason: What is missing, and how to get it.
    """

    name = "none"

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Nothing, by an :class:`~vireid.errors.ExportError`."""
        raise ExportError(self._reason)


def default_detector() -> Detector:
    """The detector of `vireid-models`, or one that finds nobody if it is not installed."""
    return installed_detector() or NoDetector(name_installed("detection"))


Box = tuple[int, int, int, int]


@dataclass(slots=True)
class Person:
    """Somebody in a frame, or a tracklet of a video.

    Attributes:
        crops: The best crops, the best first.
        modality: Infrared if the frames have no colour.
        boxes: In how many frames the person was found.
        first: The second of the first of them.
        last: And of the last.
    """

    crops: list[Crop]
    modality: Modality
    boxes: int
    first: float
    last: float


@dataclass(slots=True)
class View:
    """A frame to look at, reduced.

    Attributes:
        jpeg: The frame.
        seconds: Its second.
        boxes: Left, top, right and bottom in the original frame, by the number of the person.
    """

    jpeg: bytes
    seconds: float
    boxes: dict[int, Box]


@dataclass(slots=True)
class Scene:
    """What a frame or a video shows.

    Attributes:
        people: The people, from left to right or in the order of time.
        views: Frames, evenly spaced.
        frames: Frames that were analysed.
        seconds: The second of the last one.
        width: Columns of a frame.
        height: Rows of a frame.
        remarks: What was left out, as sentences.
        problem: Why people could not be looked for; empty if they could.
    """

    people: list[Person] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    width: int = 0
    height: int = 0
    remarks: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def is_crop(self) -> bool:
        """Whether it is of a single image that shows one person who fills it."""
        if len(self.people) != 1 or self.frames != 1:
            return False
        left, top, right, bottom = self.people[0].crops[0].box
        return (right - left) * (bottom - top) >= _FILLS * self.width * self.height


def has_shape_of_crop(width: int, height: int) -> bool:
    """Whether an image is taken for a crop of one person without looking for people in it."""
    return height >= CROP_RATIO * width and height <= CROP_HEIGHT


def describe_people(name: str, image: Image.Image, detector: Detector) -> str:
    """Say if an image that is searched as one person does not show one person who fills it.

    Args:
        name: Its name.
        image: RGB.
        detector: Finds the people.

    Returns:
        A sentence; empty if there is nothing to say, as of an image with the shape of a crop.
    """
    if has_shape_of_crop(*image.size):
        return ""
    scene = people_of_image(name, image, detector)
    if scene.is_crop:
        return ""
    if scene.problem:
        return f"Whether '{name}' shows several people is unknown: {scene.problem}"
    shown = many(len(scene.people), "person", "people") if scene.people else "no person"
    part = " on a small part of it" if len(scene.people) == 1 else ""
    return f"'{name}' seems to show {shown}{part}, and is searched as a whole."


def people_of_image(name: str, image: Image.Image, detector: Detector) -> Scene:
    """Find the people of a single image.

    Args:
        name: Its name.
        image: RGB.
        detector: Finds the people. If its packages are not installed, none are found, which the
            problem says.
    """
    return _look([Frame(np.asarray(image), 0, 0.0, None, name)], detector)


def people_of_video(video: MemoryVideo, detector: Detector, *, seconds: float) -> Scene:
    """Find and track the people of a short video.

    Args:
        video: The video.
        detector: Finds the people of a frame.
        seconds: The second of the video at which to stop.

    Raises:
        VideoError: There is no frame that can be decoded.
    """
    tracker = None
    try:
        tracker = Tracker(_FPS)
    except ExportError as error:
        detector = NoDetector(str(error))
    scene = _look(video.frames(_FPS), detector, tracker=tracker, seconds=seconds)
    if time.monotonic() >= video.until:
        scene.remarks.append(
            f"This took too long: only the first {scene.seconds:.1f} s of it were looked at."
        )
    scene.remarks += video.remarks
    return scene


def cut_out(source: Image.Image | MemoryVideo, box: Sequence[int], *, seconds: float) -> Scene:
    """Cut the person in a box out of an image, or of the frame of a video.

    Args:
        source: An RGB image, or a video.
        box: Left, top, right and bottom in pixels of the frame.
        seconds: That of a view of the video.

    Raises:
        ConfigError: The box is outside the frame.
        VideoError: There is no such frame.
    """
    if isinstance(source, Image.Image):
        frame = Frame(np.asarray(source), 0, 0.0, None, "")
    else:
        # The first frame of its interval, as in the views.
        before = (math.floor(seconds * _FPS + 1e-6) - 1) / _FPS
        with closing(source.frames(_FPS, after=before)) as frames:
            found = next(frames, None)
        if found is None:
            raise VideoError(
                f"'{source.name}' has no frame at second {seconds:g}; expected that of a view."
            )
        frame = found
    row = np.array([*box, 1.0], dtype=np.float32)
    crop = cut(frame, row, 0.0, frame_chroma(frame.image))
    height, width = frame.image.shape[:2]
    if crop is None:
        raise ConfigError(
            f"The box {' '.join(map(str, box))} is outside the frame or too small; expected left,"
            f" top, right and bottom within {width} x {height} pixels."
        )
    person = _person(BestCrops(1, frame.seconds, [crop]), 1, (frame.seconds, frame.seconds))
    return Scene([person], frames=1, seconds=frame.seconds, width=width, height=height)


def _look(
    frames: Iterable[Frame],
    detector: Detector,
    *,
    tracker: Tracker | None = None,
    seconds: float = math.inf,
) -> Scene:
    """The people of a frame, or of the frames of a video."""
    scene, found, places = Scene(), dict[int, BestCrops](), Counter[int]()
    spans: dict[int, tuple[float, float]] = {}
    small, crowd, step = set[int](), set[int](), 1
    for frame in frames:
        if frame.seconds > seconds:
            scene.remarks.append(f"Only the first {seconds:g} s of it were looked at.")
            break
        scene.height, scene.width = frame.image.shape[:2]
        boxes = _boxes(frame, detector, scene)
        ids = tracker.update(boxes, frame.seconds) if tracker else _sure(boxes)
        seen: dict[int, Box] = {}
        chroma, hidden = frame_chroma(frame.image), hidden_shares(boxes)
        for row, share, id in zip(boxes, hidden.tolist(), ids.tolist(), strict=True):
            if id < 0 or not (crop := cut(frame, row, share, chroma)):
                continue
            if crop.box[3] - crop.box[1] < _MIN_HEIGHT:
                small.add(id)
                continue
            if id not in found and len(found) == _MOST_PEOPLE:
                crowd.add(id)
                continue
            found.setdefault(id, BestCrops(_CROPS, frame.seconds)).add(crop)
            seen[id] = crop.box
            places[id] += 1
            spans[id] = (spans.get(id, (frame.seconds,))[0], frame.seconds)
        if scene.frames % step == 0:
            scene.views.append(View(_jpeg(frame.image), frame.seconds, seen))
            if len(scene.views) > 2 * _VIEWS:
                scene.views, step = scene.views[::2], 2 * step
        scene.frames, scene.seconds = scene.frames + 1, frame.seconds
    if not scene.frames:
        raise VideoError("The video has no frame that can be decoded in time; use a shorter one.")
    # From left to right, or in the order of time.
    order = sorted(places, key=lambda id: (spans[id][0], found[id].crops[0].box[0]))
    scene.people = [_person(found[id], places[id], spans[id]) for id in order]
    for view in scene.views:
        view.boxes = {order.index(id): box for id, box in view.boxes.items()}
    if number := len(small - found.keys() - crowd):
        scene.remarks.append(
            f"{many(number, 'person', 'people')} lower than {_MIN_HEIGHT} pixels left out."
        )
    if crowd:
        scene.remarks.append(f"Only the first {_MOST_PEOPLE} people are shown.")
    return scene


def _person(crops: BestCrops, boxes: int, span: tuple[float, float]) -> Person:
    best = sorted(crops.best(), key=lambda crop: -crop.quality)
    return Person(best, crops.modality(), boxes, *span)


def _sure(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of the boxes of an image that certainly show a person; -1 for the others."""
    return np.where(boxes[:, 4] >= SURE, np.arange(len(boxes)), -1)


def _boxes(frame: Frame, detector: Detector, scene: Scene) -> NDArray[np.float32]:
    """The boxes of a frame; none if the detector's packages are missing."""
    try:
        return detector.boxes(frame.image)
    except ExportError as error:
        scene.problem = str(error)
        return np.zeros((0, 5), dtype=np.float32)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    """A frame within 1280 pixels."""
    file, small = io.BytesIO(), Image.fromarray(image)
    small.thumbnail((_VIEW_SIDE, _VIEW_SIDE))
    small.save(file, "JPEG", quality=85)
    return file.getvalue()
