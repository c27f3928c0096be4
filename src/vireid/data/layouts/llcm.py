"""LLCM: nine cameras in low light, 1,064 identities, near-infrared.

    root/vis/<identity>/<image>   root/nir/<identity>/<image>       all images
    root/idx/train_vis.txt, train_nir.txt       lines "vis/0001/0001_c04_s185535_f7010_vis.jpg 0"
    root/idx/test_id.txt                        one line of comma-separated identities
    root/test_vis/cam1 .. cam9/<identity>/<image>
    root/test_nir/cam1, cam2, cam4 .. cam9/<identity>/<image>

Identity folders have 4 digits. Images of the test identities are in ``vis`` and ``nir`` and, a
second time, by camera in ``test_vis`` and ``test_nir``, where they are read. Camera 3 has no
infrared test images. The number that ends a line is the class index of a training identity; the
folder is its number in the whole data set. The name of a training image has its camera ("_c04_").

Source: Zhang and Wang, Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark
for Visible-Infrared Person Re-identification, CVPR 2023; https://github.com/ZYK100/LLCM.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vireid.data.file_kind import is_image
from vireid.data.layouts._common import (
    Layout,
    ListEntry,
    Tally,
    UnusedImages,
    attempt,
    in_order,
    is_number,
    missing_files,
    overlap,
    read_list,
    read_numbers,
    refuse,
    repeated,
    require_folder,
)
from vireid.data.walk import Walk, walk
from vireid.errors import DatasetError, first_few, many
from vireid.types import ImageRecord, Modality

__all__ = ["LLCM"]

_GET_LISTS = "the idx folder comes with the data set from its authors"
_IN_NAME = re.compile(r"_c(\d+)_")
_IN_FOLDER = re.compile(r"cam(\d+)")


class _Source(NamedTuple):
    """The folders of one modality."""

    modality: Modality
    short: str
    cameras: tuple[int, ...]


_SOURCES = (
    _Source(Modality.VISIBLE, "vis", (1, 2, 3, 4, 5, 6, 7, 8, 9)),
    _Source(Modality.INFRARED, "nir", (1, 2, 4, 5, 6, 7, 8, 9)),
)


@dataclass(frozen=True)
class LLCM(Layout):
    """LLCM as published.

    Attributes:
        root: The folder that holds ``vis``, ``nir``, ``test_vis``, ``test_nir`` and ``idx``.

    Raises:
        DatasetError: If the folder or ``idx`` is missing.
    """

    root: Path
    name = "llcm"

    def __post_init__(self) -> None:
        require_folder(
            self.root,
            expected="the root of LLCM with vis, nir, test_vis, test_nir and idx",
            fix="pass the unpacked archive's folder as root",
        )
        require_folder(
            self.root / "idx",
            expected="the lists train_vis.txt, train_nir.txt and test_id.txt",
            fix=_GET_LISTS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the listed training images, by camera, identity and name.

        The camera is 0 where neither the file's name nor a folder ``camN`` has it.

        Raises:
            DatasetError: If a list is missing, damaged or empty, names missing files or a file
                twice, labels its identities inconsistently, or lists a test identity.
        """
        entries, faults = self._train()
        refuse(faults)
        return in_order(
            ImageRecord(
                path=self.root / entry.file,
                identity=int(entry.folder),
                camera=_camera(entry.file),
                modality=entry.modality,
            )
            for entry in entries
        )

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test identities' images of all cameras, by camera, identity and name.

        Raises:
            DatasetError: If the list is missing, damaged or empty or lists an identity without
                images, or a modality is empty.
        """
        records, faults = self._test()
        refuse(faults)
        return records

    def walk(self) -> Walk:
        """List every file in the four image folders; test images come twice."""
        return walk(self.root / name for name in ("nir", "test_nir", "test_vis", "vis"))

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with lists and folders, one sentence each."""
        entries, train_faults = self._train()
        _, test_faults = self._test()
        tested = set(self._test_ids([]))
        faults = train_faults + test_faults
        for source in _SOURCES:
            listed = {self.root / e.file for e in entries if e.modality is source.modality}
            # Without a list every image would be unlisted, and the missing list is a fault already.
            if listed and tested:
                faults += self._unlisted(source, listed, tested)
            faults += self._test_folder_faults(source, tested)
        return tuple(faults)

    def published(self) -> tuple[Tally, ...]:
        """Return the authors' counts of identities and images."""
        return (
            Tally("train", Modality.VISIBLE, None, 713, 16_946),
            Tally("train", Modality.INFRARED, None, 713, 13_975),
            Tally("test", Modality.VISIBLE, None, 351, 8_680),
            Tally("test", Modality.INFRARED, None, 351, 7_166),
        )

    def _train(self) -> tuple[list[ListEntry], list[str]]:
        """Read the training lists, and everything that prevents training."""
        idx = self.root / "idx"
        entries: list[ListEntry] = []
        faults: list[str] = []
        for source in _SOURCES:
            found, wrong = read_list(
                idx / f"train_{source.short}.txt",
                source.modality,
                lambda parts: len(parts) > 2 and parts[0] != "/" and is_number(parts[-2]),
                expected=f"lines '{source.short}/<identity>/<image> <label>'; {_GET_LISTS}",
            )
            entries += found
            faults += wrong
        files = [entry.file for entry in entries]
        lists = f"The training lists in '{idx}'"
        faults += repeated(files, where=f"{lists} name", fix=_GET_LISTS)
        pairs = {(int(entry.folder), entry.label) for entry in entries}
        labels_of = Counter(identity for identity, _ in pairs)
        identities_of = Counter(label for _, label in pairs)
        clash = [f"{i:04d} {n}" for i, n in sorted(pairs) if labels_of[i] + identities_of[n] > 2]
        if clash:
            faults.append(
                f"{lists} have {many(len(clash), 'inconsistent pair')} of identity and label:"
                f" {first_few(clash)}; expected one label per identity, the same in both lists;"
                f" {_GET_LISTS}."
            )
        faults += missing_files(
            self.root,
            files,
            where="the training lists",
            fix="unpack the archive again, or pass the folder that holds vis and nir as root",
        )
        trained = [int(entry.folder) for entry in entries]
        tested = self._test_ids([])
        faults += overlap(f"'{idx}'", ("training", trained), ("testing", tested), fix=_GET_LISTS)
        return entries, faults

    def _test(self) -> tuple[tuple[ImageRecord, ...], list[str]]:
        """Read the test images, and everything that prevents testing."""
        faults: list[str] = []
        identities = self._test_ids(faults)
        records = in_order(
            ImageRecord(path=path, identity=identity, camera=camera, modality=source.modality)
            for source in _SOURCES
            for camera in source.cameras
            for identity in identities
            for path in _images(self._cameras(source) / f"cam{camera}" / f"{identity:04d}")
        )
        if not identities:
            return records, faults
        bare = sorted(set(identities) - {record.identity for record in records})
        if bare:
            faults.append(
                f"'{self.root}' has no test image of"
                f" {many(len(bare), 'listed identity', 'listed identities')}:"
                f" {first_few(f'{identity:04d}' for identity in bare)}; expected at least one of"
                " each identity of test_id.txt in test_vis or test_nir; unpack the archive again."
            )
        for source in _SOURCES:
            if not any(record.modality is source.modality for record in records):
                faults.append(
                    f"'{self._cameras(source)}' has 0 images of the identities in test_id.txt;"
                    f" expected folders such as cam1/{identities[0]:04d} with images; unpack the"
                    " archive again."
                )
        return records, faults

    def _test_ids(self, faults: list[str]) -> tuple[int, ...]:
        """Read the test identities, sorted; note what is wrong with their list."""
        path = self.root / "idx" / "test_id.txt"

        def read() -> list[int]:
            expected = f"expected one line of comma-separated identities; {_GET_LISTS}."
            if not path.is_file():
                raise DatasetError(f"'{path}' does not exist; {expected}")
            if not (numbers := read_numbers(path, fix=_GET_LISTS)):
                raise DatasetError(f"'{path}' lists 0 identities; {expected}")
            return numbers

        return tuple(sorted(set(attempt(faults, read) or ())))

    def _cameras(self, source: _Source) -> Path:
        return self.root / f"test_{source.short}"

    def _unlisted(self, source: _Source, listed: set[Path], tested: set[int]) -> Iterator[str]:
        """Yield training images in no list, except those of test identities."""
        folder = self.root / source.short
        strange = [
            path.relative_to(self.root)
            for path in walk([folder]).files
            if is_image(path) and path not in listed
            if not (is_number(path.parent.name) and int(path.parent.name) in tested)
        ]
        if strange:
            yield UnusedImages(
                f"Neither in train_{source.short}.txt nor of a test identity:"
                f" {many(len(strange), 'image')} in '{folder}': {first_few(strange)};"
                " expected every image to be listed; remove them, or use the lists of the same copy"
                " of the data set."
            )

    def _test_folder_faults(self, source: _Source, tested: set[int]) -> Iterator[str]:
        """Yield missing and unexpected camera folders, and folders of unlisted identities."""
        folder = self._cameras(source)
        expected = {f"cam{camera}" for camera in source.cameras}
        present = {path.name for path in folder.glob("*/")}
        cameras = f"cam{source.cameras[0]} to cam{source.cameras[-1]}"
        without = "" if "cam3" in expected else " without cam3"
        for name in sorted(expected - present):
            yield (
                f"'{folder / name}' does not exist; expected the folders {cameras}{without};"
                " unpack the archive again."
            )
        for name in sorted(present - expected):
            # The published archive has an empty test_nir/cam3.
            if any(is_image(path) for path in walk([folder / name]).files):
                yield UnusedImages(
                    f"'{folder / name}' holds images that no test uses; expected the folders"
                    f" {cameras}{without}; move the folder out of the data set."
                )
        named = {f"{identity:04d}" for identity in tested}
        strange = [
            path.relative_to(self.root)
            for name in sorted(expected & present)
            for path in sorted((folder / name).iterdir())
            if path.is_dir() and path.name not in named
        ]
        if tested and strange:
            yield UnusedImages(
                f"Of no identity in test_id.txt: {many(len(strange), 'folder')} in '{folder}':"
                f" {first_few(strange)}; expected one folder per listed identity, with 4 digits;"
                " remove them, or use the list of the same copy of the data set."
            )


def _images(folder: Path) -> Iterator[Path]:
    """Yield the images of one identity in one camera; none if the camera never saw it."""
    if folder.is_dir():
        yield from filter(is_image, folder.iterdir())


def _camera(file: str) -> int:
    """Return the camera in a training image's name or folder, else 0."""
    # Only parts below the root count: a root may be called cam1 too.
    *folders, name = PurePosixPath(file).parts
    matches = [_IN_NAME.search(name), *map(_IN_FOLDER.fullmatch, folders)]
    return next((int(match[1]) for match in matches if match), 0)
