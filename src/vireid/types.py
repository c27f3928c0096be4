"""The data types that all packages share."""

from __future__ import annotations

import json
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.times import in_utc

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CrossModalBatch",
    "Device",
    "Features",
    "ImageInfo",
    "ImageRecord",
    "IndexedImage",
    "Modality",
    "ModelInfo",
    "Role",
    "id_of",
]


Device = Literal["auto", "cpu", "cuda"]
"""Where a network runs; auto selects a GPU if there is one."""


Role = Literal["person", "junk", "distractor"]
"""What an image counts as in evaluation, as in Market-1501 (Zheng et al., ICCV 2015): junk is
ignored, a distractor remains in the gallery and matches no query."""


class Modality(StrEnum):
    """The modality of an image; near-infrared and thermal are both ``INFRARED``."""

    VISIBLE = "visible"
    INFRARED = "infrared"

    @property
    def other(self) -> Modality:
        """The opposite modality."""
        return Modality.INFRARED if self is Modality.VISIBLE else Modality.VISIBLE


@dataclass(frozen=True, slots=True, order=True)
class ImageRecord:
    """A labelled image of a data set: one person, with the labels as numbers.

    Attributes:
        path: The image file; ``FILE.npy/ROW`` is one image of an array of images, ``images[3]`` an
            image that a caller handed over in memory.
        identity: The person's number in the data set (not a class index); -1 if unknown.
        camera: The camera's number in the data set, from 1; 0 if unknown.
        modality: The camera's modality.
        time: When it was taken; None if unknown. Ignored by equality and order.
        identity_name: The person as the data set writes it, for messages and reports; the number
            by default. Ignored by equality and order.
        camera_name: The camera likewise; empty if unknown.
        role: What it counts as in evaluation.
    """

    path: Path
    identity: int
    camera: int
    modality: Modality
    time: datetime | None = field(default=None, compare=False)
    identity_name: str = field(default="", compare=False)
    camera_name: str = field(default="", compare=False)
    role: Role = "person"

    def __post_init__(self) -> None:
        if not self.identity_name:
            object.__setattr__(self, "identity_name", str(self.identity))
        if self.camera and not self.camera_name:
            object.__setattr__(self, "camera_name", str(self.camera))


def id_of(sha256: str) -> str:
    """The id of an image: a UUID made of the first half of the SHA-256 of its file's bytes.

    The same bytes have the same id, so adding an image to a gallery twice changes nothing.

    Args:
        sha256: The SHA-256, 64 hexadecimal digits.
    """
    return str(uuid.UUID(hex=sha256[:32]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What is known of an unlabelled image; times are kept in UTC, and are UTC without a zone.

    Texts are kept in the Unicode form NFC, so that "ë" is one letter however it was typed.

    Attributes:
        path: The image file: absolute once its feature is extracted; of an upload, its name alone.
        modality: Its modality; None until it is given or guessed.
        guessed: Whether the modality was guessed from the image; galleries do not store this.
        camera: The camera, free text; empty if unknown.
        identity: The person, free text; empty if unknown.
        time: When it was taken; None if unknown.
        tracklet: Name of the tracklet, the images of one person in one passage of a camera, unique
            within the camera; empty if unknown.
        note: Free text.
        sha256: SHA-256 of the file's bytes in hexadecimal; empty until the file is read.
        added: When it was added to a gallery; None before that.
    """

    path: Path
    modality: Modality | None = None
    guessed: bool = False
    camera: str = ""
    identity: str = ""
    time: datetime | None = None
    tracklet: str = ""
    note: str = ""
    sha256: str = ""
    added: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("time", "added"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is not UTC:
                object.__setattr__(self, name, in_utc(time))
        for name in ("camera", "identity", "tracklet", "note"):
            text = getattr(self, name)
            if not text.isascii():
                object.__setattr__(self, name, unicodedata.normalize("NFC", text))

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def file(self) -> Path | None:
        """The image file; None for an upload."""
        return self.path if self.path.is_absolute() else None

    @property
    def id(self) -> str:
        """Its id in galleries."""
        return id_of(self.sha256)

    @property
    def tracklet_key(self) -> str:
        """Its camera and tracklet as JSON, unique in a gallery; empty without a tracklet."""
        return json.dumps([self.camera, self.tracklet]) if self.tracklet else ""

    @property
    def retained_since(self) -> datetime | None:
        """Retention counts from here: when it was taken or added, whichever came first."""
        return min((time for time in (self.time, self.added) if time), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class IndexedImage:
    """An image with its feature: a row of a gallery or of a feature file.

    Attributes:
        info: What is known of the image.
        feature: Unit feature, float32 ``[d]``.
        thumbnail: A small JPEG of the image; may be empty.
    """

    info: ImageInfo
    feature: NDArray[np.float32]
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that features were extracted with.

    Attributes:
        fingerprint: Short hash of its weights.
        dimension: d, the length of a feature.
        about: Its description as text by name, such as its recipe.
    """

    fingerprint: str
    dimension: int
    about: Mapping[str, str] = field(default_factory=dict)


class CrossModalBatch(NamedTuple):
    """One training batch: the same identities in both modalities.

    In a distributed run of s processes (otherwise s is 1) each has its part of the images and the
    labels of all: losses are those of the global batch, see :mod:`vireid.distributed.gather`.

    Attributes:
        visible: Visible images, float ``[n_v, 3, H, W]``, normalised by ImageNet statistics.
        infrared: Infrared images, float ``[n_t, 3, H, W]``, one channel repeated, normalised.
        visible_labels: Class indices of the visible images of all processes, by rank, int64
            ``[s·n_v]``, in [0, classes).
        infrared_labels: Class indices of the infrared images of all, int64 ``[s·n_t]``.
        names: The files of this process's images, visible ones first, for messages.
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
        standardisation: What standardised them; results print it.
    """

    values: NDArray[np.float32]
    records: tuple[ImageRecord, ...]
    augmentation: str = "none"
    standardisation: str = "none"

    @property
    def identities(self) -> NDArray[np.int64]:
        """Identity of each row, int64 ``[n]``."""
        return np.array([r.identity for r in self.records], dtype=np.int64)

    @property
    def cameras(self) -> NDArray[np.int64]:
        """Camera of each row, int64 ``[n]``."""
        return np.array([r.camera for r in self.records], dtype=np.int64)
