"""Locks between processes, kept by the kernel: they end with the process, however it ends.

flock(2) locks belong to an open file, so that two galleries opened in one process exclude one
another just as two processes do. The lock files stay in the folder; their presence means nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from vireid.errors import GalleryError

__all__ = ["FileLock", "Turns", "WriterLock"]

PAUSE = 0.01
"""Seconds between two looks at a lock that is held by another process."""


class FileLock:
    """An exclusive lock on a file.

    Args:
        path: The lock file; it is made, and left in place afterwards.

    Raises:
        OSError: The file can be neither opened nor made.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def take(self) -> bool:
        """Take the lock if it is free; returns whether it is now held here."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, deadline: float) -> bool:
        """Take the lock, waiting until a time of the monotonic clock at most."""
        while not self.take():
            if time.monotonic() >= deadline:
                return False
            time.sleep(PAUSE)
        return True

    def release(self) -> None:
        """Let others have it; a child process that inherited the file lets go of it too."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the lock and close the file."""
        self.release()
        os.close(self._file)

    def read(self) -> str:
        """What is written in the lock file."""
        return os.pread(self._file, 4096, 0).decode(errors="replace")

    def write(self, text: str) -> None:
        """Replace what is written in the lock file; no kill leaves it empty in between."""
        data = text.encode(errors="replace")
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))
        os.fsync(self._file)


class WriterLock:
    """Held by the one process that may change a gallery, from its opening to its closing.

    The file names its holder, until :meth:`finish` says that all went well.

    Args:
        folder: The gallery's folder.

    Attributes:
        interrupted: Whether the last holder was killed, or met an error, before it had finished.

    Raises:
        GalleryError: Another process holds it; the message says which and since when.
        OSError: The folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = FileLock(folder / "writer.lock")
        if not self._lock.take():
            holder = _format_holder(self._lock.read())
            self._lock.close()
            raise GalleryError(
                f"The gallery '{folder}' is being changed by {holder}; expected one writer at a "
                "time: wait until it has finished or stop it (searching is possible meanwhile)."
            )
        self.interrupted = self._lock.read() != ""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._lock.write(
                json.dumps({"process": os.getpid(), "command": _command(), "started": started})
            )
        except OSError:
            self._lock.close()
            raise

    def finish(self) -> None:
        """Say that nothing was interrupted."""
        self._lock.write("")

    def close(self) -> None:
        """Let another process write."""
        self._lock.close()


class Turns:
    """Who has the gallery's files open: one process at a time, the others in turn.

    ``shard.lock`` is held by the process that has the files open. A process that waits for it
    holds ``turn.lock``, which is how the first one sees, after each of its operations, that it
    should let go.

    Args:
        folder: The gallery's folder.

    Raises:
        OSError: The folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard = FileLock(folder / "shard.lock")
        self._turn = FileLock(folder / "turn.lock")

    def enter(self, patience: float) -> None:
        """Wait until the files may be opened here.

        Args:
            patience: Seconds to wait at most.

        Raises:
            GalleryError: Another process did not let go of them in this time.
        """
        deadline = time.monotonic() + patience
        if self._turn.wait(deadline):
            try:
                if self._shard.wait(deadline):
                    return
            finally:
                self._turn.release()
        raise GalleryError(
            f"The gallery '{self._folder}' is busy in another process for more than {patience:g} s,"
            " for example with forgetting or indexing; try again later, or wait longer."
        )

    def wanted(self) -> bool:
        """Whether another process waits for the files."""
        if not self._turn.take():
            return True
        self._turn.release()
        return False

    def leave(self) -> None:
        """Let the next process open the files."""
        self._shard.release()

    def close(self) -> None:
        """Let go of everything."""
        self._shard.close()
        self._turn.close()


def _command() -> str:
    """The command as typed, without options: a token may be among them."""
    words = [Path(sys.argv[0]).name]
    for word in sys.argv[1:]:
        if word.startswith("-"):
            break
        words.append(word)
    return shlex.join(words[:4])


def _format_holder(text: str) -> str:
    """Who a lock file says it is held by."""
    try:
        holder = json.loads(text)
        return f"process {holder['process']} (`{holder['command']}`, since {holder['started']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
