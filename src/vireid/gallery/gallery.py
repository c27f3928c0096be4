"""The interface of a gallery for the app and the commands.

    with open_gallery("people", model=model, create=True) as gallery:
        gallery.add(rows)
        [hits] = gallery.search(query[None], filters=Filters(cameras=("entrance",)), limit=20)

This is where rows and queries are checked, and where the graph is chosen over a comparison with
every feature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireid.errors import ConfigError, GalleryError, first_few, many
from vireid.files import Closeable
from vireid.gallery._about import about_file
from vireid.gallery._checks import check_filters, check_model, check_queries, check_rows
from vireid.gallery._payload import is_id
from vireid.gallery.cases import Cases
from vireid.gallery.filters import EVERYTHING, Filters, Hit
from vireid.gallery.options import DEFAULT_COLLECTION, DEFAULT_OPTIONS, ServerOptions
from vireid.gallery.saved import MOST_SEARCHES, SavedSearch, parse_searches, searches_to_json
from vireid.gallery.store import Field, Store
from vireid.gallery.verification import Verification, verify
from vireid.log import log, printable
from vireid.standardisation import Standardisation
from vireid.times import in_utc
from vireid.types import ImageInfo, IndexedImage, ModelInfo, id_of

__all__ = ["BATCH", "EDITABLE", "EXACT_UP_TO", "Added", "Gallery", "Info", "open_gallery"]

BATCH = 500
"""Rows that are written and acknowledged at once."""

EXACT_UP_TO = 50_000
"""Number of entries up to which search is exact; beyond it uses the graph, if there is one."""

EDITABLE = ("camera", "identity", "time", "tracklet", "note")
"""What can be changed of an entry; not its modality, on which its feature depends."""

CALIBRATION = "calibration"
SEARCHES = "searches"
STANDARDISATION = "standardisation"
WATCHES = "watches"
"""The note with the ids of the watches that know which files they have added to the gallery."""


@dataclass(frozen=True, slots=True)
class Added:
    """The result of adding rows.

    Attributes:
        new: Number of new rows.
        known: Number of rows whose image was there already; they are unchanged.
    """

    new: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """A summary of a gallery; ``str`` formats it for the terminal.

    Attributes:
        location: Its folder or address.
        model: The network of its features.
        entries: Number of entries.
        modalities: Number of entries of each modality.
        cameras: Number of entries of each camera; the empty name is unknown.
        identities: Number of named identities.
        calibrated: Whether searches have a verdict.
        cases: Number of cases.
        searches: The names of the saved searches.
    """

    location: str
    model: ModelInfo
    entries: int
    modalities: dict[str, int]
    cameras: dict[str, int]
    identities: int
    calibrated: bool
    cases: int
    searches: tuple[str, ...]

    def __str__(self) -> str:
        def listed(counts: dict[str, int]) -> str:
            named = (f"{printable(name) or 'unknown'} {n}" for name, n in counts.items())
            return ", ".join(named) or "none"

        about = ", ".join(
            f"{printable(name)} {printable(text)}" for name, text in self.model.about.items()
        )
        lines = {
            "gallery": self.location,
            "network": f"{self.model.fingerprint}, dimension {self.model.dimension}",
            "made with": about,
            "entries": str(self.entries),
            "modalities": listed(self.modalities),
            "cameras": listed(self.cameras),
            "identities": f"{self.identities} named",
            "calibrated": "yes" if self.calibrated else "no (`vireid gallery calibrate`)",
            "cases": str(self.cases or ""),
            "saved": ", ".join(self.searches),
        }
        return "\n".join(f"{name:<11} {text}" for name, text in lines.items() if text)


class Gallery(Closeable):
    """Images with features and thumbnails, searched by feature; threads may share it.

    Open one with :func:`open_gallery`; close it with :meth:`close` or ``with``. All methods raise
    :class:`~vireid.errors.GalleryError` if the store is damaged, is locked by another process for
    too long, or (a server) does not answer.

    Args:
        store: The store of the rows.
        location: The store's folder or address, for messages.
        write: Whether rows may be added and deleted.
    """

    def __init__(self, store: Store, *, location: str, write: bool) -> None:
        self._store = store
        self._write = write
        self.location = location
        """The gallery's folder or address."""
        self.cases = Cases(store, location, write=write)
        """The cases."""

    def close(self) -> None:
        """Close files, locks and connections; closing twice is no error."""
        self._store.close()

    @property
    def model(self) -> ModelInfo:
        """The network of the features."""
        return self._store.model

    @property
    def calibration(self) -> str:
        """The stored calibration as JSON; empty without one.

        On a server, a change by another process is seen after at most 30 seconds.
        """
        return self._store.notes.get(CALIBRATION, "")

    @property
    def standardisation(self) -> Standardisation | None:
        """What standardised the features after the network, and standardises queries; or None."""
        text = self._store.notes.get(STANDARDISATION, "")
        return Standardisation.from_json(text) if text else None

    def save_standardisation(self, found: Standardisation) -> None:
        """Store the statistics that the gallery's model standardises with."""
        self._check_write()
        self._store.save_note(STANDARDISATION, found.to_json())

    def save_calibration(self, text: str) -> None:
        """Store a calibration with the rows; an empty text deletes it."""
        self._check_write()
        self._store.save_note(CALIBRATION, text)

    @property
    def searches(self) -> tuple[SavedSearch, ...]:
        """The saved searches by name; on a server, changes are seen as of :attr:`calibration`."""
        return parse_searches(self._store.notes.get(SEARCHES, ""))

    def save_search(self, search: SavedSearch) -> None:
        """Save a search, in place of one of its name.

        Raises:
            ConfigError: There are ``MOST_SEARCHES`` others.
        """
        with self._store.turn():
            others = [one for one in self.searches if one.name != search.name]
            if len(others) >= MOST_SEARCHES:
                raise ConfigError(
                    f"'{self.location}' has {len(others)} saved searches; expected at most"
                    f" {MOST_SEARCHES}; delete one first."
                )
            self._save_searches([*others, search])

    def delete_search(self, name: str) -> bool:
        """Delete a saved search; whether there was one."""
        with self._store.turn():
            found = self.searches
            left = [search for search in found if search.name != name]
            if len(left) < len(found):
                self._save_searches(left)
            return len(left) < len(found)

    def _save_searches(self, searches: Sequence[SavedSearch]) -> None:
        self._check_write()
        ordered = sorted(searches, key=lambda search: search.name)
        self._store.save_note(SEARCHES, searches_to_json(ordered))

    def _forget_searches(self, ids: Collection[str], before: datetime | None) -> None:
        """Delete the searches for deleted entries, and those saved before a time."""
        for search in self.searches:
            expired = before is not None and search.saved < before
            if expired or not set(ids).isdisjoint(search.ids):
                self.delete_search(search.name)
                reason = "it is older than the retention period" if expired else "so are its images"
                log(f"The saved search '{search.name}' was deleted, as {reason}.")

    def note(self, name: str) -> str:
        """A text that is stored with the rows; empty if there is none."""
        return self._store.notes.get(name, "")

    def save_note(self, name: str, text: str) -> None:
        """Store a text with the rows; an empty text deletes it."""
        self._check_write()
        self._store.save_note(name, text)

    def add(self, rows: Sequence[IndexedImage]) -> Added:
        """Add rows, in batches of ``BATCH``; rows of images that exist already change nothing.

        When the call returns, all rows survive a kill and a power cut; while it runs, each batch
        does once it is written. All rows are checked before anything is written.

        Args:
            rows: Images with unit features, float32 ``[d]``, and thumbnails (or none); they were
                added now if their time is missing or in the future.

        Raises:
            GalleryError: The gallery was opened read-only; a SHA-256 or a text is invalid; or a
                feature is not finite, of unit norm and of the gallery's dimension.
        """
        self._check_write()
        check_rows(rows, self.model)
        now = datetime.now(UTC)
        rows = [replace(r, info=replace(r.info, added=min(r.info.added or now, now))) for r in rows]
        new = sum(
            self._store.insert(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)
        )
        return Added(new, len(rows) - new)

    def edit(self, changes: Mapping[str, Mapping[str, Any]], *, dry_run: bool = False) -> int:
        """Change what is known of entries; earlier values are gone as after :meth:`delete`.

        Args:
            changes: By the id of an entry its new values, by the names in ``EDITABLE``; as in
                :class:`~vireid.types.ImageInfo`. Ids that no entry has are passed over.
            dry_run: Only count, and change nothing.

        Returns:
            The number of entries whose values differ from these.

        Raises:
            GalleryError: The gallery was opened read-only, or a text is invalid.
        """
        if not dry_run:
            self._check_write()
        ids = [id for id, values in changes.items() if values]
        batches = (tuple(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH))
        if dry_run:
            return sum(len(self._edited(batch, changes, dry_run=True)) for batch in batches)
        number = 0
        for batch in batches:
            # So that no entry that another process deletes meanwhile comes back.
            with self._store.turn():
                if edited := self._edited(batch, changes):
                    check_rows(edited, self.model)
                    self._store.replace(edited)
                number += len(edited)
        return number

    def _edited(
        self, ids: tuple[str, ...], changes: Mapping[str, Mapping[str, Any]], dry_run: bool = False
    ) -> list[IndexedImage]:
        """The entries that change, as they will be."""
        edited, standardisation = list[IndexedImage](), self.standardisation
        for row in self.rows(Filters(ids=ids), features=not dry_run, thumbnails=not dry_run):
            info = replace(row.info, **changes[row.info.id])
            if info == row.info:
                continue
            if standardisation and info.camera != row.info.camera and not dry_run:
                # The statistics that standardise a feature may be those of its camera.
                raw = standardisation.of_images([row], invert=True)[0]
                edited += standardisation.of_images([replace(raw, info=info)])
            else:
                edited.append(replace(row, info=info))
        return edited

    def known(self, sha256: Sequence[str]) -> set[str]:
        """The images that exist in the gallery.

        Args:
            sha256: SHA-256 of the images' bytes.
        """
        if not sha256:
            return set()
        filters = Filters(ids=tuple(map(id_of, sha256)))
        rows = self.rows(filters, features=False, thumbnails=False)
        return {row.info.sha256 for row in rows}

    def search(
        self,
        features: NDArray[np.float32],
        *,
        filters: Filters | Sequence[Filters] = EVERYTHING,
        limit: int = 20,
        exact: bool | None = None,
        with_features: bool = False,
    ) -> list[list[Hit]]:
        """The entries most similar to each query.

        Args:
            features: Unit features, float32 ``[q, d]``.
            filters: The entries searched; one for all queries, or one for each.
            limit: Maximum number of hits per query, at least 1.
            exact: Compare with every entry (True), or use the graph if :meth:`index` built one
                (False); None is exact up to ``EXACT_UP_TO`` entries.
            with_features: Return the features of the hits.

        Returns:
            For each query its hits, best first; entries of equal score in the order of their ids.

        Raises:
            ConfigError: ``limit`` is below 1.
            GalleryError: A query is not finite, of unit norm and of the gallery's dimension.
        """
        if limit < 1:
            raise ConfigError(f"The limit of a search is {limit}; expected 1 or more.")
        check_queries(features, self.model)
        for one in [filters] if isinstance(filters, Filters) else filters:
            check_filters(one)
        by_query = [filters] * len(features) if isinstance(filters, Filters) else filters
        if exact is None:
            exact = self._store.size <= EXACT_UP_TO
        return self._store.search(
            features, filters=by_query, limit=limit, exact=exact, with_features=with_features
        )

    def entry(self, id: str) -> IndexedImage | None:
        """An entry with its feature and thumbnail; None if there is none with this id."""
        return next(self.rows(Filters(ids=(id,))), None)

    def thumbnail(self, id: str) -> bytes:
        """The thumbnail of an entry, a JPEG; empty if there is none with this id."""
        return self._store.thumbnail(id) if is_id(id) else b""

    def rows(
        self,
        filters: Filters = EVERYTHING,
        *,
        features: bool = True,
        thumbnails: bool = True,
    ) -> Iterator[IndexedImage]:
        """Iterate over entries in the order of their ids, in bounded memory.

        Entries that are added or deleted meanwhile may or may not be included.

        Args:
            filters: The entries.
            features: Return the features; otherwise they are arrays of length 0.
            thumbnails: Return the thumbnails; otherwise they are empty.
        """
        check_filters(filters)
        return self._store.rows(filters, features=features, thumbnails=thumbnails)

    def infos(self, ids: Collection[str]) -> dict[str, ImageInfo]:
        """The metadata of entries by their ids; ids that no entry has are left out."""
        found, every = dict[str, ImageInfo](), tuple(ids)
        # In parts: a store reads page by page, and compares all ids of the filter for each page.
        for start in range(0, len(every), BATCH):
            filters = Filters(ids=every[start : start + BATCH])
            for row in self.rows(filters, features=False, thumbnails=False):
                found[row.info.id] = row.info
        return found

    def tracklets(
        self,
        infos: Iterable[ImageInfo],
        filters: Filters = EVERYTHING,
        *,
        features: bool = True,
    ) -> Iterator[IndexedImage]:
        """Iterate over the entries of the tracklets of some images, without thumbnails.

        Args:
            infos: The images; one without a tracklet adds none.
            filters: Further conditions on the entries.
            features: As in :meth:`rows`.
        """
        tracked = {info.tracklet_key: info for info in infos if info.tracklet}
        if not tracked:
            return
        # All tracklets of these names in these cameras, of which some may be others.
        wider = replace(
            filters,
            cameras=tuple({info.camera for info in tracked.values()}),
            tracklets=tuple({info.tracklet for info in tracked.values()}),
        )
        for row in self.rows(wider, features=features, thumbnails=False):
            if row.info.tracklet_key in tracked:
                yield row

    def count(self, filters: Filters = EVERYTHING) -> int:
        """The number of entries."""
        check_filters(filters)
        return self._store.count(filters)

    def count_by(self, field: Field, filters: Filters = EVERYTHING) -> dict[str, int]:
        """The values of a field and the number of entries with each, sorted by value."""
        check_filters(filters)
        return self._store.count_by(field, filters)

    def delete(self, filters: Filters) -> int:
        """Delete entries for good, with their thumbnails and features, and from all cases.

        In a folder no file contains any of their bytes when the call returns: the segments that
        contained them are rewritten, which takes about a second per 100 MB of features in them (see
        :mod:`vireid.gallery.embedded`). A server removes their bytes later.

        The entries are found by their own values, not by the filter indexes, which may be damaged;
        this reads the metadata of the whole gallery unless ``filters`` are ids. Saved searches for
        their images are deleted too, which is logged.

        Args:
            filters: The entries; at least one condition.

        Returns:
            The number of deleted entries.

        Raises:
            ConfigError: There is no condition, which would delete everything.
            GalleryError: The gallery was opened read-only; entries are still there; or the others
                were deleted, but a damaged one may match too.
        """
        self._check_write()
        ids, faults = self._select(filters)
        # Cases and saved searches may also name images that are no entries.
        named = ids.union(filters.ids) if filters.only_ids else ids
        with self.cases.forgetting(named):
            alone = filters == Filters(retained_before=filters.retained_before)
            self._forget_searches(named, filters.retained_before if alone else None)
            if ids:
                self._store.delete(sorted(ids))
        if left := self._store.existing(sorted(ids)):
            raise GalleryError(
                f"{len(left)} of {len(ids)} entries of '{self.location}' are still there after"
                f" their deletion, such as '{min(left)}'; expected none: restore a copy of the"
                " gallery or create it again."
            )
        if faults:
            place = f"of '{self.location}'"
            raise GalleryError(
                f"{many(len(ids), f'entry {place} was', f'entries {place} were')} deleted, but"
                f" {len(faults):,} cannot be read and may belong to them too: {faults[0]}"
            )
        return len(ids)

    def select(self, filters: Filters) -> tuple[str, ...]:
        """The ids of entries, by their own values instead of the filter indexes.

        This is what :meth:`delete` deletes. If the indexes give other entries, that is logged.

        Args:
            filters: The entries; at least one condition.

        Raises:
            ConfigError: There is no condition.
        """
        return tuple(sorted(self._select(filters)[0]))

    def _select(self, filters: Filters) -> tuple[set[str], list[str]]:
        check_filters(filters)
        if replace(filters, without_ids=()) == EVERYTHING:
            raise ConfigError(
                "Deleting without any condition would empty the gallery; expected an id, an "
                "identity, a camera, a time or another condition: to delete all of it, remove its "
                "folder or collection."
            )
        ids, faults = self._store.select(filters)
        if not filters.only_ids and (wrong := (ids ^ self._store.indexed(filters))):
            log(
                f"The filter indexes of '{self.location}' are damaged: they give"
                f" {many(len(wrong), 'other entry', 'other entries')} than the entries' own values,"
                " which are used; rebuild them with `vireid gallery verify --rebuild`."
            )
        return ids, faults

    def expire(self, older_than: timedelta, *, now: datetime) -> int:
        """Delete the entries that are older than a retention period.

        Args:
            older_than: The retention period, counted from when an image was taken or added,
                whichever came first.
            now: The current time; without a zone it is taken as UTC.

        Returns:
            The number of deleted entries.
        """
        number = self.delete(Filters(retained_before=now - older_than))
        if self.cases.available:
            self.cases.expire(in_utc(now - older_than))
        return number

    def index(self) -> None:
        """Build the graph for approximate search of more than ``EXACT_UP_TO`` entries."""
        self._check_write()
        self._store.index()

    def verify(
        self, *, deleted: Sequence[IndexedImage | str] = (), rows: bool = True
    ) -> Verification:
        """Read every row and every case, and search the files for traces of deleted entries.

        Args:
            deleted: Deleted entries: their rows, or only their ids. All files are searched for the
                ids, and for the SHA-256, thumbnail and feature of rows.
            rows: Read the rows; otherwise only search for traces.
        """
        found = verify(self._store, deleted, rows=rows)
        if not rows or not self.cases.available:
            return found
        cases, gone, faults = self.cases.verify()
        return replace(found, faults=(*found.faults, *faults), cases=cases, deleted_of_cases=gone)

    def copy_to(self, other: Gallery) -> int:
        """Add every row to another gallery, its cases and searches, and the calibration.

        What the other gallery has already stays as it is. What else is copied is logged.

        Returns:
            The number of rows that were new to it.

        Raises:
            GalleryError: The other gallery is of another network.
        """
        check_model(other.location, other.model, self.model)
        if found := self.standardisation:
            other.save_standardisation(found)
        new, batch = 0, list[IndexedImage]()
        for row in self.rows():
            batch.append(row)
            if len(batch) == BATCH:
                new += other.add(batch).new
                batch.clear()
        new += other.add(batch).new
        if self.calibration and not other.calibration:
            other.save_calibration(self.calibration)
        self.copy_cases_and_searches(other)
        return new

    def copy_cases_and_searches(self, other: Gallery) -> None:
        """Add cases and saved searches to another gallery that has the same entries.

        So that what was deleted stays deleted, a watch of this gallery may go on with the other.
        Cases and searches that it has already stay as they are. Between galleries of different
        standardisation the features of searches are converted; searches with a threshold, which is
        a score of other features, and of several images are left out. What is copied and left out
        is logged.
        """
        copied: list[str] = []
        if number := len(self.cases):
            cases, damaged = self.cases.read_all()
            for problem in damaged:
                log(f"A case is not copied. {problem}")
            if other.cases.available:
                new, gone = other.cases.add_copies(cases)
                copied += [many(new, "case")] if new else []
                if gone:
                    log(
                        f"{many(gone, 'image')} of these cases"
                        f" {'is no entry' if gone == 1 else 'are no entries'} of"
                        f" '{other.location}', and left out."
                    )
            else:
                log(
                    f"{many(number, 'case stays', 'cases stay')} in '{self.location}': a gallery on"
                    " a server keeps no cases."
                )
        there = {search.name for search in other.searches}
        searches = [search for search in self.searches if search.name not in there]
        if other.model.fingerprint != self.model.fingerprint:
            kept = [one for one in searches if one.threshold is None and len(one.ids) == 1]
            if stay := [one.name for one in searches if one not in kept]:
                log(
                    f"{many(len(stay), 'saved search stays', 'saved searches stay')} in"
                    f" '{self.location}' ({first_few(stay)}): thresholds are scores of its"
                    " features; save them again with `vireid gallery save-search`."
                )
            searches = [self._converted(one, other) for one in kept]
        for search in searches:
            other.save_search(search)
        if searches:
            copied.append(many(len(searches), "saved search", "saved searches"))
        if copied:
            log(f"'{other.location}' has {' and '.join(copied)} of '{self.location}' too.")
        if watches := self.note(WATCHES).split():
            both = dict.fromkeys([*other.note(WATCHES).split(), *watches])
            other.save_note(WATCHES, " ".join(both))
            log(
                f"Watch '{other.location}' by `vireid watch … --people FOLDER` with the folder of"
                f" the watch of '{self.location}': for another one the files that are there are"
                " new, those of deleted entries too."
            )

    def _converted(self, search: SavedSearch, other: Gallery) -> SavedSearch:
        """A search with one image as one of a gallery of another standardisation."""
        info = ImageInfo(path=Path(search.name), modality=search.modality, camera=search.camera)
        rows = [IndexedImage(info, search.feature)]
        if self.standardisation:
            rows = self.standardisation.of_images(rows, invert=True)
        if other.standardisation:
            rows = other.standardisation.of_images(rows)
        return replace(search, vector=SavedSearch.encoded(rows[0].feature))

    def info(self) -> Info:
        """A summary."""
        return Info(
            location=self.location,
            model=self.model,
            entries=self.count(),
            modalities=self.count_by("modality"),
            cameras=self.count_by("camera"),
            identities=len(self.count_by("identity").keys() - {""}),
            calibrated=bool(self.calibration),
            cases=len(self.cases),
            searches=tuple(search.name for search in self.searches),
        )

    def _check_write(self) -> None:
        if not self._write:
            raise GalleryError(
                f"The gallery '{self.location}' was opened read-only; expected it to be opened "
                "with write=True before it is changed."
            )


