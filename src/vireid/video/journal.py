"""What is done of a source, on disk: its boxes and the tracklets that are written.

One JSON value a line, appended: a header, then ``[seconds, boxes]`` of each frame and
``{"written": [tracklet, part]}``, last ``{"finished": true}``. A killed run replays the boxes
instead of detecting them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError
from vireid.files import Closeable

__all__ = ["Journal", "Unit", "append_lines", "drop_torn_line", "headers"]

Unit = tuple[int, int]
"""A tracklet, and which part of it."""


def headers(folder: Path) -> list[dict[str, Any]]:
    """The headers of all journals in a folder."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        with file.open("rb") as opened:
            if (line := opened.readline()).endswith(b"\n"):
                found.append(json.loads(line))
    return found


def drop_torn_line(file: Path) -> None:
    """Remove what follows the last line end, which a killed process may have left."""
    with file.open("r+b") as opened:
        end = size = opened.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            opened.seek(start)
            found = opened.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            opened.truncate(end)


def append_lines(file: Path, text: str) -> None:
    """Append whole lines to a file and flush them to the disk.

    Raises:
        OSError: They cannot be written; the file is then as before.
    """
    # Without a buffer, which closing would try to write again.
    with file.open("ab", buffering=0) as opened:
        _append(opened, text.encode(), file, flush=True)


def _append(opened: FileIO, data: bytes, file: Path, *, flush: bool = False) -> None:
    """Append all of the bytes or none."""
    before = os.fstat(opened.fileno()).st_size
    left = memoryview(data)
    try:
        while left:  # what a full disk takes only a part of
            left = left[opened.write(left) :]
        if flush:
            os.fsync(opened.fileno())
    except OSError as error:
        os.truncate(file, before)
        error.filename = str(file)
        raise


class Journal(Closeable):
    """The journal of a source.

    Args:
        file: The file, created if it does not exist.
        header: What must be equal to go on.

    Raises:
        ConfigError: It was begun with another header.
    """

    def __init__(self, file: Path, header: dict[str, Any]) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            drop_torn_line(file)
        with file.open("a+b") as opened:
            opened.seek(0)
            first = opened.readline()
        if not first:
            append_lines(file, json.dumps(header) + "\n")
        elif (begun := json.loads(first)) != header:
            name = next(key for key in header if begun.get(key) != header[key])
            raise ConfigError(
                f"'{header['source']}' was begun with the {name} '{begun.get(name)}', and now it is"
                f" '{header[name]}'; expected the same to continue; use another folder for the"
                " crops, or the same options and file."
            )
        self._file = file.open("ab", buffering=0)

    def close(self) -> None:
        """As :meth:`Closeable.close`."""
        self._file.close()

    @property
    def finished(self) -> bool:
        """Whether the whole source is done."""
        return any(isinstance(line, dict) and "finished" in line for line in self._lines())

    def add_frame(self, seconds: float, boxes: NDArray[np.float32]) -> None:
        """Append the boxes of a frame, which have at most three decimals."""
        rows = [[round(value, 3) for value in row] for row in boxes.tolist()]
        self._append([seconds, rows])

    def add_written(self, unit: Unit) -> None:
        """Note that the crops of a tracklet are on disk and in the manifest."""
        self._append({"written": unit})

    def finish(self) -> None:
        """Note that the source is done."""
        self._append({"finished": True})

    def replay(self) -> Iterator[tuple[float, NDArray[np.float32]] | Unit]:
        """Yield the frames and the written tracklets in their order."""
        for line in self._lines():
            if isinstance(line, list):
                yield line[0], np.array(line[1], dtype=np.float32).reshape(-1, 5)
            elif "written" in line:
                tracklet, part = line["written"]
                yield int(tracklet), int(part)

    def _lines(self) -> Iterator[Any]:
        with self.file.open("rb") as opened:
            next(opened)
            yield from map(json.loads, opened)

    def _append(self, value: object) -> None:
        data = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        _append(self._file, data, self.file)
