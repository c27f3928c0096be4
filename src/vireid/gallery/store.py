"""The interface of a store: operations that any vector database can implement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vireid.gallery.entry import Filters, Hit
from vireid.types import IndexedImage, ModelInfo

__all__ = ["EF_CONSTRUCT", "EF_SEARCH", "LINKS", "OVERSAMPLING", "PAGE", "Field", "Store"]

LINKS = 16
"""Links per feature in the graph index (m of HNSW)."""

EF_CONSTRUCT = 128
"""Candidates considered for a feature's links when the graph is built (ef_construct)."""

EF_SEARCH = 128
"""Candidates kept in a search with the graph (ef)."""

OVERSAMPLING = 3.0
"""On a server with quantised features, candidates rescored with float32 features, as a multiple of
the hits requested."""

PAGE = 256
"""Rows per request when iterating over a store."""

Field = Literal["camera", "modality", "identity"]
"""A field by which entries are counted."""


class Store(Protocol):
    """Rows by id, and nearest-neighbour search; changes are durable when their call returns.

    Every method raises :class:`~vireid.errors.GalleryError` where the store is damaged, is held by
    another process for too long, or (a server) does not answer.
    """

    @property
    def model(self) -> ModelInfo:
        """The network whose features it holds."""
        ...

    @property
    def notes(self) -> Mapping[str, str]:
        """Texts stored with the rows, by name, such as the calibration."""
        ...

    @property
    def size(self) -> int:
        """About how many rows there are; a server's answer may be some seconds old."""
        ...

    def save_note(self, name: str, text: str) -> None:
        """Store a text with the rows; delete it if it is empty."""
        ...

    def insert(self, rows: Sequence[IndexedImage]) -> int:
        """Add the rows whose id does not exist yet, and leave the others unchanged.

        Returns:
            The number of new rows.
        """
        ...

    def existing(self, ids: Sequence[str]) -> set[str]:
        """The ids that exist."""
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
        """The rows nearest to each query.

        Args:
            features: Unit features, float32 ``[q, d]``.
            filters: The rows searched by each query, ``q`` filters.
            limit: Maximum number of hits per query.
            exact: Compare with every row instead of using the graph index, if there is one.
            with_features: Return the features of the hits.

        Returns:
            For each query its hits, best first; rows of equal score in the order of their ids.
        """
        ...

    def rows(
        self, filters: Filters, *, features: bool = True, thumbnails: bool = True
    ) -> Iterator[IndexedImage]:
        """Iterate over rows in the order of their ids, in bounded memory.

        Args:
            filters: The rows.
            features: Return the features; otherwise they are arrays of length 0.
            thumbnails: Return the thumbnails; otherwise they are empty.
        """
        ...

    def thumbnail(self, id: str) -> bytes:
        """The thumbnail of a row, a JPEG; empty if there is no such row."""
        ...

    def count(self, filters: Filters) -> int:
        """The number of rows."""
        ...

    def count_by(self, field: Field, filters: Filters) -> dict[str, int]:
        """The values of a field and the number of rows with each, sorted by value."""
        ...

    def delete(self, filters: Filters) -> int:
        """Delete rows, and their bytes from the store's files.

        Returns:
            The number of deleted rows.
        """
        ...

    def index(self) -> None:
        """Build the graph index for approximate search of a large store."""
        ...

    def count_lost(self) -> int:
        """The number of rows lost to damaged files, as far as the store can tell."""
        ...

    def find_bytes(self, parts: Sequence[bytes]) -> dict[bytes, list[str]] | None:
        """The files of the store that contain some byte strings, by those found at all.

        Returns:
            None if the files are not accessible, such as those of a server.
        """
        ...

    def close(self) -> None:
        """Close files and connections; the store cannot be used again."""
        ...
