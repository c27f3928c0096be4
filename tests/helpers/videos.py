"""Tiny videos of bright boxes, and a detector that finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (120, 160)
"""Rows and columns of a frame."""


def scene(*lefts: float, colour: tuple[int, int, int] = (250, 240, 200)) -> NDArray[np.uint8]:
    """A frame with striped boxes of 60 x 24 pixels at these columns, one row below the other."""
    image = np.full((*SIZE, 3), (20, 40, 60), dtype=np.uint8)
    for number, left in enumerate(lefts):
        if -24 < left < SIZE[1]:
            rows = slice(30 + 2 * number, 90 + 2 * number)
            columns = slice(max(0, round(left)), max(0, round(left) + 24))
            image[rows, columns] = colour
            image[50:54, columns] = 90
    return image


def walk(frames: int, step: float = 2.0) -> Iterator[NDArray[np.uint8]]:
    """One box that moves to the right."""
    for number in range(frames):
        yield scene(10 + step * number)


def portrait() -> NDArray[np.uint8]:
    """A photograph of a woman: 600 x 512 pixels."""
    with Image.open(Path(mpl.get_data_path()) / "sample_data/grace_hopper.jpg") as image:
        return np.asarray(image.convert("RGB"))


def walking_portrait(frames: int, *, grey: bool) -> Iterator[NDArray[np.uint8]]:
    """The photograph, small, moving to the right; a detector finds the person."""
    image = Image.fromarray(portrait()).resize((85, 100))
    for number in range(frames):
        frame = Image.new("RGB", SIZE[::-1], (60, 120, 90))
        frame.paste(image, (5 + 2 * number, 15))
        yield np.asarray(frame.convert("L").convert("RGB") if grey else frame)


def write_video(
    path: Path,
    frames: Iterator[NDArray[Any]],
    *,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    rate: int = 10,
    times: Callable[[int], int] | None = None,
    given: str = "rgb24",
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode a video; ``times`` gives each frame's time in units of 1 / ``rate`` seconds."""
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = SIZE
        stream.pix_fmt = pixels
        stream.gop_size = 10
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format=given).reformat(format=pixels)
            frame.pts = times(number) if times else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class BrightBoxes:
    """Finds separate bright boxes, from left to right."""

    name = "bright boxes"

    def __init__(self, threshold: int = 150) -> None:
        self.threshold = threshold
        self.calls = 0

    def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        bright = frame.max(axis=2) > self.threshold
        columns = np.flatnonzero(bright.sum(axis=0) > 20)
        found = []
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            if len(run):
                rows = np.flatnonzero(bright[:, run].any(axis=1))
                found.append((run[0], rows[0], run[-1] + 1, rows[-1] + 1, 0.9))
        return np.array(found, dtype=np.float32).reshape(-1, 5)
