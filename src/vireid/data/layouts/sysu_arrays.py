"""The training images of SYSU-MM01 as arrays, as AGW and the code that grew from it write them.

    root/train_rgb_resized_img.npy     uint8 [n, height, width, 3], usually 288 x 144
    root/train_rgb_resized_label.npy   one class number an image
    root/train_ir_resized_img.npy      the same of the infrared cameras
    root/train_ir_resized_label.npy

The arrays tell neither camera nor identity: the camera of every record is 0, and its identity is
the class number, from 0, in an order that the code that wrote it chose. They hold no test images;
those are read from the camera folders, where these lie beside the arrays.

Source: Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, TPAMI 2021;
https://github.com/mangye16/Cross-Modal-Re-ID-baseline (pre_process_sysu.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts._common import (
    Tally,
    counts,
    in_order,
    refuse,
    require_folder,
)
from vireid.data.layouts.sysu_mm01 import CAMERAS, SysuMM01
from vireid.errors import DatasetError, first_few
from vireid.types import ImageRecord, Modality

__all__ = ["SysuArrays"]

_T = TypeVar("_T")
_WRITE_AGAIN = "write the arrays again with the pre_process_sysu.py that they came from"


class _Source(NamedTuple):
    """Where one modality lies."""

    modality: Modality
    images: str
    labels: str


_SOURCES = (
    _Source(Modality.VISIBLE, "train_rgb_resized_img.npy", "train_rgb_resized_label.npy"),
    _Source(Modality.INFRARED, "train_ir_resized_img.npy", "train_ir_resized_label.npy"),
)


@dataclass(frozen=True, slots=True)
class SysuArrays:
    """Arrays of SYSU-MM01's training images, and the camera folders for testing if there are any.

    Attributes:
        root: The folder that holds the four arrays.

    Raises:
        DatasetError: If the folder is missing.
    """

    root: Path
    name: str = field(default="sysu-mm01-npy", init=False)

    def __post_init__(self) -> None:
        require_folder(
            self.root,
            expected=f"the folder with {_SOURCES[0].images} and its companions",
            mend="pass the folder that pre_process_sysu.py wrote to as root (--root)",
        )

    @property
    def tree(self) -> SysuMM01:
        """The data set in the camera folders beside the arrays; tests are on its images.

        Raises:
            DatasetError: If there are none, or they are not laid out as published.
        """
        if not self._has_tree():
            raise DatasetError(
                f"'{self.root}' has arrays of training images only; expected cam1 to cam6 and exp"
                " beside them to test on; unpack SYSU-MM01 there, or evaluate with"
                " --layout sysu-mm01 and its folder as root (--root)."
            )
        return SysuMM01(self.root)

    def train(self) -> tuple[ImageRecord, ...]:
        """Return the training images, by class number and row.

        A record's path is ``FILE.npy/ROW``, its camera 0 and its identity the class number.

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

    def val(self) -> tuple[ImageRecord, ...]:
        """Return nothing: class numbers do not tell the validation identities."""
        return ()

    def test(self) -> tuple[ImageRecord, ...]:
        """Return the test images of the camera folders beside the arrays.

        Raises:
            DatasetError: As :attr:`tree`, and as :meth:`SysuMM01.test`.
        """
        return self.tree.test()

    def summary(self) -> str:
        """Return the counts of both splits in one paragraph.

        Raises:
            DatasetError: As :meth:`train`; as :meth:`test` if camera folders are there.
        """
        test = counts(self.test()) if self._has_tree() else "nothing, as there is no cam1 to cam6"
        return (
            f"SYSU-MM01 as arrays at '{self.root}': to train on, {counts(self.train())} (identities"
            f" are class numbers); to test on, {test}."
        )

    def files(self) -> Iterator[Path]:
        """Yield every array of ``root``, and every file of the camera folders if there are any."""
        yield from sorted(path for path in self.root.glob("*.npy") if path.is_file())
        if self._has_tree():
            yield from self.tree.files()

    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong with arrays and camera folders, one sentence each."""
        labels, faults = self._read()
        if len(labels) == len(_SOURCES):
            visible, infrared = (set(labels[modality].tolist()) for modality in Modality)
            if lonely := sorted(visible ^ infrared):
                faults.append(
                    f"'{self.root}' has {len(lonely)} class numbers in one modality only:"
                    f" {first_few(lonely)}; expected every identity in both; {_WRITE_AGAIN}."
                )
        if self._has_tree():
            try:
                faults += self.tree.problems()
            except DatasetError as error:
                faults.append(str(error))
        return tuple(faults)

    def published(self) -> tuple[Tally, ...]:
        """Return the counts of the 395 training and validation identities."""
        return (
            Tally("train", Modality.VISIBLE, None, 395, 22_258),
            Tally("train", Modality.INFRARED, None, 395, 11_909),
        )

    def _has_tree(self) -> bool:
        return any((self.root / f"cam{camera}").is_dir() for camera in CAMERAS)

    def _read(self) -> tuple[dict[Modality, NDArray[np.int64]], list[str]]:
        """Read the labels, int64 ``[n]`` a modality, and what is wrong with the arrays."""
        found: dict[Modality, NDArray[np.int64]] = {}
        faults: list[str] = []
        for source in _SOURCES:
            images, labels = self.root / source.images, self.root / source.labels
            rows = _attempt(_count_images, images, faults)
            classes = _attempt(_read_labels, labels, faults)
            if rows is None or classes is None:
                continue
            if rows != len(classes):
                faults.append(
                    f"'{images}' has {rows:,} images, but '{labels.name}' {len(classes):,} labels;"
                    f" expected one label an image; {_WRITE_AGAIN}."
                )
                continue
            found[source.modality] = classes
        return found, faults


def _attempt(read: Callable[[Path], _T], path: Path, faults: list[str]) -> _T | None:
    """Read a file, or note why it cannot be read."""
    try:
        return read(path)
    except DatasetError as error:
        faults.append(str(error))
        return None


def _count_images(path: Path) -> int:
    """Return how many images an array has."""
    array = _open(path)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not array.size:
        raise DatasetError(
            f"'{path}' holds {array.dtype} of shape {array.shape}; expected uint8 of shape (images,"
            f" height, width, 3); {_WRITE_AGAIN}."
        )
    return len(array)


def _read_labels(path: Path) -> NDArray[np.int64]:
    """Return the class number of each image, int64 ``[n]``."""
    array = _open(path)
    number = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if array.ndim != 1 or not number:
        raise DatasetError(
            f"'{path}' holds {array.dtype} of shape {array.shape}; expected one class number an"
            f" image, of shape (images,); {_WRITE_AGAIN}."
        )
    odd = array[~np.isfinite(array) | (array != np.trunc(array))]
    if len(odd):
        raise DatasetError(
            f"'{path}' holds the label {odd[0]}; expected whole class numbers; {_WRITE_AGAIN}."
        )
    return array.astype(np.int64)


def _open(path: Path) -> NDArray[Any]:
    """Map an array into memory, which reads its header only and never unpickles."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DatasetError(
            f"'{path}' does not exist; expected the four arrays that pre_process_sysu.py writes;"
            " pass the folder that holds them as root (--root)."
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"'{path}' cannot be read as an array ({error}); expected a whole .npy file of numbers;"
            f" copy it again, or {_WRITE_AGAIN}."
        ) from error
