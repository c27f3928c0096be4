"""Describing very many images into a folder of numbered files, also by several machines at once.

    FOLDER/
      shards.json        the network, the images and how many of them a shard has; made first
      00000000.parquet   the first so many images of the list, there only when it is whole
      00000001.parquet   the next ones; without those that could not be read
      .lock              held while shards.json is made

Every process that describes a part of the same list takes shards of its own: part I of N takes the
I-th, the (N + I)-th and so on. A shard that is there is done; one that a kill stopped goes on where
it was, see :mod:`vireid.features.bulk`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vireid.errors import ConfigError, DatasetError, ImageError, first_few
from vireid.features.bulk import Summary, clear_parts, extract_shard, move_on, open_bar
from vireid.features.extract import ExtractedBatch, Known
from vireid.features.extractor import FeatureExtractor
from vireid.features.parquet import FeatureFile, naming_unwritable
from vireid.files import write_atomic
from vireid.types import ImageInfo, Modality, ModelInfo

__all__ = ["WHOLE", "FeatureFolder", "Part", "extract_to_folder"]

_PLAN = "shards.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of a folder's shards, such as the 2nd of 4.

    Attributes:
        number: Which one, from 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """A part written as ``2/4``.

        Raises:
            ConfigError: It is something else.
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
class _Plan:
    """What a folder is of.

    Attributes:
        images: How many images are listed.
        listed: SHA-256 of the list: of all paths and of what is told of the images.
        shard_rows: Images a shard.
        model: The model.
    """

    images: int
    listed: str
    shard_rows: int
    model: ModelInfo

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.images // self.shard_rows)


_PLANS = TypeAdapter(_Plan)


def extract_to_folder(
    extractor: FeatureExtractor,
    images: Sequence[ImageInfo],
    folder: Path,
    *,
    shard_rows: int,
    part: Part = WHOLE,
    batch_size: int = 64,
    skip_bad: bool = False,
    progress: bool = True,
) -> Summary:
    """Describe images into a folder of shards; called again after a kill or an error, it goes on.

    A shard that is done is not looked at again, even if an image of it has changed since.

    Args:
        extractor: The network.
        images: All images of the folder, in the same order and with the same absolute paths
            wherever a part of it is made.
        folder: The folder; it is made.
        shard_rows: Images a shard.
        part: Which shards to describe here.
        batch_size: Images a batch; what a kill costs at most.
        skip_bad: Leave images out that cannot be read.
        progress: Show a bar with rate and time left on standard error.

    Returns:
        What is in the shards of this part.

    Raises:
        ConfigError: The folder is of other images, another network or another length of shards, or
            cannot be written; another process writes a shard of this part; a number is out of
            range.
        DatasetError: A shard that was done, or shards.json, is damaged.
        ImageError: An image cannot be read, or with ``skip_bad`` none of this part can.
    """
    if shard_rows < 1:
        raise ConfigError(f"--shard-rows {shard_rows} is out of range; expected at least 1.")
    plan = _Plan(len(images), _digest(images), shard_rows, extractor.model_info)
    _keep_plan(folder, plan)
    slices = {
        number: images[number * shard_rows : (number + 1) * shard_rows]
        for number in part.shards(plan.shards)
    }
    rows = resumed = 0
    guessed: Counter[Modality] = Counter()
    bad: list[str] = []
    with open_bar(sum(map(len, slices.values())), progress=progress) as bar:
        for number, own in slices.items():
            file = _shard(folder, number)
            if file.exists():
                clear_parts(file)
                skipped = _skipped(file, own)
                rows += len(own) - len(skipped)
                resumed += len(own) - len(skipped)
                bad += skipped
                move_on(bar, len(own))
                continue
            summary = extract_shard(
                extractor,
                own,
                file,
                bar,
                batch_size=batch_size,
                skip_bad=skip_bad,
                place=folder,
                may_be_empty=True,
            )
            rows += summary.rows
            resumed += summary.resumed
            guessed.update(summary.guessed)
            bad += summary.bad
    if bad and not rows:
        raise ImageError(f"{bad[0]} None of the {len(bad):,} images of this part can be read.")
    return Summary(rows, resumed, guessed, tuple(bad), plan.model)


