"""The manifest of crops: what :func:`~vireid.video.detect_people` writes, read row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from vireid.times import parse_time
from vireid.types import ImageInfo, Modality

__all__ = ["COLUMNS", "MANIFEST", "read_crops"]

MANIFEST = "manifest.csv"
COLUMNS = (
    "path",
    "camera",
    "time",
    "modality",
    "tracklet",
    "source",
    "frame",
    "box",
    "score",
)
"""The columns of the manifest; ``box`` is left, top, right and bottom in pixels of the frame."""


def read_crops(folder: Path, start: int = 0) -> Iterator[tuple[ImageInfo, int]]:
    """Read the rows of a folder's manifest that are complete, while others may be appended.

    Args:
        folder: The folder of crops.
        start: The end of a row to go on from; 0 is the beginning.

    Yields:
        A crop with its path in the folder, and the end of its row in bytes.
    """
    with (folder / MANIFEST).open("rb") as file:
        file.seek(start)
        read = start

        def lines() -> Iterator[str]:
            nonlocal read
            for line in file:
                if not line.endswith(b"\n"):
                    return
                read += len(line)
                yield line.decode()

        for row in csv.reader(lines()):
            if tuple(row) != COLUMNS:
                path, camera, time, modality, tracklet = row[:5]
                info = ImageInfo(
                    path=folder / path,
                    camera=camera,
                    time=parse_time(time) if time else None,
                    modality=Modality(modality),
                    tracklet=tracklet,
                )
                yield info, read
