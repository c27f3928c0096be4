"""The folder ``exp`` of SYSU-MM01: lists of identities and the official gallery permutations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts._common import read_numbers
from vireid.data.matlab import read_matlab
from vireid.errors import DatasetError, many

__all__ = [
    "GET_SPLITS",
    "Misfit",
    "Permutations",
    "Split",
    "read_identities",
    "read_permutations",
]

Split = Literal["train", "val", "test"]
"""A list of identities."""

_TRIALS = 10
GET_SPLITS = (
    "get the exp folder with the data set from its authors, or the split files from the public"
    " repository github.com/wuancong/SYSU-MM01"
)
"""Where to get the files of ``exp``, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Permutations:
    """The official random galleries.

    Row ``t`` of a cell permutes the images of one identity in one camera, sorted by name; its
    first ``k`` entries are that identity's gallery in trial ``t`` of ``k`` shots.

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
                f" expected one for every test identity and camera with images; {GET_SPLITS}."
            ) from None

    def misfit(self, camera: int, identity: int, folder: Path, *, images: int) -> Misfit | None:
        """Compare the permutations of one folder with its images.

        Args:
            camera: The camera.
            identity: The identity.
            folder: The folder, for messages.
            images: The number of its images.

        Returns:
            The mismatch; None if the permutations cover exactly the images.
        """
        cell = self.cells.get((camera, identity), np.empty((_TRIALS, 0), np.int64))
        fits = (
            cell.shape == (_TRIALS, images)
            and (np.sort(cell, axis=1) == np.arange(1, images + 1)).all()
        )
        return None if fits else Misfit(folder, images, cell.shape)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Permutations that do not cover exactly the images of a folder.

    Attributes:
        folder: The folder of one identity in one camera.
        images: How many images it holds.
        shape: The shape of its permutations; ``(10, images)`` if only their numbers are wrong.
    """

    folder: Path
    images: int
    shape: tuple[int, ...]

    def message(self, path: Path) -> str:
        """Return the error message for the permutations in ``path``."""
        if self.shape == (_TRIALS, self.images):
            return (
                f"'{path}' has a row for '{self.folder}' that is not a permutation; expected each"
                f" number from 1 to {self.images} once; {GET_SPLITS}."
            )
        return (
            f"'{self.folder}' holds {self.images} .jpg images, but its permutations in"
            f" '{path.name}' have the shape {self.shape}; expected {_TRIALS} permutations of as"
            " many entries as there are images; unpack the archive again, or use"
            f" '{path.name}' of the same copy of the data set."
        )

    def __str__(self) -> str:
        name = f"{self.folder.parent.name}/{self.folder.name}"
        if self.shape == (_TRIALS, self.images):
            return f"{name}: a row that is not a permutation of 1 to {self.images}"
        return f"{name}: {many(self.images, 'image')}, permutations of shape {self.shape}"


def read_identities(exp: Path, split: Split) -> tuple[int, ...]:
    """Read one split's identities, sorted, without repeats.

    Args:
        exp: The folder of the lists.
        split: Which list.

    Raises:
        DatasetError: If the list is missing, is empty or holds anything but integers.
    """
    text, matrix = exp / f"{split}_id.txt", exp / f"{split}_id.mat"
    if text.is_file():
        found = read_numbers(text, fix=GET_SPLITS)
    elif matrix.is_file():
        # The archive has MATLAB versions too, and some copies have only those.
        found = [int(i) for i in _read_matlab(matrix, "id").ravel()]
    else:
        raise DatasetError(
            f"'{text}' does not exist; expected one line of comma-separated identities;"
            f" {GET_SPLITS}."
        )
    if not found:
        raise DatasetError(
            f"'{text if text.is_file() else matrix}' lists 0 identities; expected at least one;"
            f" {GET_SPLITS}."
        )
    return tuple(sorted(set(found)))


def read_permutations(path: Path, *, cameras: int) -> Permutations:
    """Read the official random galleries.

    Args:
        path: ``rand_perm_cam.mat``.
        cameras: The number of cameras that it must have.

    Raises:
        DatasetError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise DatasetError(
            f"'{path}' does not exist; expected the official random galleries; {GET_SPLITS}."
        )
    table = _read_matlab(path, "rand_perm_cam")
    try:
        if table.dtype != object or len(table.flat) != cameras:
            raise ValueError(f"{table.dtype} of shape {table.shape}")
        return Permutations(
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
            f" array of {_TRIALS} permutations an identity; {GET_SPLITS}."
        ) from error


def _read_matlab(path: Path, key: str) -> NDArray[Any]:
    try:
        found = read_matlab(path, key)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"'{path}' cannot be read as a MATLAB file ({error}); expected the variable '{key}';"
            f" {GET_SPLITS}."
        ) from error
    if found is None:
        raise DatasetError(
            f"'{path}' has no variable '{key}'; expected the official file; {GET_SPLITS}."
        )
    return found
