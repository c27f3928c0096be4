"""Describing many images into one file, so that a run that was killed goes on where it was.

    OUT.parquet              there only when it is whole
    .OUT.parquet.parts/      until then: what is described so far
      00000000.parquet         a batch, with the key of every image in it
      lock                     held by the process that describes

A key is made of the network, of the image file's path, size and time of change, and of what is told
of it: an image that was changed since is described again, and one that is new is described too.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from tqdm import tqdm

from vireid.distributed.comm import broadcast, is_main_process, rank, synchronize, world_size
from vireid.errors import ConfigError, ImageError, VireidError
from vireid.features.extract import ExtractedBatch, extract_from_files
from vireid.features.extractor import FeatureExtractor
from vireid.features.parquet import (
    check_ending,
    from_table,
    naming_unwritable,
    to_table,
    write_features,
)
from vireid.files import open_atomic
from vireid.log import log
from vireid.types import ImageInfo, Modality, ModelInfo

__all__ = ["Summary", "clear_parts", "extract_shard", "extract_to_file", "move_on", "open_bar"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a file of features, or in a part of a folder of them, that was just written.

    Attributes:
        rows: How many images were described.
        resumed: How many of them an earlier run, which was stopped, had described.
        guessed: How many images of each modality have it by guess; none is counted of shards that
            an earlier run finished.
        bad: What is wrong with each image that was skipped, one sentence each.
        model: The model that extracted them.
    """

    rows: int
    resumed: int
    guessed: Mapping[Modality, int]
    bad: tuple[str, ...]
    model: ModelInfo


def extract_to_file(
    extractor: FeatureExtractor,
    images: Sequence[ImageInfo],
    file: Path,
    *,
    batch_size: int = 64,
    skip_bad: bool = False,
    progress: bool = True,
) -> Summary:
    """Describe images into a file; called again after a kill or an error, it goes on.

    Several processes that work together take batches by turns; the first one makes the file, and
    the others return before it is there.

    Args:
        extractor: The network.
        images: The images.
        file: The file, ending in ``.parquet``; one of that name is replaced
            when the new one is whole.
        batch_size: Images a batch; what a kill costs at most.
        skip_bad: Leave images out that cannot be read.
        progress: Show a bar with rate and time left on standard error.

    Raises:
        ConfigError: The file has another ending or cannot be written, another process writes it,
            or the batch size is out of range.
        ImageError: An image cannot be read, or with ``skip_bad`` none can.
    """
    with open_bar(len(images), progress=progress) as bar:
        return extract_shard(
            extractor, images, file, bar, batch_size=batch_size, skip_bad=skip_bad, place=file
        )


def open_bar(total: int, *, progress: bool) -> tqdm:
    """A bar with rate and time left on standard error, where that is a terminal.

    Args:
        total: How many images there are.
        progress: Show it at all.
    """
    return tqdm(total=total, desc="describing", unit="image", disable=None if progress else True)


def extract_shard(
    extractor: FeatureExtractor,
    images: Sequence[ImageInfo],
    file: Path,
    bar: tqdm,
    *,
    batch_size: int,
    skip_bad: bool,
    place: Path,
    may_be_empty: bool = False,
) -> Summary:
    """Do as :func:`extract_to_file` for a file that may be one of several.

    Args:
        extractor: The network.
        images: The images.
        file: The file.
        bar: Moved on by every image.
        batch_size: Images a batch.
        skip_bad: Leave images out that cannot be read.
        place: What the user's command is to write; messages name it.
        may_be_empty: Write a file without rows where no image can be read.

    Raises:
        VireidError: As :func:`extract_to_file`.
    """
    check_ending(file)
    model = extractor.model_info
    with _open_parts(file) as parts:
        keys = {image.path.absolute(): _key(image, model) for image in images}
        done = parts.keys().intersection(keys.values())
        todo = [image for image in images if keys[image.path.absolute()] not in done]
        synchronize()  # before anything is added to what the others look at
        own = _own_batches(todo, batch_size)
        described = len(done)
        bad: list[str] = []
        move_on(bar, len(images) - len(todo))
        try:
            for batch in extract_from_files(
                extractor, own, batch_size=batch_size, skip_bad=skip_bad
            ):
                parts.add(batch, model, [keys[image.info.path] for image in batch.images])
                described += len(batch)
                bad += batch.bad
                bar.update(batch.seen)
        except (VireidError, KeyboardInterrupt):
            if described:
                log(f"What is described so far is kept; the same command for '{place}' goes on.")
            raise
        told = [broadcast(lambda: [described, bad], by=r) for r in range(world_size())]
        described = sum(number for number, _ in told) - (world_size() - 1) * len(done)
        bad = [fault for _, faults in told for fault in faults]
        if bad and not described and not may_be_empty:
            raise ImageError(f"{bad[0]} None of the {len(images):,} images can be read.")
        guessed: Counter[Modality] = Counter()
        if is_main_process():
            wanted = set(keys.values())
            described = write_features(file, parts.batches(model, wanted, guessed), model)
            parts.remove()
    return Summary(described, len(done), guessed, tuple(bad), model)


