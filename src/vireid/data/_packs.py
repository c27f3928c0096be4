"""The files of a packed image cache.

FOLDER/
  288x144.json.gz         the index: the image in each row, and the state of its file
  288x144-3f9c01d2.rgb    the rows: uint8 [n, 288, 144, 3]
  288x144.lock            locked by the process that builds

The index is written after the rows, atomically, and names the one valid file of rows. A file of
rows that an index names is never written again, so that readers may keep it open.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from vireid.data.images import DECODER, read_converted
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import CacheError
from vireid.files import write_atomic
from vireid.log import log

__all__ = ["Pack", "PackFolder", "Stamp"]

FORMAT = 2
"""Increase whenever the layout of the index or of the rows changes."""


class Stamp(NamedTuple):
    """The state of a file, and how it is read; every write changes at least ``changed_ns``.

    Attributes:
        bytes: Its length.
        modified_ns: When its content was last changed.
        changed_ns: When its content or its attributes were last changed.
        tone_mapping: How more than 8 bits are mapped to 8.
    """

    bytes: int
    modified_ns: int
    changed_ns: int
    tone_mapping: str


class _Row(NamedTuple):
    name: str
    stamp: Stamp
    crc32: int
    remarks: Sequence[str]


class Pack:
    """A file of rows, open for reading; safe to use from several threads.

    It is not memory-mapped: that is hardly faster, and a truncated file or a failing disk would
    kill the process by a signal instead of being detected here.

    Args:
        path: The file of rows.
        rows: The rows according to the index.
        size: Height and width of an image, in pixels.

    Attributes:
        path: The file of rows.
        stamps: The state of each image's file when it was packed, by name.
        remarks: How each image was converted to 8 bits, by name.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If the file has not the length that the index implies.
    """

    def __init__(self, path: Path, rows: Sequence[_Row], size: tuple[int, int]) -> None:
        self.path = path
        self._bytes = size[0] * size[1] * 3
        if path.stat().st_size != len(rows) * self._bytes:
            raise ValueError(f"'{path}' does not hold {len(rows)} rows")
        self._file = path.open("rb", buffering=0)
        self._rows = rows
        self._numbers = {row.name: number for number, row in enumerate(rows)}
        self._checked = np.zeros(len(rows), dtype=np.bool_)
        self.stamps = {row.name: row.stamp for row in rows}
        self.remarks = {row.name: row.remarks for row in rows}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str, into: NDArray[np.uint8]) -> bool:
        """Read an image's pixels into ``[H, W, 3]``; return False if they are damaged."""
        number = self._numbers[name]
        try:
            got = os.preadv(self._file.fileno(), [into.data], number * self._bytes)
        except OSError:
            return False
        if not self._checked[number]:
            self._checked[number] = zlib.crc32(into.data) == self._rows[number].crc32
        return got == self._bytes and bool(self._checked[number])


