"""Custom data sets: image records from the annotations of a manifest or of file names."""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from vireid.data.layouts._common import (
    Layout,
    in_order,
    many,
    refuse,
    require_both_modalities,
)
from vireid.data.rows import MODALITIES
from vireid.errors import DatasetError, first_few
from vireid.log import log
from vireid.times import parse_time
from vireid.types import ImageRecord, Modality, Role

__all__ = ["Annotation", "CustomDataset", "MergedNames", "Table", "tabulate"]

_SPLITS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train"}),
    "val": frozenset({"val"}),
    "query": frozenset({"query"}),
    "gallery": frozenset({"gallery"}),
    "test": frozenset({"query", "gallery"}),
}
_ROLES: Mapping[str, Role] = {
    "": "person",
    "person": "person",
    "junk": "junk",
    "distractor": "distractor",
}
# An int64 holds any 18 digits.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Annotation(NamedTuple):
    """The annotation of one image, as written; an empty text is unknown.

    Attributes:
        where: Where it is written, for messages, such as ``'manifest.csv' line 7``.
        path: The image file, absolute or relative to the data set's folder.
        identity: A number or a name.
        modality: A key of :data:`~vireid.data.rows.MODALITIES`, in any case.
        split: ``train``, ``val``, ``query``, ``gallery``, or ``test`` for query and gallery both.
        camera: A number or a name.
        time: ISO 8601.
        role: A key of ``ROLES``, in any case; such an image needs no identity.
    """

    where: str
    path: str
    identity: str
    modality: str
    split: str
    camera: str
    time: str
    role: str = ""


class _Image(NamedTuple):
    """A parsed annotation; equal ones agree about an image."""

    path: Path
    identity: str
    camera: str
    modality: Modality
    time: datetime | None
    role: Role


@dataclass(frozen=True, slots=True)
class Table:
    """All images of a custom data set.

    Attributes:
        rows: Each image once, by path, with its splits among ``train``, ``val``, ``query`` and
            ``gallery``.
        identities: The name of each identity, by number.
        cameras: The name of each camera, by number.
        faults: What is wrong with the annotations, one sentence each.
        merged: Names that are taken as one, one sentence for identities and one for cameras.
    """

    rows: tuple[tuple[ImageRecord, frozenset[str]], ...]
    identities: Mapping[int, str]
    cameras: Mapping[int, str]
    faults: tuple[str, ...]
    merged: tuple[MergedNames, ...] = ()


