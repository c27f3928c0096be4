"""Custom data sets: image records from the annotations of a manifest or of file names."""

from __future__ import annotations

import os
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import ClassVar, NamedTuple, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts._common import Layout, refuse, require_both_modalities
from vireid.data.rows import Column, Rows, parse_modality
from vireid.errors import DatasetError, first_few, many
from vireid.log import log
from vireid.times import parse_time
from vireid.types import ImageRecord, Modality, Role

__all__ = ["SPLIT_WORDS", "CustomDataset", "MergedNames", "Table", "tabulate"]

_ROLES: Sequence[Role] = get_args(Role)
_SPLITS: Mapping[str, int] = {"train": 1, "val": 2, "query": 4, "gallery": 8, "test": 4 | 8}
"""Splits as bits."""
_OTHER_SPLITS = {"bounding_box_train": "train", "bounding_box_test": "gallery"}
"""The folders of Market-1501 and DukeMTMC-reID."""
SPLIT_WORDS = frozenset({*_SPLITS, *_OTHER_SPLITS})
"""The words for splits, in lower case."""
# An int64 holds any 18 digits.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Table:
    """All images of a custom data set, in the order of records.

    Attributes:
        files: The file of each image.
        identity: Its identity's number, int64 ``[n]``.
        camera: Its camera's number, int64 ``[n]``; 0 if unknown.
        infrared: Whether it is infrared, bool ``[n]``.
        splits: Its splits, uint8 ``[n]``, bits of ``_SPLITS``.
        role: Its role, an index of ``_ROLES``, uint8 ``[n]``.
        times: When it was taken; None if unknown.
        identities: The name of each identity, by number.
        cameras: The name of each camera, by number.
        faults: What is wrong with the annotations, one sentence each.
        merged: Names that are taken as one, one sentence for identities and one for cameras.
    """

    files: Sequence[str]
    identity: NDArray[np.int64]
    camera: NDArray[np.int64]
    infrared: NDArray[np.bool_]
    splits: NDArray[np.uint8]
    role: NDArray[np.uint8]
    times: Sequence[datetime | None]
    identities: Mapping[int, str]
    cameras: Mapping[int, str]
    faults: tuple[str, ...]
    merged: tuple[MergedNames, ...] = ()

    @classmethod
    def empty(cls, fault: str) -> Self:
        """A table that cannot be read."""
        none = np.zeros(0, dtype=np.int64)
        byte = none.astype(np.uint8)
        return cls([], none, none, none.astype(bool), byte, byte, [], {}, {}, (fault,))

    def images_of(self, *splits: str) -> list[int]:
        """The rows of the images of some splits."""
        bits = sum(_SPLITS[split] for split in splits)
        return np.flatnonzero(self.splits & bits).tolist()

    def record(self, row: int) -> ImageRecord:
        """The record of an image."""
        identity, camera = int(self.identity[row]), int(self.camera[row])
        return ImageRecord(
            path=Path(self.files[row]),
            identity=identity,
            camera=camera,
            modality=Modality.INFRARED if self.infrared[row] else Modality.VISIBLE,
            time=self.times[row],
            # Junk and distractors may be without identity.
            identity_name=self.identities.get(identity, ""),
            camera_name=self.cameras.get(camera, ""),
            role=_ROLES[self.role[row]],
        )


