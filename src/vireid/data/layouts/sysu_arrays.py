"""The training images of SYSU-MM01 as arrays, as AGW and code derived from it write them.

    root/train_rgb_resized_img.npy     uint8 [n, height, width, 3], usually 288 x 144
    root/train_rgb_resized_label.npy   one class index per image
    root/train_ir_resized_img.npy      the same of the infrared cameras
    root/train_ir_resized_label.npy

The arrays name neither cameras nor identities: the camera of every record is 0, and its identity is
the class index, from 0, in the order of the code that wrote it. They hold no test images; those are
read from the camera folders, if these are in the same folder.

Source: Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, TPAMI 2021;
https://github.com/mangye16/Cross-Modal-Re-ID-baseline (pre_process_sysu.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts._common import (
    Layout,
    Tally,
    attempt,
    in_order,
    refuse,
    require_folder,
)
from vireid.data.layouts.sysu_mm01 import CAMERAS, SysuMM01
from vireid.data.walk import Walk
from vireid.errors import DatasetError, first_few, many
from vireid.types import ImageRecord, Modality

__all__ = ["SysuArrays"]

_WRITE_AGAIN = "write the arrays again with the same pre_process_sysu.py"


class _Source(NamedTuple):
    """The arrays of one modality."""

    modality: Modality
    images: str
    labels: str


_SOURCES = (
    _Source(Modality.VISIBLE, "train_rgb_resized_img.npy", "train_rgb_resized_label.npy"),
    _Source(Modality.INFRARED, "train_ir_resized_img.npy", "train_ir_resized_label.npy"),
)


@dataclass(frozen=True)
class SysuArrays(Layout):
    """Arrays of SYSU-MM01's training images, and the camera folders for testing, if any.

    Attributes:
        root: The folder that holds the four arrays.

    Raises:
        DatasetError: If the folder is missing.
    """

    root: Path
    name = "sysu-mm01-npy"

    def __post_init__(self) -> None:
        require_folder(
            self.root,
            expected=f"the folder with {_SOURCES[0].images} and the other arrays",
            fix="pass the folder that pre_process_sysu.py wrote to as root",
        )

    @property
    def tree(self) -> SysuMM01:
        """The data set in the camera folders beside the arrays, for testing.

        Raises:
            DatasetError: If there are none, or they are not laid out as published.
        """
        if not self._has_tree():
            raise DatasetError(
                f"'{self.root}' has arrays of training images only; expected cam1 to cam6 and exp"
                " beside them for testing; unpack SYSU-MM01 there, or use the"
                " layout sysu-mm01 and its root."
            )
        return SysuMM01(self.root)

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images, by class index and row.

        A record's path is ``FILE.npy/ROW``, its camera 0 and its identity the class index.

        Raises:
            DatasetError: If an array is missing, damaged or of another form, or if images and
                labels differ in number.
        """
        labels, faults = self._read()
        refuse(faults)
        return in_order(
            ImageRecord(
                path=self.root / source.images / f"{row:06d}",
                identity=label,
                camera=0,
                modality=source.modality,
            )
            for source in _SOURCES
            for row, label in enumerate(labels[source.modality].tolist())
        )

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test images of the camera folders beside the arrays.

        Raises:
            DatasetError: As :attr:`tree`, and as :meth:`SysuMM01.test`.
        """
        return self.tree.test()

    def walk(self) -> Walk:
        """List every array of ``root``, and every file of the camera folders if there are any."""
        walked = self.tree.walk() if self._has_tree() else Walk()
        arrays = sorted(path for path in self.root.glob("*.npy") if path.is_file())
        walked.files = [*arrays, *walked.files]
        return walked

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with arrays and camera folders, one sentence each."""
        labels, faults = self._read()
        if len(labels) == len(_SOURCES):
            visible, infrared = (set(labels[modality].tolist()) for modality in Modality)
            if lonely := sorted(visible ^ infrared):
                faults.append(
                    f"'{self.root}' has {many(len(lonely), 'class index', 'class indices')}"
                    f" in one modality only: {first_few(lonely)}; expected every identity in both;"
                    f" {_WRITE_AGAIN}."
                )
        if self._has_tree():
            faults += attempt(faults, self._tree_problems) or ()
        return tuple(faults)

    def published(self) -> tuple[Tally, ...]:
        """Return the counts of the 395 training and validation identities."""
        return (
            Tally("train", Modality.VISIBLE, None, 395, 22_258),
            Tally("train", Modality.INFRARED, None, 395, 11_909),
        )

    def _tree_problems(self) -> tuple[str, ...]:
        return self.tree.problems()

    def _has_tree(self) -> bool:
        return any((self.root / f"cam{camera}").is_dir() for camera in CAMERAS)

    def _read(self) -> tuple[dict[Modality, NDArray[np.int64]], list[str]]:
        """Read the labels, int64 ``[n]`` a modality, and what is wrong with the arrays."""
        found: dict[Modality, NDArray[np.int64]] = {}
        faults: list[str] = []
        for source in _SOURCES:
            images, labels = self.root / source.images, self.root / source.labels
            rows = attempt(faults, partial(_count_images, images))
            classes = attempt(faults, partial(_read_labels, labels))
            if rows is None or classes is None:
                continue
            if rows != len(classes):
                faults.append(
                    f"'{images}' has {many(rows, 'image')}, but '{labels.name}'"
                    f" {many(len(classes), 'label')}; expected one label per image; {_WRITE_AGAIN}."
                )
                continue
            found[source.modality] = classes
        return found, faults


def _count_images(path: Path) -> int:
    """Return the number of images in an array."""
    array = _open(path)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not array.size:
        raise DatasetError(
            f"'{path}' holds {array.dtype} of shape {array.shape}; expected uint8 of shape (images,"
            f" height, width, 3); {_WRITE_AGAIN}."
        )
    return len(array)


def _read_labels(path: Path) -> NDArray[np.int64]:
    """Read the class index of each image, int64 ``[n]``."""
    array = _open(path)
    number = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if array.ndim != 1 or not number:
        raise DatasetError(
            f"'{path}' holds {array.dtype} of shape {array.shape}; expected one class index per"
            f" image, of shape (images,); {_WRITE_AGAIN}."
        )
    odd = array[~np.isfinite(array) | (array != np.trunc(array))]
    if len(odd):
        raise DatasetError(
            f"'{path}' holds the label {odd[0]}; expected integer class indices; {_WRITE_AGAIN}."
        )
    return array.astype(np.int64)


def _open(path: Path) -> NDArray[Any]:
    """Memory-map an array: this reads only its header, and never unpickles."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DatasetError(
            f"'{path}' does not exist; expected the four arrays that pre_process_sysu.py writes;"
            " pass the folder that holds them as root."
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"'{path}' cannot be read as an array ({error}); expected a complete .npy file of"
            f" numbers; copy it again, or {_WRITE_AGAIN}."
        ) from error
