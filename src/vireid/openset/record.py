"""A search and its results as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vireid.gallery.filters import Hit
from vireid.openset.search import SearchResult
from vireid.times import format_time
from vireid.types import ImageInfo

__all__ = ["search_record"]


def search_record(
    queries: Sequence[ImageInfo], found: SearchResult, *, paths: bool = True
) -> dict[str, Any]:
    """Describe a search and its results.

    Args:
        queries: The query images.
        found: The results.
        paths: Whether to give the paths of files; otherwise only their names.
    """
    verdicts = found.verdicts or [None] * len(found.hits)
    groups = {hit.info.id: n for n, hits in enumerate(found.groups, 1) for hit in hits}
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
                "group": n,
                "tracklet": hits[0].info.tracklet,
                "images": len(hits),
                "score": round(hits[0].score, 6),
                "mean_score": mean and round(mean, 6),
            }
            for n, (hits, mean) in enumerate(zip(found.groups, found.mean_scores, strict=True), 1)
        ],
        "hits": [
            {
                "rank": rank,
                "group": groups[hit.info.id],
                "verdict": verdict,
                **_entry(hit, paths=paths),
            }
            for rank, (hit, verdict) in enumerate(zip(found.hits, verdicts, strict=True), 1)
        ],
    }


def _entry(hit: Hit, *, paths: bool) -> dict[str, Any]:
    info = hit.info
    path = {"path": info.file and str(info.file)} if paths else {}
    return {
        "score": round(hit.score, 6),
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
