"""A watch: what arrives in folders and streams is added to a gallery, and reported if it matches.

Threads detect people in streams and in files, and write crops and manifests as ``vireid detect``
does; these are the queue. The main thread adds them, and crops that arrive as files, to the gallery
batch by batch, compares each with the saved searches, and notes in the state file what is done.
Another thread delivers matches.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from vireid.data.layouts.pattern import PathPattern
from vireid.data.listing import fill_in
from vireid.errors import (
    ConfigError,
    DatasetError,
    DeliveryError,
    VideoError,
    VireidError,
    describe_os_error,
    first_few,
    many,
)
from vireid.features import ExtractedBatch, FeatureExtractor, extract_from_files
from vireid.files import held
from vireid.gallery import Filters, Gallery
from vireid.gallery.gallery import WATCHES
from vireid.log import echo, log, log_once, printable
from vireid.openset.arrivals import Match, match_arrivals
from vireid.times import format_time
from vireid.types import ImageInfo, Modality
from vireid.video import DetectOptions, Detector, Source, Stream, detect_people
from vireid.video.backoff import Backoff
from vireid.video.manifest import MANIFEST, read_crops
from vireid.video.sources import open_arrivals, open_sources
from vireid.watching.arrivals import FolderScanner
from vireid.watching.state import Job, State
from vireid.watching.webhook import Webhook

__all__ = ["Watch", "WatchOptions", "Watcher"]

_BATCH = 64
_JOB = 500
"""Images of scenes that are tracked together at most."""
_BACKLOG = 4_000_000
"""Bytes of manifests that wait to be added, about 20,000 crops, from which streams pause."""
_LONGEST = 60.0
"""Seconds between two attempts after errors, at most."""
_LONGEST_DELIVERY = 300.0
_EXPIRE_EVERY = 3_600.0
_DAY = timedelta(days=1)
_STATE = "state.sqlite"
_LAST_BATCHES = 16
"""Batches that are added at the end; the next watch adds what is left."""

_TROUBLE = (VireidError, OSError, sqlite3.Error)
"""What is said and tried again: a full disk, a gallery that is busy, a server that is away."""


class Record(Protocol):
    """Writes a line of the audit log."""

    def __call__(self, action: str, details: Mapping[str, object]) -> None:
        """Write it, or raise an error, after which it is tried again."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """Options of a watch."""

    interval: float = 5.0
    """Seconds between two listings of the folders; a file is complete when two see it unchanged."""
    keep: timedelta | None = None
    """How long entries and their crops are kept."""

    def __post_init__(self) -> None:
        if not 0.01 <= self.interval <= 86_400:
            raise ConfigError(
                f"--interval is {self.interval:g}; expected seconds, from 0.01 to 86400."
            )


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is watched, and how it is read.

    Attributes:
        folders: Folders of crops, scenes and videos, absolute.
        without: Folders in them that are passed over, absolute.
        streams: Addresses of streams.
        camera: The camera where the pattern gives none.
        modality: The modality likewise; guessed by default.
        pattern: See :mod:`vireid.data.layouts.pattern`.
        scenes: Whether images show scenes instead of one person each.
        detection: Options for finding people.
    """

    folders: Sequence[Path] = ()
    without: Sequence[Path] = ()
    streams: Sequence[str] = ()
    camera: str = ""
    modality: Modality | None = None
    pattern: str = ""
    scenes: bool = False
    detection: DetectOptions = field(default_factory=DetectOptions)

    def root_of(self, file: Path) -> Path:
        """The folder that a file has arrived in."""
        return next(folder for folder in self.folders if file.is_relative_to(folder))

    def open(self, job: Job) -> list[Source]:
        """The sources of a job: a video, or frames.

        Raises:
            VireidError: They cannot be opened, or have no camera.
        """
        files = [file for file in job.files if file.exists()]
        if not files:
            return []
        sources = open_arrivals(
            files,
            self.root_of(files[0]),
            camera=self.camera,
            modality=self.modality,
            pattern=self.pattern,
            fps=self.detection.fps,
        )
        for source in sources:
            # A file of the same name may show other people.
            source.arrival = str(job.id)
        return sources

    def label(self, crops: Sequence[Path]) -> list[ImageInfo]:
        """What is known of crops that have arrived."""
        infos = [ImageInfo(path=path) for path in crops]
        if self.pattern:
            pattern, others = PathPattern(self.pattern), list[str]()

            def filled(info: ImageInfo) -> ImageInfo:
                fields = pattern.match_end(info.path, self.root_of(info.path))
                with suppress(DatasetError):  # of a modality or a time
                    if fields is not None:
                        return fill_in(info, fields, pattern)
                others.append(info.name)
                return info

            infos = list(map(filled, infos))
            if others:
                log(
                    f"{many(len(others), 'image does', 'images do')} not match the pattern"
                    f" '{self.pattern}', and get nothing from it: {first_few(others)}."
                )
        return [
            replace(
                info, camera=info.camera or self.camera, modality=info.modality or self.modality
            )
            for info in infos
        ]