def open_gallery(
    location: str | Path,
    *,
    model: ModelInfo | None = None,
    write: bool = False,
    turns: bool = False,
    create: bool = False,
    rebuild: bool = False,
    options: ServerOptions = DEFAULT_OPTIONS,
    lock_timeout: float = 30.0,
) -> Gallery:
    """Open a gallery in a folder or on a Qdrant server.

    Args:
        location: A folder, or ``http(s)://HOST:PORT/COLLECTION``.
        model: The network in use; a gallery of another network is refused. None accepts any.
        write: Rows will be added or deleted; a folder has one writer at a time.
        turns: Be the writer during each change only, so that several processes that all take turns,
            such as `vireid serve` and `vireid watch`, may have a folder open for writing.
        create: Create the gallery, for ``model``, if there is none; implies ``write``.
        rebuild: Discard the filter indexes and build them from the entries; implies ``write``.
        options: Connection options of a server.
        lock_timeout: Seconds to wait for another process to release a folder's files, and for a
            turn.

    Raises:
        ConfigError: ``create`` without a model, an invalid address, or options of a new collection
            for a folder.
        GalleryError: There is no gallery; it is damaged, of another network, or locked by another
            process; or the server does not answer or refuses the API key.
    """
    if create and model is None:
        raise ConfigError(
            "A new gallery needs to know its network; pass the model to open_gallery."
        )
    new, write = model if create else None, write or create or rebuild
    store = _open_store(
        location,
        model=new,
        write=write,
        turns=turns,
        rebuild=rebuild,
        options=options,
        lock_timeout=lock_timeout,
    )
    try:
        if model is not None:
            check_model(str(location), store.model, model)
    except GalleryError:
        store.close()
        raise
    return Gallery(store, location=str(location), write=write)