def tabulate(rows: Rows, *, root: Path, folder: Path, fix: str) -> Table:
    """Parse annotations and number identities and cameras.

    Names that are all integers are kept as these numbers; otherwise they are numbered from 1 in
    sorted order. Integers of equal value, such as 0001 and 1, are one name.

    Args:
        rows: One or more annotations per image, which must agree. Their columns are ``path``
            (absolute or relative to the folder, as ``plain_path`` gives it), ``identity`` and
            ``camera`` (numbers or names), ``modality``, ``split``, ``time`` (ISO 8601) and
            ``role``, without which an image is one of a person.
        root: The data set's root, for messages.
        folder: The data set's folder.
        fix: How to fix a wrong annotation, for messages.
    """
    columns, faults = rows.columns, list[str]()
    valid = np.ones(len(rows), dtype=np.bool_)

    def report(wrong: NDArray[np.bool_], what: str) -> None:
        """Report the first of the rows with a fault, if there is any."""
        number = np.count_nonzero(wrong)
        if number:
            more = f" (the first of {number:,} such images)." if number > 1 else "."
            faults.append(f"{rows.where(int(wrong.argmax()))} {what}; {fix}{more}")
            valid[wrong] = False

    roles, wrong, error = columns["role"].parsed(_parse_role)
    report(wrong, f"has the role {error}")
    role = columns["role"].mapped([number or 0 for number in roles], np.uint8)
    names = ["path", "identity", "modality", "split"]
    names += [] if columns["camera"].empty.all() else ["camera"]
    absent = np.stack([columns[name].empty for name in names])
    absent[1] &= role == 0
    lacking = np.logical_or.reduce(absent)
    missing = " and no ".join(names[i] for i in np.flatnonzero(absent[:, lacking.argmax()]))
    report(lacking, f"has no {missing}; expected one for every image")
    modalities, wrong, error = columns["modality"].parsed(parse_modality)
    report(wrong, f"has the modality {error}")
    bits, wrong, error = columns["split"].parsed(_parse_split)
    report(wrong, f"has the split {error}")
    times, wrong, error = columns["time"].parsed(parse_time)
    report(wrong, f"has the time {error}, or nothing")

    identity, identities = _numbered(columns["identity"], valid)
    # The number 0 is an unknown camera.
    camera, cameras = _numbered(columns["camera"], valid, least=1)
    infrared = columns["modality"].mapped([m is Modality.INFRARED for m in modalities], np.bool_)
    split = columns["split"].mapped([bit or 0 for bit in bits], np.uint8)
    wrong = (role > 0) & (split == _SPLITS["train"])
    report(
        wrong,
        f"has the role '{columns['role'].text(int(wrong.argmax()))}' in the split 'train'; expected"
        " it in query, gallery or test only",
    )

    # The first row of each file, and the files that have others.
    prefix = str(folder / "x")[:-1]
    index: dict[str, int] = {}
    paths = (text if text.startswith("/") else prefix + text for text in columns["path"].texts)
    file = columns["path"].mapped([index.setdefault(path, len(index)) for path in paths], np.int64)
    moments: dict[datetime | None, int] = {}
    moment = columns["time"].mapped([moments.setdefault(t, len(moments)) for t in times], np.int64)
    labels = np.stack([identity, camera, infrared, role, moment])
    firsts, splits, contradictions = _join(np.flatnonzero(valid), file, len(index), labels, split)
    if contradictions:
        row, one = contradictions[0]
        number = len(contradictions)
        more = f" (the first of {number:,} such images)." if number > 1 else "."
        faults.append(
            f"{rows.where(row)} annotates '{columns['path'].text(row)}' as"
            f" '{_words(columns, row)}', but {rows.where(one)} as '{_words(columns, one)}';"
            f" expected the annotations of an image to agree; {fix}{more}"
        )
    files = list(index)
    kept = _in_order(np.flatnonzero(firsts >= 0), files, identity[firsts], camera[firsts])
    chosen = firsts[kept]
    return Table(
        files=[files[number] for number in kept],
        identity=identity[chosen],
        camera=camera[chosen],
        infrared=infrared[chosen],
        splits=splits[kept],
        role=role[chosen],
        times=[times[code] for code in columns["time"].codes[chosen]],
        identities=identities.names,
        cameras=cameras.names,
        faults=tuple(faults),
        merged=(
            *identities.remarks(root, "identity", "identities"),
            *cameras.remarks(root, "camera"),
        ),
    )


