"""The server store: a gallery as a collection of a Qdrant server or cluster, version 1.20 or later.

The collection's metadata hold what gallery.json holds for a folder. A change is acknowledged when
the server has written it to its log and applied it. The server builds the graph by itself. A
deleted entry disappears from search results at once, but its bytes stay in the server's files until
the optimiser has rewritten the segment and the log has been truncated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models

from vireid.errors import GalleryError
from vireid.gallery._about import VERSION
from vireid.gallery._about import check_version as check_format
from vireid.gallery._connection import check_version, open_client, server_errors
from vireid.gallery._payload import INDEXED, THUMBNAIL, Conditions, Lookup, payload_of
from vireid.gallery.filters import EVERYTHING, Filters
from vireid.gallery.options import DEFAULT_COLLECTION, DEFAULT_OPTIONS, ServerOptions
from vireid.gallery.store import (
    EF_CONSTRUCT,
    EF_SEARCH,
    LINKS,
    OVERSAMPLING,
    PAGE,
    Field,
    Query,
    Store,
)
from vireid.log import log_once
from vireid.types import IndexedImage, ModelInfo

__all__ = ["ServerStore", "connect"]

_INFORMATION = TypeAdapter(ModelInfo)
_MODEL = "vireid_model"
_VERSION = "vireid_version"
_NOTE = "vireid_note_"
REFRESH = 30.0
"""Seconds for which the metadata and size of a collection are reused before they are read again."""
_REQUEST = 100
"""Rows per request. A server refuses more than 32 MiB by default; a number of a feature takes about
21 characters of JSON, so a row of DLIS with its thumbnail takes 74 KB."""


class _Info(NamedTuple):
    """The metadata and size of a collection, and when they were read (monotonic seconds)."""

    metadata: Mapping[str, Any]
    points: int
    read_at: float


class ServerStore(Store):
    """A :class:`~vireid.gallery.store.Store` on a server; threads may share it.

    Args:
        client: A client of the server, which is closed with the store.
        url: The server's address, for messages.
        collection: The collection's name.
        model: The network of a gallery to create if there is none; None only opens one.
        options: Distribution of a new collection over a cluster.

    Raises:
        GalleryError: The server does not answer, is too old or refuses the key; or there is no such
            collection, or it is not a gallery.
    """

    def __init__(
        self,
        client: QdrantClient,
        *,
        url: str,
        collection: str,
        model: ModelInfo | None = None,
        options: ServerOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._client = client
        self._url = url
        self._collection = collection
        self._cached: _Info | None = None
        self._version = 0
        self._cache_lock = threading.Lock()
        with self._errors():
            check_version(client, url)
            if model is not None and not self._exists():
                self._create(model, options)
            elif options.collection != DEFAULT_COLLECTION:
                log_once(
                    f"The collection '{collection}' exists and keeps its shards and replicas; the"
                    " given ones are for a new collection."
                )
        self.model = self._read_model()

    @property
    def notes(self) -> Mapping[str, str]:
        """Texts stored with the rows, by name.

        They are read once and reused for ``REFRESH`` seconds: a note written by this process is
        seen at once, one written by another process after that time at the latest.
        """
        return {
            name.removeprefix(_NOTE): str(text)
            for name, text in self._info().metadata.items()
            if name.startswith(_NOTE) and text
        }

    @property
    def size(self) -> int:
        """About how many rows there are; changes by other processes count after ``REFRESH`` s."""
        return self._info().points

    def save_note(self, name: str, text: str) -> None:
        """Store a text with the rows; delete it if it is empty."""
        with self._invalidating(), self._errors():
            self._client.update_collection(self._collection, metadata={_NOTE + name: text})

    def insert(self, rows: Sequence[IndexedImage]) -> int:
        """Add the rows whose id does not exist yet; they are applied when it returns."""
        known = self.existing([row.info.id for row in rows])
        new = {row.info.id: row for row in reversed(rows) if row.info.id not in known}
        # Another client may have added one of them in the meantime.
        self._upsert(new.values(), models.UpdateMode.INSERT_ONLY)
        return len(new)

    def replace(self, rows: Sequence[IndexedImage]) -> None:
        """Write rows over those of the same ids; the server removes the former bytes later."""
        self._upsert(rows, models.UpdateMode.UPDATE_ONLY)

    def _upsert(self, rows: Iterable[IndexedImage], mode: models.UpdateMode) -> None:
        waiting = iter(rows)
        while some := list(islice(waiting, _REQUEST)):
            points = [
                models.PointStruct(
                    id=row.info.id, vector=row.feature.tolist(), payload=payload_of(row)
                )
                for row in some
            ]
            with self._invalidating(), self._errors():
                self._client.upsert(self._collection, points, update_mode=mode, wait=True)

    def count(self, filters: Filters) -> int:
        """The number of rows."""
        with self._errors():
            found = self._client.count(
                self._collection, count_filter=_as_filter(filters), exact=True
            )
        return found.count

    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows; the server removes their bytes from its files later."""
        waiting = iter(ids)
        while some := list(islice(waiting, _REQUEST)):
            with self._invalidating(), self._errors():
                self._client.delete(
                    self._collection, models.PointIdsList(points=list(some)), wait=True
                )

    def index(self) -> None:
        """Do nothing: the server builds the graph by itself, segment by segment."""

    def rebuild_indexes(self) -> None:
        """Discard the filter indexes and build them from the rows."""
        with self._errors():
            for key in INDEXED:
                self._client.delete_payload_index(self._collection, key, wait=True)
            self._create_indexes()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _query(
        self, queries: Sequence[Query], limit: int, *, exact: bool, with_features: bool
    ) -> Iterable[Sequence[Any]]:
        params = models.SearchParams(
            exact=exact,
            hnsw_ef=EF_SEARCH,
            # Without effect unless the collection was given quantisation.
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING),
        )
        requests = [
            models.QueryRequest(
                query=query.feature.tolist(),
                filter=_as_filter(query.filters),
                limit=limit,
                with_payload=_selected(thumbnails=False),
                with_vector=with_features,
                params=params,
            )
            for query in queries
        ]
        with self._errors():
            answers = self._client.query_batch_points(self._collection, requests)
        return [answer.points for answer in answers]

    def _scroll(
        self, filters: Filters | Lookup, offset: Any, *, features: bool, thumbnails: bool
    ) -> tuple[Iterable[Any], Any]:
        with self._errors():
            return self._client.scroll(
                self._collection,
                scroll_filter=_as_filter(filters),
                limit=PAGE,
                offset=offset,
                with_payload=_selected(thumbnails=thumbnails),
                with_vectors=features,
            )

    def _retrieve(self, ids: Sequence[str], *, payload: bool) -> Sequence[Any]:
        with self._errors():
            return self._client.retrieve(
                self._collection, list(ids), with_payload=payload, with_vectors=False
            )

    def _facet(self, field: Field, filters: Filters, limit: int) -> Iterable[Any]:
        with self._errors():
            found = self._client.facet(
                self._collection,
                key=field,
                facet_filter=_as_filter(filters),
                limit=limit,
                exact=True,
            )
        return found.hits

    def _exists(self) -> bool:
        """Whether the collection exists and its creation was not interrupted."""
        if not self._client.collection_exists(self._collection):
            return False
        return _MODEL in self._info().metadata or self.count(EVERYTHING) > 0

    def _create(self, model: ModelInfo, options: ServerOptions) -> None:
        """Create an empty collection; the metadata that make it a gallery are written last."""
        if not self._client.collection_exists(self._collection):
            self._client.create_collection(
                self._collection,
                vectors_config=models.VectorParams(
                    size=model.dimension, distance=models.Distance.DOT
                ),
                hnsw_config=models.HnswConfigDiff(m=LINKS, ef_construct=EF_CONSTRUCT),
                shard_number=options.collection.shards,
                replication_factor=options.collection.replicas,
            )
        self._create_indexes()
        with self._invalidating():
            self._client.update_collection(
                self._collection, metadata={_VERSION: VERSION, _MODEL: asdict(model)}
            )

    def _create_indexes(self) -> None:
        for key, kind in INDEXED.items():
            schema = models.PayloadSchemaType(kind)
            self._client.create_payload_index(self._collection, key, schema, wait=True)

    def _errors(self) -> AbstractContextManager[None]:
        return server_errors(self._url, self._collection)

    def _info(self) -> _Info:
        """The collection's metadata and size, read again after ``REFRESH`` seconds."""
        cached = self._cached
        if cached is not None and time.monotonic() - cached.read_at < REFRESH:
            return cached
        version, read_at = self._version, time.monotonic()
        with self._errors():
            found = self._client.get_collection(self._collection)
        info = _Info(found.config.metadata or {}, found.points_count or 0, read_at)
        with self._cache_lock:
            if version == self._version:  # else this process changed it in the meantime
                self._cached = info
        return info

    @contextmanager
    def _invalidating(self) -> Iterator[None]:
        """Discard the cached metadata after a change, also after one that failed."""
        try:
            yield
        finally:
            with self._cache_lock:
                self._version += 1
                self._cached = None

    def _read_model(self) -> ModelInfo:
        version = self._info().metadata.get(_VERSION, VERSION)
        check_format(version, f"{self._url}/{self._collection}")
        try:
            return _INFORMATION.validate_python(self._info().metadata[_MODEL])
        except (KeyError, ValidationError) as error:
            raise GalleryError(
                f"The collection '{self._collection}' of the Qdrant server at {self._url} is not a "
                "gallery: its metadata name no network; expected one that vireid created: "
                "choose another name for a new gallery."
            ) from error