def is_gallery(location: str | Path) -> bool:
    """Whether this is a folder that holds a gallery, or the address of a Qdrant server."""
    return _is_server(location) or about_file(Path(location)).exists()


def _is_server(location: str | Path) -> bool:
    return str(location).startswith(("http://", "https://"))


def _open_store(
    location: str | Path,
    *,
    model: ModelInfo | None,
    write: bool,
    turns: bool,
    rebuild: bool,
    options: ServerOptions,
    lock_timeout: float,
) -> Store:
    """Open the store of a gallery; create it for ``model`` if there is none."""
    try:
        # Imported here because each takes a while, and most commands need neither.
        if _is_server(location):
            from vireid.gallery.server import connect

            store = connect(str(location), model=model, options=options)
            if rebuild:
                store.rebuild_indexes()
            return store
        from vireid.gallery.embedded import EmbeddedStore

        if options.collection != DEFAULT_COLLECTION:
            raise ConfigError(
                f"Shards and replicas are given for the gallery '{location}', which is a folder;"
                " expected the address of a collection on a Qdrant server; leave them out."
            )
        return EmbeddedStore(
            Path(location),
            model=model,
            write=write,
            turns=turns,
            rebuild=rebuild,
            lock_timeout=lock_timeout,
        )
    except ModuleNotFoundError as error:
        raise GalleryError(
            f"A gallery needs the package '{error.name}', which cannot be found; install it with "
            "`pip install 'vireid[gallery]'`."
        ) from error
