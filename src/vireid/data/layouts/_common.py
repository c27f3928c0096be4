"""The base class of layouts, and the checks and phrases that they share."""

from __future__ import annotations

import posixpath
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple, TypeVar

from vireid.data.walk import Walk, walk
from vireid.errors import DatasetError, first_few, many
from vireid.types import ImageRecord, Modality

__all__ = [
    "Layout",
    "ListEntry",
    "Tally",
    "UnusedImages",
    "attempt",
    "in_order",
    "is_number",
    "missing_files",
    "overlap",
    "plain_path",
    "read_list",
    "read_numbers",
    "refuse",
    "repeated",
    "require_both_modalities",
    "require_folder",
    "tally",
]

T = TypeVar("T")
K = TypeVar("K", int, str)

_UNTIDY = re.compile(r"(^|/)\.{0,2}(/|$)|\\")


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of identities and images in a part of a data set.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        modality: The modality counted.
        camera: The camera counted; None for all cameras of the modality.
        identities: Identities with at least one such image; None where no figure is published.
        images: Such images; None where no figure is published.
    """

    split: str
    modality: Modality
    camera: int | None
    identities: int | None
    images: int | None


class UnusedImages(str):
    """A harmless problem: images that no split uses."""

    __slots__ = ()


class Layout(ABC):
    """A data set as image records by split, read from lists and names alone, never from pixels."""

    name: ClassVar[str]
    """The name as ``--layout`` takes it."""
    root: Path
    """The folder of the data set."""

    @abstractmethod
    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images, by camera, identity and name.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def val(self) -> tuple[ImageRecord, ...]:
        """Return the images held out of training for model selection; empty if there are none.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """
        return ()

    @abstractmethod
    def test(self) -> tuple[ImageRecord, ...]:
        """Return all images that evaluation may need, by camera, identity and name.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """

    def query(self) -> tuple[ImageRecord, ...]:
        """Return the test images that may be queries; all of them by default.

        Raises:
            DatasetError: As :meth:`test`.
        """
        return self.test()

    def gallery(self) -> tuple[ImageRecord, ...]:
        """Return the test images that may be gallery images; all of them by default.

        Raises:
            DatasetError: As :meth:`test`.
        """
        return self.test()

    def walk(self) -> Walk:
        """List every file in the folders of images, listed or not; by default below the root."""
        return walk([self.root])

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with lists and folders, one sentence each.

        Unlike :meth:`train` and :meth:`test` it does not stop at the first fault, and it covers all
        published splits (RegDB: all ten trials). No pixel is read. By default the errors of these
        methods.
        """
        faults: list[str] = []
        for read in (self.train, self.val, self.test):
            attempt(faults, read)
        return tuple(dict.fromkeys(faults))

    @property
    def camera_names(self) -> Mapping[int, str]:
        """The names of the cameras by number; empty where they have none."""
        return {}

    def published(self) -> tuple[Tally, ...]:
        """Return the published counts; empty for custom data."""
        return ()


class ListEntry(NamedTuple):
    """One line of a list of images, such as ``vis/0001/a.jpg 0``.

    Attributes:
        modality: The modality of the list.
        file: The image file, relative to the root of the data set, as :func:`plain_path` gives it.
        folder: Name of the file's folder.
        label: The number that ends the line.
    """

    modality: Modality
    file: str
    folder: str
    label: int


def tally(split: str, records: Sequence[ImageRecord]) -> tuple[Tally, ...]:
    """Count records by modality, and by camera within it."""
    found = []
    for modality in Modality:
        own = [record for record in records if record.modality is modality]
        for camera in (None, *sorted({record.camera for record in own})):
            seen = [r for r in own if camera is None or r.camera == camera]
            people = {r.identity for r in seen if r.role == "person"}
            found.append(Tally(split, modality, camera, len(people), len(seen)))
    return tuple(found)


def is_number(text: str) -> bool:
    """Whether a text consists of ASCII digits."""
    return text.isascii() and text.isdigit()


def plain_path(text: str) -> str:
    """Return a path of a list as a path below the same folder is written: ``vis/0001/a.jpg``.

    Args:
        text: The path, perhaps with ``./``, ``..``, ``//`` or backslashes.
    """
    if not _UNTIDY.search(text):
        return text
    path = re.sub("^/+", "/", text.replace("\\", "/"))
    return posixpath.normpath(path) if path else ""


