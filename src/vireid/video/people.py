"""From sources to people: boxes, tracklets, their best crops and a manifest."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vireid.errors import ConfigError, VideoError
from vireid.files import clear_temporaries, held, write_atomic
from vireid.log import log, on_stop, printable
from vireid.times import format_time, parse_time
from vireid.types import Modality
from vireid.video.crops import BestCrops, Crop, cut, hidden_shares
from vireid.video.detectors import Detector, frame_chroma
from vireid.video.frames import Frame, Source, format_seconds
from vireid.video.journal import Journal, Unit, append_lines, drop_torn_line, headers
from vireid.video.manifest import COLUMNS, MANIFEST
from vireid.video.tracking import SURE, Tracker

__all__ = ["DetectOptions", "People", "detect_people"]

_JOURNALS = ".detect"
_PART = 60.0
"""Seconds after which the crops of a tracklet that goes on are written."""


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """Options for detection."""

    fps: float = 5.0
    """Frames analysed a second; of folders of images without times: their frames a second."""
    crops: int = 4
    """Crops of each tracklet, and of each further minute of it."""
    min_height: int = 48
    """Least height of a person, in pixels."""

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--fps", self.fps, 0.01),
            ("--crops", self.crops, 1),
            ("--min-height", self.min_height, 2),
        ):
            if not value >= least:
                raise ConfigError(f"{flag} is {value:g}; expected {least:g} or more.")


@dataclass(slots=True)
class People:
    """What was found.

    Attributes:
        frames: Frames analysed by this call.
        resumed: Frames whose boxes an earlier call had found.
        boxes: Boxes found.
        single: Boxes that are in no tracklet.
        small: Boxes that were too low.
        tracklets: Tracklets with crops.
        crops: Crops written by this call.
        known: Crops that were there.
        guessed: Crops by guessed modality.
        timeless: Crops without a time.
        skipped: Sources that were finished before.
        damaged: What is wrong with each source that cannot be read.
        seconds: Seconds spent in ``decode``, ``detect``, ``track`` and ``write``.
    """

    frames: int = 0
    resumed: int = 0
    boxes: int = 0
    single: int = 0
    small: int = 0
    tracklets: int = 0
    crops: int = 0
    known: int = 0
    guessed: Counter[Modality] = field(default_factory=Counter)
    timeless: int = 0
    skipped: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time that a block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - began  # type: ignore[assignment]


def detect_people(
    sources: Sequence[Source],
    out: Path,
    detector: Detector,
    options: DetectOptions = DetectOptions(),
) -> People:
    """Find people in sources and write their best crops and a manifest.

    What an earlier call has done is kept: a killed one is continued, and finished sources are
    skipped.

    Args:
        sources: Videos, folders of frames and streams.
        out: A folder that is new, or that this function has written to.
        detector: Finds the people of a frame.
        options: The options.

    Returns:
        What was found.

    Raises:
        ConfigError: The folder is in use, holds something else, or a source was begun with other
            options.
        VideoError: No source can be read.
    """
    _claim(out)
    people = People()
    try:
        with held(out):
            clear_temporaries(out)
            known = _known_paths(out / MANIFEST)
            for source in sources:
                try:
                    _Run(source, out, detector, options, known, people).run()
                except (VideoError, ConfigError) as error:
                    if len(sources) == 1:
                        raise
                    people.damaged.append(str(error))
                    log(printable(str(error)))
    except BlockingIOError as error:
        raise ConfigError(
            f"another process writes to '{out}'; expected one at a time; wait until it ends, or use"
            " another folder."
        ) from error
    if len(people.damaged) == len(sources):
        raise VideoError(" ".join(people.damaged))
    return people


def _claim(out: Path) -> None:
    """Create the folder and its manifest, or check that it is one of this kind."""
    manifest = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise ConfigError(f"'{out}' is a file; expected a folder; give another name.")
    if not manifest.exists():
        if out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise ConfigError(
                f"'{out}' holds other files and no {MANIFEST}; expected a folder that is new,"
                " empty or written by `vireid detect`; give another name."
            )
        write_atomic(manifest, (",".join(COLUMNS) + "\n").encode())
    drop_torn_line(manifest)
    with manifest.open(newline="", encoding="utf-8") as opened:
        header = next(csv.reader(opened), [])
    if tuple(header) != COLUMNS:
        raise ConfigError(
            f"'{manifest}' has the columns {','.join(header)[:200]}; expected"
            f" {','.join(COLUMNS)}, as `vireid detect` writes them; use another folder."
        )


def _known_paths(manifest: Path) -> set[str]:
    with manifest.open(newline="", encoding="utf-8") as opened:
        return {row[0] for row in csv.reader(opened) if row}


class _Run:
    """The detection in one source.

    Attributes:
        open: The parts of tracklets whose crops are not written yet.
        begun: When each tracklet that goes on was first seen, in seconds.
    """

    def __init__(
        self,
        source: Source,
        out: Path,
        detector: Detector,
        options: DetectOptions,
        known: set[str],
        people: People,
    ) -> None:
        self.source, self.out, self.detector = source, out, detector
        self.options, self.known, self.people = options, known, people
        self.folder = source.folder
        self.open: dict[Unit, BestCrops] = {}
        self.begun: dict[int, float] = {}
        self.tracker = Tracker(options.fps) if source.tracked else None
        self.journal: Journal | None = None

    def run(self) -> None:
        """Detect, or continue."""
        journals = self.out / _JOURNALS
        self._warn_of_overlap(headers(journals))
        if not self.source.rewinds:
            self._follow(deque())
            return
        with Journal(journals / f"{self.source.key}.jsonl", self._header()) as self.journal:
            if self.journal.finished:
                self.people.skipped.append(self.source.name)
                return
            self._follow(self._replay(self.journal))
            self.journal.finish()

    def _header(self) -> dict[str, object]:
        source, options = self.source, self.options
        return {
            "source": source.place,
            "camera": source.camera,
            "version": source.version,
            "start": format_time(source.start) if source.start else "",
            "length": round(source.duration or 0, 3),
            "detector": self.detector.name,
            "fps": options.fps,
            "crops": options.crops,
            "min-height": options.min_height,
            "modality": source.modality or "",
        }

    def _warn_of_overlap(self, others: list[dict[str, Any]]) -> None:
        """Say if another source of this camera was filmed at the same time."""
        start, length = self.source.start, self.source.duration
        for other in others:
            if (
                not (start and length and other["start"])
                or other["camera"] != self.source.camera
                or other["source"] == self.source.place
            ):
                continue
            theirs = parse_time(other["start"])
            shared = min((start - theirs).total_seconds() + length, other["length"]) - max(
                (start - theirs).total_seconds(), 0
            )
            if shared > 1:
                log(
                    printable(
                        f"'{self.source.name}' and '{other['source']}' overlap in time by"
                        f" {format_seconds(shared)}, and both are of the camera"
                        f" '{self.source.camera}'; if they are two cameras, give each its own"
                        " --camera and folder of crops."
                    )
                )
                return

    def _replay(self, journal: Journal) -> deque[_Past]:
        """Track the boxes of an earlier call.

        Returns:
            The frames from which crops are not written yet, and at least the last.
        """
        past: deque[_Past] = deque()
        for first, second in journal.replay():
            if not isinstance(second, np.ndarray):
                self.open.pop((int(first), second), None)
                continue
            past.append(_Past(first, second, self._units(second, first)))
            self.people.resumed += 1
            oldest = min((own.first for own in self.open.values()), default=first)
            while past[0].seconds < oldest:
                past.popleft()
        return past

    def _follow(self, past: deque[_Past]) -> None:
        """Detect in the frames after those of an earlier call, and cut out people from both."""
        source, fps = self.source, self.options.fps
        frames = source.frames(fps, after=past[0].seconds - 1 / fps if past else -1.0)
        bar = tqdm(
            total=source.expected(fps),
            initial=self.people.resumed if past else 0,
            desc=printable(Path(source.name).name),
            unit="frames",
            leave=False,
            file=sys.stderr,
            mininterval=0.2 if sys.stderr.isatty() else 30.0,
        )
        kept = (
            on_stop(lambda: "what was found is kept; the same command continues.", OSError)
            if source.rewinds
            else nullcontext()
        )
        with bar, kept, closing(frames):
            try:
                while (frame := self._next(frames)) is not None:
                    while past and past[0].seconds < frame.seconds:
                        past.popleft()
                    if past and past[0].seconds == frame.seconds:
                        self._collect(frame, past[0].boxes, past.popleft().units)
                    elif not past:
                        self._analyse(frame)
                        bar.update()
            except KeyboardInterrupt:
                if source.rewinds:
                    raise
            for unit in list(self.open):
                self._write(unit)

    def _next(self, frames: Iterator[Frame]) -> Frame | None:
        with self.people.timed("decode"):
            return next(frames, None)

    def _analyse(self, frame: Frame) -> None:
        """Detect and track the people of a frame."""
        people = self.people
        with people.timed("detect"):
            found = self.detector.boxes(frame.image)
        # As they will be read from the journal.
        boxes = np.round(found.astype(np.float64), 3).astype(np.float32)
        people.frames += 1
        people.boxes += len(boxes)
        with people.timed("track"):
            units = self._units(boxes, frame.seconds)
        if self.journal:
            self.journal.add_frame(frame.seconds, boxes)
        people.single += sum(
            row[4] >= SURE for row, unit in zip(boxes, units, strict=True) if not unit
        )
        self._collect(frame, boxes, units)
        if self.tracker:
            alive = self.tracker.alive
            current = {unit for unit in units if unit}
            parts = dict(current)
            for unit in [
                own
                for own in self.open
                if own[0] not in alive or parts.get(own[0], own[1]) > own[1]
            ]:
                self._write(unit)
            self.begun = {own: at for own, at in self.begun.items() if own in alive}

    def _units(self, boxes: NDArray[np.float32], seconds: float) -> list[Unit | None]:
        """The tracklet of each box, and which part of it; None for a box in none."""
        ids = self.tracker.update(boxes, seconds) if self.tracker else np.arange(len(boxes))
        units: list[Unit | None] = []
        for tracklet in ids.tolist():
            if tracklet < 0:
                units.append(None)
                continue
            begun = self.begun.setdefault(tracklet, seconds)
            unit = (tracklet, int((seconds - begun) / _PART))
            self.open.setdefault(unit, BestCrops(self.options.crops, seconds))
            units.append(unit)
        return units

    def _collect(
        self, frame: Frame, boxes: NDArray[np.float32], units: Sequence[Unit | None]
    ) -> None:
        """Cut the people of open tracklets out of a frame."""
        if not any(unit in self.open for unit in units):
            return
        chroma, hidden = frame_chroma(frame.image), hidden_shares(boxes)
        for row, share, unit in zip(boxes, hidden.tolist(), units, strict=True):
            if unit in self.open and (crop := cut(frame, row, share, chroma)):
                if crop.box[3] - crop.box[1] < self.options.min_height:
                    self.open[unit].small += 1
                else:
                    self.open[unit].add(crop)

    def _write(self, unit: Unit) -> None:
        """Write the best crops of a tracklet, then their rows."""
        own, people = self.open.pop(unit), self.people
        people.small += own.small
        with people.timed("write"):
            rows = io.StringIO()
            writer = csv.writer(rows, lineterminator="\n")
            chosen = own.best()
            modality = (
                self.source.modality if self.source.modality else own.modality() if chosen else None
            )
            fresh = []
            for crop in chosen:
                path = f"{self.folder}/{unit[0]:05d}_{crop.frame.number:07d}.jpg"
                if path in self.known:
                    people.known += 1
                    continue
                write_atomic(self.out / path, crop.jpeg())
                fresh.append(path)
                writer.writerow(self._row(path, unit, crop, str(modality)))
                people.timeless += crop.frame.time is None
            if fresh:
                append_lines(self.out / MANIFEST, rows.getvalue())
                self.known.update(fresh)
            if self.journal:
                self.journal.add_written(unit)
        people.tracklets += bool(chosen) and unit[1] == 0
        people.crops += len(fresh)
        if modality and self.source.modality is None:
            people.guessed[modality] += len(fresh)

    def _row(self, path: str, unit: Unit, crop: Crop, modality: str) -> list[str]:
        time = crop.frame.time
        return [
            path,
            self.source.camera,
            format_time(time) if time else "",
            modality,
            f"{self.folder}/{unit[0]}",
            crop.frame.file,
            str(crop.frame.number),
            " ".join(map(str, crop.box)),
            f"{crop.score:.3f}",
        ]


class _Past(NamedTuple):
    """A frame of an earlier call."""

    seconds: float
    boxes: NDArray[np.float32]
    units: list[Unit | None]
