"""Atomic and secret files, locked folders, and objects that are closed at the end of ``with``."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from filelock import FileLock, Timeout

from vireid.errors import ConfigError
from vireid.log import log

__all__ = [
    "Closeable",
    "clear_temporaries",
    "held",
    "locked",
    "open_atomic",
    "read_secrets",
    "require_writable",
    "sync",
    "write_atomic",
]


class Closeable(ABC):
    """A context manager that is closed at the end of ``with``, also after an error."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds; closing twice is no error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_atomic(path: Path, data: bytes, *, flush: bool = True) -> Path:
    """Write ``data`` to ``path`` as :func:`open_atomic` does.

    Args:
        path: The file to write or to replace.
        data: All of its bytes.
        flush: As for :func:`open_atomic`.

    Returns:
        ``path``.

    Raises:
        OSError: As :func:`open_atomic`.
    """
    with open_atomic(path, flush=flush) as file:
        file.write(data)
    return path


@contextlib.contextmanager
def open_atomic(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """Open ``path`` for atomic writing: afterwards it holds either the old or the new content.

    The bytes go to a hidden temporary file in the same folder, are flushed to the disk, and the
    file is then renamed; the folder is flushed too, so that the new name survives a power cut.
    Missing parent folders are created.

    Args:
        path: The file to write or to replace.
        flush: Wait for the disk. Without it, the new file may be empty after a power cut, though
            not after a kill: for files that can be made again.

    Yields:
        The temporary file, empty; it is renamed when the block ends without an error.

    Raises:
        OSError: The folder cannot be written to or the disk is full; ``path`` is then untouched
            and the temporary file removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        # Mode 0666 is narrowed by the user's umask; tempfile would force 0600 on a shared disk.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            # An error of writing names no file, and nobody knows the temporary one.
            error.filename = str(path)
        raise
    if flush:
        sync(path.parent)


def require_writable(path: Path, *, folder: bool = False) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    A byte is written to a nameless file in its folder, or in the nearest parent that exists.

    Args:
        path: The file; it need not exist.
        folder: ``path`` is a folder of files instead.

    Raises:
        OSError: It cannot be written, or the disk is full; the error names ``path``.
    """
    try:
        if not folder and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        where = path if folder else path.parent
        existing = next(each for each in (where, *where.parents) if each.exists())
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"\0")
    except OSError as error:
        error.filename = str(path)
        raise


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder by a file ``.lock`` in it; see :func:`locked`.

    Args:
        folder: An existing folder.

    Raises:
        BlockingIOError: Another process, or another part of this one, holds the lock.
        OSError: The folder cannot be written, or its file system has no locks.
    """
    with locked(folder / ".lock"):
        yield


@contextlib.contextmanager
def locked(file: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a lock file, which is removed afterwards.

    The system releases the lock when the process ends, however it ends.

    Args:
        file: The lock file, in an existing folder.
        wait: Wait for the lock.

    Raises:
        BlockingIOError: Another process, or another part of this one, holds the lock.
        OSError: The folder cannot be written, or its file system has no locks.
    """
    lock = FileLock(file)
    try:
        # A tenth of a second, because the holder may remove the file between opening and locking.
        lock.acquire(timeout=-1 if wait else 0.1, poll_interval=0.02)
    except Timeout as error:
        raise BlockingIOError(f"'{file}' is locked") from error
    try:
        yield
    finally:
        # FileLock does not take a file for locked that was removed before it got the lock.
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        lock.release()


def read_secrets(file: Path, *, flag: str, expected: str) -> str:
    """Read a text file of secrets, and warn if other users can read it.

    Args:
        file: The file.
        flag: The flag that gave it, for messages.
        expected: What the file holds, for messages.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if os.name == "posix" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            log(f"warning: other users can read '{file}'; restrict it with `chmod 600`")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{flag} '{file}' cannot be read ({error}); expected a text file with {expected}."
        ) from error
    return text


def clear_temporaries(folder: Path) -> int:
    """Remove the temporary files that processes killed in :func:`open_atomic` left.

    Args:
        folder: A folder that no other process is writing to; searched recursively.

    Returns:
        The number of files removed.
    """
    stale = [path for path in folder.rglob(".*.tmp") if path.is_file()]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk, where the file system can.

    Args:
        path: The file or folder.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
