"""Cases: the results of searches for one person that somebody chose or rejected, with notes.

    case = gallery.cases.create("Bicycle, 30 May", by="ada")
    gallery.cases.add(case.id, [CaseHit(id=entry, by="ada", score=0.71)], [CaseQuery(id=query)])

Each case is one file, ``GALLERY/cases/ID.json``. It refers to images by their ids and holds no
pixel, feature, camera, time or identity: those live in the gallery alone, under its retention.
Deleting an entry removes all that cases say of it and leaves only a number. A query image that is
no entry is referred to by the id that it would have as one, which its file gives again.

Cases are changed by the process that may change the gallery, or whose turn it is; others read them
meanwhile.
"""

from __future__ import annotations

import threading
import unicodedata
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, StringConstraints, TypeAdapter
from pydantic_core import from_json

from vireid.errors import (
    ConfigError,
    DiskFullError,
    GalleryError,
    NotThereError,
    first_few,
    fix_of,
    many,
)
from vireid.files import sync, write_atomic
from vireid.gallery._payload import is_id
from vireid.gallery._space import is_full
from vireid.gallery.store import Store
from vireid.log import log, printable

__all__ = [
    "CASE_VERSION",
    "LONGEST_NAME",
    "LONGEST_NOTE",
    "MOST_IMAGES",
    "MOST_NOTES",
    "Case",
    "CaseHit",
    "CaseNote",
    "CaseQuery",
    "Cases",
    "Decision",
]

CASE_VERSION = 1
"""The version of the format of case files."""

LONGEST_NAME = 200
"""Characters of a case's name."""

LONGEST_NOTE = 2_000
"""Characters of a note."""

MOST_IMAGES = 10_000
"""Hits and queries of a case, so that reading one stays fast."""

MOST_NOTES = 1_000
"""Notes of a case."""

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A UUID, as entries and cases have."""

Decision = Literal["chosen", "rejected"]
"""Whether somebody takes a hit for the person of the case."""


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseQuery:
    """A query image of a case.

    Attributes:
        id: Its id as an entry, whether it is one or not.
        name: The file's name if it was no entry; empty for an entry.
        by: Who searched with it.
        time: When it was added to the case, UTC.
    """

    id: Id
    name: str = ""
    by: str
    time: AwareDatetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseHit:
    """An entry that somebody chose or rejected.

    Attributes:
        id: The entry.
        decision: Whether it was chosen or rejected.
        by: Who decided.
        time: When, UTC.
        score: Its score in the search that found it; None if it was not found by a search.
        verdict: Its verdict in that search; empty without one.
        queries: The ids of the query images of that search.
    """

    id: Id
    decision: Decision = "chosen"
    by: str
    time: AwareDatetime = field(default_factory=_now)
    score: float | None = None
    verdict: str = ""
    queries: tuple[Id, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseNote:
    """A note on a case.

    Attributes:
        id: Its id.
        by: Who wrote it.
        time: When, UTC.
        text: Free text.
    """

    id: Id = field(default_factory=_new_id)
    by: str
    time: AwareDatetime = field(default_factory=_now)
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case.

    Attributes:
        version: The version of the format.
        id: Its id, a random UUID.
        name: Its name; several cases may have one name.
        opened_by: Who opened it.
        opened: When, UTC.
        changed: When somebody last changed it, UTC; the deletion of an entry does not count.
        shared: Whether everybody with a token of the server may read and change it; otherwise only
            who opened it may.
        queries: The query images.
        hits: The hits that were decided on, each entry once, in the order of the decisions.
        notes: The notes, in the order of writing.
        deleted: Number of its images that were deleted from the gallery.
    """

    version: int = CASE_VERSION
    id: Id = field(default_factory=_new_id)
    name: str
    opened_by: str
    opened: AwareDatetime = field(default_factory=_now)
    changed: AwareDatetime = field(default_factory=_now)
    shared: bool = False
    queries: tuple[CaseQuery, ...] = ()
    hits: tuple[CaseHit, ...] = ()
    notes: tuple[CaseNote, ...] = ()
    deleted: int = 0

    @property
    def image_ids(self) -> frozenset[str]:
        """The ids of its queries and hits."""
        return frozenset([q.id for q in self.queries] + [hit.id for hit in self.hits])

    @property
    def named_ids(self) -> frozenset[str]:
        """The ids of all images that it names: also of those that its hits were found with."""
        return self.image_ids.union(*(hit.queries for hit in self.hits))

    @property
    def entry_ids(self) -> frozenset[str]:
        """Those of them that were entries when they were added."""
        return self.image_ids - {query.id for query in self.queries if query.name}

    def count(self, decision: Decision) -> int:
        """The number of hits that were chosen, or rejected."""
        return sum(hit.decision == decision for hit in self.hits)

    def without(self, ids: Collection[str]) -> Case:
        """The case without any trace of some queries, hits and notes."""
        return replace(
            self,
            queries=tuple(query for query in self.queries if query.id not in ids),
            hits=tuple(
                replace(hit, queries=tuple(id for id in hit.queries if id not in ids))
                for hit in self.hits
                if hit.id not in ids
            ),
            notes=tuple(note for note in self.notes if note.id not in ids),
        )


