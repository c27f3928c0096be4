"""The embedded store: a gallery in a folder, with the Rust engine of Qdrant in this process.

    GALLERY/
      gallery.json   the model, notes, and whether there is a graph; marks the folder as a gallery
      shard/         the engine's segments: features, metadata, thumbnails
      cases/         one JSON file a case; see :mod:`vireid.gallery.cases`
      writer.lock    held by the one process that may change the gallery, or changes it now
      writer.json    names that process; left behind if it is killed
      shard.lock     held by the process that has the segments open at the moment
      queue.lock     held by a process that waits for them

There is no write-ahead log, whose files would keep deleted rows: a change is acknowledged once the
engine has flushed it. New rows go to a growing segment, which is sealed at about 100 MB of
features. Deleting rows rewrites the segments that contained them and removes the old ones, so its
cost depends on these segments and not on the size of the gallery.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from vireid.errors import DiskFullError, GalleryError, fix_of, many
from vireid.files import clear_temporaries
from vireid.gallery._about import About, about_file, check_folder, read_about, write_about
from vireid.gallery._engine import (
    TEMPORARY,
    as_filter,
    bytes_to_rewrite,
    complete_indexes,
    create,
    drop_indexes,
    engine_errors,
    load,
    selected,
)
from vireid.gallery._payload import Lookup, payload_of
from vireid.gallery._space import allocated, require_space
from vireid.gallery._traces import find_bytes
from vireid.gallery.filters import EVERYTHING, Filters
from vireid.gallery.locks import AccessQueue, WriterLock
from vireid.gallery.store import EF_SEARCH, PAGE, Field, Query, Store
from vireid.log import log_once
from vireid.types import IndexedImage, ModelInfo

__all__ = ["EmbeddedStore"]

ROW_BYTES = 4_096
"""Bytes of a row besides its feature and thumbnail: metadata, and its part of the indexes."""

IDLE_CHECK = 0.1
"""Seconds between two checks of an idle process whether another one waits."""


class EmbeddedStore(Store):
    """A :class:`~vireid.gallery.store.Store` in a folder; threads may share it.

    Several processes may open the same folder. One may write; they open the segments one after
    another, for at least one operation each, and close them when another process waits. Those that
    take turns hold the writer's lock during each change only.

    Args:
        folder: The gallery's folder.
        model: The network of a gallery to create if there is none; None only opens one.
        write: Rows will be added or deleted.
        turns: Let other processes that take turns write between two changes.
        rebuild: Discard the filter indexes and build them from the rows; implies ``write``.
        lock_timeout: Seconds to wait for another process to close the segments, and for a turn.

    Raises:
        GalleryError: There is no gallery, or it is damaged; with ``write``, another process is
            writing; or the folder is not writable, which its locks need even for searching.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: ModelInfo | None = None,
        write: bool,
        turns: bool = False,
        rebuild: bool = False,
        lock_timeout: float,
    ) -> None:
        self._folder = folder
        self.cases_folder = folder / "cases"
        self._turns = turns
        self._turn_mutex = threading.RLock()
        self._lock_timeout = lock_timeout
        self._mutex = threading.RLock()
        self._closed = threading.Event()
        self._writer: WriterLock | None = None
        self._failed = False
        self._rebuild = rebuild
        self._shard: edge.EdgeShard | None = None
        self._graph = False
        check_folder(folder, may_create=model is not None)
        with ExitStack() as locks:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if write or rebuild:
                    self._writer = WriterLock(folder, lock_timeout if turns else 0.0)
                    locks.callback(self._writer.close)
                self._access = AccessQueue(folder)
                locks.callback(self._access.release)
            except OSError as error:
                raise GalleryError(
                    f"The gallery '{folder}' cannot be written to ({error.strerror}), which its "
                    "locks need even for searching; expected a writable folder: "
                    f"{fix_of(error, 'copy it to one')}."
                ) from error
            if self._writer is not None and model is not None and not about_file(folder).exists():
                self._create(model)
            self.model = read_about(self._folder).model
            if self._writer is not None:
                self._resume(interrupted=self._writer.interrupted)
                if turns:
                    self._writer.finish()
                    self._writer.close()
                    self._writer = None
            self._locks = locks.pop_all()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def notes(self) -> Mapping[str, str]:
        """Texts stored with the rows, by name, including changes by other processes."""
        return read_about(self._folder).notes

    def save_note(self, name: str, text: str) -> None:
        """Store a text with the rows; delete it if it is empty."""
        with self.turn(), self._open():
            about = read_about(self._folder)
            notes = {key: value for key, value in about.notes.items() if key != name}
            write_about(self._folder, replace(about, notes=notes | ({name: text} if text else {})))

    def insert(self, rows: Sequence[IndexedImage]) -> int:
        """Add the rows whose id does not exist yet; they are on disk when it returns."""
        self._require_space(_bytes_of(rows), f"to add {many(len(rows), 'image')}")
        with self.turn(), self._open() as shard:
            known = _known(shard, [row.info.id for row in rows])
            new = {row.info.id: row for row in reversed(rows) if row.info.id not in known}
            if new:
                shard.update(edge.UpdateOperation.upsert_points(list(map(_point, new.values()))))
                shard.flush()
                self._seal_segment(shard)
            return len(new)

    def replace(self, rows: Sequence[IndexedImage]) -> None:
        """Write rows over those of the same ids, and rewrite the segments that contained them."""
        self._require_space(_bytes_of(rows), f"to change {many(len(rows), 'entry', 'entries')}")
        with self.turn(), self._open() as shard:
            shard.update(edge.UpdateOperation.upsert_points(list(map(_point, rows))))
            shard.flush()
            # There a row is overwritten in place, which leaves bytes of the former one.
            self._mark_growing(shard)
            self._rewrite_segments(shard)

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.count(EVERYTHING)

    def count(self, filters: Filters) -> int:
        """The number of rows."""
        with self._open() as shard:
            return shard.count(edge.CountRequest(filter=as_filter(filters), exact=True))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows, and rewrite the segments that contained them."""
        self._require_space(0, f"to delete {many(len(ids), 'entry', 'entries')}")
        with self.turn(), self._open() as shard:
            about = read_about(self._folder)
            write_about(self._folder, replace(about, rows=max(0, about.rows - len(ids))))
            shard.update(edge.UpdateOperation.delete_points(list(ids)))
            shard.flush()
            self._rewrite_segments(shard)

    def index(self) -> None:
        """Build the graph of each sealed segment; the growing one is searched exactly.

        From then on a segment gets its graph when it is sealed, so some calls of :meth:`insert`
        take long.
        """
        self._require_space(allocated(self._folder), "to build the graph")
        with self.turn(), self._mutex:
            with self._open():
                write_about(self._folder, replace(read_about(self._folder), graph=True))
            # Segments get their graphs when the shard is opened again.
            self._release()
            with self._open() as shard:
                self._rewrite_segments(shard)

    def count_lost(self) -> int:
        """How many rows fewer there are than when the last writer closed the segments."""
        # Both while the segments are open: otherwise another process may delete rows in between.
        with self._open() as shard:
            there = shard.count(edge.CountRequest(exact=True))
            return max(0, read_about(self._folder).rows - there)

    def find_bytes(self, parts: Sequence[bytes]) -> dict[bytes, list[str]]:
        """The folder's files that contain some byte strings."""
        with self._open():
            files = sorted(path for path in self._folder.rglob("*") if path.is_file())
            found = find_bytes(files, parts)
        return {
            part: [str(path.relative_to(self._folder)) for path in paths]
            for part, paths in found.items()
        }

    def close(self) -> None:
        """Close the files and release the locks."""
        with self._mutex:
            if self._closed.is_set():
                return
            self._closed.set()
            with self._locks:
                self._release()
                if self._writer is not None and not self._failed:
                    self._writer.finish()
        self._watcher.join()

    def _query(
        self, queries: Sequence[Query], limit: int, *, exact: bool, with_features: bool
    ) -> Iterable[Sequence[Any]]:
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
            return shard.query_batch(edge.QueryBatchRequest(requests))

    def _scroll(
        self, filters: Filters | Lookup, offset: Any, *, features: bool, thumbnails: bool
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

    def _retrieve(self, ids: Sequence[str], *, payload: bool) -> Sequence[Any]:
        with self._open() as shard:
            return shard.retrieve(list(ids), with_payload=payload, with_vector=False)

    def _facet(self, field: Field, filters: Filters, limit: int) -> Iterable[Any]:
        with self._open() as shard:
            request = edge.FacetRequest(field, limit=limit, exact=True, filter=as_filter(filters))
            return shard.facet(request).hits

    @contextmanager
    def _open(self) -> Iterator[edge.EdgeShard]:
        """The shard, for one operation of one thread; must not be nested."""
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
                # The state of the engine is unknown; the next operation loads the files again.
                self._failed = True
                self._release()
                raise
            if self._access.has_waiters():
                self._release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the writer's lock for a change; searches of this process go on while it waits."""
        if not self._turns:
            yield
            return
        with self._turn_mutex:
            if self._writer is not None:  # within a turn
                yield
                return
            try:
                writer = WriterLock(self._folder, self._lock_timeout)
            except OSError as error:
                raise GalleryError(
                    f"The gallery '{self._folder}' cannot be written to ({error.strerror}); "
                    f"expected a writable folder: {fix_of(error, 'restore it')}."
                ) from error
            with closing(writer):
                with self._mutex:
                    self._writer, self._failed = writer, False
                try:
                    if writer.interrupted:
                        with self._mutex:
                            self._release()
                            self._resume(interrupted=True)
                    yield
                    # The change is on the disk; the next turn records the number of rows too.
                    with self._mutex, suppress(GalleryError), engine_errors(self._folder):
                        if self._shard is not None:
                            self._record_rows(self._shard)
                finally:
                    with self._mutex:
                        self._writer = None
                        if not self._failed:
                            writer.finish()

    def _load(self) -> edge.EdgeShard:
        about, path = read_about(self._folder), self._folder / "shard"
        self._graph = about.graph
        if self._writer is not None:
            # Left by a kill while a segment was built; the engine does not remove it.
            shutil.rmtree(path / TEMPORARY, ignore_errors=True)
        if self._rebuild:
            self._require_space(0, "to rebuild the filter indexes")
            drop_indexes(path)
            self._rebuild = False
        return load(path, about.model.dimension, graph=about.graph)

    def _release(self) -> None:
        """Close the shard and let the next process open it."""
        shard, self._shard = self._shard, None
        if shard is not None:
            # No operation fails here: its changes are flushed, or it has raised its own error.
            with suppress(GalleryError), engine_errors(self._folder):
                if self._writer is not None:
                    self._record_rows(shard)
                shard.close()
        self._access.release()

    def _record_rows(self, shard: edge.EdgeShard) -> None:
        """Record the number of rows, unless it fell, which means that rows are lost."""
        about, count = read_about(self._folder), shard.count(edge.CountRequest())
        if count > about.rows:
            write_about(self._folder, replace(about, rows=count))

    def _watch(self) -> None:
        """Close the shard for others while this process is idle; a busy one does so by itself."""
        while not self._closed.wait(IDLE_CHECK):
            if self._mutex.acquire(blocking=False):
                try:
                    if self._shard is not None and self._access.has_waiters():
                        self._release()
                finally:
                    self._mutex.release()

    def _create(self, model: ModelInfo) -> None:
        """Create an empty gallery; gallery.json is written last and marks it as complete."""
        path = self._folder / "shard"
        self._require_space(0, "for a new gallery")
        shutil.rmtree(path, ignore_errors=True)
        with engine_errors(self._folder):
            create(path, model.dimension).close()
        write_about(self._folder, About(model=model))

    def _resume(self, *, interrupted: bool) -> None:
        """Finish what a kill interrupted, such as a deletion."""
        with self._open() as shard:
            clear_temporaries(self._folder)
            complete_indexes(shard, self._folder)
            if not interrupted:
                self._seal_segment(shard)
            else:
                self._require_space(0, "to finish what was interrupted")
                # The growing segment may contain bytes of a batch that was never acknowledged and
                # belongs to no row.
                self._mark_growing(shard)
                self._rewrite_segments(shard)

    def _mark_growing(self, shard: edge.EdgeShard) -> None:
        """Have the growing segment rewritten, as one with a deleted row is."""
        dummy = edge.Point(str(uuid.UUID(int=0)), [0.0] * self.model.dimension)
        shard.update(edge.UpdateOperation.upsert_points([dummy]))
        shard.update(edge.UpdateOperation.delete_points([dummy.id]))

    def _seal_segment(self, shard: edge.EdgeShard) -> None:
        """Seal the growing segment if it is large enough and the disk has the space."""
        try:
            self._require_space(bytes_to_rewrite(self._folder / "shard"), "to seal a segment")
        except DiskFullError:
            log_once(
                f"The disk of '{self._folder}' is nearly full: new entries are kept, but search"
                " becomes slower with them until there is space to sort them into the index."
            )
        else:
            if shard.optimize():
                shard.flush()

    def _rewrite_segments(self, shard: edge.EdgeShard) -> None:
        """Rewrite segments with deleted rows without them, and remove the old files."""
        self._require_space(
            bytes_to_rewrite(self._folder / "shard"),
            "to remove the bytes of deleted entries from its files, which the next command that"
            " changes the gallery does",
        )
        shard.optimize()
        # The flush removes the old files, even if optimize reports that it had nothing to do.
        shard.flush()

    def _require_space(self, size: int, purpose: str) -> None:
        require_space(self._folder, size, purpose)


def _bytes_of(rows: Sequence[IndexedImage]) -> int:
    """The bytes that rows take at most."""
    return 2 * sum(r.feature.nbytes + 4 * len(r.thumbnail) // 3 + ROW_BYTES for r in rows)


def _point(row: IndexedImage) -> edge.Point:
    # A list: faster than an array in this engine.
    return edge.Point(row.info.id, row.feature.tolist(), payload_of(row))


def _known(shard: edge.EdgeShard, ids: Sequence[str]) -> set[str]:
    found = shard.retrieve(list(ids), with_payload=False, with_vector=False)
    return {str(record.id) for record in found}