def _own_batches(todo: Sequence[ImageInfo], batch_size: int) -> list[ImageInfo]:
    """The images of every so many-th batch, beginning with this process's."""
    if world_size() == 1:
        return list(todo)
    firsts = range(rank() * batch_size, len(todo), world_size() * batch_size)
    return [image for first in firsts for image in todo[first : first + batch_size]]


def clear_parts(file: Path) -> None:
    """Remove what a kill left beside a file that is whole.

    Args:
        file: The file.

    Raises:
        ConfigError: Another process writes it anew, or its folder cannot be written to.
    """
    with _open_parts(file) as parts:
        parts.remove()


def move_on(bar: tqdm, done: int) -> None:
    """Move a bar on by what an earlier run did, which says nothing about the rate.

    Args:
        bar: The bar.
        done: How many images.
    """
    if not bar.disable:
        bar.initial += done
        bar.n += done
        bar.refresh()


class _Parts:
    """The batches described so far, in files of their own.

    Args:
        file: The file that they are for.
        folder: Where they lie.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self._files = sorted(folder.glob("*.parquet"))
        self._next = int(self._files[-1].stem) + 1 + rank() if self._files else rank()

    def add(self, batch: ExtractedBatch, model: ModelInfo, keys: Sequence[str]) -> None:
        """Keep a batch; it is on the disk when this returns."""
        part = self.folder / f"{self._next:08}.parquet"
        # The numbers are those of all processes' batches, so that their order is kept.
        self._next += world_size()
        if not batch.images:
            return
        table = to_table(batch.images, model).append_column("key", pa.array(keys, pa.string()))
        with naming_unwritable(self.file), open_atomic(part) as stream:
            parquet.write_table(table, stream, write_page_checksum=True)

    def keys(self) -> set[str]:
        """The keys of all images kept; a damaged batch is dropped, to be described again."""
        found: set[str] = set()
        for part in self._files:
            try:
                found.update(_read(part).column("key").to_pylist())
            except (OSError, KeyError, pa.ArrowException):
                part.unlink(missing_ok=True)
        return found

    def remove(self) -> None:
        """Remove all parts, and the lock, which is still held here.

        The folder takes another name first: whoever opens a lock of the old name meanwhile makes
        a new folder, or holds a lock that :func:`_take_lock` finds to be none any more.
        """
        aside = self.file.parent / f".{self.file.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        self.folder.rename(aside)
        # The next writer may clear it away at the same time.
        shutil.rmtree(aside, ignore_errors=True)

    def batches(
        self, model: ModelInfo, wanted: Collection[str], guessed: Counter[Modality]
    ) -> Iterator[ExtractedBatch]:
        """Yield what is kept of the images with the wanted keys, and count the guesses."""
        for part in sorted(self.folder.glob("*.parquet")):
            table = _read(part)
            own = [key in wanted for key in table.column("key").to_pylist()]
            if any(own):
                batch = from_table(table.filter(pa.array(own)), model)
                guessed.update(batch.guessed)
                yield batch


def _read(part: Path) -> pa.Table:
    with parquet.ParquetFile(part, page_checksum_verification=True) as opened:
        return opened.read()


def _key(image: ImageInfo, model: ModelInfo) -> str:
    try:
        status = image.path.stat()
        state = (status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        # It is refused or skipped when it is read.
        state = (-1, -1)
    told = (image.modality, image.camera, image.identity, image.time, image.note, image.added)
    words = map(str, (model.fingerprint, image.path.absolute(), *state, *told))
    return hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()


@contextlib.contextmanager
def _open_parts(file: Path) -> Iterator[_Parts]:
    """Hold the parts of a file, which no other process may touch meanwhile."""
    folder = file.parent / f".{file.name}.parts"
    with contextlib.ExitStack() as closing:
        if is_main_process():
            closing.enter_context(_locked(file, folder))
            # What a kill left while the whole file was being put together, or the parts removed.
            for stale in file.parent.glob(f".{glob.escape(file.name)}.*.tmp"):
                if stale.is_dir():
                    shutil.rmtree(stale, ignore_errors=True)
                else:
                    stale.unlink(missing_ok=True)
        synchronize()
        yield _Parts(file, folder)


@contextlib.contextmanager
def _locked(file: Path, folder: Path) -> Iterator[None]:
    """Be the only one, or the first of those, who describe into a file."""
    with contextlib.ExitStack() as closing:
        with naming_unwritable(file):
            lock = _take_lock(folder)
        if lock is None:
            raise ConfigError(
                f"'{file}' is being written by another process; expected to be the only one; wait"
                " for it, or choose another file."
            )
        closing.callback(os.close, lock)
        yield


def _take_lock(folder: Path) -> int | None:
    """Make the folder of parts and take its lock; None if another process holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # Its holder has just finished, and taken the folder away.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A lock on a file that was taken away since it was opened keeps nobody out.
            if os.path.samestat(os.fstat(lock), (folder / "lock").stat()):
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except FileNotFoundError:
            pass
        os.close(lock)