def read_list(
    path: Path, modality: Modality, accepts: Callable[[Sequence[str]], bool], *, expected: str
) -> tuple[list[ListEntry], list[str]]:
    """Read a list of images and labels, one a line.

    Args:
        path: The list.
        modality: The modality of its images.
        accepts: Whether the parts of a file's path have the right form.
        expected: The expected form and a fix, for messages.

    Returns:
        The lines that have the right form, and what is wrong.
    """
    if not path.is_file():
        return [], [f"'{path}' does not exist; expected {expected}."]
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    entries: list[ListEntry] = []
    odd: list[str] = []
    for number, line in enumerate(lines, 1):
        file, _, label = line.strip().rpartition(" ")
        file = plain_path(file.strip())
        parts = PurePosixPath(file).parts
        if is_number(label) and accepts(parts):
            entries.append(ListEntry(modality, file, parts[-2], int(label)))
        elif line.strip():
            odd.append(f"line {number} reads '{line.strip()[:80]}'")
    if odd:
        rest = f", the first of {len(odd):,} such lines" if len(odd) > 1 else ""
        return entries, [f"'{path}' {odd[0]}{rest}; expected {expected}."]
    return entries, [] if entries else [f"'{path}' lists 0 images; expected {expected}."]


def read_numbers(path: Path, *, fix: str) -> list[int]:
    """Read the comma-separated numbers of a text file.

    Raises:
        DatasetError: If it holds anything else.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    words = [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]
    if odd := [word for word in words if not is_number(word)]:
        raise DatasetError(
            f"'{path}' holds '{odd[0][:40]}'; expected one line of comma-separated integers; {fix}."
        )
    return [int(word) for word in words]


def repeated(files: Sequence[str], *, where: str, fix: str) -> list[str]:
    """Say which files are listed more than once, if any."""
    twice = sorted({file for file, times in Counter(files).items() if times > 1})
    if not twice:
        return []
    return [
        f"{where} {many(len(twice), 'file')} more than once: {first_few(twice)}; expected each"
        f" file once; {fix}."
    ]


def missing_files(root: Path, files: Collection[str], *, where: str, fix: str) -> list[str]:
    """Say which listed files are missing, if any."""
    absent = [file for file in files if not (root / file).is_file()]
    if not absent:
        return []
    return [
        f"{len(absent):,} of {len(files):,} files that {where} name are not under '{root}':"
        f" {first_few(absent)}; expected every listed file; {fix}."
    ]


def overlap(
    where: str, one: tuple[str, Iterable[K]], other: tuple[str, Iterable[K]], *, fix: str
) -> list[str]:
    """Say which identities two splits share, if any; each split is its name and its identities."""
    shared = sorted({*one[1]} & {*other[1]})
    if not shared:
        return []
    return [
        f"{where} lists the identities {first_few(shared)} for {one[0]} and for {other[0]};"
        f" expected disjoint lists; {fix}."
    ]


def attempt(faults: list[str], read: Callable[[], T]) -> T | None:
    """Return what a function returns; None if it raises a DatasetError, which is noted."""
    try:
        return read()
    except DatasetError as error:
        faults.append(str(error))
        return None


def refuse(faults: Sequence[str]) -> None:
    """Raise the first fault, if there is any.

    Raises:
        DatasetError: If there is a fault.
    """
    if faults:
        raise DatasetError(faults[0])


def require_folder(folder: Path, *, expected: str, fix: str) -> None:
    """Require a folder to exist.

    Args:
        folder: The folder that must exist.
        expected: What it should hold, for the message.
        fix: Where to get it or what to pass instead, for the message.

    Raises:
        DatasetError: If ``folder`` is missing or is a file.
    """
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"'{folder}' {state}; expected {expected}; {fix}.")


def require_both_modalities(records: Sequence[ImageRecord], *, where: str, fix: str) -> None:
    """Require records to have images of both modalities.

    Raises:
        DatasetError: If there is no visible or no infrared image.
    """
    present = {record.modality for record in records}
    for modality in Modality:
        if modality not in present:
            raise DatasetError(
                f"{where} has 0 {modality} images among its {len(records):,}; expected images of"
                f" both modalities; {fix}."
            )


def in_order(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
    """Sort by camera, identity and file name, independent of the file system's order."""
    return tuple(sorted(records, key=lambda r: (r.camera, r.identity, r.path.name)))
