"""The base class of both stores: rows by id, nearest-neighbour search and counts.

Both are engines of Qdrant. What differs between them is abstract here, such as the requests for
points; what they share is reading rows, and results in a reproducible order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.errors import GalleryError
from vireid.gallery._payload import Lookup, info_of, is_id, row_of, thumbnail_of
from vireid.gallery.filters import Filters, Hit
from vireid.types import IndexedImage, ModelInfo

__all__ = ["EF_CONSTRUCT", "EF_SEARCH", "LINKS", "OVERSAMPLING", "PAGE", "Field", "Query", "Store"]

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

Field = Literal["camera", "modality", "identity", "tracklet", "tracklet_key"]
"""A field by which entries are counted."""

FACETS = 1_000
"""Values of a field that are requested at first."""


class Query(NamedTuple):
    """One nearest-neighbour query of a batch: a unit feature, float32 ``[d]``, and filters."""

    feature: NDArray[np.float32]
    filters: Filters


class Store(ABC):
    """Rows by id, and nearest-neighbour search; changes are durable when their call returns.

    Every method raises :class:`~vireid.errors.GalleryError` if the store is damaged, is locked by
    another process for too long, or (a server) does not answer.

    Attributes:
        model: The network of the features.
        cases_folder: Where the files of cases are, which may not exist yet; None of a server.
    """

    model: ModelInfo
    cases_folder: Path | None = None

    @property
    @abstractmethod
    def notes(self) -> Mapping[str, str]:
        """Texts stored with the rows, by name, such as the calibration."""

    @property
    @abstractmethod
    def size(self) -> int:
        """About how many rows there are; a server's answer may be some seconds old."""

    @abstractmethod
    def save_note(self, name: str, text: str) -> None:
        """Store a text with the rows; delete it if it is empty."""

    def turn(self) -> AbstractContextManager[None]:
        """Let no other process change the rows within a block; blocks may be nested."""
        return nullcontext()

    @abstractmethod
    def insert(self, rows: Sequence[IndexedImage]) -> int:
        """Add the rows whose id does not exist yet, and leave the others unchanged.

        Returns:
            The number of new rows.
        """

    @abstractmethod
    def replace(self, rows: Sequence[IndexedImage]) -> None:
        """Write rows over those of the same ids, and remove the former bytes from the files."""

    @abstractmethod
    def count(self, filters: Filters) -> int:
        """The number of rows."""

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows, and their bytes from the store's files."""

    @abstractmethod
    def close(self) -> None:
        """Close files and connections; the store cannot be used again."""

    @abstractmethod
    def index(self) -> None:
        """Build the graph index for approximate search, unless the store does so by itself."""

    def count_lost(self) -> int:
        """The number of rows lost to damaged files, as far as the store can tell."""
        return 0

    def find_bytes(self, parts: Sequence[bytes]) -> dict[bytes, list[str]] | None:
        """The files of the store that contain some byte strings, by those found at all.

        Returns:
            None if the files are not accessible, such as those of a server.
        """
        return None

    @abstractmethod
    def _query(
        self, queries: Sequence[Query], limit: int, *, exact: bool, with_features: bool
    ) -> Iterable[Sequence[Any]]:
        """The ``limit`` nearest points to each query, best first, without thumbnails."""

    @abstractmethod
    def _scroll(
        self, filters: Filters | Lookup, offset: Any, *, features: bool, thumbnails: bool
    ) -> tuple[Iterable[Any], Any]:
        """A page of points in the order of their ids, and the offset of the next page or None."""

    @abstractmethod
    def _retrieve(self, ids: Sequence[str], *, payload: bool) -> Sequence[Any]:
        """Points by their ids, without vectors."""

    @abstractmethod
    def _facet(self, field: Field, filters: Filters, limit: int) -> Iterable[Any]:
        """The ``limit`` most frequent values of a field, with their counts."""

    def search(
        self,
        features: NDArray[np.float32],
        *,
        filters: Sequence[Filters],
        limit: int,
        exact: bool,
        with_features: bool,
    ) -> list[list[Hit]]:
        """The rows nearest to each query, in one request.

        Args:
            features: Unit features, float32 ``[q, d]``.
            filters: The rows searched by each query, ``q`` filters.
            limit: Maximum number of hits per query.
            exact: Compare with every row instead of using the graph index, if there is one.
            with_features: Return the features of the hits.

        Returns:
            For each query its hits, best first; rows of equal score in the order of their ids.
        """
        queries = [Query(*query) for query in zip(features, filters, strict=True)]
        hits: list[list[Hit]] = [[] for _ in queries]
        pending: Sequence[int] = range(len(queries))
        # An engine cuts its list anywhere among points of equal score. One more point shows whether
        # it did; if so, the query is repeated with a higher limit.
        requested = limit + 1
        while pending:
            tied: list[int] = []
            batch = [queries[query] for query in pending]
            answers = self._query(batch, requested, exact=exact, with_features=with_features)
            for query, points in zip(pending, answers, strict=True):
                if len(points) == requested and _score(points[limit - 1]) == _score(points[-1]):
                    tied.append(query)
                    continue
                best = sorted(points, key=lambda point: (-_score(point), str(point.id)))[:limit]
                hits[query] = [_hit(point, with_feature=with_features) for point in best]
            pending, requested = tied, 4 * requested
        return hits

    def rows(
        self, filters: Filters, *, features: bool = True, thumbnails: bool = True
    ) -> Iterator[IndexedImage]:
        """Iterate over rows in the order of their ids, in bounded memory.

        Args:
            filters: The rows.
            features: Return the features; otherwise they are arrays of length 0.
            thumbnails: Return the thumbnails; otherwise they are empty.
        """
        for record in self._records(filters, features=features, thumbnails=thumbnails):
            yield row_of(str(record.id), record.payload, record.vector if features else [])

    def select(self, filters: Filters) -> tuple[set[str], list[str]]:
        """Compare the values of the rows themselves with filters, without the filter indexes.

        Returns:
            The ids of the rows that match, and a sentence for each row that cannot be read and may
            match too.
        """
        if filters.only_ids:
            ids = [id for id in filters.ids if is_id(id)]
            return self.existing(ids) - set(filters.without_ids), []
        found, faults = set[str](), list[str]()
        for record in self._records(Filters(ids=filters.ids)):
            try:
                if filters.match(info_of(str(record.id), record.payload)):
                    found.add(str(record.id))
            except GalleryError as error:
                faults.append(str(error))
        return found, faults

    def indexed(self, lookup: Filters | Lookup) -> set[str]:
        """The ids of the rows that match by the filter indexes."""
        return {str(record.id) for record in self._records(lookup)}

    def _records(
        self, filters: Filters | Lookup, *, features: bool = False, thumbnails: bool = False
    ) -> Iterator[Any]:
        """Points in the order of their ids, page by page."""
        offset = None
        while True:
            page, offset = self._scroll(filters, offset, features=features, thumbnails=thumbnails)
            yield from page
            if offset is None:
                return

    def existing(self, ids: Sequence[str]) -> set[str]:
        """The ids that exist."""
        return {str(record.id) for record in self._retrieve(ids, payload=False)}

    def thumbnail(self, id: str) -> bytes:
        """The thumbnail of a row, a JPEG; empty if there is no such row."""
        found = self._retrieve([id], payload=True)
        return thumbnail_of(id, found[0].payload) if found else b""

    def count_by(self, field: Field, filters: Filters) -> dict[str, int]:
        """The values of a field and the number of rows with each, sorted by value."""
        limit = FACETS
        while True:
            counts = {str(hit.value): hit.count for hit in self._facet(field, filters, limit)}
            if len(counts) < limit:
                return dict(sorted(counts.items()))
            limit *= 10


def _score(point: Any) -> float:
    """The cosine; rounding takes a dot product of unit vectors slightly beyond 1."""
    return min(1.0, max(-1.0, float(point.score)))


def _hit(point: Any, *, with_feature: bool) -> Hit:
    if not with_feature:
        return Hit(info_of(str(point.id), point.payload), _score(point))
    row = row_of(str(point.id), point.payload, point.vector)
    return Hit(row.info, _score(point), row.feature)
