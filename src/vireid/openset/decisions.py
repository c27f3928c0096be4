"""Decisions on the results of a search, kept in a case with their scores and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vireid.errors import NotThereError, first_few, many
from vireid.gallery.cases import LONGEST_NAME, Case, CaseHit, CaseQuery, Decision
from vireid.gallery.gallery import Gallery
from vireid.log import printable
from vireid.openset.search import SearchResult
from vireid.types import ImageInfo

__all__ = ["keep_search"]


def keep_search(
    gallery: Gallery,
    case: str,
    queries: Sequence[ImageInfo],
    found: SearchResult,
    decisions: Mapping[str, Decision],
    *,
    by: str,
) -> Case:
    """Keep the query of a search, and decisions on its results, in a case.

    Args:
        gallery: The gallery.
        case: The id of the case.
        queries: The query images.
        found: The results.
        decisions: Decisions by the ids of results.
        by: Who decided.

    Returns:
        The case.

    Raises:
        NotThereError: There is no such case, or a decision is on none of the results.
    """
    hits = {hit.info.id: hit for hit in found.hits}
    if missing := decisions.keys() - hits.keys():
        raise NotThereError(
            f"The search found no {first_few(sorted(missing))} among its"
            f" {many(len(hits), 'result')}; expected ids of results; search again, or with a higher"
            " limit."
        )
    verdicts = dict(zip(hits, map(str, found.verdicts), strict=False))
    ids = tuple(dict.fromkeys(info.id for info in queries))
    entries = gallery.infos(ids)
    return gallery.cases.add(
        case,
        [
            CaseHit(
                id=id,
                decision=decision,
                by=by,
                score=hits[id].score,
                verdict=verdicts.get(id, ""),
                queries=ids,
            )
            for id, decision in decisions.items()
        ],
        [
            CaseQuery(id=info.id, name="" if info.id in entries else _name(info), by=by)
            for info in queries
        ],
    )


def _name(info: ImageInfo) -> str:
    """The name of an image that is no entry, with control characters escaped."""
    return printable(info.name)[:LONGEST_NAME] or "unnamed"