class CustomDataset(Layout):
    """Base class of custom data sets; a subclass reads the annotations.

    They are read once, on first use.
    """

    fix: ClassVar[str]
    """How to fix a wrong annotation, for messages."""
    fix_split: ClassVar[str]
    """How to fix a missing split or modality, for messages."""

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the images of split ``train``, by camera, identity and name.

        Raises:
            DatasetError: If any annotation is missing, unknown or contradictory, a training image
                is missing, or a modality is empty.
        """
        records = self._some("train")
        require_both_modalities(
            records, where=f"The split 'train' of '{self.root}'", fix=self.fix_split
        )
        return records

    def val(self) -> tuple[ImageRecord, ...]:
        """Return the images of split ``val``, which training never sees, if any.

        Raises:
            DatasetError: As :meth:`train`.
        """
        return self._all("val")

    def test(self) -> tuple[ImageRecord, ...]:
        """Return queries and gallery, each image once, by camera, identity and name.

        Raises:
            DatasetError: As :meth:`train`, or if there are neither queries nor gallery.
        """
        return self._some("query", "gallery")

    def query(self) -> tuple[ImageRecord, ...]:
        """Return the images of split ``query`` or ``test``, by camera, identity and name.

        Raises:
            DatasetError: As :meth:`train`, or if there are none.
        """
        return self._some("query")

    def gallery(self) -> tuple[ImageRecord, ...]:
        """Return the images of split ``gallery`` or ``test``, by camera, identity and name.

        Raises:
            DatasetError: As :meth:`train`, or if there are none.
        """
        return self._some("gallery")

    @property
    def identity_names(self) -> Mapping[int, str]:
        """The name of each identity by its number."""
        return self._table.identities

    @property
    def camera_names(self) -> Mapping[int, str]:
        """The name of each camera by its number; empty if cameras are unknown."""
        return self._table.cameras

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with the annotations, one sentence each."""
        table = self._table
        faults = [*table.faults, *self._absent(range(len(table.files)))]
        train, *others = (
            {int(table.identity[row]) for row in table.images_of(split) if not table.role[row]}
            for split in ("train", "val", "query", "gallery")
        )
        for split, people in zip(("val", "query", "gallery"), others, strict=True):
            if both := sorted(train & people):
                names = first_few(table.identities[number] for number in both)
                faults.append(
                    f"'{self.root}' has the identities {names} in train and in {split}; expected"
                    " disjoint identities; assign all images of an identity to one of them."
                )
        vars(self)["_remarks"] = self._find_remarks()
        return (*faults, *self._remarks)

    @property
    @abstractmethod
    def _folder(self) -> Path:
        """The folder that paths are relative to."""

    @abstractmethod
    def _annotations(self) -> Rows:
        """Read the annotation of each image, as :func:`tabulate` takes it.

        Raises:
            DatasetError: If none can be read.
        """

    @cached_property
    def _table(self) -> Table:
        try:
            return tabulate(self._annotations(), root=self.root, folder=self._folder, fix=self.fix)
        except DatasetError as error:
            return Table.empty(str(error))

    def _find_remarks(self) -> tuple[str, ...]:
        """What was decided or left out in reading the annotations."""
        return self._table.merged

    @cached_property
    def _remarks(self) -> tuple[str, ...]:
        """The remarks, which are logged once unless :meth:`problems` returns them."""
        for remark in (remarks := self._find_remarks()):
            log(remark)
        return remarks

    def _all(self, *splits: str) -> tuple[ImageRecord, ...]:
        refuse(self._table.faults)
        _ = self._remarks
        rows = self._table.images_of(*splits)
        refuse(self._absent(rows))
        return tuple(map(self._table.record, rows))

    def _some(self, *splits: str) -> tuple[ImageRecord, ...]:
        records = self._all(*splits)
        if not records:
            bits = sum(_SPLITS[split] for split in splits)
            words = [word for word, own in _SPLITS.items() if own & bits]
            raise DatasetError(
                f"'{self.root}' has 0 images of the split {' or '.join(words)}; expected some;"
                f" {self.fix_split}."
            )
        return records

    def _absent(self, rows: Iterable[int]) -> list[str]:
        files = self._table.files
        absent = [files[row] for row in rows if not os.path.isfile(files[row])]  # noqa: PTH113
        if not absent:
            return []
        return [
            f"{many(len(absent), 'file')} listed in '{self.root}' cannot be found:"
            f" {first_few(absent)};"
            " expected every listed file, with '/' between folders; restore them, or fix their"
            " paths."
        ]


def _join(
    rows: NDArray[np.int64],
    file: NDArray[np.int64],
    files: int,
    labels: NDArray[np.int64],
    split: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint8], list[tuple[int, int]]]:
    """Join the rows of each file.

    Args:
        rows: The rows to join.
        file: The number of each row's file.
        files: The number of files.
        labels: What must be equal in the rows of a file, ``[labels, n]``.
        split: The split of each row; those of a file may be query and gallery.

    Returns:
        The first row of each file, -1 where it has none; the splits of each file; and each row
        that contradicts the first of its file, with that first.
    """
    first = np.full(files, -1)
    first[file[rows[::-1]]] = rows[::-1]
    splits, contradictions = split[first], list[tuple[int, int]]()
    for row in rows[first[file[rows]] != rows].tolist():
        one, both = int(first[file[row]]), int(splits[file[row]] | split[row])
        if (labels[:, row] == labels[:, one]).all() and both in _SPLITS.values():
            splits[file[row]] = both
        else:
            contradictions.append((row, one))
    return first, splits, contradictions


