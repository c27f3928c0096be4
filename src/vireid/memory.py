"""How a process asks the system for memory.

A training step allocates and frees gigabytes of feature maps. By default glibc gives each large one
back to the system at once, and the system clears every page again before the next use: a fifth of
a step on a virtual machine. Called for before torch is imported, memory is instead kept for the
next step, in pages of 2 MiB.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_memory"]

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1


def keep_memory() -> None:
    """Keep freed memory in the process, in huge pages where the system has them.

    Does nothing where the C library is another than glibc. What the environment says already about
    torch's huge pages (THP_MEM_ALLOC_ENABLE) counts.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
