"""What a gallery needs of a store: a short list of operations that any vector database can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vireid.gallery.entry import Filters, Hit
from vireid.types import IndexedImage, ModelInfo

__all__ = ["EF_CONSTRUCT", "EF_SEARCH", "LINKS", "OVERSAMPLING", "PAGE", "Field", "Store"]

LINKS = 16
"""Links of a feature in the graph index (HNSW's m)."""

EF_CONSTRUCT = 128
"""Candidates that are weighed for a feature's links when the graph is built."""

EF_SEARCH = 128
"""Candidates that a search by the graph keeps."""

OVERSAMPLING = 3.0
"""Where a server's features are quantised, so many times as many candidates as are wanted are
compared again by their float32 features."""

PAGE = 256
"""Rows that are fetched at once when walking over a store."""

Field = Literal["camera", "modality", "identity"]
"""What entries are counted by."""


class Store(Protocol):
    """Rows by id, nearest ones first; every change is durable when its call returns.

    Every method raises :class:`~vireid.errors.GalleryError` where the store is damaged, is held by
    another process for too long, or (a server) does not answer.
    """

    @property
    def model(self) -> ModelInfo:
        """The network whose features it holds."""
        ...

    @property
    def notes(self) -> Mapping[str, str]:
        """Texts kept beside the rows, by name, such as the calibration."""
        ...

    @property
    def size(self) -> int:
        """About how many rows there are; a server's answer may be some seconds old."""
        ...

    def save_note(self, name: str, text: str) -> None:
        """Keep a text beside the rows, or drop it if it is empty."""
        ...

    def insert(self, rows: Sequence[IndexedImage]) -> int:
        """Add rows whose id is not there yet, and leave the others as they are.

        Returns:
            How many are new.
        """
        ...

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids are there."""
        ...

    def search(
        self,
        features: NDArray[np.float32],
        *,
        filters: Sequence[Filters],
        limit: int,
        exact: bool,
        with_features: bool,
    ) -> list[list[Hit]]:
        """The nearest entries to each of several queries.

        Args:
            features: Unit features, float32 ``[q, d]``.
            filters: The rows searched by each query, ``q`` filters.
            limit: Maximum number of hits per query.
            exact: Compare with every row instead of using the graph index, if there is one.
            with_features: Return the features of the hits.

        Returns:
            For each query its hits, best first; entries of equal score in the order of their ids.
        """
        ...

    def rows(
        self, filters: Filters, *, features: bool = True, thumbnails: bool = True
    ) -> Iterator[IndexedImage]:
        """Walk over entries in the order of their ids, in bounded memory.

        Args:
            filters: Which entries.
            features: Bring the features; where not, they are arrays of length 0.
            thumbnails: Bring the thumbnails.
        """
        ...

    def thumbnail(self, id: str) -> bytes:
        """The thumbnail of an entry, a JPEG; empty where there is no such entry."""
        ...

    def count(self, filters: Filters) -> int:
        """How many entries there are."""
        ...

    def count_by(self, field: Field, filters: Filters) -> dict[str, int]:
        """The values of a field and how many entries have each, in the order of the values."""
        ...

    def delete(self, filters: Filters) -> int:
        """Delete entries, so that nothing of them is left in the store's files.

        Returns:
            How many there were.
        """
        ...

    def index(self) -> None:
        """Build the graph index, which makes inexact search of a large store fast."""
        ...

    def count_lost(self) -> int:
        """How many rows have been lost by damage, as far as the store can tell."""
        ...

    def find_bytes(self, parts: Sequence[bytes]) -> dict[bytes, list[str]] | None:
        """In which of its files some bytes are found, by those that are found at all.

        Returns:
            None where the files cannot be looked into, as those of a server.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; the store cannot be used again."""
        ...