class _Stopping:
    """A detector that ends a detection when it is asked to stop."""

    def __init__(self, detector: Detector, stop: threading.Event) -> None:
        self._detector, self._stop = detector, stop
        self.name = detector.name

    def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`Detector.boxes`."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        return self._detector.boxes(frame)


class Watcher:
    """Adds what arrives to a gallery, until it is stopped.

    Args:
        watch: What is watched.
        gallery: The gallery, open for writing.
        extractor: Its model.
        people: Folder of crops and of the state; one watch at a time.
        make_detector: Returns a detector, for one thread each.
        record: Writes the audit log.
        options: The options.
        webhook: Receives matches; None only logs them.
    """

    def __init__(
        self,
        watch: Watch,
        gallery: Gallery,
        extractor: FeatureExtractor,
        people: Path,
        *,
        make_detector: Callable[[], Detector],
        record: Record,
        options: WatchOptions,
        webhook: Webhook | None = None,
    ) -> None:
        self._watch, self._gallery, self._extractor = watch, gallery, extractor
        self._people, self._make_detector, self._record = people, make_detector, record
        self._options, self._webhook = options, webhook
        self._stop, self._wake = threading.Event(), threading.Event()
        self._paused, self._closing = threading.Event(), threading.Event()
        self._jobs, self._post = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        self._fatal: list[BaseException] = []
        self._backoff, self._retry_at = Backoff(), 0.0
        self._scan_at, self._expire_at = 0.0, 0.0
        self._added, self._known = 0, 0

    def stop(self) -> None:
        """Let :meth:`run` end; may be called by a signal handler."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Watch until :meth:`stop`.

        Raises:
            ConfigError: Another process watches with this folder.
            VireidError: Nothing can be detected, for example because a package is missing.
        """
        self._people.mkdir(parents=True, exist_ok=True)
        try:
            with held(self._people), State(self._people / _STATE) as self._state:
                self._bind()
                self._run()
        except sqlite3.Error as error:
            raise ConfigError(
                f"'{self._people / _STATE}' cannot be used ({error}); expected the state of a watch"
                " on a disk with free space; delete it to take up everything again, or use another"
                " --people."
            ) from error
        except BlockingIOError as error:
            raise ConfigError(
                f"another process watches with the folder '{self._people}'; expected one at a time;"
                " stop it, or give this one another --people."
            ) from error

    def _bind(self) -> None:
        """Start anew if the state is that of another gallery, which does not know it."""
        own, there = self._state.fact("gallery"), self._gallery.note(WATCHES).split()
        if own and own in there:
            return
        if own:
            log(
                f"'{self._people}' is of another gallery than '{self._gallery.location}', or of one"
                " that was created again: everything that is watched counts as new."
            )
        own = uuid4().hex
        self._gallery.save_note(WATCHES, " ".join([*there, own][-20:]))
        self._state.restart([("gallery", own)])

    def _run(self) -> None:
        workers = [self._thread(self._detect_stream, address) for address in self._watch.streams]
        if self._watch.folders:
            workers.append(self._thread(self._detect_files))
        sender = self._thread(self._deliver) if self._webhook else None
        scanner = FolderScanner(
            self._watch.folders,
            self._state,
            without=[*self._watch.without, self._people.resolve()],
            scenes=self._watch.scenes,
        )
        try:
            while not self._stop.is_set() and not self._fatal:
                if time.monotonic() >= self._retry_at:
                    self._round(scanner)
                self._wake.wait(self._options.interval)
                self._wake.clear()
        finally:
            self._stop.set()
            self._jobs.set()
            with self._lock:
                for stream in self._streams.values():
                    stream.end()
            for worker in workers:
                worker.join()
            if not self._fatal:
                self._finish()
            self._closing.set()
            self._post.set()
            if sender:
                sender.join()
        if self._fatal:
            raise self._fatal[0]
        waiting = self._state.waiting_deliveries()
        if waiting:
            log(
                f"{many(waiting, 'match waits', 'matches wait')} for the receiver: the next watch"
                " delivers them."
            )

    def _thread(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self._fatal.append(error)
                self._wake.set()

        thread = threading.Thread(target=guarded, daemon=True, name=f"watch {work.__name__}")
        thread.start()
        return thread

    def _round(self, scanner: FolderScanner) -> None:
        """Take up what has arrived and add what is there; trouble is said and tried again."""
        try:
            began = time.monotonic()
            if self._watch.folders and began >= self._scan_at:
                if scanner.scan():
                    self._jobs.set()
                # At most a quarter of the time goes into listings.
                spent = time.monotonic() - began
                self._scan_at = began + max(self._options.interval, 4 * spent)
            while not self._stop.is_set() and (self._add_crops() or self._add_found()):
                pass
            self._expire()
        except _TROUBLE as error:
            self._retry_at = time.monotonic() + self._backoff.failed(_text(error))
        else:
            self._backoff.succeeded("It works again")
        with suppress(OSError, sqlite3.Error):
            self._pause()
        self._report()

    def _finish(self) -> None:
        """Add what the end of streams has brought."""
        try:
            for _ in range(_LAST_BATCHES):
                if not self._add_found():
                    break
        except _TROUBLE as error:
            log(printable(f"{_text(error).rstrip('.')}. The next watch goes on."))
        self._report()

    def _report(self) -> None:
        if self._added or self._known:
            number = many(self._added, "entry was", "entries were")
            there = f"; {many(self._known, 'image')} already there" if self._known else ""
            _say(f"{number} added to '{self._gallery.location}'{there}.")
            self._added = self._known = 0

    def _extract(self, infos: Sequence[ImageInfo]) -> ExtractedBatch:
        [batch] = extract_from_files(
            self._extractor, infos, batch_size=_BATCH, skip_bad=True, known=self._gallery.known
        )
        for fault in batch.bad:
            log(printable(fault))
        return batch

    def _add_crops(self) -> bool:
        """Add a batch of crops that have arrived as files; whether there was one."""
        paths = self._state.crops(_BATCH)
        if paths:
            self._add(self._extract(self._watch.label(paths)), crops=paths)
        return bool(paths)

    def _add_found(self) -> bool:
        """Add a batch of crops that were cut out of frames; whether there was one."""
        for name, read in self._state.folders():
            folder = self._people / name
            with self._lock:
                idle = name not in self._streams and self._state.idle(name, _today())
            rows = (
                list(islice(read_crops(folder, read), _BATCH))
                if (folder / MANIFEST).exists()
                else []
            )
            if rows:
                infos, ends = zip(*rows, strict=True)
                self._add(self._extract(infos), folder=(name, ends[-1]))
                return True
            if idle:
                self._state.drop_folder(name)
        return False

    def _add(
        self,
        batch: ExtractedBatch,
        *,
        crops: Sequence[Path] = (),
        folder: tuple[str, int] | None = None,
    ) -> None:
        """Add a batch, and report matches."""
        # Entries of a batch that was interrupted between its addition and its record.
        begun = self._state.adding([info.id for info in batch.known_infos])
        ids = [image.info.id for image in batch.images]
        self._state.begin_adding(ids)
        self._added += self._gallery.add(batch.images).new
        self._known += batch.known
        rows = list(batch.images)
        if begun:
            rows += self._gallery.rows(Filters(ids=tuple(begun)), thumbnails=False)
        matches, remarks = match_arrivals(self._gallery, rows) if rows else ([], [])
        for remark in remarks:
            log_once(printable(remark))
        reports, deliveries = [], []
        for match in matches:
            key = f"{match.search.name} {format_time(match.search.saved)}"
            what = match.entry.tracklet_key or match.entry.id
            if self._state.reported(key, what):
                continue
            message = self._message(match)
            self._record("alert", message)
            reports.append((key, what))
            deliveries.append((str(message["id"]), json.dumps(message, ensure_ascii=False)))
            log(
                printable(
                    f"The saved search '{match.search.name}' matches '{match.entry.name}' of camera"
                    f" '{match.entry.camera}': score {match.score:.3f}, {match.reason}."
                )
            )
        dropped = self._state.finish_adding(
            [*ids, *begun],
            crops=crops,
            folder=folder,
            reports=reports,
            deliveries=deliveries if self._webhook else [],
        )
        if dropped:
            log(
                f"{many(dropped, 'match', 'matches')} of those that wait longest are not delivered,"
                " as too many wait; the audit log has them."
            )
        self._post.set()

    def _message(self, match: Match) -> dict[str, Any]:
        entry = match.entry
        return {
            "id": str(uuid4()),
            "event": "match",
            "time": format_time(datetime.now(UTC)),
            "gallery": self._gallery.location,
            "search": match.search.name,
            "score": round(match.score, 4),
            "reason": match.reason,
            "entry": {
                "id": entry.id,
                "camera": entry.camera,
                "time": format_time(entry.time) if entry.time else None,
                "modality": str(entry.modality),
                "tracklet": entry.tracklet,
                "identity": entry.identity,
            },
            "model": self._gallery.model.fingerprint,
        }

    def _expire(self) -> None:
        """Delete entries that are older than the retention period, with their crops."""
        if self._options.keep is None or time.monotonic() < self._expire_at:
            return
        now = datetime.now(UTC)
        before = now - self._options.keep
        expired = Filters(retained_before=before)
        for row in self._gallery.rows(expired, features=False, thumbnails=False):
            if row.info.path.is_relative_to(self._people.absolute()):
                row.info.path.unlink(missing_ok=True)
        number = self._gallery.expire(self._options.keep, now=now)
        kept = {name.partition("/")[0] for name, _ in self._state.folders()}
        for day in self._people.glob("????-??-??"):
            if day.name not in kept and day.name < str((before - _DAY).date()):
                shutil.rmtree(day)
        if number:
            self._record("expire", {"before": format_time(before), "deleted": number})
            _say(f"{many(number, 'entry was', 'entries were')} older than --keep and deleted.")
        self._expire_at = time.monotonic() + _EXPIRE_EVERY

    def _pause(self) -> None:
        """Let detection pause while too much waits to be added."""
        waiting = 0
        for name, read in self._state.folders():
            manifest = self._people / name / MANIFEST
            waiting += manifest.stat().st_size - read if manifest.exists() else 0
        if waiting > _BACKLOG and not self._paused.is_set():
            log("Detection pauses, as too many crops wait to be added.")
            self._paused.set()
            with self._lock:
                for stream in self._streams.values():
                    stream.end()
        elif waiting < _BACKLOG // 2 and self._paused.is_set():
            log("Detection goes on.")
            self._paused.clear()

    def _detect_files(self) -> None:
        """Find people in files that have arrived, job by job."""
        detector: Detector | None = None
        backoff = Backoff()
        while not self._stop.is_set():
            self._jobs.clear()
            try:
                job = None if self._paused.is_set() else self._state.next_job(_today(), _JOB)
                if job is None:
                    self._jobs.wait(self._options.interval)
                    continue
                detector = detector or _Stopping(self._make_detector(), self._stop)
                self._detect(job, detector)
                self._state.finish_job(job)
                backoff.succeeded("Detection works again")
            except KeyboardInterrupt:
                return
            except _TROUBLE as error:
                self._stop.wait(backoff.failed(_text(error)))
            self._wake.set()

    def _detect(self, job: Job, detector: Detector) -> None:
        try:
            sources = self._watch.open(job)
            if sources:
                out = self._people / job.folder
                people = detect_people(sources, out, detector, self._watch.detection)
                name = job.files[0].name if len(job.files) == 1 else f"{len(job.files):,} images"
                left = (
                    f"; {many(people.single, 'box', 'boxes')} in no tracklet"
                    if people.single
                    else ""
                )
                found = f"{many(people.tracklets, 'tracklet')}, {many(people.crops, 'crop')}"
                _say(printable(f"'{name}': {many(people.frames, 'frame')}, {found}{left}."))
        except (VideoError, ConfigError, DatasetError) as error:
            log(printable(str(error)))

    def _detect_stream(self, address: str) -> None:
        """Find people in a stream, in a folder of each day, until the watch ends."""
        detector, live = self._make_detector(), False
        connection, backoff = Backoff(), Backoff()
        while not self._stop.is_set():
            if self._paused.is_set():
                self._stop.wait(self._options.interval)
                continue
            now = datetime.now(UTC)
            midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + _DAY
            stream = Stream(address, self._watch.camera, limit=midnight - now, backoff=connection)
            stream.modality = self._watch.modality
            folder = f"{now.date()}/{stream.stable_key}"
            try:
                with self._lock:
                    self._streams[folder] = stream
                if self._stop.is_set():
                    stream.end()
                if not live:
                    self._check_live(address)
                    live = True
                self._state.add_folder(folder)
                detect_people([stream], self._people / folder, detector, self._watch.detection)
                backoff.succeeded(f"The people of '{stream.name}' are kept again")
            except VideoError as error:
                self._stop.wait(connection.failed(_text(error)))
            except (OSError, sqlite3.Error) as error:
                self._stop.wait(backoff.failed(_text(error)))
            finally:
                with self._lock:
                    self._streams.pop(folder, None)

    def _check_live(self, address: str) -> None:
        """Refuse a video file on a server, which would be read again and again."""
        [source] = open_sources([address], camera=self._watch.camera)
        if not isinstance(source, Stream):
            raise ConfigError(
                f"'{source.name}' is a video of known length; expected a live stream; add it with"
                " `vireid gallery add`."
            )

    def _deliver(self) -> None:
        """Deliver matches one by one, the one that is due first; at the end those that are due."""
        backoff, wait = Backoff(_LONGEST_DELIVERY), 0.0
        while True:
            self._post.clear()
            if wait:
                if self._closing.is_set():
                    return
                # A new match is no reason to try a receiver that is away again at once.
                self._closing.wait(wait)
            try:
                wait = self._deliver_next(backoff)
            except DeliveryError as error:
                assert self._webhook
                wait = backoff.failed(
                    f"Matches cannot be delivered to '{self._webhook.server}' ({error})"
                )
            except sqlite3.Error as error:
                wait = backoff.failed(_text(error))

    def _deliver_next(self, backoff: Backoff) -> float:
        """Deliver the match that is due; returns 0, or seconds to wait.

        Raises:
            DeliveryError: It did not arrive; it is due again later.
        """
        assert self._webhook
        delivery = self._state.next_delivery()
        left = delivery.due - time.time() if delivery else _LONGEST
        if delivery is None or left > 0:
            if self._closing.is_set():
                return 1.0
            self._post.wait(min(left, _LONGEST))
            return 0.0
        try:
            self._webhook.send(delivery.id, delivery.body)
        except DeliveryError:
            pause = min(2.0**delivery.attempts, _LONGEST_DELIVERY)
            self._state.postpone(delivery.id, time.time() + pause)
            raise
        self._state.delivered(delivery.id)
        backoff.succeeded(f"'{self._webhook.server}' takes matches again")
        return 0.0


def _today() -> str:
    return str(datetime.now(UTC).date())


def _say(text: str) -> None:
    """Print a result at once, also into a file or a pipe."""
    echo(text)
    sys.stdout.flush()


def _text(error: BaseException) -> str:
    return describe_os_error(error, "a file") if isinstance(error, OSError) else str(error)