def connect(
    location: str, *, model: ModelInfo | None = None, options: ServerOptions = DEFAULT_OPTIONS
) -> ServerStore:
    """Open a gallery on a server.

    Args:
        location: ``http(s)://HOST:PORT/COLLECTION``.
        model: The network of a gallery to create if there is none; None only opens one.
        options: Connection options.

    Raises:
        ConfigError: ``location`` is not such an address.
        GalleryError: As in :class:`ServerStore`.
    """
    client, url, collection = open_client(location, options)
    try:
        return ServerStore(client, url=url, collection=collection, model=model, options=options)
    except BaseException:
        client.close()
        raise


_Condition: TypeAlias = models.FieldCondition | models.HasIdCondition | models.Filter

_CONDITIONS: Conditions[_Condition] = Conditions(
    any_of=lambda key, values: models.FieldCondition(key=key, match=models.MatchAny(any=values)),
    contains=lambda key, part: models.FieldCondition(
        key=key, match=models.MatchSubstring(substring=part)
    ),
    between=lambda key, since, until: models.FieldCondition(
        key=key, range=models.DatetimeRange(gte=since, lt=until)
    ),
    ids=lambda ids: models.HasIdCondition(has_id=list(ids)),
    none_of=lambda ids: models.Filter(must_not=[models.HasIdCondition(has_id=list(ids))]),
    neither=lambda condition: models.Filter(must_not=[condition]),
)


def _as_filter(filters: Filters | Lookup) -> models.Filter:
    """Filters as those of the server."""
    return models.Filter(must=list(_CONDITIONS.of(filters)))


def _selected(*, thumbnails: bool) -> bool | models.PayloadSelectorExclude:
    """The part of the payload to return."""
    return True if thumbnails else models.PayloadSelectorExclude(exclude=[THUMBNAIL])