_CASE = TypeAdapter(Case)


class Cases:
    """The cases of a gallery in a folder; threads may share it.

    All methods raise :class:`~vireid.errors.GalleryError` for a gallery on a server, which has no
    cases, and for a damaged file; those that change something also if the gallery was opened
    read-only or the disk is full.

    Args:
        store: The gallery's store.
        location: The gallery's folder or address, for messages.
        write: Whether cases may be changed.
    """

    def __init__(self, store: Store, location: str, *, write: bool) -> None:
        self._store = store
        self._location = location
        self._write = write
        self._lock = threading.RLock()

    @property
    def available(self) -> bool:
        """Whether the gallery can have cases; one on a server cannot."""
        return self._store.cases_folder is not None

    def __len__(self) -> int:
        return len(self.ids()) if self.available else 0

    def ids(self) -> list[str]:
        """The ids of all cases, damaged ones included."""
        return sorted(path.stem for path in self._folder.glob("*.json") if is_id(path.stem))

    def read_all(self) -> tuple[list[Case], list[str]]:
        """All cases, the last changed one first, and a sentence for each damaged file."""
        found, problems = list[Case](), list[str]()
        for id in self.ids():
            try:
                found.append(self.get(id))
            except NotThereError:
                pass  # deleted meanwhile
            except GalleryError as error:
                problems.append(str(error))
        found.sort(key=lambda case: (-case.changed.timestamp(), case.id))
        return found, problems

    def get(self, id: str) -> Case:
        """A case by its id.

        Raises:
            NotThereError: There is none.
            GalleryError: Its file is damaged or of another version.
        """
        path = self._path(id)
        try:
            content = from_json(path.read_bytes())
            version = content.get("version")
            if version != CASE_VERSION:
                raise ValueError(f"its format version is {version!r}, not {CASE_VERSION}")
            case = _CASE.validate_python(content)
            if case.id != id:
                raise ValueError(f"its id is {case.id!r}")
            return case
        except FileNotFoundError:
            raise self._not_there(id) from None
        except (OSError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise GalleryError(
                f"The case '{path}' cannot be read ({reason}); expected what vireid wrote: restore"
                f" a copy of it, or delete it (`vireid gallery case delete`)."
            ) from error

    def find(self, text: str) -> Case:
        """A case by its id or its name.

        Raises:
            NotThereError: There is none.
            ConfigError: Several have this name.
        """
        if is_id(text):
            return self.get(text)
        name = unicodedata.normalize("NFC", text.strip())
        cases, problems = self.read_all()
        found = [case for case in cases if case.name == name]
        if not found:
            damaged = f" {many(len(problems), 'case')} cannot be read." if problems else ""
            raise NotThereError(f"{self._not_there(text)}{damaged}")
        if len(found) > 1:
            raise ConfigError(
                f"'{text}' is the name of {len(found)} cases; expected one; name it by its id:"
                f" {first_few(case.id for case in found)}."
            )
        return found[0]

    def create(self, name: str, *, by: str) -> Case:
        """Open a case.

        Args:
            name: Its name.
            by: Who opens it.

        Raises:
            ConfigError: The name is empty, too long or not valid Unicode.
        """
        self._check_write()
        case = Case(name=_text(name, "name of a case", LONGEST_NAME), opened_by=by)
        with self._changing():
            self._save(case)
        return case

    def add_copies(self, cases: Iterable[Case]) -> tuple[int, int]:
        """Add cases of another gallery; those that this one has already stay as they are.

        What they hold of entries that this gallery does not have is left out, and counted as
        deleted.

        Returns:
            The number of new cases, and that of images left out.
        """
        self._check_write()
        new = left_out = 0
        with self._changing():
            there = set(self.ids())
            for case in cases:
                if case.id in there:
                    continue
                gone = case.entry_ids - self._store.existing(sorted(case.entry_ids))
                self._save(replace(case.without(gone), deleted=case.deleted + len(gone)))
                new, left_out = new + 1, left_out + len(gone)
        return new, left_out

    def edit(self, id: str, *, name: str | None = None, shared: bool | None = None) -> Case:
        """Change the name of a case, or who may read it; None leaves it.

        Raises:
            ConfigError: As for :meth:`create`.
        """
        if name is not None:
            name = _text(name, "name of a case", LONGEST_NAME)

        def change(case: Case) -> Case:
            return replace(
                case,
                name=case.name if name is None else name,
                shared=case.shared if shared is None else shared,
            )

        return self._change(id, change)

    def add(self, id: str, hits: Sequence[CaseHit] = (), queries: Sequence[CaseQuery] = ()) -> Case:
        """Add hits and query images to a case; a new decision on an entry replaces the former one.

        A decision without a score keeps that of the former one.

        Args:
            id: The case.
            hits: The hits, entries of the gallery.
            queries: The query images; those that the case has already stay as they are.

        Raises:
            NotThereError: A hit, or a query without a name, is no entry of the gallery.
            ConfigError: The id of a query is no UUID, or the case would have too many images.
        """
        if wrong := [query.id for query in queries if query.name and not is_id(query.id)]:
            raise ConfigError(
                f"A query image has the id {first_few(wrong)}; expected one that"
                " vireid.types.id_of makes of its SHA-256."
            )
        entries = [hit.id for hit in hits] + [query.id for query in queries if not query.name]

        def change(case: Case) -> Case:
            # While the lock is held no entry is deleted.
            if missing := set(entries) - self._store.existing(
                [one for one in entries if is_id(one)]
            ):
                raise NotThereError(
                    f"The gallery has no entry {first_few(sorted(missing))}; expected entries that"
                    " were not deleted; search again."
                )
            by_id = {query.id: query for query in (*queries, *case.queries)}
            former = {hit.id: hit for hit in case.hits}
            new = {hit.id: _found_before(hit, former.get(hit.id)) for hit in hits}
            kept = [hit for hit in case.hits if hit.id not in new]
            if len(by_id) + len(kept) + len(new) > MOST_IMAGES:
                raise ConfigError(
                    f"The case '{case.id}' would have more than {MOST_IMAGES:,} images; expected"
                    " fewer; open another case."
                )
            return replace(case, queries=tuple(by_id.values()), hits=(*kept, *new.values()))

        return self._change(id, change)

    def note(self, id: str, text: str, *, by: str) -> Case:
        """Add a note to a case.

        Raises:
            ConfigError: The text is empty, too long or not valid Unicode, or there are too many.
        """
        note = CaseNote(by=by, text=_text(text, "note", LONGEST_NOTE))

        def change(case: Case) -> Case:
            if len(case.notes) >= MOST_NOTES:
                raise ConfigError(
                    f"The case '{case.id}' has {MOST_NOTES:,} notes; expected fewer; remove some."
                )
            return replace(case, notes=(*case.notes, note))

        return self._change(id, change)

    def remove(self, id: str, ids: Collection[str]) -> Case:
        """Remove hits, query images and notes from a case.

        Args:
            id: The case.
            ids: Their ids.

        Raises:
            NotThereError: The case has none with one of these ids.
        """

        def change(case: Case) -> Case:
            if missing := set(ids) - case.image_ids - {note.id for note in case.notes}:
                raise NotThereError(
                    f"The case '{case.id}' has no {first_few(sorted(missing))}; expected ids of"
                    " its hits, query images and notes."
                )
            return case.without(ids)

        return self._change(id, change)

    def delete(self, id: str) -> None:
        """Delete a case for good, also a damaged one.

        Raises:
            NotThereError: There is none.
        """
        self._check_write()
        path = self._path(id)
        with self._changing():
            try:
                path.unlink()
            except FileNotFoundError:
                raise self._not_there(id) from None
            except OSError as error:
                raise self._unwritable(path, error) from error
            sync(self._folder)

    @contextmanager
    def forgetting(self, ids: Collection[str]) -> Iterator[None]:
        """Remove images from all cases, then let no case change during the block.

        The cases come first: what interrupts the block leaves entries, which the same deletion
        finds again, but no case that refers to a deleted one.

        Args:
            ids: The images, entries or not.

        Raises:
            GalleryError: After the block: a damaged file holds one of these ids.
        """
        if not ids or not self.available:
            yield
            return
        with self._changing():
            problems, changed, removed = list[str](), 0, 0
            for one in self.ids():
                try:
                    case = self.get(one)
                except GalleryError as error:
                    if _may_name(self._path(one), ids):
                        problems.append(str(error))
                    continue
                if gone := case.named_ids.intersection(ids):
                    changed, removed = changed + 1, removed + len(gone)
                    self._save(replace(case.without(gone), deleted=case.deleted + len(gone)))
            if changed:
                log(
                    f"{many(removed, 'image was', 'images were')} removed from"
                    f" {many(changed, 'case')} of '{self._location}'."
                )
            yield
        if problems:
            raise GalleryError(
                f"The entries were deleted from '{self._location}', but"
                f" {many(len(problems), 'damaged case still names', 'damaged cases still name')}"
                f" them: {problems[0]}"
            )

    def expire(self, before: datetime) -> int:
        """Apply a retention period to what outlives the entries.

        Query images that are no entries are removed if they were added before a time, and cases
        without any image are deleted if they were last changed before it.

        Args:
            before: The time.

        Returns:
            The number of deleted cases.
        """
        self._check_write()
        number = 0
        with self._changing():
            for case in self.read_all()[0]:
                old = {one.id for one in case.queries if one.name and one.time < before}
                old -= self._store.existing(sorted(old)) if old else set()
                left = replace(case.without(old), deleted=case.deleted + len(old))
                if not left.image_ids and case.changed < before:
                    self.delete(case.id)
                    number += 1
                elif old:
                    self._save(left)
        return number

    def verify(self) -> tuple[int, int, list[str]]:
        """Read all cases, and look for what they say of deleted entries.

        Returns:
            The number of cases, that of their images that were deleted from the gallery, and a
            sentence for each fault.
        """
        cases, faults = self.read_all()
        for case in cases:
            ids = sorted(case.entry_ids)
            if dangling := set(ids) - self._store.existing(ids):
                faults.append(
                    f"The case '{case.id}' names {many(len(dangling), 'entry', 'entries')} that the"
                    f" gallery does not have, such as '{min(dangling)}'; remove them with"
                    " `vireid gallery case remove`."
                )
        return len(cases), sum(case.deleted for case in cases), faults

    @property
    def _folder(self) -> Path:
        folder = self._store.cases_folder
        if folder is None:
            raise GalleryError(
                f"'{self._location}' is on a server, which keeps no cases; expected a gallery in a"
                " folder: copy it to one with `vireid gallery copy`."
            )
        return folder

    def _path(self, id: str) -> Path:
        """The file of a case; an id is a UUID, so that no other file can be named."""
        if not is_id(id):
            raise self._not_there(id)
        return self._folder / f"{id}.json"

    def _not_there(self, id: str) -> NotThereError:
        return NotThereError(
            f"The gallery '{self._location}' has no case '{printable(id)}'; expected the id or the"
            " name of one that was not deleted."
        )

    def _change(self, id: str, change: Callable[[Case], Case]) -> Case:
        self._check_write()
        with self._changing():
            case = replace(change(self.get(id)), changed=_now())
            self._save(case)
            return case

    def _save(self, case: Case) -> None:
        path = self._path(case.id)
        try:
            write_atomic(path, _CASE.dump_json(case, indent=2))
        except OSError as error:
            raise self._unwritable(path, error) from error

    def _unwritable(self, path: Path, error: OSError) -> GalleryError:
        kind = DiskFullError if is_full(error) else GalleryError
        return kind(
            f"The case '{path}' cannot be changed ({error.strerror}); "
            f"{fix_of(error, 'fix the permissions of its folder')}, and try again."
        )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let neither another thread nor another process change cases and entries."""
        with self._lock, self._store.turn():
            yield

    def _check_write(self) -> None:
        _ = self._folder
        if not self._write:
            raise GalleryError(
                f"The gallery '{self._location}' was opened read-only; expected write=True before"
                " its cases are changed."
            )


def _found_before(hit: CaseHit, former: CaseHit | None) -> CaseHit:
    """A hit, with the former score of its entry if it has none."""
    if hit.score is not None or former is None:
        return hit
    return replace(hit, score=former.score, verdict=former.verdict, queries=former.queries)


def _may_name(path: Path, ids: Collection[str]) -> bool:
    """Whether a damaged file holds an id, or cannot be read at all."""
    try:
        data = path.read_bytes()
    except OSError:
        return True
    return any(id.encode() in data for id in ids)


def _text(text: str, what: str, longest: int) -> str:
    """A text in the Unicode form NFC, without white space around it."""
    text = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(text) <= longest:
        raise ConfigError(
            f"The {what} has {len(text):,} characters; expected 1 to {longest:,}; change it."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"The {what} is not valid Unicode: {text[:40]!a}; expected text that can be encoded as"
            " UTF-8; change it."
        ) from None
    return text
