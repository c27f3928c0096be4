"""The best crops of a tracklet: sharp, whole and apart in time."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.data.inspection import GREY_BELOW
from vireid.types import Modality
from vireid.video.frames import Frame

__all__ = ["BestCrops", "Crop", "cut", "hidden_shares"]

_TALLEST = 640
"""Rows of a crop; taller ones are reduced."""
_CANDIDATES = 12
"""Crops kept of a tracklet that goes on."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A person in a frame.

    Attributes:
        image: uint8 ``[h, w, 3]``.
        frame: The frame, without its image.
        box: Left, top, right and bottom in the frame, pixels, within it.
        score: The detector's.
        quality: How sharp, large and whole it is; comparable within a tracklet.
        chroma: The mean chroma of its frame, in levels of 0 to 255.
    """

    image: NDArray[np.uint8]
    frame: Frame
    box: tuple[int, int, int, int]
    score: float
    quality: float
    chroma: float

    def jpeg(self) -> bytes:
        """The crop as a JPEG of high quality."""
        file = io.BytesIO()
        Image.fromarray(self.image).save(file, "JPEG", quality=95, subsampling=0)
        return file.getvalue()


@dataclass(slots=True)
class BestCrops:
    """Chooses the best crops of a tracklet in bounded memory.

    Attributes:
        number: How many crops to choose.
        first: The second of the first crop.
        crops: The candidates in the order of time.
        small: Crops that were too low to be kept.
    """

    number: int
    first: float
    crops: list[Crop] = field(default_factory=list)
    small: int = 0

    def add(self, crop: Crop) -> None:
        """Take a crop, later than those before."""
        self.crops.append(crop)
        if len(self.crops) > max(_CANDIDATES, 3 * self.number):
            # Of the two that are nearest in time, the worse one goes.
            gaps = np.diff([own.frame.seconds for own in self.crops])
            place = int(gaps.argmin())
            del self.crops[place + (self.crops[place + 1].quality < self.crops[place].quality)]

    def best(self) -> list[Crop]:
        """The best crops, in the order of time, none close to another in time."""
        if not self.crops:
            return []
        gap = (self.crops[-1].frame.seconds - self.crops[0].frame.seconds) / (2 * self.number)
        chosen: list[Crop] = []
        for crop in sorted(self.crops, key=lambda own: -own.quality):
            near = [own for own in chosen if abs(own.frame.seconds - crop.frame.seconds) < gap]
            if not near and len(chosen) < self.number:
                chosen.append(crop)
        return sorted(chosen, key=lambda own: own.frame.seconds)

    def modality(self) -> Modality:
        """Guess the modality: infrared if its frames have no colour."""
        chroma = float(np.mean([crop.chroma for crop in self.crops]))
        return Modality.INFRARED if chroma < GREY_BELOW else Modality.VISIBLE


def cut(frame: Frame, row: NDArray[np.float32], hidden: float, chroma: float) -> Crop | None:
    """Cut a person out of a frame.

    Args:
        frame: The frame.
        row: Left, top, right, bottom and score, float32 ``[5]``.
        hidden: The share of the box that others may hide, see :func:`hidden_shares`.
        chroma: The mean chroma of the frame.

    Returns:
        None if the box is outside the frame.
    """
    height, width = frame.image.shape[:2]
    left, top = int(max(row[0], 0)), int(max(row[1], 0))
    right, bottom = int(min(np.ceil(row[2]), width)), int(min(np.ceil(row[3]), height))
    if right - left < 2 or bottom - top < 2:
        return None
    image = frame.image[top:bottom, left:right]
    if bottom - top > _TALLEST:
        size = (max(1, round((right - left) * _TALLEST / (bottom - top))), _TALLEST)
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    whole = (right - left) * (bottom - top) / max(float((row[2] - row[0]) * (row[3] - row[1])), 1.0)
    # A box at the edge has been cut by it, although it ends there.
    touches = left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1
    quality = _sharpness(image) * min(whole, 1.0) * (1 - hidden) * (0.5 if touches else 1.0)
    return Crop(
        image.copy(),
        Frame(_NOTHING, frame.number, frame.seconds, frame.time, frame.file),
        (left, top, right, bottom),
        float(row[4]),
        quality * float(row[4]) * np.sqrt(min(bottom - top, _TALLEST)),
        chroma,
    )


_NOTHING = np.zeros((0, 0, 3), dtype=np.uint8)


def _sharpness(image: NDArray[np.uint8]) -> float:
    """The mean gradient of the brightness at a fixed size, relative to its deviation."""
    grey = Image.fromarray(image).convert("L").resize((64, 128), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32)
    gradient = np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean()
    return float(gradient / (values.std() + 4.0))


def hidden_shares(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of each box that the box of someone nearer overlaps.

    Args:
        boxes: float32 ``[n, 5]``; who stands lower in the frame is nearer.

    Returns:
        In [0, 1], float32 ``[n]``.
    """
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:4], boxes[None, :, 2:4])
    common = np.clip(high - low, 0, None).prod(axis=2)
    common[boxes[None, :, 3] <= boxes[:, None, 3]] = 0
    area = np.clip(boxes[:, 2:4] - boxes[:, :2], 1, None).prod(axis=1)
    shares: NDArray[np.float32] = (common / area[:, None]).max(axis=1, initial=0)
    return shares