class PackFolder:
    """The folder of a packed image cache, for one size of images.

    Args:
        folder: The folder; it need not exist yet.
        size: Height and width of an image, in pixels.

    Attributes:
        path: The folder.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.path = folder.absolute()
        self._size = size
        self._stem = f"{size[0]}x{size[1]}"
        self._index = self.path / f"{self._stem}.json.gz"

    def name(self, path: Path) -> str:
        """The name of an image in the index: its path, relative to the parent folder if below."""
        path, base = path.absolute(), self.path.parent
        return str(path.relative_to(base) if path.is_relative_to(base) else path)

    def stamp(self, name: str, tone_mapping: str) -> Stamp:
        """The current state of an image's file.

        Args:
            name: The name of the image in the index.
            tone_mapping: How it is read.
        """
        path = self._image(name)
        try:
            status = (path.parent if path.parent.suffix == ".npy" else path).stat()
        except (OSError, ValueError):  # ValueError: no file can have this name
            return Stamp(0, 0, 0, tone_mapping)  # equals no file's; decoding then reports the error
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, tone_mapping)

    def find(self, needed: Mapping[str, Stamp]) -> Pack | None:
        """Open the existing pack if it holds these images in these states."""
        pack = self._open()
        if pack is None or all(pack.stamps.get(name) == stamp for name, stamp in needed.items()):
            return pack
        pack.close()
        return None

    def build(self, needed: Mapping[str, Stamp], *, threads: int, progress: bool) -> Pack:
        """Build the pack that :meth:`find` did not find; only one process builds at a time.

        Args:
            needed: The images by name, with the states of their files.
            threads: Threads that decode.
            progress: Show a bar with images/s on standard error.

        Raises:
            CacheError: If there is no space.
            ImageError: If an image cannot be read.
            OSError: If the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if found := self.find(needed):
                return found
            with contextlib.ExitStack() as closing:
                if old := self._open():
                    closing.callback(old.close)
                return self._build(needed, old, threads=threads, progress=progress)

    def invalidate(self) -> None:
        """Delete the index of a damaged pack, so that the next :meth:`find` finds none."""
        with contextlib.suppress(OSError):
            self._index.unlink(missing_ok=True)

    def _image(self, name: str) -> Path:
        return self.path.parent / name

    def _open(self) -> Pack | None:
        """Open the existing pack; None if there is none, or if it is damaged or outdated."""
        try:
            index = json.loads(gzip.decompress(self._index.read_bytes()))
            if index["version"] != self._version():
                return None
            rows = [
                _Row(str(name), Stamp(*stamp), crc, tuple(map(str, remarks)))
                for name, stamp, crc, remarks in index["rows"]
            ]
            # The file's name only: an index that came with a data set must not lead elsewhere.
            return Pack(self.path / Path(index["data"]).name, rows, self._size)
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
            return None

    def _version(self) -> list[object]:
        # Another version of Pillow may decode or resize to slightly different pixels.
        return [FORMAT, DECODER, PIL.__version__, *self._size]

    def _build(
        self, needed: Mapping[str, Stamp], old: Pack | None, *, threads: int, progress: bool
    ) -> Pack:
        # Other splits share the pack: their images stay, while their files are unchanged.
        kept = {
            name: stamp
            for name, stamp in (old.stamps if old else {}).items()
            if stamp == (needed.get(name) or self.stamp(name, stamp.tone_mapping))
        }
        plan = {**kept, **needed}
        path = self.path / f"{self._stem}-{secrets.token_hex(4)}.rgb"
        hidden = None if progress else True  # None: unless on a terminal
        self._remove_all_but(old.path if old else None)
        self._check_space(len(plan))
        rows: list[_Row] = []
        try:
            with (
                path.open("xb", buffering=0) as file,
                _workers(threads) as pool,
                tqdm(total=len(plan), desc="packing", unit="image", disable=hidden) as bar,
            ):

                def put(number: int, name: str) -> _Row:
                    pixels = np.empty((*self._size, 3), dtype=np.uint8)
                    if old and name in kept and old.read(name, pixels):
                        remarks = old.remarks[name]
                    else:
                        how = ToneMapping.parse(plan[name].tone_mapping)
                        pixels[:], remarks = read_converted(self._image(name), self._size, how)
                    if (
                        os.pwrite(file.fileno(), pixels.data, number * pixels.nbytes)
                        < pixels.nbytes
                    ):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return _Row(name, plan[name], zlib.crc32(pixels.data), remarks)

                for row in pool.map(put, range(len(plan)), plan):
                    rows.append(row)
                    bar.update()
                os.fsync(file.fileno())
            index = {"version": self._version(), "data": path.name, "rows": rows}
            write_atomic(self._index, gzip.compress(json.dumps(index).encode(), mtime=0))
            self._remove_all_but(path)
            return Pack(path, rows, self._size)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _check_space(self, rows: int) -> None:
        need = rows * self._size[0] * self._size[1] * 3
        free = shutil.disk_usage(self.path).free
        if need > free:
            raise CacheError(
                f"'{self.path}' has too little space for the packed images ({need / 1e9:,.1f} GB"
                f" needed, {free / 1e9:,.1f} GB free); free some, or choose another folder with"
                " `vireid train --cache`."
            )

    def _remove_all_but(self, valid: Path | None) -> None:
        """Remove other files of rows, and what a killed build left."""
        for pattern in (f"{self._stem}-*.rgb", f".{self._index.name}.*.tmp"):
            for path in self.path.glob(pattern):
                if path != valid:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other processes; the system releases the lock even after SIGKILL."""
        lock = FileLock(self.path / f"{self._stem}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log(f"Waiting for another process that packs images into '{self.path}'.")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextlib.contextmanager
def _workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end, even after an error, before the file they write to is closed."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vireid-packing")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