def _parse_split(text: str) -> int:
    word = _OTHER_SPLITS.get(text.lower(), text.lower())
    if word not in _SPLITS:
        raise ValueError(f"'{text[:40]}'; expected {', '.join(_SPLITS)}")
    return _SPLITS[word]


def _parse_role(text: str) -> int:
    if text.lower() not in _ROLES:
        raise ValueError(f"'{text[:40]}'; expected {', '.join(_ROLES)}")
    return _ROLES.index(cast(Role, text.lower()))


def _in_order(
    rows: NDArray[np.int64],
    files: Sequence[str],
    identity: NDArray[np.int64],
    camera: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Sort rows by camera, identity and file name; then by path, as pathlib compares paths."""

    def key(row: int) -> tuple[str, str]:
        path = files[row]
        return path.rpartition("/")[2], path.replace("/", "\0")

    rows = rows[np.lexsort((identity[rows], camera[rows]))]
    labels = np.stack([identity[rows], camera[rows]])
    starts = np.flatnonzero((labels[:, 1:] != labels[:, :-1]).any(axis=0)) + 1
    # Names are compared within an identity and a camera only: a million at once need much memory.
    groups = (sorted(group.tolist(), key=key) for group in np.split(rows, starts))
    return np.fromiter(chain.from_iterable(groups), dtype=np.int64, count=len(rows))


def _words(columns: Mapping[str, Column], row: int) -> str:
    names = ("identity", "camera", "modality", "split", "time", "role")
    return ", ".join(text for name in names if (text := columns[name].text(row)))


class MergedNames(str):
    """A harmless problem: names that are taken as one."""

    __slots__ = ()


class _Numbers(NamedTuple):
    """Numbers of names.

    Attributes:
        numbers: The number of each spelling.
        names: The first spelling of each number, in sorted order.
        merged: Spellings of one number, where there are several.
    """

    numbers: Mapping[str, int]
    names: Mapping[int, str]
    merged: Sequence[Sequence[str]]

    @classmethod
    def of(cls, texts: Iterable[str], *, least: int | None = None) -> Self:
        """Keep names that are all integers, at least ``least``; else number them from 1 in order.

        Integers of equal value are one name: spreadsheets and pandas turn 0001 into 1.
        """
        spellings: dict[int | str, list[str]] = {}
        for text in sorted(texts):
            spellings.setdefault(int(text) if _INTEGER.fullmatch(text) else text, []).append(text)
        integers = sorted(value for value in spellings if isinstance(value, int))
        if len(integers) < len(spellings):
            numbers = {value: number for number, value in enumerate(spellings, 1)}
        elif least is not None and integers and integers[0] < least:
            numbers = {value: number for number, value in enumerate(integers, 1)}
        else:
            numbers = {value: value for value in integers}
        return cls(
            {text: numbers[value] for value, same in spellings.items() for text in same},
            {number: spellings[value][0] for value, number in numbers.items()},
            [same for same in spellings.values() if len(same) > 1],
        )

    def remarks(self, root: Path, *nouns: str) -> Iterator[MergedNames]:
        """Say which spellings are taken as one name, if any."""
        if self.merged:
            yield MergedNames(
                f"'{root}' writes {many(len(self.merged), *nouns)} in several ways, each taken as"
                f" one: {first_few(' = '.join(same) for same in self.merged)}; expected one"
                " spelling; if they are different, add a letter to one of them, such as a0001."
            )


def _numbered(
    column: Column, valid: NDArray[np.bool_], *, least: int | None = None
) -> tuple[NDArray[np.int64], _Numbers]:
    """Number the names of a column that occur in valid rows; elsewhere the number is 0."""
    texts = [unicodedata.normalize("NFC", text) for text in column.texts]
    used = {texts[code] for code in np.unique(column.codes[valid])} - {""}
    found = _Numbers.of(used, least=least)
    return column.mapped([found.numbers.get(text, 0) for text in texts], np.int64), found
