"""SYSU-MM01: six cameras, 491 identities, near-infrared.

    root/cam1 .. cam6/<identity, 4 digits>/<image, 4 digits>.jpg
    root/exp/train_id.txt, val_id.txt, test_id.txt    one line of comma-separated integers
    root/exp/rand_perm_cam.mat                        the official draws of the gallery

Cameras 1, 2, 4 and 5 see visible light; 3 and 6 near-infrared. 1, 2 and 3 are indoors, 2 and 3 in
the same room. Nearly all work trains on the train and val identities together (395) and tests on
the 96 others.

Source: Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017;
https://github.com/wuancong/SYSU-MM01.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from vireid.data.layouts._common import (
    counts,
    first_few,
    in_order,
    require_both_modalities,
    require_folder,
)
from vireid.errors import DatasetError
from vireid.types import ImageRecord, Modality

__all__ = ["CAMERAS", "Permutations", "SysuMM01"]

CAMERAS: Mapping[int, Modality] = {
    1: Modality.VISIBLE,
    2: Modality.VISIBLE,
    3: Modality.INFRARED,
    4: Modality.VISIBLE,
    5: Modality.VISIBLE,
    6: Modality.INFRARED,
}
"""The modality of each camera."""

_TRIALS = 10
_GET_SPLITS = (
    "the exp folder comes with the data set from its authors, and the split files are in the public"
    " repository github.com/wuancong/SYSU-MM01"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Permutations:
    """The official draws of the gallery, ``exp/rand_perm_cam.mat``.

    Row ``t`` of a cell permutes the images of one identity in one camera, sorted by name; its
    first ``k`` entries are that identity's gallery in trial ``t`` when ``k`` shots are asked for.

    Attributes:
        cells: By (camera, identity): int64 ``[10, images]``, 1-based as in the file. Identities
            that the camera never saw have no cell.
    """

    cells: Mapping[tuple[int, int], NDArray[np.int64]]

    def of(self, camera: int, identity: int) -> NDArray[np.int64]:
        """Return the permutations of one identity in one camera, 1-based, int64 ``[10, images]``.

        Raises:
            DatasetError: If the file holds none for them.
        """
        try:
            return self.cells[camera, identity]
        except KeyError:
            raise DatasetError(
                f"rand_perm_cam.mat has no permutation for camera {camera}, identity {identity};"
                f" expected one for every test identity and camera with images; {_GET_SPLITS}."
            ) from None


@dataclass(frozen=True, slots=True)
class SysuMM01:
    """SYSU-MM01 as its authors hand it out.

    Attributes:
        root: The folder that holds ``cam1`` to ``cam6`` and ``exp``.
        train_split: The identities to train on: the usual 395, or the 296 that leave the official
            99 validation identities aside.

    Raises:
        DatasetError: If the folder, one of its cameras or ``exp`` is missing.
    """

    root: Path
    train_split: Literal["train+val", "train"] = "train+val"
    name: str = field(default="sysu-mm01", init=False)

    def __post_init__(self) -> None:
        require_folder(
            self.root,
            expected="the root of SYSU-MM01 with cam1 to cam6 and exp",
            mend="pass the folder the archive was unpacked to as --root",
        )
        missing = [f"cam{camera}" for camera in CAMERAS if not self._camera(camera).is_dir()]
        arrays = sorted(self.root.glob("*_resized_img.npy"))
        if len(missing) == len(CAMERAS) and arrays:
            raise DatasetError(
                f"'{self.root}' holds only resized arrays such as '{arrays[0].name}', which name"
                " neither files nor cameras; expected the folders cam1 to cam6 of SYSU-MM01; pass"
                " the folder these arrays were made from as --root."
            )
        if missing:
            raise DatasetError(
                f"'{self.root}' has no {first_few(missing, shown=6)}; expected the folders cam1 to"
                " cam6 of SYSU-MM01; pass the folder that holds them as --root, or unpack the"
                " archive again."
            )
        require_folder(
            self.root / "exp",
            expected="the split files train_id.txt, val_id.txt, test_id.txt and rand_perm_cam.mat",
            mend=_GET_SPLITS,
        )

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images of all six cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing or damaged, lists an identity without images or one
                of the test identities, or a modality is empty.
        """
        identities = self.identities("train")
        if self.train_split == "train+val":
            identities += self.identities("val")
        shared = sorted(set(identities) & set(self.identities("test")))
        if shared:
            raise DatasetError(
                f"'{self.root / 'exp'}' lists identities {first_few(shared)} for training and for"
                f" testing; expected disjoint lists; {_GET_SPLITS}."
            )
        return self._records(identities, split=self.train_split)

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test identities' images of all six cameras, by camera, identity and name.

        Raises:
            DatasetError: If a list is missing or damaged or lists an identity without images, or
                a modality is empty.
        """
        return self._records(self.identities("test"), split="test")

    def describe(self) -> str:
        """Return the counts of both splits in one paragraph.

        Raises:
            DatasetError: If the data set is not laid out as published.
        """
        return (
            f"SYSU-MM01 at '{self.root}': to train on ({self.train_split}), {counts(self.train())};"
            f" to test on, {counts(self.test())}."
        )

    def identities(self, split: Literal["train", "val", "test"]) -> tuple[int, ...]:
        """Return one split's identities as listed in ``exp``, sorted, without repeats.

        Raises:
            DatasetError: If the list is missing, is empty or holds anything but integers.
        """
        text, matrix = (self.root / "exp" / f"{split}_id.{suffix}" for suffix in ("txt", "mat"))
        if text.is_file():
            found = _read_ids(text)
        elif matrix.is_file():
            # The archives carry MATLAB versions too, and some copies only those.
            found = [int(i) for i in _read_matlab(matrix, "id").ravel()]
        else:
            raise DatasetError(
                f"'{text}' does not exist; expected one line of comma-separated identities;"
                f" {_GET_SPLITS}."
            )
        if not found:
            raise DatasetError(
                f"'{text if text.is_file() else matrix}' lists 0 identities; expected at least one;"
                f" {_GET_SPLITS}."
            )
        return tuple(sorted(set(found)))

    def permutations(self) -> Permutations:
        """Read the official draws of the gallery and check those of the test identities.

        Raises:
            DatasetError: If the file is missing or damaged, or if a permutation of a test identity
                does not cover exactly the images on disk.
        """
        path = self.root / "exp" / "rand_perm_cam.mat"
        if not path.is_file():
            raise DatasetError(
                f"'{path}' does not exist; expected the official draws of the gallery;"
                f" {_GET_SPLITS}."
            )
        table = _read_matlab(path, "rand_perm_cam")
        try:
            if table.dtype != object or len(table.flat) != len(CAMERAS):
                raise ValueError(f"{table.dtype} of shape {table.shape}")
            permutations = Permutations(
                cells={
                    (camera, identity): np.asarray(cell, dtype=np.int64)
                    for camera, column in enumerate(table.flat, 1)
                    for identity, cell in enumerate(column.flat, 1)
                    if cell.size
                }
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise DatasetError(
                f"'{path}' is not the official table ({error}); expected one cell a camera with one"
                f" array of {_TRIALS} permutations an identity; {_GET_SPLITS}."
            ) from error
        # Training identities are left unchecked: no protocol draws a gallery from them.
        for camera in CAMERAS:
            for identity in self.identities("test"):
                cell = permutations.cells.get((camera, identity), np.empty((_TRIALS, 0), np.int64))
                folder = self._camera(camera) / f"{identity:04d}"
                _check_cell(cell, folder, images=sum(1 for _ in _images(folder)), path=path)
        return permutations

    def _camera(self, camera: int) -> Path:
        return self.root / f"cam{camera}"

    def _records(self, identities: tuple[int, ...], *, split: str) -> tuple[ImageRecord, ...]:
        records = in_order(
            ImageRecord(path=path, identity=identity, camera=camera, modality=modality)
            for camera, modality in CAMERAS.items()
            for identity in identities
            for path in _images(self._camera(camera) / f"{identity:04d}")
        )
        bare = sorted(set(identities) - {record.identity for record in records})
        if bare:
            raise DatasetError(
                f"'{self.root}' has no .jpg image in any camera of {len(bare)} listed identities:"
                f" {first_few(f'{identity:04d}' for identity in bare)}; expected at least one image"
                f" of each identity of the {split} list; unpack the archive again, or mend the list"
                " in exp."
            )
        require_both_modalities(
            records, where=f"The {split} split of '{self.root}'", mend="unpack the archive again"
        )
        return records


def _images(folder: Path) -> Iterator[Path]:
    """Yield the images of one identity in one camera; none if the camera never saw it."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        # A leading dot marks the twins that macOS adds to archives ("._0001.jpg").
        if path.suffix.lower() == ".jpg" and not path.name.startswith("."):
            yield path


