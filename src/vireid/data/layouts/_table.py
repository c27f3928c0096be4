"""One's own data: whatever says which image shows whom, its words become image records here."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from vireid.data.layouts._common import (
    Tally,
    counts,
    in_order,
    refuse,
    require_both_modalities,
)
from vireid.data.rows import MODALITIES, parse_time
from vireid.errors import DatasetError, first_few
from vireid.types import ImageRecord, Modality

__all__ = ["CustomDataset", "Entry", "Table", "tabulate"]

_ROLES: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train"}),
    "val": frozenset({"val"}),
    "query": frozenset({"query"}),
    "gallery": frozenset({"gallery"}),
    "test": frozenset({"query", "gallery"}),
}
# An int64 holds any 18 digits.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Entry(NamedTuple):
    """What is said of one image, in its author's words; an empty word says nothing.

    Attributes:
        where: Where it is said, for messages, such as ``'manifest.csv' line 7``.
        path: The image file, absolute or from the data set's folder on.
        identity: A number or a name.
        modality: ``visible``, ``vis``, ``rgb``, ``infrared``, ``ir``, ``nir`` or ``thermal``, in
            lower case or not.
        split: ``train``, ``val``, ``query``, ``gallery``, or ``test`` for query and gallery both.
        camera: A number or a name.
        time: ISO 8601.
    """

    where: str
    path: str
    identity: str
    modality: str
    split: str
    camera: str
    time: str


class _Row(NamedTuple):
    """One image as understood; equal rows say the same of the same image."""

    path: Path
    identity: str
    camera: str
    modality: Modality
    time: datetime | None


@dataclass(frozen=True, slots=True)
class Table:
    """All images of a data set of one's own.

    Attributes:
        rows: Each image once, by path, and which of ``train``, ``val``, ``query`` and ``gallery``
            it is in.
        identities: The number of each identity by its name.
        cameras: The number of each camera by its name.
        faults: What is wrong with what is said, one sentence each.
    """

    rows: tuple[tuple[ImageRecord, frozenset[str]], ...]
    identities: Mapping[str, int]
    cameras: Mapping[str, int]
    faults: tuple[str, ...]


def tabulate(entries: Sequence[Entry], *, folder: Path, mend: str) -> Table:
    """Understand what is said of each image.

    Names of identities that are all whole numbers are these numbers; otherwise they are numbered
    from 1 in sorted order. The same for cameras.

    Args:
        entries: One an image; more are fine as long as they agree.
        folder: The data set's folder.
        mend: How to mend a wrong word, for messages.
    """
    wrong: dict[str, list[str]] = {}
    first: dict[Path, tuple[_Row, Entry]] = {}
    roles: dict[Path, frozenset[str]] = {}
    cameras_told = any(entry.camera for entry in entries)
    for entry in entries:
        faults = dict(_faults(entry, cameras_told=cameras_told))
        if not faults:
            row, role = _understand(entry, folder), _ROLES[entry.split.lower()]
            known, before = first.setdefault(row.path, (row, entry))
            together = role | roles.get(row.path, role)
            if row == known and (len(together) == 1 or together == _ROLES["test"]):
                roles[row.path] = together
            else:
                faults["contradiction"] = (
                    f"{entry.where} says '{_words(entry)}' of '{entry.path}', but"
                    f" {before.where} says '{_words(before)}'; expected all that is said of one"
                    " image to agree"
                )
        for kind, fault in faults.items():
            wrong.setdefault(kind, []).append(fault)
    rows = sorted(row for row, _ in first.values())
    identities = _numbers({row.identity for row in rows})
    cameras = _numbers({row.camera for row in rows} - {""})
    return Table(
        rows=tuple(
            (
                ImageRecord(
                    path=row.path,
                    identity=identities[row.identity],
                    camera=cameras.get(row.camera, 0),
                    modality=row.modality,
                    time=row.time,
                ),
                roles[row.path],
            )
            for row in rows
        ),
        identities=identities,
        cameras=cameras,
        faults=tuple(
            f"{same[0]}; {mend}"
            + (f" (the first of {len(same):,} such images)." if len(same) > 1 else ".")
            for same in wrong.values()
        ),
    )


class CustomDataset(ABC):
    """What the layouts of one's own data share; a subclass reads what is said of each image.

    It is read once, when it is first asked for.
    """

    root: Path
    _mend: ClassVar[str]
    _mend_split: ClassVar[str]

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the images of split ``train``, by camera, identity and name.

        Raises:
            DatasetError: If something that is said of any image is missing, unknown or
                contradictory, or a training image is not there, or a modality is empty.
        """
        records = self._some("train")
        require_both_modalities(
            records, where=f"The split 'train' of '{self.root}'", mend=self._mend_split
        )
        return records

    def val(self) -> tuple[ImageRecord, ...]:
        """Return the images of split ``val``, which training never sees; there may be none.

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
        return {number: name for name, number in self._table.identities.items()}

    @property
    def camera_names(self) -> Mapping[int, str]:
        """The name of each camera by its number; empty if no camera is told."""
        return {number: name for name, number in self._table.cameras.items()}

    def summary(self) -> str:
        """Return the counts of all splits in one paragraph.

        Raises:
            DatasetError: As :meth:`train`.
        """
        return (
            f"Own data at '{self.root}': to train on, {counts(self._all('train'))}; to choose a"
            f" model by, {counts(self._all('val'))}; as queries, {counts(self._all('query'))};"
            f" as gallery, {counts(self._all('gallery'))}."
        )

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with what is said of images, one sentence each."""
        faults = [*self._table.faults, *self._absent(record for record, _ in self._table.rows)]
        people = {
            role: {record.identity for record, held in self._table.rows if role in held}
            for role in ("train", "val", "query", "gallery")
        }
        names = self.identity_names
        for role in ("val", "query", "gallery"):
            if both := sorted(people["train"] & people[role]):
                faults.append(
                    f"'{self.root}' has the identities {first_few(names[n] for n in both)} in train"
                    f" and in {role}; expected people that training has never seen; give all"
                    " images of a person to one of them."
                )
        return tuple(faults)

    def published(self) -> tuple[Tally, ...]:
        """Return nothing: no counts are published of one's own data."""
        return ()

    @property
    @abstractmethod
    def _folder(self) -> Path:
        """The folder that relative paths start from."""

    @abstractmethod
    def _entries(self) -> Sequence[Entry]:
        """Read what is said of each image.

        Raises:
            DatasetError: If nothing can be read.
        """

    @cached_property
    def _table(self) -> Table:
        try:
            return tabulate(self._entries(), folder=self._folder, mend=self._mend)
        except DatasetError as error:
            return Table(rows=(), identities={}, cameras={}, faults=(str(error),))

    def _all(self, *roles: str) -> tuple[ImageRecord, ...]:
        refuse(self._table.faults)
        records = [record for record, held in self._table.rows if held.intersection(roles)]
        refuse(self._absent(records))
        return in_order(records)

    def _some(self, *roles: str) -> tuple[ImageRecord, ...]:
        records = self._all(*roles)
        if not records:
            words = [word for word, meant in _ROLES.items() if meant.intersection(roles)]
            raise DatasetError(
                f"'{self.root}' has 0 images of the split {' or '.join(words)}; expected some;"
                f" {self._mend_split}."
            )
        return records

    def _absent(self, records: Iterable[ImageRecord]) -> list[str]:
        absent = [record.path for record in records if not record.path.is_file()]
        if not absent:
            return []
        return [
            f"{len(absent):,} files that '{self.root}' names are not there: {first_few(absent)};"
            " expected every named file, with '/' between folders; put them back, or mend their"
            " paths."
        ]


