"""A search, or a case, and its results as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.gallery.cases import Case
from vireid.openset.search import SearchResult
from vireid.times import format_time
from vireid.types import ImageInfo

__all__ = ["case_record", "search_record"]


def search_record(
    queries: Sequence[ImageInfo], found: SearchResult, *, paths: bool = True
) -> dict[str, Any]:
    """Describe a search and its results.

    The rank is that of a result, from 1, which all its images share.

    Args:
        queries: The query images.
        found: The results.
        paths: Whether to give the paths of files; otherwise only their names.
    """
    verdicts = found.verdict_by_id
    return {
        "query": [
            {
                "path": str(info.path) if paths else info.name,
                "sha256": info.sha256,
                "modality": info.modality,
                "guessed": info.guessed,
            }
            for info in queries
        ],
        "considered": found.considered,
        "own_modality_left_out": found.own_modality,
        "left_out": found.left_out,
        "verdict": found.verdict,
        "remark": found.remark,
        "reranking": found.reranking,
        "groups": [
            {
                "rank": rank,
                "tracklet": hits[0].info.tracklet,
                "images": len(hits),
                "score": round(hits[0].score, 6),
                "mean_score": mean and round(mean, 6),
            }
            for rank, (hits, mean) in enumerate(
                zip(found.groups, found.mean_scores, strict=True), 1
            )
        ],
        "hits": [
            {
                "rank": rank,
                "verdict": verdicts.get(hit.info.id),
                "score": round(hit.score, 6),
                **_entry(hit.info, paths=paths),
            }
            for rank, hits in enumerate(found.groups, 1)
            for hit in hits
        ],
    }


def case_record(
    case: Case, infos: Mapping[str, ImageInfo], *, paths: bool = True
) -> dict[str, Any]:
    """Describe a case.

    Args:
        case: The case.
        infos: The entries among its images, by id.
        paths: As for :func:`search_record`.
    """

    def known(id: str, name: str = "") -> dict[str, Any]:
        return _entry(infos[id], paths=paths) if id in infos else {"id": id, "name": name}

    return {
        "case": case.id,
        "name": case.name,
        "opened_by": case.opened_by,
        "opened": format_time(case.opened),
        "changed": format_time(case.changed),
        "shared": case.shared,
        "deleted": case.deleted,
        "queries": [
            {
                "by": query.by,
                "time_added": format_time(query.time),
                **known(query.id, query.name),
                "entry": query.id in infos,
            }
            for query in case.queries
        ],
        "hits": [
            {
                "decision": hit.decision,
                "decided_by": hit.by,
                "decided": format_time(hit.time),
                "score": hit.score and round(hit.score, 6),
                "verdict": hit.verdict or None,
                **known(hit.id),
                "found_with": list(hit.queries),
            }
            for hit in case.hits
        ],
        "notes": [
            {"id": note.id, "by": note.by, "time": format_time(note.time), "text": note.text}
            for note in case.notes
        ],
    }


def _entry(info: ImageInfo, *, paths: bool) -> dict[str, Any]:
    path = {"path": info.file and str(info.file)} if paths else {}
    return {
        "id": info.id,
        "sha256": info.sha256,
        "name": info.name,
        **path,
        "camera": info.camera,
        "modality": info.modality,
        "time": info.time and format_time(info.time),
        "identity": info.identity,
        "tracklet": info.tracklet,
        "note": info.note,
        "added": info.added and format_time(info.added),
    }
