"""Free space on the disk of an embedded gallery, checked before the engine writes.

The engine writes through mapped files: if the disk is full, the process is killed by SIGBUS and no
error can be caught. Other programs may fill the disk meanwhile, hence the margin.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from vireid.errors import DiskFullError

__all__ = ["allocated", "is_full", "require_space"]

MARGIN = 64 << 20
"""Bytes that must stay free; a new segment of the engine takes up to 48 MB of them."""


def require_space(folder: Path, size: int, purpose: str) -> None:
    """Refuse to begin what the disk has no space for.

    Args:
        folder: The gallery's folder.
        size: Bytes to be written at most.
        purpose: What they are for, such as ``to add 3 images``.

    Raises:
        DiskFullError: The disk, or the user's quota, has too little free space.
    """
    needed = size + MARGIN
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free >= needed:
        try:
            # A quota shows only when something is allocated.
            with tempfile.TemporaryFile(dir=folder) as file:
                os.posix_fallocate(file.fileno(), 0, min(needed, MARGIN))
            return
        except OSError as error:
            if not is_full(error):
                return  # the file system cannot allocate
    raise DiskFullError(
        f"The disk of '{folder}' has {free / 1e6:.1f} MB free for you; expected {needed / 1e6:.1f}"
        f" MB {purpose}: free space, or move the gallery to a larger disk."
    )


def is_full(error: OSError) -> bool:
    """Whether an error means that the disk, or the user's quota, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def allocated(folder: Path) -> int:
    """The bytes on the disk of all files in a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
