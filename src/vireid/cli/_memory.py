"""How a process asks the system for memory.

A training step allocates and frees gigabytes of feature maps. By default glibc gives each large one
back to the system at once, and the system clears every page again before the next use: a fifth of
a step on a virtual machine. Commands that train or describe images keep it instead, for the next
step, in pages of 2 MiB; a server, which is to be small between its requests, does not.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_memory"]

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1


def keep_memory() -> None:
    """Keep freed memory in the process, in huge pages where the system has them.

    To be called before torch makes its first tensor: that is when it looks whether to use huge
    pages. What the environment says of them (THP_MEM_ALLOC_ENABLE) counts. Where the C library is
    another than glibc, nothing is changed but that.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
