"""RegDB: one visible and one thermal camera, 412 identities with 10 + 10 images each.

    root/Visible/<identity>/*.bmp
    root/Thermal/<identity>/*.bmp
    root/idx/{train,test}_{visible,thermal}_{1..10}.txt    lines "Visible/285/male_back_5528.bmp 0"

Each of the ten trials splits the identities into 206 to train on and 206 to test on, so that a
full result is ten trainings. The number that ends a line counts identities from 0 within its
split; the folder's number names the identity over the whole data set.

Source: Nguyen et al., Person Recognition System Based on a Combination of Body Images from Visible
Light and Thermal Cameras, Sensors 2017; splits by Ye et al., Hierarchical Discriminative Learning
for Visible Thermal Person Re-Identification, AAAI 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, get_args

from vireid.data.layouts._common import (
    Surplus,
    Tally,
    counts,
    files_below,
    in_order,
    is_image,
    many,
    refuse,
    require_both_modalities,
    require_folder,
)
from vireid.errors import DatasetError, first_few
from vireid.types import ImageRecord, Modality

__all__ = ["RegDB"]

Split = Literal["train", "test"]

_TRIALS = 10
_GET_LISTS = "get the idx folder with the data set from its authors"


class _Source(NamedTuple):
    """Where one modality lies."""

    modality: Modality
    folder: str
    listed_as: str
    camera: int


class _Entry(NamedTuple):
    """One line of a list."""

    source: _Source
    file: str
    folder: str
    label: int


_SOURCES = (
    _Source(Modality.VISIBLE, "Visible", "visible", 1),
    _Source(Modality.INFRARED, "Thermal", "thermal", 2),
)


@dataclass(frozen=True, slots=True)
class RegDB:
    """One trial of RegDB as its authors hand it out.

    Attributes:
        root: The folder that holds ``Visible``, ``Thermal`` and ``idx``.
        trial: Which of the ten splits, from 1.

    Raises:
        DatasetError: If the folder or ``idx`` is missing, or there is no such trial.
    """

    root: Path
    trial: int = 1
    name: str = field(default="regdb", init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.trial <= _TRIALS:
            raise DatasetError(
                f"RegDB has no trial {self.trial}; expected 1 to {_TRIALS}; mend --trial."
            )
        require_folder(
            self.root,
            expected="the root of RegDB with Visible, Thermal and idx",
            mend="pass the folder the archive was unpacked to as root (--root)",
        )
        require_folder(
            self.root / "idx",
            expected="the lists train_visible_1.txt to test_thermal_10.txt",
            mend=_GET_LISTS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images of both cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing, damaged or empty, names a file twice or files that
                are not there, labels its identities inconsistently, or shares an identity with the
                other split.
        """
        return self._records("train")

    def val(self) -> tuple[ImageRecord, ...]:
        """Return nothing: RegDB publishes no validation identities."""
        return ()

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test images of both cameras, by camera, identity and name.

        Raises:
            DatasetError: As :meth:`train`.
        """
        return self._records("test")

    def summary(self) -> str:
        """Return the counts of both splits in one paragraph.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """
        return (
            f"RegDB trial {self.trial} at '{self.root}': to train on, {counts(self.train())};"
            f" to test on, {counts(self.test())}."
        )

    def files(self) -> Iterator[Path]:
        """Yield every file below ``Visible`` and ``Thermal``, images or not, in sorted order."""
        return files_below(self.root / source.folder for source in _SOURCES)

    def published(self) -> tuple[Tally, ...]:
        """Return the published counts, the same for every trial."""
        return tuple(
            Tally(split, source.modality, camera, 206, 2_060)
            for split in get_args(Split)
            for source in _SOURCES
            for camera in (None, source.camera)
        )

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the lists of all ten trials and with the folders."""
        trials = [replace(self, trial=trial) for trial in range(1, _TRIALS + 1)]
        lists = [
            trial._list(split, source)
            for trial in trials
            for split in get_args(Split)
            for source in _SOURCES
        ]
        missing = [path.name for path in lists if not path.is_file()]
        found = []
        if missing:
            found.append(
                f"'{self.root / 'idx'}' lacks {len(missing)} of {len(lists)} lists:"
                f" {first_few(missing)}; expected four lists for each of the {_TRIALS} trials;"
                f" {_GET_LISTS}."
            )
        listed: set[str] = set()
        for trial in trials:
            halves, faults = trial._halves()
            found += faults
            listed |= {entry.file for entries in halves.values() for entry in entries}
        absent = sorted(file for file in listed if not (self.root / file).is_file())
        if absent:
            found.append(
                f"'{self.root}' lacks {len(absent):,} of {len(listed):,} files that the lists"
                f" name: {first_few(absent)}; expected every listed file; unpack the archive again."
            )
        there = {path.relative_to(self.root).as_posix() for path in self.files() if is_image(path)}
        # Without all lists a file could be one that a missing list names.
        if strange := [] if missing else sorted(there - listed):
            found.append(
                Surplus(
                    f"'{self.root}' has {many(len(strange), 'image')} that no list names:"
                    f" {first_few(strange)}; expected every image in a list; move them out, or take"
                    " the lists of the same copy of the data set."
                )
            )
        return tuple(found)

    def _halves(self) -> tuple[dict[Split, list[_Entry]], list[str]]:
        """Read the lists that this trial has, and what is wrong with them."""
        halves: dict[Split, list[_Entry]] = {}
        found: list[str] = []
        for split in get_args(Split):
            halves[split] = []
            for source in _SOURCES:
                path = self._list(split, source)
                if path.is_file():
                    entries, faults = _read(path, source)
                    halves[split] += entries
                    found += faults
                    if not entries and not faults:
                        found.append(f"'{path}' lists 0 images; expected some; {_GET_LISTS}.")
            try:
                self._identities(halves[split], split=split)
            except DatasetError as error:
                found.append(str(error))
        shared = _shared(halves["train"], halves["test"])
        if shared:
            found.append(self._overlap(shared))
        return halves, found

    def _records(self, split: Split) -> tuple[ImageRecord, ...]:
        entries = self._entries(split)
        shared = _shared(entries, self._entries("test" if split == "train" else "train"))
        if shared:
            raise DatasetError(self._overlap(shared))
        identities = self._identities(entries, split=split)
        absent = [entry.file for entry in entries if not (self.root / entry.file).is_file()]
        if absent:
            raise DatasetError(
                f"{len(absent):,} of {len(entries):,} files that the {split} lists of trial"
                f" {self.trial} name are not under '{self.root}': {first_few(absent)}; expected"
                " every listed file; unpack the archive again, or pass the folder that holds"
                " Visible and Thermal as root (--root)."
            )
        records = in_order(
            ImageRecord(
                path=self.root / entry.file,
                identity=identities[entry.folder],
                camera=entry.source.camera,
                modality=entry.source.modality,
            )
            for entry in entries
        )
        require_both_modalities(
            records,
            where=f"The {split} split of trial {self.trial} in '{self.root / 'idx'}'",
            mend=_GET_LISTS,
        )
        return records

    def _entries(self, split: Split) -> list[_Entry]:
        found: list[_Entry] = []
        for source in _SOURCES:
            path = self._list(split, source)
            if not path.is_file():
                raise DatasetError(
                    f"'{path}' does not exist; expected the {split} list of trial {self.trial};"
                    f" {_GET_LISTS}."
                )
            entries, faults = _read(path, source)
            refuse(faults)
            found += entries
        return found

    def _list(self, split: Split, source: _Source) -> Path:
        return self.root / "idx" / f"{split}_{source.listed_as}_{self.trial}.txt"

    def _overlap(self, shared: list[str]) -> str:
        return (
            f"The lists of trial {self.trial} in '{self.root / 'idx'}' have the identities"
            f" {first_few(shared)} in train and in test; expected disjoint halves; {_GET_LISTS}."
        )

    def _identities(self, entries: list[_Entry], *, split: str) -> dict[str, int]:
        """Map folders to identities, having checked that folders and labels are one-to-one."""
        label_of: dict[str, int] = {}
        folder_of: dict[int, str] = {}
        for entry in entries:
            label = label_of.setdefault(entry.folder, entry.label)
            folder = folder_of.setdefault(entry.label, entry.folder)
            if (label, folder) != (entry.label, entry.folder):
                raise DatasetError(
                    f"The {split} lists of trial {self.trial} in '{self.root / 'idx'}' give"
                    f" '{entry.file}' the label {entry.label}, but folder '{entry.folder}' has"
                    f" label {label} and label {entry.label} is folder '{folder}' elsewhere;"
                    " expected one label an identity, the same in Visible and Thermal;"
                    f" {_GET_LISTS}."
                )
        numbers = {f: int(f) for f in label_of if f.isascii() and f.isdigit()}
        # Folders that are not distinct numbers cannot name identities; the lists' labels can.
        return numbers if len(set(numbers.values())) == len(label_of) else label_of


