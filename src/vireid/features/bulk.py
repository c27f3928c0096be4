"""Bulk extraction: features of many images in a Parquet file or a folder of shards; resumable.

    OUT.parquet              written atomically once all its images are processed
    .OUT.parquet.batches/    until then: the batches so far
      00000000.parquet         a batch, with the key of every image in it
    .OUT.parquet.lock        locked by the process that writes OUT.parquet

A key is a hash of the model, of the image file's path, size and modification time, and of what is
known of the image: an image that changed since is extracted again.

A folder of shards holds several such files. Several machines can share the work: part I of N takes
the I-th shard, the (N + I)-th and so on. A shard that is there is finished.

    OUT/
      shards.json        the model, the images and the rows per shard; written first
      00000000.parquet   the first images of the list, without those that cannot be read
      00000001.parquet   the next ones
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from vireid.data.tone_mapping import ToneMapping
from vireid.distributed.comm import broadcast, is_main_process, rank, synchronize, world_size
from vireid.errors import ConfigError, DatasetError, ImageError, VireidError, first_few, many
from vireid.features.extract import ExtractedBatch, Known, extract_from_files
from vireid.features.extractor import FeatureExtractor
from vireid.features.inputs import ImageFiles, image_infos
from vireid.features.parquet import (
    FeatureFile,
    check_ending,
    from_table,
    naming_unwritable,
    to_table,
    write_features,
)
from vireid.files import locked, open_atomic, write_atomic
from vireid.log import on_stop
from vireid.types import ImageInfo, Modality, ModelInfo

__all__ = ["WHOLE", "FeatureFolder", "Part", "Summary", "extract_to_parquet"]

_PLAN = "shards.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of a folder's shards, such as the 2nd of 4.

    Attributes:
        number: Which one, from 1.
        of: How many parts there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """A part written as ``2/4``.

        Raises:
            ConfigError: The text is something else.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        part = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= part.number <= part.of:
            raise ConfigError(
                f"--part '{text}' is no part; expected I/N with I from 1 to N, such as 2/4 for the"
                " second of four."
            )
        return part

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def shards(self, count: int) -> range:
        """The numbers of its shards.

        Args:
            count: How many shards there are in all.
        """
        return range(self.number - 1, count, self.of)


