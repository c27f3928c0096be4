"""Whole files or none: atomic writes, and the clearing of what a killed run left behind."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["clear_temporaries", "write_atomic"]

_MARK = ".tmp-"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is either there in full or not at all.

    Args:
        path: The file; its folder is made if need be.
        content: Its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{_MARK}{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def clear_temporaries(root: Path) -> int:
    """Remove the temporary files of runs that were killed; returns how many there were."""
    stale = [p for p in root.rglob(f".*{_MARK}*") if p.is_file()]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)