def _read(path: Path, source: _Source) -> tuple[list[_Entry], list[str]]:
    """Read one list, and what is wrong with it: odd lines, files that it names twice, no files."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    entries: list[_Entry] = []
    odd: list[str] = []
    for number, line in enumerate(lines, 1):
        entry = _parse(line, source)
        if entry:
            entries.append(entry)
        elif line.strip():
            odd.append(f"line {number} reads '{line.strip()[:80]}'")
    faults = []
    if odd:
        rest = f", the first of {len(odd):,} such lines" if len(odd) > 1 else ""
        faults.append(
            f"'{path}' {odd[0]}{rest}; expected '{source.folder}/<identity>/<image>.bmp <label>';"
            f" {_GET_LISTS}."
        )
    twice = [file for file, times in Counter(e.file for e in entries).items() if times > 1]
    if twice:
        faults.append(
            f"'{path}' names {many(len(twice), 'file')} more than once: {first_few(twice)};"
            f" expected each file once; {_GET_LISTS}."
        )
    return entries, faults


def _parse(line: str, source: _Source) -> _Entry | None:
    file, _, label = line.strip().rpartition(" ")
    parts = PurePosixPath(file.strip()).parts
    fits = len(parts) == 3 and parts[0] == source.folder and label.isascii() and label.isdigit()
    return _Entry(source, file.strip(), parts[1], int(label)) if fits else None


def _shared(train: list[_Entry], test: list[_Entry]) -> list[str]:
    """Return the folders that both halves name."""
    return sorted({entry.folder for entry in train} & {entry.folder for entry in test})