WHOLE = Part(1, 1)
"""All shards."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a feature file, or a part of a folder of shards, holds after an extraction.

    Attributes:
        rows: How many images were extracted.
        resumed: How many of them an earlier run had extracted.
        guessed: How many images of each modality have it by guess, without those of shards that an
            earlier run finished.
        bad: An error message for each image that was skipped.
        model: The model that extracted them.
        remarks: How images were converted, and how many; without those of an earlier run.
    """

    rows: int
    resumed: int
    guessed: Mapping[Modality, int]
    bad: tuple[str, ...]
    model: ModelInfo
    remarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The content of a folder of shards.

    Attributes:
        images: How many images are listed.
        listed: SHA-256 of the list: of all paths and of what is known of the images.
        shard_rows: Images per shard.
        model: The model.
    """

    images: int
    listed: str
    shard_rows: int
    model: ModelInfo

    def files(self, folder: Path, part: Part) -> dict[int, Path]:
        """The files of a part's shards by their numbers."""
        count = -(-self.images // self.shard_rows)
        return {number: folder / f"{number:08}.parquet" for number in part.shards(count)}


_PLANS = TypeAdapter(_Plan)


def extract_to_parquet(
    extractor: FeatureExtractor,
    images: ImageFiles,
    out: str | os.PathLike[str],
    *,
    shard_rows: int | None = None,
    part: Part = WHOLE,
    batch_size: int = 64,
    skip_bad: bool = False,
    progress: bool = True,
) -> Summary:
    """Extract features into a file or a folder of shards; the same call resumes after a kill.

    The processes of a distributed run take batches in turn; the main process writes the file, and
    the others return before it is there. Shards are written by one process each.

    A finished shard is kept even if an image of it has changed since; a finished file is replaced.

    Args:
        extractor: The model.
        images: The images; for shards in the same order and with the same absolute paths wherever
            a part of them is extracted.
        out: The file, ending in ``.parquet``; with ``shard_rows`` the folder, which is created.
        shard_rows: Images per shard; None writes one file.
        part: Which shards to write.
        batch_size: Images per batch; a kill loses one batch at most.
        skip_bad: Skip images that cannot be read.
        progress: Show a progress bar on standard error if that is a terminal.

    Returns:
        What the file, or this part of the folder, holds.

    Raises:
        ConfigError: The file has another ending; the folder holds other images, another model or
            another number of rows per shard; the output cannot be written or is being written by
            another process; a number is out of range.
        DatasetError: A finished shard, or shards.json, is damaged.
        ImageError: An image cannot be read, or with ``skip_bad`` none can.
    """
    images, out = image_infos(images), Path(out)
    model = extractor.model_info
    if shard_rows is None:
        check_ending(out)
        shards = {out: images}
    else:
        if shard_rows < 1:
            raise ConfigError(f"--shard-rows {shard_rows} is out of range; expected at least 1.")
        if world_size() > 1:
            raise ConfigError(
                f"{world_size()} processes would write the shards of '{out}'; expected one per"
                " part: leave --devices out, and start one command with --part I/N for each I."
            )
        plan = _Plan(len(images), _digest(images), shard_rows, model)
        _write_plan(out, plan)
        shards = {
            file: images[number * shard_rows : (number + 1) * shard_rows]
            for number, file in plan.files(out, part).items()
        }
    with tqdm(
        total=sum(map(len, shards.values())),
        desc="extracting",
        unit="image",
        disable=None if progress else True,
    ) as bar:
        written = [
            _write_shard(
                extractor,
                listed,
                file,
                bar,
                out=out,
                batch_size=batch_size,
                skip_bad=skip_bad,
                keep_finished=shard_rows is not None,
            )
            for file, listed in shards.items()
        ]
    bad = [message for shard in written for message in shard.bad]
    rows = sum(shard.rows for shard in written)
    if bad and not rows:
        raise ImageError(f"{bad[0]} None of {many(len(bad), 'image')} of this part can be read.")
    guessed = sum((Counter(shard.guessed) for shard in written), Counter[Modality]())
    remarks = sum((Counter(shard.remarks) for shard in written), Counter[str]())
    resumed = sum(shard.resumed for shard in written)
    return Summary(rows, resumed, guessed, tuple(bad), model, remarks)


def _write_shard(
    extractor: FeatureExtractor,
    images: Sequence[ImageInfo],
    file: Path,
    bar: tqdm,
    *,
    out: Path,
    batch_size: int,
    skip_bad: bool,
    keep_finished: bool,
) -> Summary:
    """Write one shard, which may have no rows, or the only file, which has at least one."""
    model = extractor.model_info
    with _open_batches(file) as batches:
        if keep_finished and file.exists():
            batches.remove()
            _skip(bar, len(images))
            skipped = _skipped(file, images)
            rows = len(images) - len(skipped)
            return Summary(rows, rows, {}, tuple(skipped), model)
        keys = {image.path.absolute(): _key(image, model) for image in images}
        done = batches.keys().intersection(keys.values())
        todo = [image for image in images if keys[image.path.absolute()] not in done]
        _skip(bar, len(images) - len(todo))
        synchronize()  # every process has read the batches before one adds to them
        rows, bad, remarks = len(done), list[str](), list[str]()
        again = f"the features so far are kept; to resume, run the command for '{out}' again."
        with on_stop(lambda: again if rows else "", VireidError):
            for batch in extract_from_files(
                extractor, _own_batches(todo, batch_size), batch_size=batch_size, skip_bad=skip_bad
            ):
                batches.add(batch, model, keys)
                rows += len(batch)
                bad += batch.bad
                remarks += batch.remarks
                bar.update(batch.seen)
        reports = [
            broadcast(lambda: [rows, bad, Counter(remarks)], source=r) for r in range(world_size())
        ]
        rows = sum(number for number, _, _ in reports) - (world_size() - 1) * len(done)
        bad = [message for _, messages, _ in reports for message in messages]
        converted = sum((Counter(own) for _, _, own in reports), Counter[str]())
        if bad and not rows and not keep_finished:
            raise ImageError(f"{bad[0]} None of {many(len(images), 'image')} can be read.")
        guessed: Counter[Modality] = Counter()
        if is_main_process():
            rows = batches.write(set(keys.values()), model, guessed)
    return Summary(rows, len(done), guessed, tuple(bad), model, converted)


def _own_batches(todo: Sequence[ImageInfo], batch_size: int) -> list[ImageInfo]:
    """The images of every n-th batch of n processes, starting with this process's first."""
    if world_size() == 1:
        return list(todo)
    firsts = range(rank() * batch_size, len(todo), world_size() * batch_size)
    return [image for first in firsts for image in todo[first : first + batch_size]]


def _skip(bar: tqdm, done: int) -> None:
    """Advance a bar by what an earlier run did, which must not count for the rate."""
    if not bar.disable:
        bar.initial += done
        bar.n += done
        bar.refresh()


class _Batches:
    """The batches of a shard so far, each in a file.

    Args:
        file: The shard.
    """

    def __init__(self, file: Path) -> None:
        self._shard = file
        self._folder = file.parent / f".{file.name}.batches"
        numbers = [int(batch.stem) for batch in self._files()]
        self._next = max(numbers, default=-1) + 1 + rank()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))

    def add(self, batch: ExtractedBatch, model: ModelInfo, keys: Mapping[Path, str]) -> None:
        """Add a batch; it is on the disk when this returns."""
        file = self._folder / f"{self._next:08}.parquet"
        # The numbers count the batches of all processes, which keeps their order.
        self._next += world_size()
        if not batch.images:
            return
        own = pa.array([keys[image.info.path] for image in batch.images], pa.string())
        table = to_table(batch.images, model).append_column("key", own)
        with naming_unwritable(self._shard), open_atomic(file) as stream:
            parquet.write_table(table, stream, write_page_checksum=True)

    def keys(self) -> set[str]:
        """The keys of all images in the batches; a damaged batch is removed."""
        found: set[str] = set()
        for file in self._files():
            try:
                found.update(_read(file).column("key").to_pylist())
            except (OSError, KeyError, pa.ArrowException):
                file.unlink(missing_ok=True)
        return found

    def write(self, keys: Collection[str], model: ModelInfo, guessed: Counter[Modality]) -> int:
        """Write the images with these keys into the shard, and remove the batches.

        Args:
            keys: The keys.
            model: The model.
            guessed: Counts the guessed modalities.

        Returns:
            How many rows the shard has.
        """

        def merged() -> Iterator[ExtractedBatch]:
            for file in self._files():
                table = _read(file)
                own = [key in keys for key in table.column("key").to_pylist()]
                if any(own):
                    batch = from_table(table.filter(pa.array(own)), model)
                    guessed.update(batch.guessed)
                    yield batch

        rows = write_features(self._shard, merged(), model)
        self.remove()
        return rows

    def remove(self) -> None:
        """Remove all batches."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(file: Path) -> pa.Table:
    with parquet.ParquetFile(file, page_checksum_verification=True) as opened:
        return opened.read()


@contextlib.contextmanager
def _open_batches(file: Path) -> Iterator[_Batches]:
    """The batches of a shard, locked against other runs."""
    with contextlib.ExitStack() as stack:
        if is_main_process():
            with naming_unwritable(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(locked(file.parent / f".{file.name}.lock"))
                except BlockingIOError:
                    raise ConfigError(
                        f"'{file}' is being written by another process; expected no other one;"
                        " wait for it, or choose another file."
                    ) from None
            # Of a process killed while it wrote the file.
            for stale in file.parent.glob(f".{glob.escape(file.name)}.*.tmp"):
                stale.unlink(missing_ok=True)
        synchronize()
        yield _Batches(file)


def _known(image: ImageInfo) -> tuple[object, ...]:
    texts = image.camera, image.identity, image.tracklet, image.note
    return image.modality, *texts, image.time, image.added


def _key(image: ImageInfo, model: ModelInfo) -> str:
    try:
        status = image.path.stat()
        state = (status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        # It is refused or skipped when it is read.
        state = (-1, -1)
    tone_mapping = ToneMapping.named_in(model.about).of(image.camera)
    words = map(
        str, (model.fingerprint, tone_mapping, image.path.absolute(), *state, *_known(image))
    )
    return hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()


def _digest(images: Sequence[ImageInfo]) -> str:
    """SHA-256 of all paths and of what is known of the images."""
    digest = hashlib.sha256()
    for image in images:
        words = [str(image.path.absolute()), *map(str, _known(image))]
        digest.update(json.dumps(words).encode())
    return digest.hexdigest()


class FeatureFolder:
    """A folder of shards, or a part of it, read in bounded memory.

    Args:
        path: The folder.
        part: Which of its shards.

    Attributes:
        path: The folder.
        model: The model of the features.
        rows: How many images these shards hold.

    Raises:
        DatasetError: It is no such folder, shards of this part are missing, or one is damaged or
            of another model.
    """

    def __init__(self, path: Path, part: Part = WHOLE) -> None:
        plan = _read_plan(path)
        self.path = path
        self.model = plan.model
        files = list(plan.files(path, part).values())
        absent = [file.name for file in files if not file.exists()]
        if absent:
            raise DatasetError(
                f"'{path}' lacks {len(absent):,} of the {len(files):,} shards of part {part}:"
                f" {first_few(absent)}; expected all of them; run the `vireid encode` that writes"
                " them, or name the finished parts with --part."
            )
        self._shards = list(map(FeatureFile, files))
        for shard in self._shards:
            if shard.model != plan.model:
                raise DatasetError(
                    f"'{shard.path}' is of the network {shard.model.fingerprint}; expected"
                    f" {plan.model.fingerprint}, which '{path / _PLAN}' names for all shards;"
                    " remove the file and encode it again."
                )
        self.rows = sum(shard.rows for shard in self._shards)

    def unless(self, known: Known) -> Iterator[ExtractedBatch]:
        """Yield the images except those that are known; see :meth:`FeatureFile.unless`."""
        for shard in self._shards:
            yield from shard.unless(known)


def _skipped(file: Path, images: Sequence[ImageInfo]) -> list[str]:
    """An error message for each image of a finished shard that is not in it."""
    shard = FeatureFile(file)
    if shard.rows == len(images):
        return []
    kept = {image.info.path for batch in shard for image in batch.images}
    return [
        f"'{image.path}' could not be read by an earlier run."
        for image in images
        if image.path.absolute() not in kept
    ]


def _write_plan(folder: Path, plan: _Plan) -> None:
    """Write the plan of a folder, or check that it has the same one."""
    with naming_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", wait=True):
            # Of a process killed while it wrote the plan.
            for stale in folder.glob(f".{_PLAN}.*.tmp"):
                stale.unlink(missing_ok=True)
            if not (folder / _PLAN).exists():
                if any(folder.glob("*.parquet")):
                    raise ConfigError(
                        f"'{folder}' has Parquet files but no {_PLAN}; expected an empty folder or"
                        " one that `vireid encode --shard-rows` created; choose another one."
                    )
                write_atomic(folder / _PLAN, json.dumps(asdict(plan), indent=2).encode())
    before = _read_plan(folder)
    for what, old, new in (
        ("network", before.model.fingerprint, plan.model.fingerprint),
        ("tone mapping", *(str(ToneMapping.named_in(p.model.about)) for p in (before, plan))),
        ("--shard-rows", before.shard_rows, plan.shard_rows),
        ("number of images", before.images, plan.images),
        ("list of images (by its hash)", before.listed[:12], plan.listed[:12]),
    ):
        if old != new:
            raise ConfigError(
                f"'{folder}' was begun with another {what}: {old}, and now it is {new}; expected"
                " the command that began it; repeat that one, or choose another folder."
            )


def _read_plan(folder: Path) -> _Plan:
    file = folder / _PLAN
    try:
        return _PLANS.validate_json(file.read_bytes())
    except FileNotFoundError:
        raise DatasetError(
            f"'{folder}' has no {_PLAN}; expected a folder that `vireid encode --shard-rows`"
            " created; check its name."
        ) from None
    except (OSError, ValidationError) as error:
        raise DatasetError(
            f"'{file}' is damaged ({error}); expected it as `vireid encode --shard-rows` wrote it;"
            " restore a copy, or start again in another folder."
        ) from error
