"""Test protocols as plain data: which queries are searched in which galleries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from vireid.types import ImageRecord

__all__ = ["Protocol", "Trial", "relative_names"]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One draw of queries and gallery.

    Attributes:
        query: Indices into the protocol's records, int64 ``[q]``.
        gallery: Indices into the protocol's records, int64 ``[g]``.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Protocol:
    """A test protocol on one data set.

    Every image is listed once, so that its feature is extracted once whatever the number of
    trials; a trial is two lists of indices into that list.

    Attributes:
        name: Data set and setting, such as ``SYSU-MM01 all-search single-shot``.
        direction: ``query to gallery``, such as ``infrared to visible``.
        convention: How the galleries were drawn; results of different conventions are not
            comparable.
        cmc: Whether CMC counts identities or images (see :mod:`vireid.evaluation.metrics`).
        records: All images of the protocol, each once.
        trials: The draws.
        excluded_cameras: Pairs (query camera, gallery camera) never compared.
        excludes_own_camera: Whether the query's own identity, seen by the query's own camera, is
            removed from its list.
        identities: Identity of each record, int64 ``[records]``.
        cameras: Camera of each record, int64 ``[records]``.
    """

    name: str
    direction: str
    convention: str
    cmc: Literal["identity", "image"]
    records: tuple[ImageRecord, ...]
    trials: tuple[Trial, ...]
    excluded_cameras: tuple[tuple[int, int], ...] = ()
    excludes_own_camera: bool = False
    identities: NDArray[np.int64] = field(init=False, repr=False)
    cameras: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, numbers in (
            ("identities", [record.identity for record in self.records]),
            ("cameras", [record.camera for record in self.records]),
        ):
            object.__setattr__(self, name, np.array(numbers, dtype=np.int64))

    @classmethod
    def of(
        cls,
        draws: Sequence[tuple[Sequence[ImageRecord], Sequence[ImageRecord]]],
        *,
        name: str,
        direction: str,
        convention: str,
        cmc: Literal["identity", "image"],
        excluded_cameras: tuple[tuple[int, int], ...] = (),
        excludes_own_camera: bool = False,
    ) -> Self:
        """The protocol with these draws, each (query, gallery); records are sorted."""
        records = tuple(sorted({record for draw in draws for side in draw for record in side}))
        number = {record: i for i, record in enumerate(records)}

        def indices(side: Sequence[ImageRecord]) -> NDArray[np.int64]:
            return np.array(sorted(number[record] for record in side), dtype=np.int64)

        return cls(
            name=name,
            direction=direction,
            convention=convention,
            cmc=cmc,
            records=records,
            trials=tuple(Trial(indices(query), indices(gallery)) for query, gallery in draws),
            excluded_cameras=excluded_cameras,
            excludes_own_camera=excludes_own_camera,
        )

    def excluded(
        self, query: NDArray[np.int64], gallery: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Which images are removed from which query's list.

        Args:
            query: Indices into the records, ``[q]``.
            gallery: Indices into the records, ``[g]``.

        Returns:
            Bool ``[q, g]``, or None where the protocol removes nothing.
        """
        if not self.excluded_cameras and not self.excludes_own_camera:
            return None
        query_cameras, gallery_cameras = self.cameras[query][:, None], self.cameras[gallery]
        mask = np.zeros((len(query), len(gallery)), dtype=np.bool_)
        for first, second in self.excluded_cameras:
            mask |= (query_cameras == first) & (gallery_cameras == second)
        if self.excludes_own_camera:
            same = self.identities[query][:, None] == self.identities[gallery]
            mask |= same & (query_cameras == gallery_cameras)
        return mask


def relative_names(records: Sequence[ImageRecord]) -> list[str]:
    r"""File names relative to the common folder of all images.

    Bytes that are not UTF-8 are escaped (``\xff``), so that any text file can hold the names.
    """
    root = Path(os.path.commonpath([record.path.parent for record in records]))
    below = (record.path.relative_to(root).as_posix() for record in records)
    return [
        name.encode(errors="surrogateescape").decode(errors="backslashreplace") for name in below
    ]
