"""Putting the points that an engine found in an order that is the same every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vireid.gallery._payload import info_of
from vireid.gallery.entry import Hit

__all__ = ["Found", "nearest"]


class Found(NamedTuple):
    """A point that an engine found: its id, its dot product with the query, its payload."""

    id: str
    score: float
    payload: Mapping[str, Any] | None


def nearest(
    ask: Callable[[Sequence[int], int], Sequence[Sequence[Found]]], queries: int, limit: int
) -> list[list[Hit]]:
    """The best ``limit`` hits of each query, those of equal score in the order of their ids.

    An engine cuts its list anywhere among points of equal score, so that one more is asked for,
    and many more where the cut still falls among equals.

    Args:
        ask: Answers the queries of these numbers with so many points each, best first.
        queries: How many queries there are.
        limit: At most so many hits a query.
    """
    hits: list[list[Hit]] = [[] for _ in range(queries)]
    waiting: Sequence[int] = range(queries)
    wanted = limit + 1
    while waiting:
        tied: list[int] = []
        for query, points in zip(waiting, ask(waiting, wanted), strict=True):
            # Rounding takes a dot product of unit vectors slightly beyond 1.
            found = [p._replace(score=min(1.0, max(-1.0, p.score))) for p in points]
            if len(found) == wanted and found[limit - 1].score == found[-1].score:
                tied.append(query)
                continue
            found.sort(key=lambda point: (-point.score, point.id))
            hits[query] = [Hit(info_of(p.id, p.payload), p.score) for p in found[:limit]]
        waiting, wanted = tied, 4 * wanted
    return hits