def tabulate(annotations: Sequence[Annotation], *, root: Path, folder: Path, fix: str) -> Table:
    """Parse annotations and number identities and cameras.

    Names that are all integers are kept as these numbers; otherwise they are numbered from 1 in
    sorted order. Integers of equal value, such as 0001 and 1, are one name.

    Args:
        annotations: One or more per image; those of one image must agree.
        root: The data set's root, for messages.
        folder: The data set's folder.
        fix: How to fix a wrong annotation, for messages.
    """
    wrong: dict[str, list[str]] = {}
    first: dict[Path, tuple[_Image, Annotation]] = {}
    splits: dict[Path, frozenset[str]] = {}
    with_cameras = any(entry.camera for entry in annotations)
    for entry in annotations:
        faults = dict(_faults(entry, with_cameras=with_cameras))
        if not faults:
            image, split = _parse(entry, folder), _SPLITS[entry.split.lower()]
            known, before = first.setdefault(image.path, (image, entry))
            both = split | splits.get(image.path, split)
            if image == known and (len(both) == 1 or both == _SPLITS["test"]):
                splits[image.path] = both
            else:
                faults["contradiction"] = (
                    f"{entry.where} annotates '{entry.path}' as '{_words(entry)}', but"
                    f" {before.where} as '{_words(before)}'; expected the annotations of an"
                    " image to agree"
                )
        for kind, fault in faults.items():
            wrong.setdefault(kind, []).append(fault)
    images = sorted(image for image, _ in first.values())
    identities = _Numbers.of({image.identity for image in images} - {""})
    # The number 0 is an unknown camera.
    cameras = _Numbers.of({image.camera for image in images} - {""}, least=1)
    return Table(
        rows=tuple(
            (
                ImageRecord(
                    path=image.path,
                    identity=(identity := identities.numbers.get(image.identity, 0)),
                    camera=(camera := cameras.numbers.get(image.camera, 0)),
                    modality=image.modality,
                    time=image.time,
                    identity_name=identities.names.get(identity, "") if image.identity else "",
                    camera_name=cameras.names.get(camera, ""),
                    role=image.role,
                ),
                splits[image.path],
            )
            for image in images
        ),
        identities=identities.names,
        cameras=cameras.names,
        merged=(
            *identities.remarks(root, "identity", "identities"),
            *cameras.remarks(root, "camera"),
        ),
        faults=tuple(
            f"{same[0]}; {fix}"
            + (f" (the first of {len(same):,} such images)." if len(same) > 1 else ".")
            for same in wrong.values()
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
        faults = [*self._table.faults, *self._absent(record for record, _ in self._table.rows)]
        people = {
            split: {
                record.identity
                for record, splits in self._table.rows
                if split in splits and record.role == "person"
            }
            for split in ("train", "val", "query", "gallery")
        }
        names = self.identity_names
        for split in ("val", "query", "gallery"):
            if both := sorted(people["train"] & people[split]):
                faults.append(
                    f"'{self.root}' has the identities {first_few(names[n] for n in both)} in train"
                    f" and in {split}; expected disjoint identities; assign all images of an"
                    " identity to one of them."
                )
        vars(self)["_remarks"] = self._table.merged
        return (*faults, *self._remarks)

    @property
    @abstractmethod
    def _folder(self) -> Path:
        """The folder that paths are relative to."""

    @abstractmethod
    def _annotations(self) -> Sequence[Annotation]:
        """Read the annotation of each image.

        Raises:
            DatasetError: If none can be read.
        """

    @cached_property
    def _table(self) -> Table:
        try:
            return tabulate(self._annotations(), root=self.root, folder=self._folder, fix=self.fix)
        except DatasetError as error:
            return Table(rows=(), identities={}, cameras={}, faults=(str(error),))

    @cached_property
    def _remarks(self) -> tuple[MergedNames, ...]:
        """The decisions made in reading names, logged once unless :meth:`problems` returns them."""
        for remark in self._table.merged:
            log(remark)
        return self._table.merged

    def _all(self, *splits: str) -> tuple[ImageRecord, ...]:
        refuse(self._table.faults)
        _ = self._remarks
        records = [record for record, own in self._table.rows if own.intersection(splits)]
        refuse(self._absent(records))
        return in_order(records)

    def _some(self, *splits: str) -> tuple[ImageRecord, ...]:
        records = self._all(*splits)
        if not records:
            words = [word for word, meant in _SPLITS.items() if meant.intersection(splits)]
            raise DatasetError(
                f"'{self.root}' has 0 images of the split {' or '.join(words)}; expected some;"
                f" {self.fix_split}."
            )
        return records

    def _absent(self, records: Iterable[ImageRecord]) -> list[str]:
        absent = [record.path for record in records if not record.path.is_file()]
        if not absent:
            return []
        return [
            f"{len(absent):,} files listed in '{self.root}' do not exist: {first_few(absent)};"
            " expected every listed file, with '/' between folders; restore them, or fix their"
            " paths."
        ]


def _faults(entry: Annotation, *, with_cameras: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one annotation: the kind, and the beginning of a sentence."""
    texts = entry._asdict()
    needed = ["path", "identity", "modality", "split", "camera"]
    if entry.role.lower() in ("junk", "distractor"):
        needed.remove("identity")
        if entry.split.lower() == "train":
            yield (
                "role in train",
                f"{entry.where} has the role '{entry.role}' in the split 'train'; expected it in"
                " query, gallery or test only",
            )
    for name in needed if with_cameras else needed[:-1]:
        if not texts[name]:
            yield f"no {name}", f"{entry.where} has no {name}; expected one for every image"
    for name, word, known in (
        ("modality", entry.modality, MODALITIES),
        ("split", entry.split, _SPLITS),
        ("role", entry.role, _ROLES),
    ):
        if word and word.lower() not in known:
            yield (
                f"{name} {word}",
                f"{entry.where} has the {name} '{word[:40]}'; expected"
                f" {', '.join(filter(None, known))}",
            )
    if entry.time:
        try:
            parse_time(entry.time)
        except ValueError as error:
            yield "time", f"{entry.where} has the time {error}, or nothing"


def _parse(entry: Annotation, folder: Path) -> _Image:
    return _Image(
        folder / entry.path,
        unicodedata.normalize("NFC", entry.identity),
        unicodedata.normalize("NFC", entry.camera),
        MODALITIES[entry.modality.lower()],
        parse_time(entry.time) if entry.time else None,
        _ROLES[entry.role.lower()],
    )


def _words(entry: Annotation) -> str:
    words = (entry.identity, entry.camera, entry.modality, entry.split, entry.time, entry.role)
    return ", ".join(word for word in words if word)


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
