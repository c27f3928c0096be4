"""Configuration of the embedded engine, and filters in its terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge as edge

from vireid.errors import GalleryError
from vireid.gallery._payload import (
    INDEXED,
    THUMBNAIL,
    AnyOf,
    Between,
    Contains,
    Ids,
    conditions,
)
from vireid.gallery.filters import Filters
from vireid.gallery.store import EF_CONSTRUCT, LINKS
from vireid.times import format_time

__all__ = ["as_filter", "create", "engine_errors", "load", "selected"]

SEGMENT_KB = 100_000
"""Kilobytes of features at which a segment is sealed; further rows go to a new one."""


def create(path: Path, dimension: int) -> edge.EdgeShard:
    """Create an empty shard without a graph, with an index for each filtered field."""
    path.mkdir()
    shard = edge.EdgeShard.create(str(path), _config(dimension, graph=False))
    kinds = {
        "keyword": edge.PayloadSchemaType.Keyword,
        "datetime": edge.PayloadSchemaType.Datetime,
    }
    for key, kind in INDEXED.items():
        shard.update(edge.UpdateOperation.create_field_index(key, kinds[kind]))
    shard.flush()
    return shard


def load(path: Path, dimension: int, *, graph: bool) -> edge.EdgeShard:
    """Open a shard; its segments gain or lose their graphs at the next optimisation."""
    return edge.EdgeShard.load(str(path), _config(dimension, graph=graph))


def _config(dimension: int, *, graph: bool) -> edge.EdgeConfig:
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Dot),
        hnsw_config=edge.HnswIndexConfig(
            m=LINKS if graph else 0, ef_construct=EF_CONSTRUCT, full_scan_threshold=10_000
        ),
        # A write-ahead log would keep the bytes of deleted rows.
        wal_enabled=False,
        optimizers=edge.EdgeOptimizersConfig(
            # A single deleted row makes its segment be rewritten.
            deleted_threshold=1e-9,
            vacuum_min_vector_number=1,
            indexing_threshold=SEGMENT_KB,
            # Too small for two sealed segments to be merged, which would only copy them.
            max_segment_size=SEGMENT_KB * 3 // 2,
        ),
    )


def as_filter(filters: Filters) -> edge.Filter:
    """Filters as those of the engine."""
    return edge.Filter(must=[_as_condition(condition) for condition in conditions(filters)])


def _as_condition(
    condition: AnyOf | Contains | Between | Ids,
) -> edge.FieldCondition | edge.HasIdCondition | edge.Filter:
    match condition:
        case AnyOf(key, values):
            return edge.FieldCondition(key, match=edge.MatchAny(values))
        case Contains(key, part):
            return edge.FieldCondition(key, match=edge.MatchSubstring(part))
        case Between(key, since, until):
            times = edge.RangeDateTime(
                gte=None if since is None else format_time(since),
                lt=None if until is None else format_time(until),
            )
            return edge.FieldCondition(key, range=times)
        case Ids(ids, included):
            has_id = edge.HasIdCondition(set(ids))
            return has_id if included else edge.Filter(must_not=[has_id])


def selected(*, thumbnails: bool) -> bool | edge.PayloadSelector:
    """The part of the payload to return."""
    return True if thumbnails else edge.PayloadSelector.Exclude([THUMBNAIL])


@contextmanager
def engine_errors(folder: Path) -> Iterator[None]:
    """Raise the errors of the engine as the gallery's.

    Raises:
        GalleryError: The engine failed: files are damaged, or the disk is full.
    """
    try:
        yield
    except (GalleryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of the engine is not an Exception
        raise GalleryError(
            f"The gallery '{folder}' cannot be used: {error}. If the disk is full, free space and "
            "try again; if files are damaged, restore a copy or create the gallery again with "
            "`vireid gallery add`."
        ) from error
