"""The nouns that every room of vireid shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CrossModalBatch", "Features", "ImageRecord", "Modality"]


class Modality(StrEnum):
    """What kind of light a camera sees; near-infrared and thermal are both ``INFRARED``."""

    VISIBLE = "visible"
    INFRARED = "infrared"

    @property
    def other(self) -> Modality:
        """The opposite modality."""
        return Modality.INFRARED if self is Modality.VISIBLE else Modality.VISIBLE


@dataclass(frozen=True, slots=True, order=True)
class ImageRecord:
    """One image of one person: where it lies and what is known of it.

    Attributes:
        path: The image file; ``FILE.npy/ROW`` is one image of an array of images.
        identity: The person's number as the data set writes it (not a class index).
        camera: The camera's number as the data set writes it, from 1; 0 where it does not say.
        modality: The light the camera sees.
        time: When it was taken, where the data set says; plays no part in equality and order.
    """

    path: Path
    identity: int
    camera: int
    modality: Modality
    time: datetime | None = field(default=None, compare=False)


class CrossModalBatch(NamedTuple):
    """One training batch: the same identities in both modalities.

    Of several processes (s, otherwise 1) each has a part of the images and the labels of all: the
    losses are those of the whole batch, which :func:`vireid.distributed.gather` puts together.

    Attributes:
        visible: Visible images, float ``[n_v, 3, H, W]``, normalised by ImageNet statistics.
        infrared: Infrared images, float ``[n_t, 3, H, W]``, one channel repeated, normalised.
        visible_labels: Class indices of the visible images of all processes, by rank, int64
            ``[s·n_v]``, in [0, classes).
        infrared_labels: Class indices of the infrared images of all, int64 ``[s·n_t]``.
        names: The files of this process's images, visible ones first; for messages only.
    """

    visible: Tensor
    infrared: Tensor
    visible_labels: Tensor
    infrared_labels: Tensor
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Features:
    """Features of images, row for row.

    Attributes:
        values: Unit-norm features, float32 ``[n, d]``; similarity is the dot product.
        records: The ``n`` images, in the order of the rows.
        augmentation: Test-time augmentation they were made with; results print it.
    """

    values: NDArray[np.float32]
    records: tuple[ImageRecord, ...]
    augmentation: str = "none"

    @property
    def identities(self) -> NDArray[np.int64]:
        """Identity of each row, int64 ``[n]``."""
        return np.array([r.identity for r in self.records], dtype=np.int64)

    @property
    def cameras(self) -> NDArray[np.int64]:
        """Camera of each row, int64 ``[n]``."""
        return np.array([r.camera for r in self.records], dtype=np.int64)