def _read_ids(path: Path) -> list[int]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    tokens = [token.strip() for token in text.replace("\n", ",").split(",") if token.strip()]
    for token in tokens:
        if not (token.isascii() and token.isdigit()):
            raise DatasetError(
                f"'{path}' holds '{token[:40]}'; expected one line of comma-separated integers;"
                f" {_GET_SPLITS}."
            )
    return [int(token) for token in tokens]


def _read_matlab(path: Path, key: str) -> NDArray[np.generic]:
    try:
        contents = loadmat(path, variable_names=[key])
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        raise DatasetError(
            f"'{path}' cannot be read as a MATLAB file ({error}); expected the variable '{key}';"
            f" {_GET_SPLITS}."
        ) from error
    if key not in contents:
        raise DatasetError(
            f"'{path}' has no variable '{key}'; expected the official file; {_GET_SPLITS}."
        )
    array: NDArray[np.generic] = np.asarray(contents[key])
    return array


def _check_cell(cell: NDArray[np.int64], folder: Path, *, images: int, path: Path) -> None:
    """Refuse permutations that do not cover exactly the images of a folder."""
    if cell.shape != (_TRIALS, images):
        raise DatasetError(
            f"'{folder}' holds {images} .jpg images, but its permutations in '{path.name}' have"
            f" the shape {cell.shape}; expected {_TRIALS} permutations of as many entries as"
            f" there are images; unpack the archive again, or take '{path.name}' of the same copy"
            " of the data set."
        )
    if not (np.sort(cell, axis=1) == np.arange(1, images + 1)).all():
        raise DatasetError(
            f"'{path}' has a row for '{folder}' that is not a permutation; expected each number"
            f" from 1 to {images} once; {_GET_SPLITS}."
        )
