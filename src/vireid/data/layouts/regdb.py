"""RegDB: one visible and one thermal camera, 412 identities with 10 + 10 images each.

    root/Visible/<identity>/*.bmp
    root/Thermal/<identity>/*.bmp
    root/idx/{train,test}_{visible,thermal}_{1..10}.txt    lines "Visible/285/male_back_5528.bmp 0"

Each of the ten trials splits the identities into 206 for training and 206 for testing; a full
result takes ten trainings. The number that ends a line is the class index within the split; the
folder is the identity in the whole data set.

Source: Nguyen et al., Person Recognition System Based on a Combination of Body Images from Visible
Light and Thermal Cameras, Sensors 2017; splits by Ye et al., Hierarchical Discriminative Learning
for Visible Thermal Person Re-Identification, AAAI 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from vireid.data.file_kind import is_image
from vireid.data.layouts._common import (
    Layout,
    ListEntry,
    Tally,
    UnusedImages,
    in_order,
    is_number,
    missing_files,
    overlap,
    read_list,
    refuse,
    repeated,
    require_folder,
)
from vireid.data.walk import Walk, walk
from vireid.errors import DatasetError, first_few, many
from vireid.types import ImageRecord, Modality

__all__ = ["RegDB"]

Split = Literal["train", "test"]

_TRIALS = 10
_GET_LISTS = "get the idx folder with the data set from its authors"


class _Source(NamedTuple):
    """The folder and the camera of one modality."""

    modality: Modality
    folder: str
    listed_as: str
    camera: int

    def accepts(self, parts: Sequence[str]) -> bool:
        """Whether the parts of an image's path have the form ``<folder>/<identity>/<image>``."""
        return len(parts) == 3 and parts[0] == self.folder


_SOURCES = (
    _Source(Modality.VISIBLE, "Visible", "visible", 1),
    _Source(Modality.INFRARED, "Thermal", "thermal", 2),
)


