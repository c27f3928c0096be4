"""The official file format of SYSU-MM01 features, and its split files; no image is needed.

``NAME_cam1.mat`` to ``NAME_cam6.mat`` each hold a cell array ``feature``; row i of ``feature{id}``
is the feature of the i-th image, by name, of identity ``id`` in that camera. The galleries of the
ten trials are drawn by ``rand_perm_cam.mat`` from the identities of ``test_id.txt`` or ``.mat``.

The official demo compares raw features by Euclidean distance.

Source: Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017;
https://github.com/wuancong/SYSU-MM01, evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts._common import require_folder
from vireid.data.layouts.sysu_exp import (
    GET_SPLITS,
    Permutations,
    read_identities,
    read_permutations,
)
from vireid.data.layouts.sysu_mm01 import CAMERAS
from vireid.data.matlab import read_matlab
from vireid.errors import DatasetError, EvaluationError, first_few
from vireid.types import Features, ImageRecord

__all__ = ["SysuSplits", "read_official"]

_SAVE = "save it by save('NAME_cam1.mat', 'feature', '-v7'), or scipy.io.savemat"


@dataclass(frozen=True, slots=True, eq=False)
class SysuSplits:
    """The test images of SYSU-MM01 according to its split files.

    Attributes:
        records: The images, with paths relative to the root of the data set.
        draws: The official gallery draws.
    """

    records: tuple[ImageRecord, ...]
    draws: Permutations

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the split files.

        Args:
            folder: The folder of ``test_id.txt`` (or ``.mat``) and ``rand_perm_cam.mat``: ``exp``
                of the data set, or ``data_split`` of the official code.

        Raises:
            DatasetError: A file is missing or damaged, or the two do not match.
        """
        require_folder(
            folder,
            expected="the split files test_id.txt and rand_perm_cam.mat",
            fix=f"pass the folder that holds them as --splits; {GET_SPLITS}",
        )
        path = folder / "rand_perm_cam.mat"
        identities = read_identities(folder, "test")
        draws = read_permutations(path, cameras=len(CAMERAS))
        records: list[ImageRecord] = []
        for camera, modality in CAMERAS.items():
            for identity in identities:
                cell = draws.cells.get((camera, identity))
                if cell is None:
                    continue
                images, path_of_cell = cell.shape[-1], Path(f"cam{camera}", f"{identity:04d}")
                if draws.misfit(camera, identity, path_of_cell, images=images):
                    raise DatasetError(
                        f"'{path}' has an array of shape {cell.shape} for camera {camera}, "
                        f"identity {identity}, that is not 10 permutations; expected in each row "
                        f"the numbers from 1 to the number of images; {GET_SPLITS}."
                    )
                records += [
                    ImageRecord(path_of_cell / f"{number:04d}.jpg", identity, camera, modality)
                    for number in range(1, images + 1)
                ]
        missing = sorted(set(identities) - {record.identity for record in records})
        if missing:
            raise DatasetError(
                f"'{path}' has no permutations of the test identities {first_few(missing)}; "
                f"expected both files from one copy of the data set; {GET_SPLITS}."
            )
        return cls(tuple(records), draws)

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test images of all six cameras."""
        return self.records

    def permutations(self) -> Permutations:
        """Return the official gallery draws."""
        return self.draws


def read_official(stem: Path, records: Sequence[ImageRecord]) -> Features:
    """Read features of SYSU-MM01 in the official format.

    Args:
        stem: ``FOLDER/NAME``; only files of the records' cameras are read.
        records: All images of some identities in some cameras, sorted by name.

    Returns:
        Their features, float32.

    Raises:
        EvaluationError: A file is missing, damaged, in MATLAB's version 7.3 or in another format,
            or the number of features of an identity differs from its number of images.
    """
    images: dict[tuple[int, int], list[ImageRecord]] = {}
    for record in records:
        images.setdefault((record.camera, record.identity), []).append(record)
    identities = sorted({record.identity for record in records})
    values: list[NDArray[np.float32]] = []
    found: list[ImageRecord] = []
    for camera in sorted({record.camera for record in records}):
        path = stem.with_name(f"{stem.name}_cam{camera}.mat")
        cells = _read_cells(path)
        for identity in identities:
            here = images.get((camera, identity), [])
            rows = _rows(cells, identity, images=len(here), path=path)
            if not here:
                continue
            if values and rows.shape[1] != values[0].shape[1]:
                raise EvaluationError(
                    f"feature{{{identity}}} in '{path}' has {rows.shape[1]} numbers a row, those "
                    f"before it {values[0].shape[1]}; expected features of one network, of one "
                    "dimension"
                )
            values.append(rows)
            found += here
    return Features(np.concatenate(values), tuple(found))


def _read_cells(path: Path) -> list[NDArray[np.generic]]:
    """The cell array ``feature`` of one camera, cell by cell, whether it is a row or a column."""
    if not path.is_file():
        raise EvaluationError(
            f"'{path}' is not a file; expected the features of one camera in the official format "
            "of SYSU-MM01: pass FOLDER/NAME as --mat for files FOLDER/NAME_cam1.mat and so on"
        )
    try:
        cells = read_matlab(path, "feature")
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"'{path}' cannot be read as a MATLAB file ({error}); expected the cell array "
            f"'feature': {_SAVE}"
        ) from error
    if cells is None or cells.dtype != object:
        found = "nothing" if cells is None else f"an array of {cells.dtype}"
        raise EvaluationError(
            f"'{path}' contains {found} as 'feature'; expected a cell array with one matrix per "
            f"identity: {_SAVE}"
        )
    return list(cells.flat)


def _rows(
    cells: list[NDArray[np.generic]], identity: int, *, images: int, path: Path
) -> NDArray[np.float32]:
    """The features of one identity, ``[images, d]``; without images, any empty cell is valid."""
    cell = cells[identity - 1] if identity <= len(cells) else np.empty((0, 0))
    found = len(cell) if cell.size else 0
    if found != images or cell.ndim != 2 or cell.dtype.kind not in "fiu":
        raise EvaluationError(
            f"feature{{{identity}}} in '{path}' is of type {cell.dtype} and shape {cell.shape}; "
            f"expected {images} rows of numbers, one for each image that rand_perm_cam.mat draws "
            "from: encode all images of this identity and camera, sorted by name"
        )
    with np.errstate(over="ignore"):  # overflow to infinity is reported by name later
        return cell.astype(np.float32)
