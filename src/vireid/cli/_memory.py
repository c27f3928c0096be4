"""How a process requests memory from the system.

A training step allocates and frees gigabytes of feature maps. By default glibc returns each large
block to the system at once, and the system clears every page again before its next use: a fifth of
a step on a virtual machine. Commands that train or extract features keep the memory for the next
step instead, in pages of 2 MiB. A server does not, so that it is small between requests.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_memory"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1


def keep_memory() -> None:
    """Keep freed memory in the process, in huge pages where the system has them.

    Call it before torch creates its first tensor, when it decides on huge pages. The environment's
    THP_MEM_ALLOC_ENABLE takes precedence. Without glibc only the huge pages are set.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
