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

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from vireid.data.layouts._common import (
    counts,
    first_few,
    in_order,
    require_both_modalities,
    require_folder,
)
from vireid.errors import DatasetError
from vireid.types import ImageRecord, Modality

__all__ = ["RegDB"]

_TRIALS = 10
_GET_LISTS = "the idx folder comes with the data set from its authors"


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
            mend="pass the folder the archive was unpacked to as --root",
        )
        require_folder(
            self.root / "idx",
            expected="the lists train_visible_1.txt to test_thermal_10.txt",
            mend=_GET_LISTS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images of both cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing, damaged or empty, names files that are not there,
                labels its identities inconsistently, or shares an identity with the other split.
        """
        return self._records("train")

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test images of both cameras, by camera, identity and name.

        Raises:
            DatasetError: As :meth:`train`.
        """
        return self._records("test")

    def describe(self) -> str:
        """Return the counts of both splits in one paragraph.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """
        return (
            f"RegDB trial {self.trial} at '{self.root}': to train on, {counts(self.train())};"
            f" to test on, {counts(self.test())}."
        )

    def _records(self, split: Literal["train", "test"]) -> tuple[ImageRecord, ...]:
        entries = self._entries(split)
        other = self._entries("test" if split == "train" else "train")
        shared = sorted({entry.folder for entry in entries} & {entry.folder for entry in other})
        if shared:
            raise DatasetError(
                f"The lists of trial {self.trial} in '{self.root / 'idx'}' have the identities"
                f" {first_few(shared)} in train and in test; expected disjoint halves;"
                f" {_GET_LISTS}."
            )
        identities = self._identities(entries, split=split)
        absent = [entry.file for entry in entries if not (self.root / entry.file).is_file()]
        if absent:
            raise DatasetError(
                f"{len(absent):,} of {len(entries):,} files that the {split} lists of trial"
                f" {self.trial} name are not under '{self.root}': {first_few(absent)}; expected"
                " every listed file; unpack the archive again, or pass the folder that holds"
                " Visible and Thermal as --root."
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

    def _entries(self, split: Literal["train", "test"]) -> list[_Entry]:
        entries: list[_Entry] = []
        for source in _SOURCES:
            path = self.root / "idx" / f"{split}_{source.listed_as}_{self.trial}.txt"
            if not path.is_file():
                raise DatasetError(
                    f"'{path}' does not exist; expected the {split} list of trial {self.trial};"
                    f" {_GET_LISTS}."
                )
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            entries += [
                _parse(line, source, where=f"'{path}' line {number}")
                for number, line in enumerate(lines, 1)
                if line.strip()
            ]
        return entries

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


def _parse(line: str, source: _Source, *, where: str) -> _Entry:
    file, _, label = line.strip().rpartition(" ")
    parts = PurePosixPath(file.strip()).parts
    fits = len(parts) == 3 and parts[0] == source.folder
    if not (fits and label.isascii() and label.isdigit()):
        raise DatasetError(
            f"{where} reads '{line.strip()[:80]}'; expected"
            f" '{source.folder}/<identity>/<image>.bmp <label>'; {_GET_LISTS}."
        )
    return _Entry(source, file.strip(), parts[1], int(label))