def _faults(entry: Entry, *, cameras_told: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an entry by itself: its kind, and the beginning of a sentence."""
    said = entry._asdict()
    for name in ("path", "identity", "modality", "split", *(("camera",) if cameras_told else ())):
        if not said[name]:
            yield f"no {name}", f"{entry.where} has no {name}; expected one for every image"
    for name, word, known in (
        ("modality", entry.modality, MODALITIES),
        ("split", entry.split, _ROLES),
    ):
        if word and word.lower() not in known:
            yield (
                f"{name} {word}",
                f"{entry.where} has the {name} '{word[:40]}'; expected {', '.join(known)}",
            )
    try:
        parse_time(entry.time)
    except ValueError:
        yield (
            "time",
            f"{entry.where} has the time '{entry.time[:40]}'; expected ISO 8601, such as"
            " 2024-05-31T22:15:00, or nothing",
        )


def _understand(entry: Entry, folder: Path) -> _Row:
    return _Row(
        folder / entry.path,
        entry.identity,
        entry.camera,
        MODALITIES[entry.modality.lower()],
        parse_time(entry.time),
    )


def _words(entry: Entry) -> str:
    words = (entry.identity, entry.camera, entry.modality, entry.split, entry.time)
    return ", ".join(word for word in words if word)


def _numbers(names: set[str]) -> dict[str, int]:
    """Number names by the whole numbers that they all are, or else from 1 in sorted order."""
    if all(_INTEGER.fullmatch(name) for name in names):
        return {name: int(name) for name in sorted(names, key=lambda name: (int(name), name))}
    return {name: number for number, name in enumerate(sorted(names), 1)}
