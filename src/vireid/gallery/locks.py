"""Locks between processes on a gallery's folder.

They are kernel locks (flock, by the package ``filelock``): they end with the process, however it
ends, and two galleries opened in one process exclude each other as two processes do. The lock files
stay in the folder; their presence means nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vireid.errors import GalleryError, fix_of
from vireid.files import write_atomic
from vireid.times import format_time

__all__ = ["AccessQueue", "WriterLock"]

POLL = 0.01
"""Seconds between two attempts to take a lock that another process holds."""


def _lock(path: Path) -> FileLock:
    """An exclusive lock that any thread may release.

    Raises:
        OSError: The lock file can neither be opened nor created.
    """
    with path.open("ab"):
        pass
    # A soft lock, where the file system has no flock, would outlive a killed process.
    return FileLock(path, thread_local=False, poll_interval=POLL, fallback_to_soft=False)


class WriterLock:
    """Held by the one process that may change a gallery, from opening to closing it or in turns.

    ``writer.json`` names the holder until :meth:`finish` removes it.

    Args:
        folder: The gallery's folder.
        timeout: Seconds to wait for another holder.

    Attributes:
        interrupted: Whether the last holder was killed, or failed, before it called :meth:`finish`.

    Raises:
        GalleryError: Another process holds the lock; the message names it and since when.
        OSError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, timeout: float = 0.0) -> None:
        self._holder = folder / "writer.json"
        self._lock = _lock(folder / "writer.lock")
        try:
            self._lock.acquire(timeout)
        except Timeout:
            raise GalleryError(
                f"The gallery '{folder}' is being changed by {_read_holder(self._holder)}; "
                "expected one writer at a time: wait until it has finished or stop it (searching "
                "is possible meanwhile)."
            ) from None
        self.interrupted = self._holder.exists()
        started = format_time(datetime.now(UTC).replace(microsecond=0))
        holder = {"process": os.getpid(), "command": _command(), "started": started}
        try:
            write_atomic(self._holder, json.dumps(holder).encode(errors="replace"))
        except OSError:
            self.close()
            raise

    def finish(self) -> None:
        """Record that nothing was interrupted."""
        self._holder.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process write."""
        self._lock.release()


class AccessQueue:
    """Exclusive access to the gallery's segments: one process at a time, the others queue.

    ``shard.lock`` is held by the process that has the segments open. A process that waits for it
    holds ``queue.lock``, which is how the first one sees, after each of its operations, that it
    should close them.

    Args:
        folder: The gallery's folder.

    Raises:
        OSError: The folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard = _lock(folder / "shard.lock")
        self._queue = _lock(folder / "queue.lock")

    def acquire(self, timeout: float) -> None:
        """Wait until this process may open the segments.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            GalleryError: Another process did not close them in this time, or the folder is gone.
        """
        deadline = time.monotonic() + timeout
        try:
            with self._queue.acquire(timeout):
                self._shard.acquire(max(0.0, deadline - time.monotonic()))
        except Timeout:
            raise GalleryError(
                f"The gallery '{self._folder}' is busy in another process for more than "
                f"{timeout:g} s, for example with deleting or indexing; try again later, or wait "
                "longer."
            ) from None
        except OSError as error:
            raise GalleryError(
                f"The gallery '{self._folder}' cannot be locked ({error.strerror}); expected its "
                "folder to exist and to be writable: "
                f"{fix_of(error, 'restore it or fix its permissions')}."
            ) from error

    def has_waiters(self) -> bool:
        """Whether another process waits for the segments."""
        try:
            with self._queue.acquire(blocking=False):
                return False
        except Timeout:
            return True
        except OSError:  # without the folder nobody can wait
            return False

    def release(self) -> None:
        """Let the next process open the segments."""
        self._shard.release()


def _command() -> str:
    """The command line without options, which may include a token."""
    words = [Path(sys.argv[0]).name]
    for word in sys.argv[1:]:
        if word.startswith("-"):
            break
        words.append(word)
    return shlex.join(words[:4])


def _read_holder(path: Path) -> str:
    """Describe the process that ``writer.json`` names."""
    try:
        holder = json.loads(path.read_bytes())
        return f"process {holder['process']} (`{holder['command']}`, since {holder['started']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
