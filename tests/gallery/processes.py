"""Other processes that use an embedded gallery, and the files that they leave.

They start fast, because they fork from a process that has imported vireid.gallery.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from tests.gallery.toys import MODEL, row

from vireid.gallery import Filters, _engine, gallery, open_gallery
from vireid.gallery._payload import payload_of
from vireid.gallery.embedded import EmbeddedStore

TIMEOUT = 60.0
"""Seconds after which another process counts as stuck."""

BATCH = 10
SEGMENT_KB = 4
"""About 40 toy rows a segment, so that segments are sealed all the time."""


class Other:
    """A process with a pipe through which it reports its progress."""

    def __init__(self, work: Any, place: Path, *arguments: object) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["vireid.gallery", "tests.gallery.toys"])
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=work, args=(place, there, *arguments), daemon=True)
        self.process.start()
        there.close()

    def hear(self) -> Any:
        """Its next message."""
        assert self.pipe.poll(TIMEOUT), "the other process is stuck"
        return self.pipe.recv()

    def kill(self) -> list[Any]:
        """Kill it by SIGKILL; returns the messages that were not received."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(TIMEOUT)
        said = []
        try:
            while self.pipe.poll():
                said.append(self.pipe.recv())
        except EOFError:
            pass
        return said

    def join(self) -> None:
        """Wait for its end."""
        self.process.join(TIMEOUT)
        assert self.process.exitcode == 0


@contextmanager
def small_steps() -> Iterator[None]:
    """Small batches and small segments, as the other processes have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "BATCH", BATCH)
        patch.setattr(_engine, "SEGMENT_KB", SEGMENT_KB)
        yield


def ingest(place: Path, pipe: Connection, start: int, count: int) -> None:
    """Add rows batch by batch, and report the acknowledged ones."""
    with small_steps(), open_gallery(place, model=MODEL, create=True) as opened:
        pipe.send(None)
        for first in range(start, start + count, BATCH):
            numbers = range(first, first + BATCH)
            opened.add([row(number) for number in numbers])
            pipe.send(list(numbers))


def delete(place: Path, pipe: Connection, numbers: list[int]) -> None:
    """Delete rows one by one, and report the deleted ones."""
    with small_steps(), open_gallery(place, write=True) as opened:
        pipe.send(None)
        for number in numbers:
            opened.delete(Filters(ids=(row(number).info.id,)))
            pipe.send(number)


def build_graph(place: Path, pipe: Connection) -> None:
    """Build the graph."""
    with small_steps(), open_gallery(place, write=True) as opened:
        pipe.send(None)
        opened.index()
        pipe.send(None)


def hold(place: Path, pipe: Connection, write: bool) -> None:
    """Open a gallery, use it once, and keep it open idle."""
    with open_gallery(place, write=write) as opened:
        pipe.send(opened.count())
        pipe.recv()


def occupy(place: Path, pipe: Connection) -> None:
    """Be in the middle of one long operation."""
    with open_gallery(place) as opened:
        store = opened._store
        assert isinstance(store, EmbeddedStore)
        with store._open():
            pipe.send(None)
            pipe.recv()


def write_half(place: Path, pipe: Connection, numbers: list[int]) -> None:
    """Pass rows to the engine without the flush that would acknowledge them."""
    with open_gallery(place, write=True) as opened:
        store = opened._store
        assert isinstance(store, EmbeddedStore)
        with store._open() as shard:
            rows = [row(number) for number in numbers]
            points = [
                edge.Point(one.info.id, one.feature.tolist(), payload_of(one)) for one in rows
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
            pipe.send(None)
            pipe.recv()


def contents(place: Path) -> bytes:
    """All bytes of all files in a folder, without trailing zeros."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return b"".join(path.read_bytes().rstrip(b"\0") + bytes(64) for path in files)
