"""What both Qdrant engines share: reading rows, and results in a reproducible order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vireid.gallery._payload import info_of, row_of, thumbnail_of
from vireid.gallery.entry import Filters, Hit
from vireid.gallery.store import Field
from vireid.types import IndexedImage

__all__ = ["Point", "PointStore", "Query"]

FACETS = 1_000
"""Values of a field that are requested at first."""


class Query(NamedTuple):
    """One nearest-neighbour query of a batch: a unit feature, float32 ``[d]``, and filters."""

    feature: NDArray[np.float32]
    filters: Filters


class Point(NamedTuple):
    """A point of an engine; the vector is a list, or None where it was not requested."""

    id: str
    payload: Any
    vector: Any
    score: float = 0.0

    @classmethod
    def of(cls, point: Any) -> Point:
        """A record or scored point of either engine."""
        return cls(str(point.id), point.payload, point.vector, getattr(point, "score", 0.0))


class PointStore(ABC):
    """The reading half of a :class:`~vireid.gallery.store.Store`, by four requests to an engine."""

    @abstractmethod
    def _query(
        self, queries: Sequence[Query], limit: int, *, exact: bool, with_features: bool
    ) -> list[list[Point]]:
        """The ``limit`` nearest points to each query, best first, without thumbnails."""

    @abstractmethod
    def _scroll(
        self, filters: Filters, offset: Any, *, features: bool, thumbnails: bool
    ) -> tuple[Iterable[Any], Any]:
        """A page of points in the order of their ids, and the offset of the next page or None."""

    @abstractmethod
    def _retrieve(self, ids: Sequence[str], *, payload: bool) -> list[Point]:
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
        """The rows nearest to each query, in one request; see :class:`Store`."""
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
            for query, answer in zip(pending, answers, strict=True):
                # Rounding takes a dot product of unit vectors slightly beyond 1.
                points = [p._replace(score=min(1.0, max(-1.0, p.score))) for p in answer]
                if len(points) == requested and points[limit - 1].score == points[-1].score:
                    tied.append(query)
                    continue
                points.sort(key=lambda point: (-point.score, point.id))
                hits[query] = [_hit(p, with_feature=with_features) for p in points[:limit]]
            pending, requested = tied, 4 * requested
        return hits

    def rows(
        self, filters: Filters, *, features: bool = True, thumbnails: bool = True
    ) -> Iterator[IndexedImage]:
        """Iterate over rows in the order of their ids, page by page."""
        offset = None
        while True:
            page, offset = self._scroll(filters, offset, features=features, thumbnails=thumbnails)
            for record in page:
                yield row_of(str(record.id), record.payload, record.vector if features else [])
            if offset is None:
                return

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


def _hit(point: Point, *, with_feature: bool) -> Hit:
    if not with_feature:
        return Hit(info_of(point.id, point.payload), point.score)
    row = row_of(point.id, point.payload, point.vector)
    return Hit(row.info, point.score, row.feature)