@dataclass(frozen=True)
class RegDB(Layout):
    """One trial of RegDB as published.

    Attributes:
        root: The folder that holds ``Visible``, ``Thermal`` and ``idx``.
        trial: Which of the ten splits, from 1.

    Raises:
        DatasetError: If the folder or ``idx`` is missing, or there is no such trial.
    """

    root: Path
    trial: int = 1
    name = "regdb"

    def __post_init__(self) -> None:
        if not 1 <= self.trial <= _TRIALS:
            raise DatasetError(
                f"RegDB has no trial {self.trial}; expected 1 to {_TRIALS}; fix the trial."
            )
        require_folder(
            self.root,
            expected="the root of RegDB with Visible, Thermal and idx",
            fix="pass the unpacked archive's folder as root",
        )
        require_folder(
            self.root / "idx",
            expected="the lists train_visible_1.txt to test_thermal_10.txt",
            fix=_GET_LISTS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images of both cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing, damaged or empty, names a file twice or missing
                files, labels its identities inconsistently, or shares an identity with the other
                split.
        """
        return self._records("train")

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test images of both cameras, by camera, identity and name.

        Raises:
            DatasetError: As :meth:`train`.
        """
        return self._records("test")

    def walk(self) -> Walk:
        """List every file below ``Visible`` and ``Thermal``, images or not."""
        return walk(self.root / source.folder for source in _SOURCES)

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
        found: list[str] = []
        if missing:
            found.append(
                f"'{self.root / 'idx'}' lacks {len(missing)} of {len(lists)} lists:"
                f" {first_few(missing)}; expected four lists for each of the {_TRIALS} trials;"
                f" {_GET_LISTS}."
            )
        listed: set[str] = set()
        for trial in trials:
            train, test = trial._read("train", found), trial._read("test", found)
            found += [*trial._clashes("train", train), *trial._clashes("test", test)]
            found += trial._overlap(train, test)
            listed |= {entry.file for entry in (*train, *test)}
        found += missing_files(
            self.root, sorted(listed), where="the lists", fix="unpack the archive again"
        )
        present = {p.relative_to(self.root).as_posix() for p in self.walk().files if is_image(p)}
        # With a list missing, an image could be one of that list.
        if strange := [] if missing else sorted(present - listed):
            found.append(
                UnusedImages(
                    f"'{self.root}' has {many(len(strange), 'image')} that no list names:"
                    f" {first_few(strange)}; expected every image in a list; move them out, or use"
                    " the lists of the same copy of the data set."
                )
            )
        return tuple(found)

    def _records(self, split: Split) -> tuple[ImageRecord, ...]:
        for each in get_args(Split):
            for path in (self._list(each, source) for source in _SOURCES):
                if not path.is_file():
                    raise DatasetError(
                        f"'{path}' does not exist; expected the {each} list of trial {self.trial};"
                        f" {_GET_LISTS}."
                    )
        faults: list[str] = []
        halves = {each: self._read(each, faults) for each in get_args(Split)}
        entries = halves[split]
        refuse(
            [
                *faults,
                *self._overlap(halves["train"], halves["test"]),
                *self._clashes(split, entries),
                *missing_files(
                    self.root,
                    [entry.file for entry in entries],
                    where=f"the {split} lists of trial {self.trial}",
                    fix="unpack the archive again, or pass the folder that holds Visible and"
                    " Thermal as root",
                ),
            ]
        )
        identities = _identities(entries)
        cameras = {source.modality: source.camera for source in _SOURCES}
        return in_order(
            ImageRecord(
                path=self.root / entry.file,
                identity=identities[entry.folder],
                camera=cameras[entry.modality],
                modality=entry.modality,
            )
            for entry in entries
        )

    def _read(self, split: Split, faults: list[str]) -> list[ListEntry]:
        """Read the existing lists of a split; note what is wrong with them."""
        found: list[ListEntry] = []
        for source in _SOURCES:
            path = self._list(split, source)
            if not path.is_file():
                continue
            entries, wrong = read_list(
                path,
                source.modality,
                source.accepts,
                expected=f"lines '{source.folder}/<identity>/<image>.bmp <label>'; {_GET_LISTS}",
            )
            files = [entry.file for entry in entries]
            faults += [*wrong, *repeated(files, where=f"'{path}' names", fix=_GET_LISTS)]
            found += entries
        return found

    def _list(self, split: Split, source: _Source) -> Path:
        return self.root / "idx" / f"{split}_{source.listed_as}_{self.trial}.txt"

    def _overlap(self, train: Sequence[ListEntry], test: Sequence[ListEntry]) -> list[str]:
        one, other = ({entry.folder for entry in entries} for entries in (train, test))
        where = f"Trial {self.trial} in '{self.root / 'idx'}'"
        return overlap(where, ("training", one), ("testing", other), fix=_GET_LISTS)

    def _clashes(self, split: Split, entries: Sequence[ListEntry]) -> list[str]:
        """Name the first line whose folder or label is paired otherwise before, if any."""
        label_of: dict[str, int] = {}
        folder_of: dict[int, str] = {}
        for entry in entries:
            label = label_of.setdefault(entry.folder, entry.label)
            folder = folder_of.setdefault(entry.label, entry.folder)
            if (label, folder) != (entry.label, entry.folder):
                return [
                    f"The {split} lists of trial {self.trial} in '{self.root / 'idx'}' give"
                    f" '{entry.file}' the label {entry.label}, but folder '{entry.folder}' has"
                    f" label {label} and label {entry.label} is folder '{folder}' elsewhere;"
                    " expected one label per identity, the same in Visible and Thermal;"
                    f" {_GET_LISTS}."
                ]
        return []


def _identities(entries: Sequence[ListEntry]) -> dict[str, int]:
    """Map folders to identities: their numbers, or the lists' labels."""
    label_of = {entry.folder: entry.label for entry in entries}
    numbers = {folder: int(folder) for folder in label_of if is_number(folder)}
    # Folders that are not distinct numbers cannot name identities; the lists' labels can.
    return numbers if len(set(numbers.values())) == len(label_of) else label_of
