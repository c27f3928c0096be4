"""Configuration of the embedded engine, and filters in its terms."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import qdrant_edge as edge

from vireid.errors import GalleryError, fix_of
from vireid.gallery._payload import INDEXED, THUMBNAIL, Conditions, Lookup
from vireid.gallery._space import allocated, require_space
from vireid.gallery.filters import Filters
from vireid.gallery.store import EF_CONSTRUCT, LINKS
from vireid.times import format_time

__all__ = [
    "TEMPORARY",
    "as_filter",
    "bytes_to_rewrite",
    "complete_indexes",
    "create",
    "drop_indexes",
    "engine_errors",
    "load",
    "selected",
]

TEMPORARY = "temp_segments"
"""The folder in a shard where the engine builds segments; what a kill leaves there is discarded."""

SEGMENT_KB = 100_000
"""Kilobytes of features at which a segment is sealed; further rows go to a new one."""


def create(path: Path, dimension: int) -> edge.EdgeShard:
    """Create an empty shard without a graph, with an index for each filtered field."""
    path.mkdir()
    shard = edge.EdgeShard.create(str(path), _config(dimension, graph=False))
    complete_indexes(shard, path)
    return shard


def load(path: Path, dimension: int, *, graph: bool) -> edge.EdgeShard:
    """Open a shard; its segments gain or lose their graphs at the next optimisation."""
    return edge.EdgeShard.load(str(path), _config(dimension, graph=graph))


def complete_indexes(shard: edge.EdgeShard, folder: Path) -> None:
    """Build the filter indexes that are missing from the payloads.

    Raises:
        DiskFullError: The disk of the folder has too little space.
    """
    kinds = {
        "keyword": edge.PayloadSchemaType.Keyword,
        "datetime": edge.PayloadSchemaType.Datetime,
    }
    missing = INDEXED.keys() - shard.info().payload_schema.keys()
    if missing:
        require_space(folder, 0, "to build the filter indexes")
    for key in sorted(missing):
        shard.update(edge.UpdateOperation.create_field_index(key, kinds[INDEXED[key]]))
    if missing:
        shard.flush()


def bytes_to_rewrite(path: Path) -> int:
    """The size of the segments that the next optimisation may write anew."""
    total = 0
    for segment in path.glob("segments/*"):
        # A bit for each row of a sealed segment; a growing one has another file.
        deleted = segment / "id_tracker.deleted"
        if not deleted.exists() or deleted.read_bytes().strip(b"\0"):
            total += allocated(segment)
    return total


def drop_indexes(path: Path) -> None:
    """Remove the filter indexes of a shard that is not open, whether they can be read or not."""
    discarded = path / TEMPORARY
    discarded.mkdir(exist_ok=True)
    for index in path.glob("segments/*/payload_index"):
        # Renamed first: the engine cannot open a half of it after a kill.
        index.rename(discarded / index.parent.name)
    shutil.rmtree(discarded)


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


_Condition: TypeAlias = edge.FieldCondition | edge.HasIdCondition | edge.Filter


def _between(key: str, since: datetime | None, until: datetime | None) -> _Condition:
    times = edge.RangeDateTime(
        gte=None if since is None else format_time(since),
        lt=None if until is None else format_time(until),
    )
    return edge.FieldCondition(key, range=times)


_CONDITIONS: Conditions[_Condition] = Conditions(
    any_of=lambda key, values: edge.FieldCondition(key, match=edge.MatchAny(values)),
    contains=lambda key, part: edge.FieldCondition(key, match=edge.MatchSubstring(part)),
    between=_between,
    ids=lambda ids: edge.HasIdCondition(set(ids)),
    none_of=lambda ids: edge.Filter(must_not=[edge.HasIdCondition(set(ids))]),
    neither=lambda condition: edge.Filter(must_not=[condition]),
)


def as_filter(filters: Filters | Lookup) -> edge.Filter:
    """Filters as those of the engine."""
    return edge.Filter(must=list(_CONDITIONS.of(filters)))


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
            f"The gallery '{folder}' cannot be used: {error}; expected intact files: "
            + fix_of(
                error,
                "try `vireid gallery verify --rebuild`, restore a copy, or create the gallery "
                "again with `vireid gallery add`",
            )
            + "."
        ) from error