class FeatureFolder:
    """A folder of shards, or a part of it, read in bounded memory.

    Args:
        path: The folder.
        part: Which of its shards.

    Attributes:
        path: The folder.
        model: The model of the features.
        rows: How many there are in these shards.

    Raises:
        DatasetError: It is no such folder, shards of this part are not there yet, or one is
            damaged or of another network.
    """

    def __init__(self, path: Path, part: Part = WHOLE) -> None:
        plan = _read_plan(path)
        self.path = path
        self.model = plan.model
        self._files = [_shard(path, number) for number in part.shards(plan.shards)]
        absent = [file.name for file in self._files if not file.exists()]
        if absent:
            raise DatasetError(
                f"'{path}' lacks {len(absent):,} of the {len(self._files):,} shards of part {part}:"
                f" {first_few(absent)}; expected all of them; run the `vireid encode` that makes"
                " them (again), or name the parts that are done with --part."
            )
        self.rows = 0
        for file in self._files:
            shard = FeatureFile(file)
            if shard.model != plan.model:
                raise DatasetError(
                    f"'{file}' is of the network {shard.model.fingerprint}; expected"
                    f" {plan.model.fingerprint}, of which '{path / _PLAN}' says that all shards"
                    " are; remove the file and encode it again."
                )
            self.rows += shard.rows

    def unless(self, known: Known) -> Iterator[ExtractedBatch]:
        """Yield what is in it but for known images; see :meth:`FeatureFile.unless`."""
        for file in self._files:
            yield from FeatureFile(file).unless(known)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:08}.parquet"


def _skipped(file: Path, images: Sequence[ImageInfo]) -> list[str]:
    """Of the images of a shard that is done, a sentence on each that is not in it."""
    shard = FeatureFile(file)
    if shard.rows == len(images):
        return []
    kept = {image.info.path for batch in shard for image in batch.images}
    return [
        f"'{image.path}' could not be read by an earlier run."
        for image in images
        if image.path.absolute() not in kept
    ]


def _digest(images: Sequence[ImageInfo]) -> str:
    """SHA-256 of which images are listed, and of what is told of each."""
    digest = hashlib.sha256()
    for image in images:
        told = (image.modality, image.camera, image.identity, image.time, image.note, image.added)
        words = [str(image.path.absolute()), *map(str, told)]
        digest.update(json.dumps(words).encode())
    return digest.hexdigest()


def _keep_plan(folder: Path, plan: _Plan) -> None:
    """Write down what a folder is of, or see that it is just that."""
    with naming_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # What a kill left; whoever writes it holds the lock.
            for stale in folder.glob(f".{_PLAN}.*.tmp"):
                stale.unlink(missing_ok=True)
            if not (folder / _PLAN).exists():
                if any(folder.glob("*.parquet")):
                    raise ConfigError(
                        f"'{folder}' has Parquet files but no {_PLAN}; expected an empty folder or"
                        " one that `vireid encode --shard-rows` made; choose another one."
                    )
                text = json.dumps(asdict(plan), indent=2)
                write_atomic(folder / _PLAN, text.encode())
    before = _read_plan(folder)
    for what, old, new in (
        ("network", before.model.fingerprint, plan.model.fingerprint),
        ("--shard-rows", before.shard_rows, plan.shard_rows),
        ("number of images", before.images, plan.images),
        ("list of images (by its hash)", before.listed[:12], plan.listed[:12]),
    ):
        if old != new:
            raise ConfigError(
                f"'{folder}' was begun with another {what}: {old}, and now it is {new}; expected"
                " the command that it was begun with; repeat that one, or choose another folder."
            )


def _read_plan(folder: Path) -> _Plan:
    file = folder / _PLAN
    try:
        return _PLANS.validate_json(file.read_bytes())
    except FileNotFoundError:
        raise DatasetError(
            f"'{folder}' has no {_PLAN}; expected a folder that `vireid encode --shard-rows` made;"
            " look for a slip in its name."
        ) from None
    except (OSError, ValidationError) as error:
        raise DatasetError(
            f"'{file}' is damaged ({error}); expected it as `vireid encode --shard-rows` wrote it;"
            " put back a copy, or begin anew in another folder."
        ) from error
