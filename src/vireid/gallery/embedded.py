"""The embedded store: a gallery in a folder, by the Rust engine of Qdrant inside this process.

    GALLERY/
      gallery.json   the model, notes, and whether there is a graph; makes the folder a gallery
      shard/         the engine's segments: features, entries, thumbnails
      writer.lock    held by the one process that may change the gallery
      writer.json    names that process; left behind if it is killed
      shard.lock     held by the process that has the segments open at the moment
      queue.lock     held by a process that waits for them

There is no write-ahead log, whose files would keep what was deleted: a change is acknowledged
once the engine has flushed it. New rows go to a growing segment, which is sealed at about a tenth
of a gigabyte of features. Deleting rows writes the segments that held them anew and removes the
old ones, so that forgetting costs as much as writing these segments, not the whole gallery.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from vireid.errors import GalleryError
from vireid.files import clear_temporaries
from vireid.gallery._about import About, about_file, check_folder, read_about, write_about
from vireid.gallery._engine import as_filter, create, engine_errors, load, selected
from vireid.gallery._payload import payload_of
from vireid.gallery._points import Point, PointStore, Query
from vireid.gallery._traces import find_bytes
from vireid.gallery.entry import EVERYTHING, Filters
from vireid.gallery.locks import AccessQueue, WriterLock
from vireid.gallery.store import EF_SEARCH, PAGE, Field
from vireid.types import IndexedImage, ModelInfo

__all__ = ["EmbeddedStore"]

GLANCE = 0.1
"""Seconds between two glances of an idle process at whether another one waits."""


class EmbeddedStore(PointStore):
    """A :class:`~vireid.gallery.store.Store` in a folder; threads may share it.

    Several processes may open the same folder. One may write; each has the segments open in turn,
    for one operation at least, and lets go of them when another one waits.

    Args:
        folder: The gallery's folder.
        model: The network of the gallery to make where there is none; None only opens one.
        write: Rows will be added or removed.
        lock_timeout: Seconds to wait for another process to close the segments.

    Raises:
        GalleryError: There is no gallery, or it is damaged; with ``write``, another process is
            writing; the folder cannot be written to (which its locks need even for searching).
    """

    def __init__(
        self, folder: Path, *, model: ModelInfo | None = None, write: bool, lock_timeout: float
    ) -> None:
        self._folder = folder
        self._lock_timeout = lock_timeout
        self._mutex = threading.RLock()
        self._closed = threading.Event()
        self._writer: WriterLock | None = None
        self._failed = False
        self._shard: edge.EdgeShard | None = None
        self._graph = False
        check_folder(folder, may_make=model is not None)
        with ExitStack() as locks:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if write:
                    self._writer = WriterLock(folder)
                    locks.callback(self._writer.close)
                self._access = AccessQueue(folder)
                locks.callback(self._access.release)
            except OSError as error:
                raise GalleryError(
                    f"The gallery '{folder}' cannot be written to ({error.strerror}), which its "
                    "locks need even for searching; expected a folder of your own: copy it to one."
                ) from error
            if self._writer is not None and model is not None and not about_file(folder).exists():
                self._make(model)
            self._model = read_about(self._folder).model
            if self._writer is not None:
                self._resume(interrupted=self._writer.interrupted)
            self._locks = locks.pop_all()
        self._attendant = threading.Thread(target=self._attend, daemon=True)
        self._attendant.start()

    @property
    def model(self) -> ModelInfo:
        """The network whose features it holds."""
        return self._model

    @property
    def notes(self) -> Mapping[str, str]:
        """Texts kept beside the rows, by name; also what another process has kept meanwhile."""
        return read_about(self._folder).notes

    def save_note(self, name: str, text: str) -> None:
        """Keep a text beside the rows, or drop it if it is empty."""
        with self._open():
            about = read_about(self._folder)
            notes = {key: kept for key, kept in about.notes.items() if key != name}
            write_about(self._folder, replace(about, notes=notes | ({name: text} if text else {})))

    def insert(self, rows: Sequence[IndexedImage]) -> int:
        """Add rows whose id is not there yet; when it returns they are on the disk."""
        with self._open() as shard:
            known = _known(shard, [row.info.id for row in rows])
            new = {row.info.id: row for row in reversed(rows) if row.info.id not in known}
            if new:
                # Lists: the engine takes them faster than arrays.
                points = [
                    edge.Point(id, row.feature.tolist(), payload_of(row)) for id, row in new.items()
                ]
                shard.update(edge.UpdateOperation.upsert_points(points))
                shard.flush()
                # Seals the growing segment when it is large enough.
                if shard.optimize():
                    shard.flush()
            return len(new)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids are there."""
        return {point.id for point in self._retrieve(ids, payload=False)}

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.count(EVERYTHING)

    def count(self, filters: Filters) -> int:
        """How many entries there are."""
        with self._open() as shard:
            return shard.count(edge.CountRequest(filter=as_filter(filters), exact=True))

    def delete(self, filters: Filters) -> int:
        """Delete entries, and write the segments that held them anew without them."""
        wanted = as_filter(filters)
        with self._open() as shard:
            count = shard.count(edge.CountRequest(filter=wanted, exact=True))
            about = read_about(self._folder)
            write_about(self._folder, replace(about, rows=max(0, about.rows - count)))
            shard.update(edge.UpdateOperation.delete_points_by_filter(wanted))
            shard.flush()
            _tidy(shard)
            return count

    def index(self) -> None:
        """Build the graph of each sealed segment; the last, growing one is searched exactly.

        From then on segments get theirs when they are sealed, which makes some of the calls of
        :meth:`insert` long.
        """
        with self._mutex:
            with self._open():
                write_about(self._folder, replace(read_about(self._folder), graph=True))
            # The next one to open it gives its segments graphs.
            self._let_go()
            with self._open() as shard:
                _tidy(shard)

    def count_lost(self) -> int:
        """How many rows fewer there are than when the last writer ended."""
        # Both in one turn: between two, another process may remove rows.
        with self._open() as shard:
            there = shard.count(edge.CountRequest(exact=True))
            return max(0, read_about(self._folder).rows - there)

    def find_bytes(self, parts: Sequence[bytes]) -> dict[bytes, list[str]]:
        """In which of the folder's files some bytes are found."""
        with self._open():
            files = sorted(path for path in self._folder.rglob("*") if path.is_file())
            found = find_bytes(files, parts)
        return {
            part: [str(path.relative_to(self._folder)) for path in paths]
            for part, paths in found.items()
        }

    def close(self) -> None:
        """Let go of the files and of the locks."""
        with self._mutex:
            if self._closed.is_set():
                return
            self._closed.set()
            with self._locks:
                self._let_go()
                if self._writer is not None and not self._failed:
                    self._writer.finish()
        self._attendant.join()

    def _query(
        self, queries: Sequence[Query], limit: int, *, exact: bool, with_features: bool
    ) -> list[list[Point]]:
        with self._open() as shard:
            # Without a graph, an approximate search would follow links that do not exist.
            params = edge.SearchParams(exact=exact or not self._graph, hnsw_ef=EF_SEARCH)
            requests = [
                edge.QueryRequest(
                    limit=limit,
                    query=edge.Query.Nearest(query.feature.tolist()),
                    filter=as_filter(query.filters),
                    with_payload=selected(thumbnails=False),
                    with_vector=with_features,
                    params=params,
                )
                for query in queries
            ]
            answers = shard.query_batch(edge.QueryBatchRequest(requests))
        return [[Point.of(point) for point in answer] for answer in answers]

    def _scroll(
        self, filters: Filters, offset: Any, *, features: bool, thumbnails: bool
    ) -> tuple[Iterable[Any], Any]:
        request = edge.ScrollRequest(
            offset=offset,
            limit=PAGE,
            filter=as_filter(filters),
            with_payload=selected(thumbnails=thumbnails),
            with_vector=features,
        )
        with self._open() as shard:
            return shard.scroll(request)

    def _retrieve(self, ids: Sequence[str], *, payload: bool) -> list[Point]:
        with self._open() as shard:
            found = shard.retrieve(list(ids), with_payload=payload, with_vector=False)
        return [Point.of(record) for record in found]

    def _facet(self, field: Field, filters: Filters, limit: int) -> Iterable[Any]:
        with self._open() as shard:
            request = edge.FacetRequest(field, limit=limit, exact=True, filter=as_filter(filters))
            return shard.facet(request).hits

    @contextmanager
    def _open(self) -> Iterator[edge.EdgeShard]:
        """The shard, for one operation of one thread; never within another operation."""
        with self._mutex:
            if self._closed.is_set():
                raise GalleryError(
                    f"The gallery '{self._folder}' was closed; expected an open one: open it "
                    "again with open_gallery."
                )
            if self._shard is None:
                self._access.acquire(self._lock_timeout)
            try:
                with engine_errors(self._folder):
                    shard = self._shard = self._shard or self._load()
                    yield shard
            except BaseException:
                # The engine may be in any state; the next operation loads the files anew.
                self._failed = True
                self._let_go()
                raise
            if self._access.has_waiters():
                self._let_go()

    def _load(self) -> edge.EdgeShard:
        about, path = read_about(self._folder), self._folder / "shard"
        self._graph = about.graph
        if self._writer is not None:
            # What a kill left of a segment in the making, which the engine does not clear away.
            shutil.rmtree(path / "temp_segments", ignore_errors=True)
        return load(path, about.model.dimension, graph=about.graph)

    def _let_go(self) -> None:
        """Close the shard and let the next process open it."""
        shard, self._shard = self._shard, None
        if shard is not None:
            # No operation fails by this: what it did is flushed, or its own error tells.
            with suppress(GalleryError), engine_errors(self._folder):
                if self._writer is not None:
                    self._record(shard)
                shard.close()
        self._access.release()

    def _record(self, shard: edge.EdgeShard) -> None:
        """Write down how many rows there are; where some are missing, that is not forgotten."""
        about, count = read_about(self._folder), shard.count(edge.CountRequest())
        if count > about.rows:
            write_about(self._folder, replace(about, rows=count))

    def _attend(self) -> None:
        """While this process is idle, let others in; a busy one does so after each operation."""
        while not self._closed.wait(GLANCE):
            if self._mutex.acquire(blocking=False):
                try:
                    if self._shard is not None and self._access.has_waiters():
                        self._let_go()
                finally:
                    self._mutex.release()

    def _make(self, model: ModelInfo) -> None:
        """Make an empty gallery; gallery.json comes last, so that it is never half there."""
        path = self._folder / "shard"
        shutil.rmtree(path, ignore_errors=True)
        with engine_errors(self._folder):
            create(path, model.dimension).close()
        write_about(self._folder, About(model=model))

    def _resume(self, *, interrupted: bool) -> None:
        """Finish what a kill interrupted, such as a removal."""
        with self._open() as shard:
            clear_temporaries(self._folder)
            if interrupted:
                # Of a batch that was never acknowledged, bytes may lie in the growing segment
                # that belong to no row: with a deleted row in it, it is written anew.
                nobody = edge.Point(str(uuid.UUID(int=0)), [0.0] * self._model.dimension)
                shard.update(edge.UpdateOperation.upsert_points([nobody]))
                shard.update(edge.UpdateOperation.delete_points([nobody.id]))
            _tidy(shard)


def _tidy(shard: edge.EdgeShard) -> None:
    """Write segments with deleted rows anew without them, and remove the old files."""
    shard.optimize()
    # The old files go with the flush, also where optimize says that it had nothing to do.
    shard.flush()


def _known(shard: edge.EdgeShard, ids: Sequence[str]) -> set[str]:
    found = shard.retrieve(list(ids), with_payload=False, with_vector=False)
    return {str(record.id) for record in found}
