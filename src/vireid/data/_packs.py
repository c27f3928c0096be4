"""The files of a packed image cache.

FOLDER/
  288x144.json.gz         the index: which image each row holds, in which state of its file
  288x144-3f9c01d2.rgb    the rows: uint8 [n, 288, 144, 3], one after the other
  288x144.lock            held by the process that builds

The index is written after the rows and in one step, and names the one valid file of rows; its
compression brings a checksum along. A file of rows that an index names is never written again,
except to mend it, so that whoever has it open can go on reading.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from tqdm import tqdm

from vireid.data.images import DECODER, read_resized
from vireid.errors import CacheError
from vireid.files import write_atomic
from vireid.log import log

__all__ = ["Pack", "PackFolder", "Stamp"]

FORMAT = 1
"""To be raised whenever the index or the rows are laid out in another way."""
SAVE_EVERY = 4096
"""Decoded images after which the index is written, so that a build that is killed can go on."""


class Stamp(NamedTuple):
    """The state of a file; whatever is written to it changes at least the last of these."""

    bytes: int
    modified_ns: int
    changed_ns: int


class _Row(NamedTuple):
    name: str
    stamp: Stamp
    crc32: int


class Pack:
    """A file of rows that is open for reading, from several threads if need be.

    It is not memory-mapped, which would hardly be faster: a file that is cut short, or a disk that
    fails, would end the process by a signal instead of being noticed here.

    Args:
        path: The file of rows.
        rows: What the index says of them.
        size: Height and width of an image, in pixels.

    Attributes:
        path: The file of rows.
        stamps: The state that each image's file was in, by the image's name.

    Raises:
        OSError: If the file cannot be opened.
    """

    def __init__(self, path: Path, rows: Sequence[_Row], size: tuple[int, int]) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        self._bytes = size[0] * size[1] * 3
        # A file that was cut short still has its first rows.
        self._rows = rows[: os.fstat(self._file.fileno()).st_size // self._bytes]
        self._numbers = {row.name: number for number, row in enumerate(self._rows)}
        self._checked = np.zeros(len(self._rows), dtype=np.bool_)
        self.stamps = {row.name: row.stamp for row in self._rows}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str, into: NDArray[np.uint8]) -> bool:
        """Read an image's pixels into ``[H, W, 3]``; False if they are not what was written."""
        number = self._numbers[name]
        try:
            got = os.preadv(self._file.fileno(), [into.data], number * self._bytes)
        except OSError:
            return False
        if not self._checked[number]:
            self._checked[number] = zlib.crc32(into.data) == self._rows[number].crc32
        return got == self._bytes and bool(self._checked[number])

    def mend(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Write an image's pixels again, if they are what the index tells of and it can be done."""
        number = self._numbers[name]
        if zlib.crc32(pixels.data) == self._rows[number].crc32:
            with contextlib.suppress(OSError), self.path.open("r+b", buffering=0) as file:
                os.pwrite(file.fileno(), pixels.data, number * self._bytes)


class PackFolder:
    """The folder of a packed image cache, as far as one size of images goes.

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
        """The name of an image here: its path, relative to the parent folder if it is below."""
        path, base = path.absolute(), self.path.parent
        return str(path.relative_to(base) if path.is_relative_to(base) else path)

    def stamp(self, name: str) -> Stamp:
        """The state that an image's file is in now."""
        path = self._image(name)
        try:
            status = (path.parent if path.parent.suffix == ".npy" else path).stat()
        except (OSError, ValueError):  # ValueError: no file can have this name
            return Stamp(0, 0, 0)  # equals no file's; decoding then says what is wrong
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def find(self, needed: Mapping[str, Stamp]) -> Pack | None:
        """Open the cache that is there, if it holds these images in these states."""
        pack = self._open()
        if pack is None or all(pack.stamps.get(name) == stamp for name, stamp in needed.items()):
            return pack
        pack.close()
        return None

    def build(self, needed: Mapping[str, Stamp], *, threads: int, progress: bool) -> Pack:
        """Build what :meth:`find` did not find, while no other process does.

        Args:
            needed: The images by name, with the states their files were in at some time before.
            threads: Threads that decode.
            progress: Show a bar with images/s on standard error.

        Raises:
            CacheError: If there is no room.
            ImageError: If an image cannot be read.
            OSError: If the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with _alone(self.path / f"{self._stem}.lock"):
            if found := self.find(needed):
                return found
            old = self._open()
            try:
                return self._build(needed, old, threads=threads, progress=progress)
            finally:
                if old:
                    old.close()

    def _image(self, name: str) -> Path:
        return self.path.parent / name

    def _open(self) -> Pack | None:
        """Open the cache that is there; None if there is none, or one damaged or outdated."""
        try:
            index = json.loads(gzip.decompress(self._index.read_bytes()))
            if index["version"] != self._version():
                return None
            rows = [_Row(str(name), Stamp(*stamp), crc) for name, stamp, crc in index["rows"]]
            # Only its name: an index that came with a data set must not lead out of the folder.
            return Pack(self.path / Path(index["data"]).name, rows, self._size)
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
            return None

    def _version(self) -> list[object]:
        # Pillow's too: another one may decode or resize to slightly other pixels.
        return [FORMAT, DECODER, PIL.__version__, *self._size]

    def _build(
        self, needed: Mapping[str, Stamp], old: Pack | None, *, threads: int, progress: bool
    ) -> Pack:
        valid = old.path if old else None
        self._remove_all_but(valid)
        kept = {
            name: stamp
            for name, stamp in (old.stamps if old else {}).items()
            if stamp == (needed.get(name) or self.stamp(name))
        }
        # Those kept come first: once anything new is saved, all of them are.
        plan = {**kept, **needed}
        self._check_room(len(plan))
        path = self.path / f"{self._stem}-{secrets.token_hex(4)}.rgb"
        rows: list[_Row] = []
        hidden = None if progress else True  # None: unless on a terminal
        try:
            with (
                path.open("xb", buffering=0) as file,
                _workers(threads) as pool,
                tqdm(total=len(plan), desc="packing", unit="image", disable=hidden) as bar,
            ):

                def put(number: int, name: str) -> int:
                    pixels = np.empty((*self._size, 3), dtype=np.uint8)
                    if not (old and name in kept and old.read(name, pixels)):
                        pixels[:] = read_resized(self._image(name), self._size)
                    # What a disk that is nearly full leaves unwritten fails its checksum later.
                    os.pwrite(file.fileno(), pixels.data, number * pixels.nbytes)
                    return zlib.crc32(pixels.data)

                checksums = pool.map(put, range(len(plan)), plan)
                for (name, stamp), crc in zip(plan.items(), checksums, strict=True):
                    rows.append(_Row(name, stamp, crc))
                    bar.update()
                    decoded = len(rows) - len(kept)
                    if decoded > 0 and decoded % SAVE_EVERY == 0:
                        valid = self._save(file, path, rows)
                valid = self._save(file, path, rows)
        except OSError:
            # Saved or not: where a disk or a quota is full, training needs the room.
            path.unlink(missing_ok=True)
            raise
        finally:
            self._remove_all_but(valid)
        return Pack(path, rows, self._size)

    def _save(self, file: BinaryIO, path: Path, rows: Sequence[_Row]) -> Path:
        """Make a file of rows, as far as it is written, the valid one."""
        os.fsync(file.fileno())
        index = {"version": self._version(), "data": path.name, "rows": rows}
        write_atomic(self._index, gzip.compress(json.dumps(index).encode(), mtime=0))
        return path

    def _check_room(self, rows: int) -> None:
        need = rows * self._size[0] * self._size[1] * 3
        free = shutil.disk_usage(self.path).free
        if need > free:
            raise CacheError(
                f"'{self.path}' has no room for the packed images ({need / 1e9:,.1f} GB needed,"
                f" {free / 1e9:,.1f} GB free); make room, or choose another folder with --cache."
            )

    def _remove_all_but(self, valid: Path | None) -> None:
        """Remove other files of rows, and what a kill left half-written."""
        for pattern in (f"{self._stem}-*.rgb", f".{self._index.name}.*.tmp"):
            for path in self.path.glob(pattern):
                if path != valid:
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are done, whatever happens, before the file that they write is closed."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vireid-packing")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep out other processes; the system lets them in again even after SIGKILL."""
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"Waiting for another process that packs images into '{lock.parent}'.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
