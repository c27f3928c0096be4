"""LLCM: nine cameras in low light, 1,064 identities, near-infrared.

    root/vis/<identity>/<image>   root/nir/<identity>/<image>       all images
    root/idx/train_vis.txt, train_nir.txt       lines "vis/0001/0001_c04_s185535_f7010_vis.jpg 0"
    root/idx/test_id.txt                        one line of comma-separated identities
    root/test_vis/cam1 .. cam9/<identity>/<image>
    root/test_nir/cam1, cam2, cam4 .. cam9/<identity>/<image>

Folders of identities have 4 digits. Images of the test identities lie in ``vis`` and ``nir`` and,
once more, by camera in ``test_vis`` and ``test_nir``, where they are read. Camera 3 has no
infrared test images. The number that ends a line counts the training identities; the folder names
the identity over the whole data set. A training image's camera is told by its name ("_c04_").

Source: Zhang and Wang, Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark
for Visible-Infrared Person Re-identification, CVPR 2023; https://github.com/ZYK100/LLCM.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vireid.data.layouts._common import (
    Surplus,
    Tally,
    counts,
    files_below,
    in_order,
    is_image,
    refuse,
    require_folder,
)
from vireid.errors import first_few
from vireid.types import ImageRecord, Modality

__all__ = ["LLCM"]

_GET_LISTS = "the idx folder comes with the data set from its authors"
_IN_NAME = re.compile(r"_c(\d+)_")
_IN_FOLDER = re.compile(r"cam(\d+)")


class _Source(NamedTuple):
    """Where one modality lies."""

    modality: Modality
    short: str
    cameras: tuple[int, ...]


class _Entry(NamedTuple):
    """One line of a training list."""

    source: _Source
    file: str
    identity: int
    label: int


_SOURCES = (
    _Source(Modality.VISIBLE, "vis", (1, 2, 3, 4, 5, 6, 7, 8, 9)),
    _Source(Modality.INFRARED, "nir", (1, 2, 4, 5, 6, 7, 8, 9)),
)


@dataclass(frozen=True, slots=True)
class LLCM:
    """LLCM as its authors hand it out.

    Attributes:
        root: The folder that holds ``vis``, ``nir``, ``test_vis``, ``test_nir`` and ``idx``.

    Raises:
        DatasetError: If the folder or ``idx`` is missing.
    """

    root: Path
    name: str = field(default="llcm", init=False)

    def __post_init__(self) -> None:
        require_folder(
            self.root,
            expected="the root of LLCM with vis, nir, test_vis, test_nir and idx",
            mend="pass the folder the archive was unpacked to as root (--root)",
        )
        require_folder(
            self.root / "idx",
            expected="the lists train_vis.txt, train_nir.txt and test_id.txt",
            mend=_GET_LISTS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the listed training images, by camera, identity and name.

        The camera is 0 where neither the file's name nor a folder ``camN`` tells it.

        Raises:
            DatasetError: If a list is missing, damaged or empty, names files that are not there or
                a file twice, labels its identities inconsistently, or lists a test identity.
        """
        entries, faults = self._train()
        refuse(faults)
        return in_order(
            ImageRecord(
                path=self.root / entry.file,
                identity=entry.identity,
                camera=_camera(entry.file),
                modality=entry.source.modality,
            )
            for entry in entries
        )

    def val(self) -> tuple[ImageRecord, ...]:
        """Return nothing: LLCM publishes no validation identities."""
        return ()

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test identities' images of all cameras, by camera, identity and name.

        Raises:
            DatasetError: If the list is missing, damaged or empty or lists an identity without
                images, or a modality is empty.
        """
        records, faults = self._test()
        refuse(faults)
        return records

    def summary(self) -> str:
        """Return the counts of both splits in one paragraph.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """
        return (
            f"LLCM at '{self.root}': to train on, {counts(self.train())};"
            f" to test on, {counts(self.test())}."
        )

    def files(self) -> Iterator[Path]:
        """Yield every file in the four image folders, listed or not, in sorted order.

        Images of test identities come twice: the authors hand them out twice.
        """
        return files_below(self.root / name for name in ("nir", "test_nir", "test_vis", "vis"))

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with lists and folders, one sentence each."""
        entries, train_faults = self._train()
        _, test_faults = self._test()
        tested, _ = self._test_ids()
        faults = train_faults + test_faults
        for source in _SOURCES:
            listed = {self.root / entry.file for entry in entries if entry.source is source}
            # Without a list every image would be unlisted, and the list's absence is said already.
            if listed and tested:
                faults += self._unlisted(source, listed, set(tested))
            faults += self._test_folder_faults(source, set(tested))
        return tuple(faults)

    def published(self) -> tuple[Tally, ...]:
        """Return the authors' counts of identities and images."""
        return (
            Tally("train", Modality.VISIBLE, None, 713, 16_946),
            Tally("train", Modality.INFRARED, None, 713, 13_975),
            Tally("test", Modality.VISIBLE, None, 351, 8_680),
            Tally("test", Modality.INFRARED, None, 351, 7_166),
        )

    def _train(self) -> tuple[list[_Entry], list[str]]:
        """Read the training lists, and everything that forbids to train by them."""
        entries: list[_Entry] = []
        faults: list[str] = []
        for source in _SOURCES:
            found, wrong = _read_list(self.root / "idx" / f"train_{source.short}.txt", source)
            entries += found
            faults += wrong
        lists = f"The training lists in '{self.root / 'idx'}'"
        twice = [file for file, times in Counter(e.file for e in entries).items() if times > 1]
        if twice:
            faults.append(
                f"{lists} name {len(twice):,} files more than once: {first_few(twice)};"
                f" expected each file once; {_GET_LISTS}."
            )
        pairs = {(entry.identity, entry.label) for entry in entries}
        labels_of = Counter(identity for identity, _ in pairs)
        identities_of = Counter(label for _, label in pairs)
        clash = [f"{i:04d} {n}" for i, n in sorted(pairs) if labels_of[i] + identities_of[n] > 2]
        if clash:
            faults.append(
                f"{lists} pair {len(clash)} identities and labels otherwise elsewhere:"
                f" {first_few(clash)}; expected one label an identity, the same in both lists;"
                f" {_GET_LISTS}."
            )
        absent = [entry.file for entry in entries if not (self.root / entry.file).is_file()]
        if absent:
            faults.append(
                f"{len(absent):,} of {len(entries):,} files that the training lists name are not"
                f" under '{self.root}': {first_few(absent)}; expected every listed file; unpack the"
                " archive again, or pass the folder that holds vis and nir as root (--root)."
            )
        both = sorted({entry.identity for entry in entries} & set(self._test_ids()[0]))
        if both:
            faults.append(
                f"'{self.root / 'idx'}' lists the identities {first_few(both)} for training and for"
                f" testing; expected disjoint lists; {_GET_LISTS}."
            )
        return entries, faults

    def _test(self) -> tuple[tuple[ImageRecord, ...], list[str]]:
        """Read the test images, and everything that forbids to test on them."""
        identities, faults = self._test_ids()
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
                f"'{self.root}' has no test image of {len(bare)} listed identities:"
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

    def _test_ids(self) -> tuple[tuple[int, ...], list[str]]:
        """Read the test identities, sorted, and what is wrong with their list."""
        path = self.root / "idx" / "test_id.txt"
        expected = f"expected one line of comma-separated identities; {_GET_LISTS}."
        if not path.is_file():
            return (), [f"'{path}' does not exist; {expected}"]
        text = path.read_text(encoding="utf-8-sig", errors="replace").replace("\n", ",")
        tokens = [token.strip() for token in text.split(",") if token.strip()]
        odd = [token for token in tokens if not _is_number(token)]
        if odd:
            return (), [f"'{path}' holds '{odd[0][:40]}'; {expected}"]
        if not tokens:
            return (), [f"'{path}' lists 0 identities; {expected}"]
        return tuple(sorted({int(token) for token in tokens})), []

    def _cameras(self, source: _Source) -> Path:
        return self.root / f"test_{source.short}"

    def _unlisted(self, source: _Source, listed: set[Path], tested: set[int]) -> Iterator[str]:
        """Name training images that no list has; those of test identities are not expected to."""
        folder = self.root / source.short
        strange = [
            path.relative_to(self.root)
            for path in files_below([folder])
            if is_image(path) and path not in listed
            if not (_is_number(path.parent.name) and int(path.parent.name) in tested)
        ]
        if strange:
            yield Surplus(
                f"{len(strange):,} images in '{folder}' are neither in train_{source.short}.txt nor"
                f" of a test identity: {first_few(strange)}; expected every image to be listed;"
                " take them out, or take the lists of the same copy of the data set."
            )

    def _test_folder_faults(self, source: _Source, tested: set[int]) -> Iterator[str]:
        """Name camera folders that should not be there, or should, and untold identities."""
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
            # The archive has an empty test_nir/cam3.
            if any(is_image(path) for path in files_below([folder / name])):
                yield Surplus(
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
            yield Surplus(
                f"{len(strange):,} folders in '{folder}' are of no identity in test_id.txt:"
                f" {first_few(strange)}; expected one folder a listed identity, with 4 digits;"
                " take them out, or take the list of the same copy of the data set."
            )


def _images(folder: Path) -> Iterator[Path]:
    """Yield the images of one identity in one camera; none if the camera never saw it."""
    if folder.is_dir():
        yield from filter(is_image, folder.iterdir())


def _read_list(path: Path, source: _Source) -> tuple[list[_Entry], list[str]]:
    """Read one training list, and what is wrong with it as a list."""
    if not path.is_file():
        return [], [f"'{path}' does not exist; expected the training list; {_GET_LISTS}."]
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    entries, odd = [], []
    for number, line in enumerate(lines, 1):
        if entry := _parse(line, source):
            entries.append(entry)
        elif line.strip():
            odd.append(f"line {number} reads '{line.strip()[:80]}'")
    expected = f"expected lines '{source.short}/<identity>/<image> <label>'; {_GET_LISTS}."
    if odd:
        rest = f", the first of {len(odd):,} such lines" if len(odd) > 1 else ""
        return entries, [f"'{path}' {odd[0]}{rest}; {expected}"]
    if not entries:
        return [], [f"'{path}' lists 0 images; {expected}"]
    return entries, []


def _parse(line: str, source: _Source) -> _Entry | None:
    file, _, label = line.strip().rpartition(" ")
    parts = PurePosixPath(file.strip()).parts
    fits = len(parts) > 2 and parts[0] != "/" and _is_number(parts[-2]) and _is_number(label)
    return _Entry(source, file.strip(), int(parts[-2]), int(label)) if fits else None


def _camera(file: str) -> int:
    """Return the camera that a training image's name or folder tells, else 0."""
    # Only parts below the root are asked: a root may be called cam1 too.
    *folders, name = PurePosixPath(file).parts
    told = [_IN_NAME.search(name), *map(_IN_FOLDER.fullmatch, folders)]
    return next((int(match[1]) for match in told if match), 0)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
