"""Writing files so that a kill, a full disk or a power cut never leaves half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["clear_temporaries", "held", "open_atomic", "write_atomic"]


def write_atomic(path: Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` as :func:`open_atomic` does.

    Args:
        path: The file to write or to replace.
        data: All of its bytes.

    Returns:
        ``path``.

    Raises:
        OSError: As :func:`open_atomic`.
    """
    with open_atomic(path) as file:
        file.write(data)
    return path


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing: afterwards the file is the old one or the new one, never half.

    The bytes go to a hidden temporary file in the same folder, are flushed to the disk, and the
    file then takes the name in one step; the folder is flushed too, so that the new name
    survives a power cut. Missing parent folders are made.

    Args:
        path: The file to write or to replace.

    Yields:
        The temporary file, empty; it takes the name when the block is left without an error.

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
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, so that others see that somebody is at work in it.

    Whoever ends lets go of it, however that happens.

    Args:
        folder: It has to be there.

    Raises:
        BlockingIOError: Another process, or another part of this one, holds it.
        OSError: The file system has no such locks, as some network ones.
    """
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def clear_temporaries(folder: Path) -> int:
    """Remove what processes that were killed in :func:`write_atomic` left below a folder.

    Args:
        folder: A folder that no other process is writing to.

    Returns:
        How many files there were.
    """
    stale = [path for path in folder.rglob(".*.tmp") if path.is_file()]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names, where the file system knows how."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
