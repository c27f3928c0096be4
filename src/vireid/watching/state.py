"""What a watch has done and has to do, in an SQLite file that survives a kill.

Files that were processed are remembered for ever, so that entries that were deleted are not added
again. ``adding`` holds the entries whose addition has begun and whose matches are not recorded yet:
those that a kill left in the gallery are still compared with the saved searches.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vireid.files import Closeable

__all__ = ["Delivery", "FileVersion", "Job", "Kind", "State"]

Kind = Literal["crop", "scene", "video"]
FileVersion = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""

MOST_DELIVERIES = 10_000
"""Matches that wait for their delivery."""
_ALERTS_KEPT = 7 * 86_400
"""Seconds for which a tracklet that was reported is remembered."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER NOT NULL,
    changed INTEGER NOT NULL, kind TEXT NOT NULL, job INTEGER, done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS open_files ON files (kind, job) WHERE done = 0;
CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,
    folder TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS folders (name TEXT PRIMARY KEY, read INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS adding (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS reported (search TEXT NOT NULL, what TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (search, what));
CREATE TABLE IF NOT EXISTS outbox (id TEXT PRIMARY KEY, body TEXT NOT NULL, due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0);
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A video, or images of scenes of one folder, in which people are to be found.

    Attributes:
        id: Its number.
        kind: ``video`` or ``scene``.
        folder: The folder of its crops, below that of the watch.
        files: The files in their order.
    """

    id: int
    kind: Kind
    folder: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that waits for its delivery.

    Attributes:
        id: Its id, the same at each attempt.
        body: The JSON.
        due: When it is to be sent, in seconds since 1970.
        attempts: How often that has failed.
    """

    id: str
    body: str
    due: float
    attempts: int


class State(Closeable):
    """The state; threads may share it.

    Args:
        file: The SQLite file, created if there is none.

    Raises:
        sqlite3.Error: It is damaged, or cannot be written to; so do all methods.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        # What was deleted leaves no byte in the file.
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """As :meth:`Closeable.close`."""
        self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def fact(self, name: str) -> str:
        """A text by its name; empty if there is none."""
        found = self._read("SELECT value FROM facts WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def restart(self, facts: Iterable[tuple[str, str]]) -> None:
        """Forget all but what is not delivered, and store texts by name.

        The numbers of jobs go on, as they name folders that are on the disk.
        """
        with self._change() as db:
            for table in ("files", "jobs", "folders", "adding", "reported"):
                db.execute(f"DELETE FROM {table}")
            db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)

    def versions(self) -> dict[str, FileVersion]:
        """The versions of all files that were taken up, by their paths."""
        rows = self._read("SELECT path, size, changed FROM files")
        return {path: (size, changed) for path, size, changed in rows}

    def take_up(self, files: Iterable[tuple[Path, FileVersion, Kind | Literal["other"]]]) -> None:
        """Note files that are complete; others than images and videos are done with it.

        A file of another version than before is taken up again.
        """
        with self._change() as db:
            db.executemany(
                "INSERT INTO files (path, size, changed, kind, done) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (path) DO UPDATE SET size = excluded.size, done = excluded.done,"
                " changed = excluded.changed, kind = excluded.kind, job = NULL",
                [(str(path), *version, kind, kind == "other") for path, version, kind in files],
            )

    def crops(self, most: int) -> list[Path]:
        """Crops that are not added yet, in the order in which they were taken up."""
        query = "SELECT path FROM files WHERE kind = 'crop' AND done = 0 ORDER BY rowid LIMIT ?"
        return [Path(path) for (path,) in self._read(query, most)]

    def next_job(self, day: str, most: int) -> Job | None:
        """An unfinished job, or a new one.

        Args:
            day: The folder of a new job's folder of crops.
            most: Images of scenes in a job.
        """
        with self._change() as db:
            found = db.execute(
                "SELECT id, kind, folder FROM jobs WHERE done = 0 ORDER BY id LIMIT 1"
            ).fetchone()
            if found is None:
                first = db.execute(
                    "SELECT path, kind FROM files WHERE kind != 'crop' AND job IS NULL AND done = 0"
                    " ORDER BY rowid LIMIT 1"
                ).fetchone()
                if first is None:
                    return None
                paths, kind = [first[0]], first[1]
                if kind == "scene":
                    parent = Path(first[0]).parent
                    rows = db.execute(
                        "SELECT path FROM files WHERE kind = 'scene' AND job IS NULL AND done = 0"
                        " ORDER BY rowid"
                    )
                    paths = [path for (path,) in rows if Path(path).parent == parent][:most]
                number = db.execute(
                    "INSERT INTO jobs (kind, folder) VALUES (?, '')", (kind,)
                ).lastrowid
                folder = f"{day}/{number}"
                db.execute("UPDATE jobs SET folder = ? WHERE id = ?", (folder, number))
                db.executemany(
                    "UPDATE files SET job = ? WHERE path = ?", [(number, path) for path in paths]
                )
                db.execute("INSERT OR IGNORE INTO folders (name) VALUES (?)", (folder,))
                found = (number, kind, folder)
            files = db.execute("SELECT path FROM files WHERE job = ? ORDER BY rowid", found[:1])
            number, kind, folder = found
            return Job(number, kind, folder, tuple(Path(path) for (path,) in files))

    def finish_job(self, job: Job) -> None:
        """Note that the crops of a job are on the disk, or that it cannot be read."""
        with self._change() as db:
            db.execute("UPDATE jobs SET done = 1 WHERE id = ?", (job.id,))
            db.execute("UPDATE files SET done = 1 WHERE job = ?", (job.id,))

    def add_folder(self, name: str) -> None:
        """Note a folder of crops."""
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO folders (name) VALUES (?)", (name,))

    def folders(self) -> list[tuple[str, int]]:
        """The folders of crops, and up to which byte their manifests are added."""
        return self._read("SELECT name, read FROM folders ORDER BY name")

    def idle(self, name: str, today: str) -> bool:
        """Whether nothing will be written to a folder of crops: of a job, or of a stream's day."""
        job = self._read("SELECT done FROM jobs WHERE folder = ?", name)
        return bool(job[0][0]) if job else name.partition("/")[0] < today

    def drop_folder(self, name: str) -> None:
        """Forget a folder of crops, all of which are added."""
        with self._change() as db:
            db.execute("DELETE FROM folders WHERE name = ?", (name,))

    def begin_adding(self, ids: Iterable[str]) -> None:
        """Note entries before they are added to the gallery."""
        with self._change() as db:
            db.executemany("INSERT OR IGNORE INTO adding VALUES (?)", [(id,) for id in ids])

    def adding(self, ids: Sequence[str]) -> set[str]:
        """Those of some entries whose addition was begun before and not recorded."""
        found = {id for (id,) in self._read("SELECT id FROM adding")}
        return found.intersection(ids)

    def reported(self, search: str, what: str) -> bool:
        """Whether a tracklet or entry was reported for a search."""
        query = "SELECT 1 FROM reported WHERE search = ? AND what = ?"
        return bool(self._read(query, search, what))

    def finish_adding(
        self,
        ids: Sequence[str],
        *,
        crops: Sequence[Path] = (),
        folder: tuple[str, int] | None = None,
        reports: Sequence[tuple[str, str]] = (),
        deliveries: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Note in one transaction that entries are added, and what follows from it.

        Args:
            ids: Their ids.
            crops: Files of crops that are done with.
            folder: A folder, and up to which byte its manifest is added.
            reports: Search and tracklet of each match.
            deliveries: Id and body of each message; without a webhook there are none.

        Returns:
            How many of the oldest messages were dropped, because too many wait.
        """
        now = time.time()
        with self._change() as db:
            db.executemany("DELETE FROM adding WHERE id = ?", [(id,) for id in ids])
            db.executemany("UPDATE files SET done = 1 WHERE path = ?", [(str(p),) for p in crops])
            if folder:
                db.execute("UPDATE folders SET read = ? WHERE name = ?", folder[::-1])
            db.execute("DELETE FROM reported WHERE at < ?", (now - _ALERTS_KEPT,))
            db.executemany(
                "INSERT OR REPLACE INTO reported VALUES (?, ?, ?)",
                [(search, what, now) for search, what in reports],
            )
            db.executemany(
                "INSERT OR IGNORE INTO outbox (id, body, due) VALUES (?, ?, ?)",
                [(id, body, now) for id, body in deliveries],
            )
            return db.execute(
                "DELETE FROM outbox WHERE rowid IN (SELECT rowid FROM outbox ORDER BY rowid DESC"
                " LIMIT -1 OFFSET ?)",
                (MOST_DELIVERIES,),
            ).rowcount

    def next_delivery(self) -> Delivery | None:
        """The message that is due first."""
        found = self._read("SELECT id, body, due, attempts FROM outbox ORDER BY due LIMIT 1")
        return Delivery(*found[0]) if found else None

    def waiting_deliveries(self) -> int:
        """How many messages wait."""
        return int(self._read("SELECT count(*) FROM outbox")[0][0])

    def delivered(self, id: str) -> None:
        """Remove a message."""
        with self._change() as db:
            db.execute("DELETE FROM outbox WHERE id = ?", (id,))

    def postpone(self, id: str, due: float) -> None:
        """Note that the delivery of a message has failed, and when to try it again."""
        with self._change() as db:
            db.execute("UPDATE outbox SET due = ?, attempts = attempts + 1 WHERE id = ?", (due, id))
